"""Tester tokens: signed, expiring, bound to environment, flag and arm; all else is ignored, with a reason."""

from dataclasses import replace
from http.cookies import SimpleCookie

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rampgate.evidence import ArmName
from rampgate.forcing import BETWEEN, Ignored, Token, _signature, mint, new_id, new_key, sound, verify, wanted

KEY = new_key()
NOW = 1_800_000_000.0
TOKEN = Token(environment="production", flag="shop", arm=ArmName.CANARY, expires=NOW + 3600, id="t1")


def read(text: str, key: str | None = KEY, environment: str = "production", now: float = NOW) -> Token | Ignored:
    return verify(text, key, environment=environment, now=now)


def asked(text: str, flag: str = "shop", now: float = NOW) -> Token | Ignored | None:
    return wanted(text, KEY, environment="production", flag=flag, now=now)


@given(
    environment=st.text(min_size=1, max_size=20), flag=st.text(min_size=1, max_size=20),
    arm=st.sampled_from(list(ArmName)), left=st.floats(1, 1e6),
)  # fmt: skip
@settings(max_examples=50)
def test_what_is_minted_is_read_again(environment: str, flag: str, arm: ArmName, left: float) -> None:
    token = Token(environment=environment, flag=flag, arm=arm, expires=NOW + left, id=new_id())
    assert verify(mint(token, KEY), KEY, environment=environment, now=NOW) == token


def test_a_token_is_one_word_for_headers_urls_and_cookies() -> None:
    text = mint(TOKEN, KEY)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert SimpleCookie(f"rampgate-force={text}{BETWEEN}{text}")["rampgate-force"].value == text + BETWEEN + text
    assert len(text) < 300


def test_it_ends_at_its_moment() -> None:
    text = mint(TOKEN, KEY)
    assert read(text, now=TOKEN.expires - 0.001) == TOKEN
    assert read(text, now=TOKEN.expires) is Ignored.EXPIRED


@pytest.mark.parametrize(
    "changed",
    [{"flag": "till"}, {"arm": ArmName.STABLE}, {"expires": NOW + 9e9}, {"environment": "staging"}, {"id": "t2"}],
)
def test_a_token_with_anything_changed_in_it_is_unknown(changed: dict[str, object]) -> None:
    signature = mint(TOKEN, KEY).rpartition(".")[2]
    other = mint(replace(TOKEN, **changed), new_key()).rpartition(".")[0]  # type: ignore[arg-type]
    environment = str(changed.get("environment", "production"))
    assert read(f"{other}.{signature}", environment=environment) is Ignored.UNKNOWN


def test_another_key_another_environment_and_no_key_know_it_not() -> None:
    text = mint(TOKEN, KEY)
    assert read(text, key=new_key()) is Ignored.UNKNOWN
    assert read(text, key=None) is Ignored.UNKNOWN
    assert read(text, environment="staging") is Ignored.UNKNOWN


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: "rgf1." + raw.hex()))
@settings(max_examples=100)
def test_no_text_raises_and_none_passes(text: str) -> None:
    assert read(text) is Ignored.UNKNOWN
    assert read(mint(TOKEN, KEY)[:-1] + text) in (Ignored.UNKNOWN, TOKEN)
    assert not isinstance(asked(text), Token)


@pytest.mark.parametrize(
    "payload",
    ["e30", "W10", "MQ", "bnVsbA", "eyJhcm0iOiJjYW5hcnkiLCJlbnZpcm9ubWVudCI6InByb2R1Y3Rpb24iLCJleHBpcmVzIjp0cnVlfQ"],
)
def test_signed_nonsense_is_unknown_too(payload: str) -> None:
    # Not even the right signature makes something of it: the payload is read before it is believed.
    head = f"rgf1.{payload}"
    assert read(f"{head}.{_signature(head, KEY)}") is Ignored.UNKNOWN


def test_of_several_tokens_each_flag_finds_its_own() -> None:
    till = replace(TOKEN, flag="till", arm=ArmName.STABLE)
    for between in (BETWEEN, ",", ", "):
        text = between.join([mint(TOKEN, KEY), mint(till, KEY)])
        assert asked(text) == TOKEN
        assert asked(text, flag="till") == till
        assert asked(text, flag="desk") is None


def test_a_sound_token_counts_beside_an_expired_one() -> None:
    old = mint(replace(TOKEN, expires=NOW - 1), KEY)
    assert asked(old) is Ignored.EXPIRED
    assert asked(old + BETWEEN + mint(TOKEN, KEY)) == TOKEN
    assert asked(old, flag="till") is None, "what is wrong with another flag's token is not this one's business"


def test_nothing_asks_for_nothing() -> None:
    assert asked("") is None
    assert asked(" , ~") is None
    assert asked("hello") is Ignored.UNKNOWN


def test_a_text_that_is_too_long_or_has_too_many_tokens_is_not_worked_through() -> None:
    text = mint(TOKEN, KEY)
    assert asked(BETWEEN.join([text] * 100)) is None
    assert asked(BETWEEN.join(["x"] * 8 + [text])) is Ignored.UNKNOWN


def test_all_sound_tokens_are_found_by_flag() -> None:
    till, old = replace(TOKEN, flag="till"), replace(TOKEN, flag="desk", expires=NOW)
    texts = [mint(one, KEY) for one in (TOKEN, till, old, replace(TOKEN, arm=ArmName.STABLE))]
    found = sound(BETWEEN.join(texts), KEY, environment="production", now=NOW)
    assert found == {"shop": (texts[0], TOKEN), "till": (texts[1], till)}
