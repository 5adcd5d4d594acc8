"""A gate that waits in the line: what it says, and that it gives its place up whatever ends the waiting."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from gate.errors import FlagServerRefusedError
from gate.flagserver_api import FlagServer
from gate.release import Gate, Release, ask
from gate.world import Hands
from rampgate.plan import FlagKind, Supersede
from rampgate.rollout import NewRollout, Rollout, Slots
from tests.fakes.flag_server import FakeClock, FakeFlagServer
from tests.flagserver.inside import PLAN

QUEUE = replace(PLAN, supersede=Supersede.QUEUE, kind=FlagKind.RELEASE)
WANTED = Release(key="k", version="v2", by="@ann", pull_request=7, ref="refs/heads/main")


class Cancelled(BaseException):
    """What ends a job."""


@dataclass
class Line:
    """A flag server whose answers to the same question are told beforehand."""

    answers: list[FlagServerRefusedError | BaseException | None]
    rollout: Rollout
    asked: list[NewRollout] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)

    def slots(self, *_: str) -> Slots | None:
        return None

    def create(self, new: NewRollout) -> Rollout:
        self.asked.append(new)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return self.rollout

    def leave_queue(self, environment: str, flag: str, key: str) -> None:
        self.left.append((environment, flag, key))


@dataclass
class Settings:
    """What of a configuration is needed to ask."""

    plan: Any = QUEUE
    document: dict[str, Any] = field(default_factory=dict)


def behind(position: int) -> FlagServerRefusedError:
    return FlagServerRefusedError(code="queued_behind", message="Rollout ro_1 is progressing.", position=position)


def waiting(answers: list[FlagServerRefusedError | BaseException | None]) -> tuple[Line, list[str], Any]:
    clock = FakeClock()
    server = Line(answers, FakeFlagServer(clock=clock, plan=QUEUE).record)
    said: list[str] = []
    gate = Gate(
        server=cast(FlagServer, server), hands=cast(Hands, None), clock=clock, report=lambda *_: None, holder="g",
        say=said.append, waits=lambda number, place, text: said.append(f"#{number} {place}: {text}"),
    )  # fmt: skip
    return server, said, lambda: ask(gate, cast(Any, Settings()), WANTED)


def test_it_says_once_for_what_it_waits_and_in_which_place() -> None:
    server, said, go = waiting([behind(2), behind(2), behind(1), None])
    assert go() == server.rollout
    assert said == [
        "Waiting: Rollout ro_1 is progressing. Place in the queue: 2.",
        "#7 production: **v2** waits: Rollout ro_1 is progressing. Place in the queue: 2.",
        "Waiting: Rollout ro_1 is progressing. Place in the queue: 1.",
        "#7 production: **v2** waits: Rollout ro_1 is progressing. Place in the queue: 1.",
    ]
    assert {one.ref for one in server.asked} == {"refs/heads/main"}
    assert server.left == []


@pytest.mark.parametrize("end", [Cancelled(), FlagServerRefusedError(code="role", message="No.")])
def test_whatever_ends_the_waiting_gives_the_place_up(end: BaseException) -> None:
    server, _, go = waiting([behind(1), end])
    with pytest.raises(type(end)):
        go()
    assert server.left == [("production", "shop", "k")]


def test_a_newer_commit_that_takes_the_place_ends_the_waiting() -> None:
    replaced = FlagServerRefusedError(code="replaced_in_queue", message="v3 has taken the place.")
    server, _, go = waiting([behind(1), replaced])
    with pytest.raises(FlagServerRefusedError, match="v3"):
        go()
    assert len(server.asked) == 2
