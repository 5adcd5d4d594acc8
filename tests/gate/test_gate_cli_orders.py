"""Locks and second tries from the command line: what the flag server is asked, and what is said."""

from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner, Result

from gate import cli_orders
from gate.cli import main
from rampgate.locks import HeldLock, NewLock
from rampgate.machine.state import Reason
from rampgate.rollout import RefusedVersion

HELD = HeldLock(
    id="lk_1", reason="incident", by="ann", scope="shop in production", holds=True, since=0.0, until=4e9,
    created_at=0.0, environment="production", flag="shop",
)  # fmt: skip
BAD = RefusedVersion(version="v2", rollout="r1", reason=Reason.REGRESSED, text="Errors.", at=0.0)


@dataclass
class Server:
    made: list[NewLock] = field(default_factory=list)
    said: list[tuple[str, ...]] = field(default_factory=list)

    def lock(self, new: NewLock) -> HeldLock:
        self.made.append(new)
        return HELD

    def locks(self, environment: str | None, flag: str | None) -> tuple[HeldLock, ...]:
        return (HELD,) if flag in (None, "shop") and environment in (None, "production") else ()

    def unlock(self, lock_id: str, *, by: str, reason: str | None) -> None:
        self.said.append((lock_id, by, reason or ""))

    def refused_versions(self, environment: str, flag: str) -> tuple[RefusedVersion, ...]:
        return (BAD,) if (environment, flag) == ("production", "shop") else ()

    def allow(self, environment: str, flag: str, version: str, *, by: str, reason: str) -> None:
        self.said.append((environment, flag, version, by, reason))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(cli_orders, "flag_server", lambda: made)
    monkeypatch.setattr(cli_orders, "getuser", lambda: "ann")
    return made


def say(*words: str) -> Result:
    return CliRunner().invoke(main, words, env={"RAMPGATE_ENVIRONMENT": None})


def test_a_lock_says_what_why_and_for_how_long(server: Server) -> None:
    ran = say("lock", "card", "payments", "fail", "--flag", "shop", "--for", "2h")
    assert ran.exit_code == 0
    (new,) = server.made
    assert (new.reason, new.by, new.flag, new.environment) == ("card payments fail", "ann", "shop", None)
    assert new.until is not None
    assert "lk_1: shop in production until" in ran.output


def test_a_lock_for_no_duration_asks_nobody(server: Server) -> None:
    ran = say("lock", "incident", "--for", "2")
    assert (ran.exit_code, server.made) == (2, [])
    assert "--for" in ran.stderr


def test_locks_are_listed_and_lifted(server: Server) -> None:
    assert "by ann: incident" in say("locks").output
    assert say("locks", "--flag", "search").output == "Nothing is locked.\n"
    assert say("unlock", "lk_1", "all", "well").exit_code == 0
    assert server.said == [("lk_1", "ann", "all well")]


def test_only_what_is_refused_is_overridden(server: Server) -> None:
    no = say("override", "v3", "why not", "--flag", "shop")
    assert (no.exit_code, server.said) == (2, [])
    assert "Refused are: v2." in no.stderr
    assert say("override", "v2", "why", "not", "--flag", "shop").exit_code == 0
    assert server.said == [("production", "shop", "v2", "ann", "why not")]
