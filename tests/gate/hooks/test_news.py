"""News of a rollout: every line that people see is told by whoever drives; after a kill one may be told twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gate.config import HookConfig, Moment
from gate.deploy import Workplace
from gate.hooks import AtWork
from gate.news import News, watched
from gate.release import Gate
from gate.world import Hands
from rampgate.machine.events import Attached, Judged
from rampgate.machine.state import Phase
from rampgate.rollout import Entry, Rollout
from tests.gate.drive.worlds import Killed, Scene

LONG = 30.0


@dataclass
class Ear:
    heard: list[tuple[int | None, int]] = field(default_factory=list)

    def __call__(self, rollout: Rollout, before: Entry | None, entry: Entry, history: Sequence[Entry]) -> None:
        assert rollout.id == "r1"
        assert entry in history
        self.heard.append((before.number if before else None, entry.number))


def seen(scene: Scene) -> list[int]:
    """The lines that changed what people see."""
    lines = list(zip((None, *scene.server.history), scene.server.history, strict=False))
    return [one.number for last, one in lines if one.refusal is None and (not last or last.revision != one.revision)]


def told(scene: Scene, holder: str, begun: float = 0.0) -> list[int]:
    return [entry.number for _, entry in watched(scene.server.history, holder, begun)]


def test_the_one_gate_tells_every_change_once_and_looks_that_change_nothing_never() -> None:
    scene = Scene()
    scene.drive()
    assert told(scene, "gate 1") == seen(scene)
    assert len(seen(scene)) < sum(isinstance(one.event, Judged) for one in scene.server.history)
    assert told(scene, "somebody else") == []


def test_after_a_kill_the_next_gate_tells_what_happened_meanwhile_and_at_most_one_line_again() -> None:
    scene = Scene(dies_at=60)
    try:
        scene.drive("gate 1")
    except Killed:
        scene.dies_at = None
    died = len(scene.server.history)
    scene.clock.advance(60.0)
    scene.drive("gate 2")
    first, second = [one for one in told(scene, "gate 1") if one <= died], told(scene, "gate 2")
    assert sorted({*first, *second}) == seen(scene)
    assert len({*first} & {*second}) <= 1
    lapsed = next(one.number for one in scene.server.history if one.phase is Phase.REVERTING)
    assert lapsed in second


def test_the_same_holder_in_a_new_process_does_not_begin_anew() -> None:
    scene = Scene(dies_at=60)
    try:
        scene.drive("gate 1")
    except Killed:
        scene.dies_at = None
    died = len(scene.server.history)
    scene.clock.advance(60.0)
    begun = scene.clock.now
    scene.drive("gate 1")
    assert min(told(scene, "gate 1", begun)) >= died


def test_a_listener_hears_all_of_it_from_another_thread_and_one_that_fails_is_said() -> None:
    scene, ear, said = Scene(), Ear(), []

    def broken(*_: object) -> None:
        raise OSError("hunter2")

    news = News(scene.server, "gate 1", (ear,), lambda _: None, begun=0.0)
    deaf = News(scene.server, "gate 1", (broken,), said.append, begun=0.0)
    scene.drive()
    for one in (news, deaf):
        one(scene.server.rollout("r1"), ())
        one.close(LONG)
    assert [number for _, number in ear.heard] == seen(scene)
    assert ear.heard[0][0] is None
    assert said == ["Telling the news failed, the rollout goes on: OSError"]


def test_nobody_is_told_before_the_lease_is_ours() -> None:
    scene = Scene()
    assert list(watched(scene.server.history, "gate 1", 0.0)) == []
    scene.server.post("r1", Attached(holder="another"), "a")
    assert list(watched(scene.server.history, "gate 1", 0.0)) == []


def test_a_gate_passes_the_whole_rollout_on_and_stops_its_hooks_at_the_end(tmp_path: Path) -> None:
    scene, ear = Scene(), Ear()
    world = scene.world("gate 1")
    command = HookConfig(when=Moment.EVENT, name="event", command='echo "$RAMPGATE_EVENT $RAMPGATE_REASON" >> told')
    hooks = AtWork(hooks=(command,), workplace=Workplace(folder=tmp_path, environ={}, every=0.05))
    hands = Hands(
        deployer=world.deployer, verify=world.verify, source=world.source, hooks=hooks, listeners=(ear, hooks.tell)
    )
    gate = Gate(
        server=scene.server,  # type: ignore[arg-type]
        hands=hands,
        clock=scene.clock,
        report=scene.report,
        holder="gate 1",
    )
    assert gate.drive(scene.server.rollout("r1")).state.phase is Phase.PROMOTED
    assert [number for _, number in ear.heard] == seen(scene)
    told_lines = (tmp_path / "told").read_text().splitlines()
    assert told_lines[0] == "attached attached"
    assert len(told_lines) == len(seen(scene))
