"""A gate is killed (SIGKILL) at each of its outside calls and run again, for real: processes, HTTP, a database file.

It dies before its first call, and after each; and before a call that it makes in the middle of another. Between two
calls nothing happens that anybody could see, so a death before a call is the death after the one before it.

Each kill is a rollout of its own flag; many run side by side on one flag server. Half of the gates are run again at
once, the others only after their lease has lapsed.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gate.flagserver_api import FlagServer as Api
from rampgate.machine.state import Deadline, Phase, Reason
from rampgate.rollout import Rollout
from tests.flagserver.process import FlagServer
from tests.scenarios.gates import Gates
from tests.scenarios.mortal_gate import Job
from tests.scenarios.room import COMMAND, Room, check_users, check_widening
from tests.scenarios.users import FAILS

SIDE_BY_SIDE = 16
RUNS = 10
"""How often a gate is run again at most: on a busy machine a lease may lapse, which is no fault."""

TINY: dict[str, Any] = {
    "environment": "production",
    "deploy": {"command": COMMAND},
    "metrics": [{"errors": "flagserver"}],
    "steps": [{"share": 50, "bake": "0s"}, {"share": 100, "bake": "0s"}],
    "minPolls": 1,
    "poll": "600ms",
    "lease": "2s",
    "staleAfter": "2s",
    "heartbeat": "600ms",
    "scaleDownDelay": "4s",
}
PATIENT = {"lease": "6s", "staleAfter": "6s", "scaleDownDelay": "12s"}
"""For the third run and later, on a machine that is too busy for leases of two seconds."""
ALWAYS = frozenset(
    [
        *("server.slots", "server.create", "server.entries", "server.rollout", "deployer.run", "verify", "source.read"),
        *(f"server.post {event}" for event in ("attached", "hook_progressed", "deployed", "verified", "judged")),
        "server.post carried_out",
    ]
)
"""The calls that every gate makes, in this order or another. Each of them has to be somebody's last."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A flag server, and where gates come from."""

    server: FlagServer
    gates: Gates
    folder: Path
    key: str

    def api(self) -> Api:
        return Api(self.server.url, self.key, timeout=30.0)

    def job(self, flag: str, fails: float, dies_at: "Call | None" = None) -> tuple[Job, Room]:
        room = Room(self.folder / flag)
        job = Job(
            url=self.server.url,
            key=self.key,
            document={**TINY, "flag": flag},
            folder=str(room.folder),
            journal=str(self.folder / f"{flag}.journal"),
            fails=fails,
            dies_at=dies_at,
        )
        return job, room


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("killed")
    with FlagServer(folder, log_level="warning") as server, Gates() as gates:
        yield World(server=server, gates=gates, folder=folder, key=server.key("operator"))


def found(api: Api, flag: str) -> Rollout | None:
    return next(iter(api.find(flag=flag)), None)


def await_lapse(api: Api, flag: str) -> None:
    """Until nobody has the lease, and nobody is waited for to take it; the share has not risen meanwhile."""
    rollout = found(api, flag)
    if rollout is None:
        return
    share = rollout.share
    while Deadline.LEASE in rollout.state.deadlines:
        rollout = api.rollout(rollout.id, after=rollout.state.revision, wait=5.0)
        assert rollout.share <= share, "it widened with nobody there"
    assert rollout.share in (0, 100_000)
    assert rollout.share == 0 or rollout.state.phase in (Phase.PROMOTED, Phase.COMPLETING)


Call = tuple[str, str, int]


def killed_and_run_again(world: World, call: Call, number: int, fails: float) -> bool:
    """One gate's story; whether it came to the call that was to kill it."""
    api, flag = world.api(), f"shop-{uuid4().hex[:12]}"
    job, room = world.job(flag, fails, call)
    first = world.gates.run(job)
    died = bool(first.calls()[-1]["dies"])
    assert (first.code() == -signal.SIGKILL) == died, first.log()
    if died and number % 2:
        await_lapse(api, flag)
    before = ["attempt 1"]
    rollout = found(api, flag)
    while not ended(rollout, fails):
        assert len(before) <= RUNS, f"{flag} does not end: {rollout}"
        holder = f"attempt {len(before) + 1}"
        document = {**job.document, **(PATIENT if len(before) > 2 else {})}
        again = replace(job, holder=holder, replaces=tuple(before), dies_at=None, document=document)
        world.gates.run(again)
        before.append(holder)
        rollout = found(api, flag)
    assert rollout is not None
    entries = api.entries(rollout.id)
    check_users(entries, room, 2.0)
    check_widening(entries)
    slots = api.slots("production", flag)
    assert slots is not None
    assert room.running == {slots.stable.name: slots.stable.version}, f"{flag}: what runs is not what is recorded"
    return died


def ended(rollout: Rollout | None, fails: float) -> bool:
    """Whether it ended as it should; what ended for want of a gate is run again."""
    if rollout is None or not rollout.state.phase.is_final or rollout.state.actions:
        return False
    if rollout.state.reason is Reason.GATE_LOST:
        assert rollout.state.phase in (Phase.REVERTED, Phase.FAILED)
        return False
    if fails > FAILS:
        assert (rollout.state.phase, rollout.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    else:
        assert rollout.state.phase is Phase.PROMOTED
    return True


def undisturbed(world: World, fails: float) -> list[Call]:
    """All the calls of a gate that nobody kills, and whose lease does not lapse."""
    for _ in range(RUNS):
        job, _ = world.job(f"shop-{uuid4().hex[:12]}", fails)
        gate = world.gates.run(job)
        assert gate.code() == 0, gate.log()
        rollout = found(world.api(), job.document["flag"])
        if ended(rollout, fails) and rollout is not None and rollout.state.attempt == 1:
            return [tuple(one["call"]) for one in gate.calls()]
    raise AssertionError("every gate's lease lapsed")


def deaths(calls: list[Call]) -> list[Call]:
    """The moments of a gate's life that differ in what has happened outside it."""
    pairs = zip([None, *calls], calls, strict=False)
    return [call for last, call in pairs if call[0] == "after" or last is None or last[0] == "before"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fails", [FAILS, 0.3], ids=["healthy", "broken"])
def test_killed_at_every_call_and_run_again_it_ends_rightly(world: World, fails: float) -> None:
    calls = deaths(undisturbed(world, fails))
    assert calls[0][0] == "before"

    def story(number: int) -> bool:
        _, name, nth = calls[number]
        for _ in range(RUNS):
            if killed_and_run_again(world, calls[number], number, fails):
                return True
            if nth > 1 or name not in ALWAYS:
                # On a busy machine a gate may make fewer calls of a kind.
                return False
        return False

    with ThreadPoolExecutor(SIDE_BY_SIDE) as stories:
        died = list(stories.map(story, range(len(calls))))

    assert {name for (when, name, _), done in zip(calls, died, strict=True) if done and when == "after"} >= ALWAYS
