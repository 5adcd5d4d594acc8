"""What an app meets: values, defaults, reasons; nothing raised, nothing waited for."""

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import rampgate
from rampgate import FlagClient
from rampgate.client import Details, ErrorCode, Reason
from tests.rampgate.client.scripted import Scripted, document, plain, ramping, until

Connect = Callable[..., FlagClient]
NOWHERE = "http://127.0.0.1:9"


class Hostile(Mapping[str, object]):
    """A context that fails at every touch."""

    def __getitem__(self, key: str) -> object:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


def test_each_kind_of_flag_gives_its_value(server: Scripted, connect: Connect) -> None:
    one = {"state": "ENABLED", "defaultVariant": "one"}
    server.snapshot = document(
        {
            "b": plain(),
            "s": {**one, "variants": {"one": "text"}},
            "n": {**one, "variants": {"one": 2.5}},
            "o": {**one, "variants": {"one": {"deep": {"list": [1]}}}},
        }
    )
    client = connect(server)
    assert client.ready(10)
    for user in ("u", {"targetingKey": "u"}):
        assert client.boolean("b", False, user) is True
        assert client.string("s", "", user) == "text"
        assert client.number("n", 0, user) == 2.5
        value = client.object("o", {}, user)
        assert value == {"deep": {"list": [1]}}
        value["deep"]["list"].append(2)
        assert client.object("o", {}, user) == {"deep": {"list": [1]}}


@pytest.mark.parametrize("user", ["u", "", "\ud800", None, 7, [], {}, {"targetingKey": 7}, Hostile(), object()])
@pytest.mark.parametrize("flag", ["new", "shop", "nope", "", None, []])
def test_nothing_an_app_passes_makes_a_lookup_raise(server: Scripted, connect: Connect, flag: Any, user: Any) -> None:
    client = connect(server)
    assert client.ready(10)
    assert client.boolean(flag, False, user) in (True, False)
    assert client.string(flag, "default", user) in ("default", "blue", "green")
    assert client.number(flag, 3, user) == 3
    assert client.object(flag, {"a": 1}, user) == {"a": 1}
    assert isinstance(client.details(flag, None, user), Details)
    client.track(flag, user, ok=False)
    with client.observe(flag, user):
        pass


def test_a_flag_of_another_type_gives_the_default_and_says_why(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    assert client.ready(10)
    assert client.string("new", "default", "u") == "default"
    found = client.details("new", "default", "u")
    assert (found.value, found.reason, found.error_code) == ("default", Reason.ERROR, ErrorCode.TYPE_MISMATCH)
    assert client.details("new", None, "u").value is True


@pytest.mark.parametrize("user", ["", None, {}, {"targetingKey": ""}, {"tier": "gold"}])
def test_a_user_without_a_key_is_on_stable_while_a_rollout_ramps_and_is_no_evidence(
    server: Scripted, connect: Connect, user: Any
) -> None:
    server.snapshot["flags"]["shop"] = ramping(99_999)
    client = connect(server)
    assert client.ready(10)
    assert client.string("shop", "default", user) == "blue"
    found = client.details("shop", "default", user)
    assert (found.variant, found.reason, found.counted) == ("blue", Reason.DEFAULT, False)


def test_before_the_first_snapshot_every_lookup_gives_the_default_at_once() -> None:
    with FlagClient(NOWHERE, "key") as client:
        assert client.boolean("new", True, "u") is True
        assert client.string("shop", "blue", {"targetingKey": "u"}) == "blue"
        assert client.details("shop", 1, "u").error_code is ErrorCode.PROVIDER_NOT_READY
        assert not client.ready(0)
        with client.observe("shop", "u", "blue") as assignment:
            assert (assignment.value, assignment.variant, assignment.counted) == ("blue", None, False)


def test_a_change_reaches_lookups_and_those_who_watch_that_flag(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    assert client.ready(10)
    heard: list[str] = []
    told = threading.Event()

    def failing(_flag: str) -> None:
        raise RuntimeError("the app's own fault")

    client.on_change("new", failing)
    client.on_change("new", lambda flag: (heard.append(flag), told.set()))
    other = client.on_change("shop", heard.append)
    server.streams.get(timeout=10)
    server.send("changed", server.change("v2", {"new": plain(False)}))
    assert told.wait(10)
    assert client.boolean("new", True, "u") is False
    assert heard == ["new"]
    other()
    server.send("changed", server.change("v3", {"new": plain(), "shop": plain()}, {}))
    until(lambda: client.boolean("new", False, "u"))
    until(lambda: heard == ["new", "new"])


def test_after_closing_lookups_go_on_and_threads_do_not(server: Scripted) -> None:
    before = set(threading.enumerate())
    client = FlagClient(server.url, "rg_sdk_a_b")
    assert client.ready(10)
    mine = [one for one in set(threading.enumerate()) - before if one.name.startswith("rampgate-")]
    assert len(mine) == 2
    client.close()
    client.close()
    assert not [thread for thread in mine if thread.is_alive()]
    assert client.boolean("new", False, "u") is True


@pytest.mark.parametrize(
    ("url", "key", "environment"),
    [("flags.example.com", "k", "production"), ("ftp://x", "k", "p"), ("http://x", "", "p"), ("http://x", "k\n", "p")],
)
def test_an_unusable_address_is_refused_at_once(url: str, key: str, environment: str) -> None:
    with pytest.raises(ValueError, match=r"address|key"):
        FlagClient(url, key, environment=environment)


def test_the_environment_says_where_the_server_is(server: Scripted) -> None:
    with pytest.raises(ValueError, match="RAMPGATE_URL and RAMPGATE_KEY"):
        FlagClient.from_env({})
    with FlagClient.from_env({"RAMPGATE_URL": server.url + "/", "RAMPGATE_KEY": "rg_sdk_a_b"}) as client:
        assert client.ready(10)
    with FlagClient.from_env(
        {"RAMPGATE_URL": server.url, "RAMPGATE_KEY": "rg_sdk_a_b", "RAMPGATE_ENVIRONMENT": "a/b"}
    ) as client:
        until(lambda: any(seen.path == "/v1/a%2Fb/snapshot" for seen in list(server.requests.queue)))


def test_the_key_shows_in_no_text(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    texts = [repr(client), *(repr(value) for value in vars(client).values())]
    assert not [text for text in texts if "rg_sdk_a_b" in text]


def test_importing_brings_the_standard_library_and_mmh3_alone() -> None:
    script = (
        "import sys; before = set(sys.modules); from rampgate import FlagClient;"
        "import rampgate.client.contact, rampgate.client.wsgi;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["mmh3", "rampgate"]


def test_what_the_package_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = rampgate.nonsense  # type: ignore[attr-defined]
