"""For tests of apps, and for local work: fixed flags, a fixture, and what the environment forces."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rampgate import FlagClient
from rampgate.client import Reason
from rampgate.client.settings import parse_overrides
from rampgate.client.testing import FixedFlags, Recorded
from tests.rampgate.client.scripted import Scripted, plain, until

Connect = Callable[..., FlagClient]
ROOT = Path(__file__).parents[3]


def test_fixed_flags_are_a_client_without_server_or_thread() -> None:
    before = set(threading.enumerate())
    with FixedFlags({"b": True, "s": "text", "n": 2.5, "o": {"deep": [1]}}) as flags:
        assert isinstance(flags, FlagClient)
        assert flags.ready(0)
        assert flags.boolean("b", False, "u") is True
        assert flags.string("s", "", {"targetingKey": "u"}) == "text"
        assert flags.number("n", 0, "u") == 2.5
        assert flags.object("o", {}, "u") == {"deep": [1]}
        assert flags.boolean("s", False, "u") is False
        assert flags.string("nope", "default", "u") == "default"
        assert flags.details("b", False, "u").counted is False
        assert flags.flush()
        assert not [one for one in set(threading.enumerate()) - before if one.name.startswith("rampgate-")]


def test_fixed_flags_can_be_changed_and_tell_who_watches() -> None:
    with FixedFlags({"b": False}) as flags:
        seen: list[bool] = []
        flags.on_change("b", lambda flag: seen.append(flags.boolean(flag, False, "u")))
        flags.set("b", True)
        with flags.override("b", False):
            assert flags.boolean("b", True, "u") is False
        assert flags.boolean("b", False, "u") is True
        flags.remove("b")
        assert seen == [True, False, True, False]


def test_fixed_flags_write_down_every_outcome() -> None:
    with FixedFlags({"shop": "green"}) as flags:
        with flags.observe("shop", "ada"):
            assert flags.string("shop", "", "ada") == "green"
        with pytest.raises(RuntimeError), flags.observe("shop", {"targetingKey": "bob"}):
            raise RuntimeError
        flags.track("shop", "eve", ok=False, ms=7)
        assert flags.outcomes == [
            Recorded("shop", "ada", "green", True),
            Recorded("shop", "bob", "green", False),
            Recorded("shop", "eve", "green", False, 7),
        ]


def test_the_fixture_is_there_and_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(
        "def test_first(fixed_flags):\n    fixed_flags.set('new', True)\n"
        "    assert fixed_flags.boolean('new', False, 'u')\n"
        "def test_second(fixed_flags):\n    assert not fixed_flags.boolean('new', False, 'u')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout


def test_the_plugin_alone_imports_no_client() -> None:
    script = "import sys, rampgate.client.pytest_plugin; print('rampgate.client.contact' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("new=true", {"new": True}),
        ("new=false, shop=green ,limit=2.5,name=null", {"new": False, "shop": "green", "limit": 2.5, "name": "null"}),
        ('{"theme": {"dark": true}}', {"theme": {"dark": True}}),
    ],
)
def test_overrides_are_pairs_or_an_object(text: str, expected: dict[str, object]) -> None:
    assert parse_overrides(text) == expected


@pytest.mark.parametrize("text", ["new", "=true", "{", "{]"])
def test_overrides_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RAMPGATE_OVERRIDES"):
        parse_overrides(text)


def test_overrides_alone_need_no_server() -> None:
    with FlagClient.from_env({"RAMPGATE_OVERRIDES": "new=true"}) as client:
        assert client.ready(0)
        assert client.boolean("new", False, "u") is True
    with pytest.raises(ValueError, match="RAMPGATE_KEY"):
        FlagClient.from_env({"RAMPGATE_OVERRIDES": "new=true", "RAMPGATE_URL": "http://127.0.0.1:9"})


def test_an_override_holds_before_and_after_contact_and_counts_nothing(server: Scripted, connect: Connect) -> None:
    client = connect(server, overrides={"shop": "green", "mine": 5})
    assert client.string("shop", "", "u") == "green"
    server.streams.get(timeout=10)
    found = client.details("shop", "", "u")
    assert (found.value, found.variant, found.reason, found.counted) == ("green", "green", Reason.STATIC, False)
    assert client.number("mine", 0, "u") == 5
    assert client.boolean("new", False, "u") is True
    with client.observe("shop", "u") as assignment:
        assert assignment.counted is False
    client.track("shop", "u", variant="green")
    server.send("changed", server.change("v2", {"new": plain(False)}))
    until(lambda: client.boolean("new", True, "u") is False)
    assert {client.string("shop", "", str(number)) for number in range(50)} == {"green"}
    assert client.flush()
    assert server.counted("exposures") == server.counted("requests") == 0
