"""A driver that leaves before the end: what it holds is let go of, and others go on with what it began."""

from collections.abc import Callable
from dataclasses import replace

from gate.deploy import DeployAction, Work
from gate.drive import Driver
from gate.errors import FlagServerRefusedError
from gate.parting import Parting
from rampgate.machine.events import Detached, Event, HookProgressed
from rampgate.machine.state import Phase
from rampgate.rollout import Answer, Rollout
from tests.gate.drive.worlds import Scene


def drive(scene: Scene, holder: str, parting: Callable[[Rollout, bool], Parting]) -> Rollout:
    world = replace(scene.world(holder), parting=parting)
    return Driver(world=world, rollout=scene.server.rollout("r1")).run()


def once_dark(rollout: Rollout, holds: bool) -> Parting:
    dark = rollout.state.phase not in (Phase.DEPLOYING, Phase.VERIFYING)
    return Parting.OFFER if holds and dark else Parting.STAY


def gone_unless_held(_: Rollout, holds: bool) -> Parting:
    return Parting.STAY if holds else Parting.GO


def test_a_job_that_hands_over_once_dark_has_deployed_and_exposed_nobody_and_a_follower_goes_on() -> None:
    scene = Scene()

    left = drive(scene, "job", once_dark)

    assert (left.state.phase, left.share, left.state.lease) == (Phase.DARK, 0, None)
    assert scene.slots.running == {"blue": "v1", "green": "v2"}
    ended = scene.drive("follower box-1")
    assert ended.state.phase is Phase.PROMOTED
    assert scene.slots.deployed == ["v2"]


def test_a_job_that_may_not_let_go_stays_and_asks_again() -> None:
    scene = Scene()
    refused: list[Detached] = []
    post = scene.server.post

    def refuse(rollout_id: str, event: Event, event_id: str) -> Answer:
        if isinstance(event, Detached) and len(refused) < 2:
            refused.append(event)
            raise FlagServerRefusedError(code="no_follower", message="No follower is there.")
        return post(rollout_id, event, event_id)

    scene.server.post = refuse  # type: ignore[method-assign]

    left = drive(scene, "job", once_dark)

    assert len(refused) == 2
    assert (left.state.lease, left.state.attempt) == (None, 1)
    assert scene.drive("follower box-1").state.phase is Phase.PROMOTED


def test_who_has_to_go_stops_a_hook_at_work_and_lets_go_of_it() -> None:
    scene = Scene()
    scene.slots.takes = 20.0

    def parting(*_: object) -> Parting:
        at_work = any(isinstance(one.event, HookProgressed) for one in scene.server.history)
        return Parting.GO if at_work else Parting.STAY

    left = drive(scene, "follower box-1", parting)

    assert (left.state.phase, left.state.lease) == (Phase.DEPLOYING, None)
    assert scene.slots.deployed == []
    scene.slots.takes = 1.0
    assert scene.drive("follower box-2").state.phase is Phase.PROMOTED


def test_who_comes_second_leaves_the_first_one_alone() -> None:
    scene = Scene()
    second: list[Rollout] = []

    def watch(work: Work) -> bool:
        if work.action is DeployAction.ENSURE and not second:
            second.append(drive(scene, "follower box-2", gone_unless_held))
        return False

    scene.slots.broken = watch
    ended = scene.drive("follower box-1")

    assert ended.state.phase is Phase.PROMOTED
    assert second[0].state.lease is not None
    assert second[0].state.lease.holder == "follower box-1"
