"""A driver takes a release from dark to promoted, or back, with a whole world in memory."""

from dataclasses import replace

import pytest

from gate.deploy import DeployAction, Work
from gate.drive import Driver
from rampgate.evidence import VerdictWord
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason, Refused, Verb
from rampgate.plan import Budget, Policy, Step, Strategy
from tests.fakes.flag_server import verbs
from tests.gate.drive.worlds import SECONDS, Scene


def shares(scene: Scene) -> list[int]:
    """The canary's shares in the order they were served, repetitions aside."""
    seen = [0]
    for entry in scene.server.history:
        if entry.share != seen[-1]:
            seen.append(entry.share)
    return seen


def test_a_healthy_release_goes_dark_then_10_50_95_and_is_promoted():
    scene = Scene()

    ended = scene.drive()

    assert ended.state.phase is Phase.PROMOTED
    assert shares(scene) == [0, 10_000, 50_000, 95_000, 100_000]
    assert scene.slots.running == {"green": "v2"}
    assert verbs(tuple(scene.server.history)) == [Verb.ADVANCE] * 3 + [Verb.COMPLETE] * 3
    assert scene.told[-1][0] == Phase.PROMOTED


def test_a_broken_release_is_reverted_and_undone_and_the_old_one_keeps_running():
    scene = Scene()
    scene.users.fails["canary"] = 0.3

    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    assert shares(scene) == [0, 10_000, 0]
    assert scene.slots.running == {"blue": "v1"}
    assert not ended.state.actions


def test_the_canary_is_undone_only_after_cut_off_clients_have_left_it():
    scene = Scene()
    scene.users.fails["canary"] = 0.3
    undone: list[float] = []
    reverted: list[float] = []

    def watch(work: Work) -> bool:
        if work.action is DeployAction.RETIRE and work.slot == "green":
            undone.append(scene.clock.now)
        return False

    scene.slots.broken = watch
    scene.drive()
    reverted = [entry.at for entry in scene.server.history if entry.phase is Phase.REVERTING]

    assert undone[0] - reverted[0] >= SECONDS.stale_after


def test_a_version_that_does_not_come_up_never_meets_a_user():
    scene = Scene()
    scene.slots.broken = lambda work: work.action is DeployAction.ENSURE

    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.FAILED, Reason.DEPLOY_FAILED)
    assert shares(scene) == [0]


def test_a_deployer_that_lies_about_success_is_found_out_dark():
    scene = Scene()
    scene.slots.broken = lambda work: work.action is DeployAction.STATUS and work.slot == "green"

    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.FAILED, Reason.VERIFY_FAILED)
    assert shares(scene) == [0]


def test_metrics_that_are_down_hold_and_then_revert_and_never_widen():
    scene = Scene(
        plan=replace(
            SECONDS, budgets={**SECONDS.budgets, VerdictWord.SOURCE_DOWN: Budget(seconds=5, then=Policy.REVERT)}
        )
    )
    fall_silent_at(scene, 10_000)

    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.SOURCE_DOWN)
    assert shares(scene) == [0, 10_000, 0]


def test_metrics_that_come_back_in_time_let_it_go_on():
    scene = Scene()
    fall_silent_at(scene, 10_000, for_seconds=20.0)

    assert scene.drive().state.phase is Phase.PROMOTED


def fall_silent_at(scene: Scene, share: int, for_seconds: float = 1e9) -> None:
    """The metrics go down when the canary's share first reaches this."""
    since: list[float] = []
    read = scene.users.read

    def watch(question):  # type: ignore[no-untyped-def]
        if scene.server.record.share == share and not since:
            since.append(scene.clock.now)
        scene.users.down = bool(since) and scene.clock.now < since[0] + for_seconds
        return read(question)

    scene.users.read = watch  # type: ignore[method-assign]


def test_no_traffic_is_neither_success_nor_failure():
    scene = Scene(
        plan=replace(
            SECONDS, budgets={**SECONDS.budgets, VerdictWord.NO_TRAFFIC: Budget(seconds=5, then=Policy.REVERT)}
        )
    )
    scene.users.per_second = 0.0

    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.NO_TRAFFIC)
    assert shares(scene) == [0, 10_000, 0]


def test_a_judge_that_hangs_loses_the_lease():
    scene = Scene()
    read = scene.users.read

    def hang(question):  # type: ignore[no-untyped-def]
        if scene.server.record.share == 50_000:
            scene.clock.advance(SECONDS.lease + 1)
        return read(question)

    scene.users.read = hang  # type: ignore[method-assign]
    ended = scene.drive()

    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.GATE_LOST)
    assert scene.slots.running == {"blue": "v1"}, "the gate that came to itself did not clean up"


@pytest.mark.parametrize("share", [0, 10_000, 50_000, 95_000, 100_000])
def test_an_abort_at_any_share_ends_on_the_old_version(share: int):
    scene = Scene()
    orders = abort_at(scene, share)

    ended = scene.drive()

    assert orders == [None]
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.ABORTED)
    assert scene.slots.running == {"blue": "v1"}


def abort_at(scene: Scene, share: int, *, times: int = 1) -> list[Refused | None]:
    """A person aborts when this share is first served, while the driver looks elsewhere; the refusals, if any."""
    answers: list[Refused | None] = []
    advance = scene.clock.advance

    def watch(seconds: float) -> None:
        advance(seconds)
        state = scene.server.record.state
        ready = state.phase is Phase.DEPLOYING if share == 0 else scene.server.record.share == share
        if ready and len(answers) < times:
            answers.append(None)
            for number in range(times):
                answer = scene.server.post("r1", Told(order=Order.REVERT, by="@ann"), f"abort {number}")
                answers[-1] = answer.refusal.refused if answer.refusal else None

    scene.clock.advance = watch  # type: ignore[method-assign]
    wait = scene.server.rollout

    def waiting(rollout_id: str, *, after: int | None = None, **kwargs: float):  # type: ignore[no-untyped-def]
        watch(0.0)
        return wait(rollout_id, after=after, **kwargs)

    scene.server.rollout = waiting  # type: ignore[method-assign]
    return answers


def test_an_abort_during_a_hook_stops_the_hook():
    scene = Scene()
    scene.slots.takes = 5.0
    abort_at(scene, 0)

    ended = scene.drive()

    assert ended.state.reason is Reason.ABORTED
    assert ended.state.phase is Phase.REVERTED
    assert "green" not in scene.slots.running


def test_two_gates_do_not_fight():
    scene = Scene()
    first, second = Scene.world(scene, "gate 1"), Scene.world(scene, "gate 2")
    assert first.holder != second.holder

    follower = Driver(world=second, rollout=scene.server.rollout("r1"))
    leader = Driver(world=first, rollout=scene.server.rollout("r1"))
    leader._turn()
    for _ in range(4000):
        for driver in (leader, follower):
            if not driver._ended():
                driver._turn()
    assert leader.rollout.state.phase is Phase.PROMOTED
    assert follower.rollout.state.phase is Phase.PROMOTED
    assert follower.fence is None
    assert scene.slots.deployed == ["v2"]


def test_a_first_deploy_has_nothing_to_compare_with_and_says_so():
    scene = Scene(baseline=False)

    ended = scene.drive()

    assert ended.state.phase is Phase.PROMOTED
    said = [because.reason for entry in scene.server.history for because in entry.because]
    assert Reason.FIRST_DEPLOY in said
    assert scene.slots.running["green"] == "v2"


def test_blue_green_is_compared_with_the_time_before_and_the_colours_trade_places():
    steps, dark = (Step(share=100_000, bake=3.0),), Step(share=0, bake=3.0)
    plan = replace(SECONDS, strategy=Strategy.BLUE_GREEN, steps=steps, dark=dark, hold_back=0)
    scene = Scene(plan=plan)
    ended = scene.drive()
    assert (ended.state.phase, shares(scene), scene.slots.running) == (Phase.PROMOTED, [0, 100_000], {"green": "v2"})

    broken = Scene(plan=plan)
    broken.users.fails["canary"] = 0.5
    ended = broken.drive()
    assert (ended.state.phase, shares(broken), broken.slots.running) == (
        Phase.REVERTED,
        [0, 100_000, 0],
        {"blue": "v1"},
    )
    assert "time and version cannot be told apart" in ended.state.text
