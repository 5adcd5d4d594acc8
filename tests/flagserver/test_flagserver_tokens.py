"""Jobs' tokens: one that is good is exchanged once; each that is not is refused with the claim that fails."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm

from flagserver.auth import Issuer, Role
from flagserver.auth.issuer import ASK_EVERY, KEPT_AT_MOST, KEPT_FOR, LARGEST, fetch_page, read_keys
from flagserver.auth.tokens import LEEWAY, LONGEST_TOKEN
from flagserver.errors import IssuerGoneError, SettingsError, StoreGoneError
from flagserver.settings import origin_of, read_settings
from tests.fakes.oidc import FakeIssuer, rsa_key
from tests.flagserver.inside import Clock
from tests.flagserver.trusting import ORIGIN, POLICY, Trusting
from tests.gate.metrics.scripted import Reply, scripted


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, clock: Clock, issuer: FakeIssuer) -> Iterator[Trusting]:
    """A server that a file's tests share: a token that is refused leaves nothing behind."""
    with Trusting(f"sqlite:///{tmp_path_factory.mktemp('trust') / 'flagserver.db'}", clock, issuer) as there:
        yield there


def test_a_good_token_is_exchanged_for_a_session_that_says_what_it_may(there: Trusting) -> None:
    made = there.exchange().get_json()
    assert made["session"].startswith(f"rg_session_{made['selector']}_")
    assert (made["environment"], made["role"], made["policy"]) == ("production", "operator", there.policy)
    assert made["job"] == "acme/shop run 4711 attempt 1 (push) by ada"
    grant = made["grant"]
    assert (grant["flags"], grant["widens"], grant["rollout"], grant["sha"]) == (["shop"], True, None, "a" * 40)
    assert there.reads(made["session"], "/v1/rollouts") == 200


def test_a_token_is_good_for_one_exchange(there: Trusting) -> None:
    token = there.token(jti="only-once")
    assert there.exchange(token).status_code == 201
    refused = there.refused_token(token)
    assert (refused["problems"][0]["path"], refused["problems"][0]["value"]) == ("jti", "only-once")


HOUR = 3600
BAD: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "another audience": ({"aud": "https://flags.evil.example"}, "aud", f"{ORIGIN}, which is this server's own"),
    "GitHub's default audience": ({"aud": "https://github.com/acme"}, "aud", ORIGIN),
    "two audiences": ({"aud": [ORIGIN, "https://flags.evil.example"]}, "aud", ORIGIN),
    "no audience": ({"aud": None}, "aud", ORIGIN),
    "another issuer": ({"iss": "https://token.actions.example.com"}, "iss", "http://127.0.0.1:"),
    "no issuer": ({"iss": None}, "iss", "http://127.0.0.1:"),
    "no end": ({"exp": None}, "exp", "a moment, in seconds"),
    "an end that is no number": ({"exp": "tomorrow"}, "exp", "a moment, in seconds"),
    "no begin": ({"nbf": None}, "nbf", "a moment, in seconds"),
    "no issue time": ({"iat": None}, "iat", "a moment, in seconds"),
    "a truth for a time": ({"iat": True}, "iat", "a moment, in seconds"),
    "no id": ({"jti": None}, "jti", "used once"),
    "a pull request's event": ({"event_name": "pull_request"}, "event_name", "push or"),
    "a fork's favourite event": ({"event_name": "pull_request_target"}, "event_name", "no pull request's but"),
    "a review's event": ({"event_name": "pull_request_review"}, "event_name", "no pull request's but"),
    "an event that the policy does not name": ({"event_name": "workflow_run"}, "event_name", "push or"),
    "the same name, another repository": ({"repository_id": "2"}, "repository_id", "1 (acme/shop)"),
    "an id that is a number": ({"repository_id": 1}, "repository_id", "a text"),
    "another owner": ({"repository_owner_id": "8"}, "repository_owner_id", "7 (owner of acme/shop)"),
    "another environment": ({"environment": "staging"}, "environment", "production; or none"),
    "another workflow": (
        {"workflow_ref": "acme/shop/.github/workflows/evil.yml@refs/heads/main"}, "workflow_ref", "release.yml, at",
    ),
    "another branch's workflow": (
        {"workflow_ref": "acme/shop/.github/workflows/release.yml@refs/heads/evil"}, "workflow_ref", "refs/heads/main",
    ),
    "another repository's workflow": (
        {"workflow_ref": "evil/shop/.github/workflows/release.yml@refs/heads/main"}, "workflow_ref", "acme/shop/",
    ),
    "no workflow": ({"workflow_ref": None}, "workflow_ref", "a text"),
    "another ref": ({"ref": "refs/heads/evil"}, "ref", "refs/heads/main"),
    "a branch named like the pattern": ({"ref": "refs/heads/main/evil"}, "ref", "refs/heads/main"),
    "a newline in a name": ({"actor": "ada\n::error::"}, "actor", "a text"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused_by_its_claim(there: Trusting, name: str) -> None:
    changes, claim, expected = BAD[name]
    token = there.token(**changes)
    refused = there.refused_token(token)
    assert refused["error"] == "token_refused"
    wrong = {one["path"]: one for one in refused["problems"]}
    assert expected in wrong[claim]["allowed"]
    assert f"{claim}: {wrong[claim]['value']} is not allowed" in refused["message"]
    if "repository" not in changes:
        assert refused["claims"]["repository"] == "acme/shop"
    assert token not in json.dumps(refused)
    assert token.rpartition(".")[2] not in json.dumps(refused)


@pytest.mark.parametrize(
    ("seconds", "claim"),
    [
        ({"exp": -LEEWAY}, "exp"), ({"exp": HOUR + 1}, "exp"), ({"nbf": LEEWAY + 1}, "nbf"),
        ({"iat": LEEWAY + 1}, "iat"),
    ],
)  # fmt: skip
def test_a_token_is_good_at_its_time_only(there: Trusting, seconds: dict[str, float], claim: str) -> None:
    times = {name: int(there.clock.now + value) for name, value in seconds.items()}
    assert [one["path"] for one in there.refused_token(**times)["problems"]] == [claim]


def test_clocks_may_differ_by_half_a_minute(there: Trusting) -> None:
    now = int(there.clock.now)
    assert there.exchange(exp=now - LEEWAY + 1).status_code == 201
    assert there.exchange(iat=now + LEEWAY, nbf=now + LEEWAY).status_code == 201


def unsigned(there: Trusting) -> str:
    return jwt.encode(
        there.issuer.claims(ORIGIN, now=there.clock.now), None, algorithm="none", headers={"kid": "key-1"}
    )


def with_the_public_key_as_a_secret(there: Trusting) -> str:
    claims = there.issuer.claims(ORIGIN, now=there.clock.now)
    public = rsa_key("key-1").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"key-1"}').rstrip(b"=")
    said = head + b"." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    # By hand: the library itself refuses to sign with a public key.
    algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
    return (said + b"." + base64.urlsafe_b64encode(algorithm.sign(said, public)).rstrip(b"=")).decode()


def of_another_issuer(there: Trusting) -> str:
    return there.issuer.signed(there.issuer.claims(ORIGIN, now=there.clock.now), key="stranger", kid="key-1")


def changed_after_it_was_signed(there: Trusting) -> str:
    head, body, signature = there.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "repository_id": "1", "actor": "eve"}).encode())
    return ".".join((head, forged.rstrip(b"=").decode(), signature))


def without_a_key_id(there: Trusting) -> str:
    claims = there.issuer.claims(ORIGIN, now=there.clock.now)
    return jwt.encode(claims, rsa_key("key-1"), algorithm="RS256")


FORGED = {
    unsigned: "alg", with_the_public_key_as_a_secret: "alg", of_another_issuer: "signature",
    changed_after_it_was_signed: "signature", without_a_key_id: "kid",
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGED, ids=lambda one: one.__name__)
def test_a_forged_token_is_refused_and_nothing_of_it_is_believed(there: Trusting, forge: Any) -> None:
    refused = there.refused_token(forge(there))
    assert [one["path"] for one in refused["problems"]] == [FORGED[forge]]
    assert refused["claims"] == {}


NO_TOKENS = ["", "x", "a.b.c", "é.é.é", "x" * (LONGEST_TOKEN + 1), "..", "eyJhbGciOiJSUzI1NiJ9.."]


@pytest.mark.parametrize("token", NO_TOKENS)
def test_what_is_no_token_is_refused_in_words(there: Trusting, token: str) -> None:
    reply = there.call("POST", "/v1/session", {"token": token}, role=None)
    assert reply.status_code == 401
    assert reply.get_json()["message"]


def test_a_stranger_learns_nothing_of_any_policy(there: Trusting) -> None:
    stranger = {
        "repository": "evil/repo", "repository_id": "666", "repository_owner": "evil", "repository_owner_id": "66",
        "job_workflow_ref": None,
        "workflow_ref": "evil/repo/.github/workflows/x.yml@refs/heads/main",
    }  # fmt: skip
    refused = there.refused_token(**stranger)
    assert [one["path"] for one in refused["problems"]] == ["repository_id"]
    assert "acme" not in json.dumps(refused)
    assert there.policy not in json.dumps(refused)


def test_a_reusable_workflow_is_held_to_its_own_ref(there: Trusting) -> None:
    called = "acme/deploys/.github/workflows/ramp.yml@refs/heads/main"
    policy = there.trust(repository_id="31", called_workflows=[called])
    assert there.exchange(repository_id="31", job_workflow_ref=called).get_json()["policy"] == policy
    refused = there.refused_token(repository_id="31")
    assert [one["path"] for one in refused["problems"]] == ["job_workflow_ref"]


def test_a_pattern_admits_what_begins_like_it(there: Trusting) -> None:
    there.trust(repository_id="32", refs=["refs/tags/v*"])
    file = "acme/shop/.github/workflows/release.yml"
    tag = {"repository_id": "32", "event_name": "release", "ref": "refs/tags/v1.2"}
    assert there.exchange(**tag, workflow_ref=f"{file}@refs/tags/v1.2").status_code == 201
    assert there.refused_token(**tag, workflow_ref=f"{file}@refs/tags/w1")["problems"][0]["path"] == "workflow_ref"


def test_a_job_that_is_admitted_to_several_environments_names_one(there: Trusting) -> None:
    for environment in ("staging", "production"):
        there.trust(repository_id="33", environment=environment, job_environments=[])
    unnamed = there.exchange(repository_id="33")
    assert (unnamed.status_code, unnamed.get_json()["problems"][0]["path"]) == (422, "environment")
    assert there.exchange(repository_id="33", wish="staging").get_json()["environment"] == "staging"
    refused = there.exchange(repository_id="33", wish="nowhere")
    assert (refused.status_code, "production or staging" in refused.get_json()["message"]) == (401, True)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"events": ["push", "pull_request_target"]}, "events.1"),
        ({"events": ["push", "pull_request"]}, "events.1"),
        ({"events": ["pull_request"], "role": "sdk"}, "events.0"),
        ({"role": "forecast", "refs": ["refs/pull/*"], "events": ["pull_request_target"]}, "events.0"),
        ({"role": "forecast", "refs": ["refs/pull/*"], "events": ["pull_request", "push"]}, "events.1"),
        ({"role": "forecast", "refs": ["refs/heads/main"], "events": ["pull_request"]}, "refs.0"),
        ({"role": "client"}, "role"),
        ({"refs": ["refs/pull/*"]}, "refs.0"),
        ({"workflows": ["release.yml"]}, "workflows.0"),
        ({"workflows": [".github/workflows/*.yml"]}, "workflows.0"),
        ({"workflows": []}, "workflows"),
        ({"refs": ["main"]}, "refs.0"),
        ({"refs": ["refs/heads/*/main"]}, "refs.0"),
        ({"refs": ["*"]}, "refs.0"),
        ({"flags": []}, "flags"),
        ({"flags": ["*", "shop"]}, "flags.0"),
        ({"repository": "shop"}, "repository"),
        ({"repository_id": "one"}, "repository_id"),
        ({"owner_id": ""}, "owner_id"),
        ({"role": "admin"}, "role"),
        ({"environment": "pro duction"}, "environment"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_its_path(there: Trusting, changes: dict[str, Any], path: str) -> None:
    reply = there.call("POST", "/v1/trust", {**POLICY, **changes}, role=Role.ADMIN)
    assert (reply.status_code, [one["path"] for one in reply.get_json()["problems"]]) == (422, [path])


class Steady:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own() -> Iterator[FakeIssuer]:
    """An issuer whose keys a test may change."""
    with FakeIssuer() as issuer:
        yield issuer


def test_an_unknown_key_is_asked_for_at_most_once_a_minute(own: FakeIssuer) -> None:
    steady = Steady()
    keys = Issuer(own.url, steady=steady)
    assert keys.key("key-1") is not None
    assert own.asked == ["/.well-known/jwks"]
    own.published = ("key-1", "key-2")
    with pytest.raises(IssuerGoneError) as early:
        keys.key("key-2")
    assert early.value.seconds == ASK_EVERY
    steady.now += ASK_EVERY
    assert keys.key("key-2") is not None
    for number in range(20):
        with pytest.raises(IssuerGoneError):
            keys.key(f"guess-{number}")
    assert (keys.key("key-1") is not None, len(own.asked)) == (True, 2)
    steady.now += ASK_EVERY
    assert keys.key("guess") is None, "asked just now, and there is none"


def test_a_key_that_the_issuer_takes_back_is_good_for_an_hour_at_most(own: FakeIssuer) -> None:
    steady = Steady()
    keys = Issuer(own.url, steady=steady)
    assert keys.key("key-1") is not None
    own.published = ("key-2",)
    steady.now += KEPT_FOR
    assert keys.key("key-1") is None


def test_while_the_issuer_is_silent_known_keys_serve_for_a_day(own: FakeIssuer) -> None:
    steady = Steady()
    keys = Issuer(own.url, steady=steady)
    assert keys.key("key-1") is not None
    own.down = True
    steady.now += KEPT_AT_MOST - 1
    assert keys.key("key-1") is not None
    steady.now += ASK_EVERY
    with pytest.raises(IssuerGoneError):
        keys.key("key-1")


NO_KEYS = [b"", b"[]", b"{}", b'{"keys": [{"kty": "oct", "k": "x", "kid": "a"}]}', b'{"keys": [1]}']


@pytest.mark.parametrize("page", NO_KEYS)
def test_a_page_without_keys_for_signatures_is_none(page: bytes) -> None:
    with pytest.raises(ValueError, match=r"no RSA key|Expecting value"):
        read_keys(page)


def test_a_page_that_is_not_there_is_an_error_of_reading(own: FakeIssuer) -> None:
    with pytest.raises(OSError, match="404"):
        fetch_page(f"{own.url}/nothing")


def test_keys_are_read_from_the_issuers_own_page_alone(own: FakeIssuer) -> None:
    with scripted() as server:
        server.script = lambda _: Reply(status=302, headers={"Location": f"{own.url}/.well-known/jwks"})
        with pytest.raises(OSError, match="a redirect, which is not followed"):
            fetch_page(f"{server.url}/.well-known/jwks")
        server.script = lambda _: Reply(body=b" " * (LARGEST + 1))
        with pytest.raises(OSError, match=f"larger than {LARGEST} bytes"):
            fetch_page(server.url)
        with pytest.raises(IssuerGoneError):
            Issuer(server.url).key("key-1")
    assert own.asked == []


def test_a_key_that_is_too_short_to_trust_is_none() -> None:
    short = rsa.generate_private_key(public_exponent=65_537, key_size=1024).public_key()
    jwk = {**RSAAlgorithm.to_jwk(short, as_dict=True), "kid": "short"}
    with pytest.raises(ValueError, match="no RSA key"):
        read_keys(json.dumps({"keys": [jwk]}).encode())


def test_without_the_issuer_or_the_store_nobody_is_admitted(
    sqlite_url: str, own: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trusting(sqlite_url, Clock(), own) as there:
        own.down = True
        reply = there.exchange()
        assert (reply.status_code, reply.get_json()["error"]) == (503, "issuer_unavailable")
        assert int(reply.headers["Retry-After"]) == ASK_EVERY
    own.down = False
    with Trusting(sqlite_url, Clock(), own) as there:
        assert there.exchange().status_code == 201

        def gone() -> None:
            raise StoreGoneError("gone")

        monkeypatch.setattr(there.services.store, "write", gone)
        reply = there.exchange()
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")


def test_a_server_that_does_not_know_its_address_admits_no_jobs(inside: Any) -> None:
    reply = inside.call("POST", "/v1/session", {"token": "x"}, role=None)
    assert (reply.status_code, reply.get_json()["error"]) == (403, "no_public_url")
    assert "FLAGSERVER_PUBLIC_URL" in reply.get_json()["message"]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Flags.example.com/base", "https://flags.example.com"),
        ("https://flags.example.com:443", "https://flags.example.com"),
        ("https://flags.example.com:8443", "https://flags.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://flags.example.com", None),
        ("https://me:secret@flags.example.com", None),
        ("flags.example.com", None),
        ("https://flags.example.com?x", None),
    ],
)
def test_an_address_has_an_origin_or_is_refused(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin
    if origin is None:
        with pytest.raises(SettingsError, match="FLAGSERVER_PUBLIC_URL") as caught:
            read_settings({"FLAGSERVER_PUBLIC_URL": url})
        assert "secret" not in caught.value.message
