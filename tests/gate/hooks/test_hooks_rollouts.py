"""Hooks in a whole rollout, in memory: who is asked when. A hook holds back and takes back, and never widens."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gate.config import HookConfig, Moment
from gate.deploy import Workplace
from gate.drive import Driver
from gate.hooks import AtWork
from gate.judge.replay import replay
from rampgate.evidence import Look, VerdictReason, VerdictWord
from rampgate.machine.events import Judged, Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.plan import Budget, Policy, RolloutPlan
from rampgate.rollout import Rollout
from tests.gate.drive.worlds import ROLLING, SECONDS, SWITCHED, Scene
from tests.gate.metrics.scripted import Asked, Reply, ScriptedServer, scripted

YES, NO = Reply(status=204), Reply(status=403, body=b"gate is closed")


@dataclass
class Gatekeeper:
    """A scene whose hooks all post to one server, which answers each by its name; yes unless told otherwise."""

    server: ScriptedServer
    folder: Path
    scene: Scene = field(default_factory=Scene)
    answers: dict[str, list[Reply]] = field(default_factory=dict)
    told: list[dict[str, object]] = field(default_factory=list)
    shares: list[tuple[str, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.script, self.server.raw = self._answer, None

    def _answer(self, asked: Asked) -> Reply:
        told = json.loads(asked.body)
        self.told.append(told)
        self.shares.append((told["when"], self.scene.server.record.share))
        left = self.answers.get(told["hook"], [])
        return YES if not left else left[0] if len(left) == 1 else left.pop(0)

    def drive(self, *whens: Moment, patience: float = 20.0, **more: object) -> Rollout:
        hooks = tuple(HookConfig(when=when, name=when.value, url=self.server.url, **more) for when in whens)  # type: ignore[arg-type]
        at_work = AtWork(
            hooks=hooks,
            workplace=Workplace(folder=self.folder, say=self.said.append, every=0.25),
            patience=patience,
            now=self.scene.clock.monotonic,
            pause=self.scene.clock.sleep,
        )
        world = replace(self.scene.world("gate 1"), hooks=at_work)
        try:
            return Driver(world=world, rollout=self.scene.server.rollout("r1")).run()
        finally:
            at_work.stop()

    def asked(self, when: Moment) -> list[dict[str, object]]:
        return [one for one in self.told if one["when"] == when]

    @property
    def looks(self) -> list[Look]:
        entries = self.scene.server.history
        return [one.event.look for one in entries if isinstance(one.event, Judged) and one.refusal is None]


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted() as one:
        yield one


@pytest.fixture
def keeper(server: ScriptedServer, tmp_path: Path) -> Gatekeeper:
    return Gatekeeper(server, tmp_path)


def test_where_every_hook_says_yes_each_is_asked_at_its_moment_and_the_release_is_promoted(keeper: Gatekeeper) -> None:
    keeper.answers["rollback"] = [NO]
    ended = keeper.drive(*(when for when in Moment if when is not Moment.EVENT))
    assert ended.state.phase is Phase.PROMOTED
    order = list(dict.fromkeys(str(one["when"]) for one in keeper.told))
    # Those of one look are asked at the same time.
    assert [order[0], order[1], set(order[2:4]), *order[4:]] == [
        "confirm-rollout",
        "pre-rollout",
        {"rollback", "confirm-traffic-increase"},
        "rollout",
        "confirm-promotion",
        "post-rollout",
    ]
    assert [one["share"] for one in keeper.asked(Moment.CONFIRM_TRAFFIC_INCREASE)] == [0.0, 10.0, 50.0]
    assert [one["share"] for one in keeper.asked(Moment.CONFIRM_PROMOTION)] == [95.0]
    assert {one["share"] for one in keeper.asked(Moment.ROLLOUT)} == {10.0, 50.0, 95.0}
    assert [one["phase"] for one in keeper.asked(Moment.POST_ROLLOUT)] == ["promoted"]


@pytest.mark.parametrize(
    ("plan", "widenings", "promotion"),
    [(SWITCHED, [0.0], 100.0), (ROLLING, [0.0, 25.0, 50.0], 100.0)],
    ids=["blue-green", "rolling"],
)
def test_a_switch_and_each_batch_are_asked_about_at_the_same_moments(
    keeper: Gatekeeper, plan: RolloutPlan, widenings: list[float], promotion: float
) -> None:
    keeper.scene = Scene(plan=plan)
    keeper.answers["rollback"] = [NO]
    ended = keeper.drive(*(when for when in Moment if when is not Moment.EVENT))
    assert ended.state.phase is Phase.PROMOTED
    assert [one["when"] for one in keeper.told[:2]] == ["confirm-rollout", "pre-rollout"]
    assert [one["share"] for one in keeper.asked(Moment.CONFIRM_TRAFFIC_INCREASE)] == widenings
    assert [one["share"] for one in keeper.asked(Moment.CONFIRM_PROMOTION)] == [promotion]
    assert {one["share"] for one in keeper.asked(Moment.ROLLOUT)} == {*widenings[1:], promotion}
    assert [one["phase"] for one in keeper.asked(Moment.POST_ROLLOUT)] == ["promoted"]


def test_a_pre_rollout_hook_that_fails_keeps_every_target_as_it_was(keeper: Gatekeeper) -> None:
    keeper.scene = Scene(plan=ROLLING)
    keeper.answers["pre-rollout"] = [NO]
    ended = keeper.drive(Moment.PRE_ROLLOUT)
    assert (ended.state.phase, ended.state.reason) == (Phase.FAILED, Reason.VERIFY_FAILED)
    assert set(keeper.scene.machines.running.values()) == {"v1"}
    assert {share for _, share in keeper.shares} == {0}


def test_a_batch_waits_for_its_hook_and_a_rollback_hook_puts_targets_back(keeper: Gatekeeper) -> None:
    keeper.scene = Scene(plan=ROLLING)
    keeper.answers["confirm-traffic-increase"] = [YES, NO]
    keeper.answers["rollback"] = [NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, YES]
    ended = keeper.drive(Moment.CONFIRM_TRAFFIC_INCREASE, Moment.ROLLBACK)
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    assert max(entry.share for entry in keeper.scene.server.history) == 25_000
    assert set(keeper.scene.machines.running.values()) == {"v1"}


def test_nothing_is_deployed_before_confirm_rollout_says_yes(keeper: Gatekeeper) -> None:
    keeper.answers["confirm-rollout"] = [NO, NO, NO, YES]
    keeper.scene.users.fails["canary"] = 0.3
    keeper.drive(Moment.CONFIRM_ROLLOUT, wait=20.0)
    assert len(keeper.told) == 4
    assert {one["phase"] for one in keeper.told} == {"deploying"}
    assert keeper.scene.slots.deployed == ["v2"]
    closed, opened = keeper.said
    assert "no, " in closed
    assert "gate is closed" in closed
    assert "yes, " in opened


def test_without_a_yes_in_time_nothing_is_deployed_and_the_lease_was_kept_all_along(keeper: Gatekeeper) -> None:
    keeper.answers["confirm-rollout"] = [NO]
    ended = keeper.drive(Moment.CONFIRM_ROLLOUT, wait=20.0)
    assert (ended.state.phase.is_final, ended.state.reason) == (True, Reason.DEPLOY_FAILED)
    assert "did not say yes within 20s" in ended.state.text
    assert keeper.scene.slots.deployed == []
    assert ended.state.fence == 1


def test_what_fails_before_the_first_user_never_meets_one(keeper: Gatekeeper) -> None:
    keeper.answers["pre-rollout"] = [NO]
    ended = keeper.drive(Moment.PRE_ROLLOUT, Moment.POST_ROLLOUT)
    assert ended.state.reason is Reason.VERIFY_FAILED
    assert "gate is closed" in ended.state.text
    assert {share for _, share in keeper.shares} == {0}
    assert [one["reason"] for one in keeper.asked(Moment.POST_ROLLOUT)] == ["verify_failed"]


@pytest.mark.parametrize(("when", "step"), [(Moment.CONFIRM_TRAFFIC_INCREASE, 0), (Moment.CONFIRM_PROMOTION, 3)])
def test_a_healthy_step_is_left_only_with_the_hooks_yes(keeper: Gatekeeper, when: Moment, step: int) -> None:
    keeper.answers[when] = [NO, NO, YES]
    ended = keeper.drive(when)
    assert ended.state.phase is Phase.PROMOTED
    held = [look for look in keeper.looks if look.verdict.reason is VerdictReason.NOT_CONFIRMED]
    waited = [look for look in held if "gate is closed" in look.verdict.text]
    assert [(look.step, look.verdict.word, look.verdict.culprit) for look in waited] == [
        (step, VerdictWord.INCONCLUSIVE, when)
    ] * 2
    assert not any(look.verdict.no_harm for look in held)


def test_a_hook_that_never_says_yes_ends_as_too_little_data_does(keeper: Gatekeeper) -> None:
    keeper.answers["confirm-traffic-increase"] = [NO]
    budget = Budget(seconds=5.0, then=Policy.REVERT)
    keeper.scene = Scene(plan=replace(SECONDS, budgets={**SECONDS.budgets, VerdictWord.INCONCLUSIVE: budget}))
    ended = keeper.drive(Moment.CONFIRM_TRAFFIC_INCREASE)
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.INCONCLUSIVE)
    assert {share for _, share in keeper.shares} == {0}


def test_a_named_person_goes_past_a_hook(keeper: Gatekeeper) -> None:
    keeper.answers["confirm-traffic-increase"] = [NO]
    real = keeper.server.script

    def promote_at_third(asked: Asked) -> Reply:
        if len(keeper.told) == 3:
            keeper.scene.server.post("r1", Told(order=Order.COMPLETE, by="@ann"), "ann:1")
        return real(asked)

    keeper.server.script = promote_at_third
    ended = keeper.drive(Moment.CONFIRM_TRAFFIC_INCREASE)
    assert ended.state.phase is Phase.PROMOTED
    reasons = [one.reason for entry in keeper.scene.server.history for one in entry.because]
    assert Reason.PROMOTED_BY_PERSON in reasons


def test_a_rollout_hook_may_fail_as_often_as_it_is_allowed_to(keeper: Gatekeeper) -> None:
    keeper.answers["rollout"] = [NO, YES, NO, YES]
    ended = keeper.drive(Moment.ROLLOUT, failure_limit=2)
    assert ended.state.phase is Phase.PROMOTED
    failed = [look.verdict for look in keeper.looks if look.verdict.reason is VerdictReason.HOOK_FAILED]
    assert [one.word for one in failed] == [VerdictWord.INCONCLUSIVE] * 2
    assert "2 of at most 2 times" in failed[-1].text


def test_once_too_often_takes_the_release_back(keeper: Gatekeeper) -> None:
    keeper.answers["rollout"] = [NO, YES, NO]
    ended = keeper.drive(Moment.ROLLOUT, failure_limit=1)
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    last = keeper.looks[-1].verdict
    assert (last.reason, last.culprit) == (VerdictReason.HOOK_FAILED, "rollout")


def test_a_rollback_hooks_yes_takes_the_release_back(keeper: Gatekeeper) -> None:
    keeper.answers["rollback"] = [NO, NO, NO, NO, NO, NO, NO, NO, YES]
    ended = keeper.drive(Moment.ROLLBACK)
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    assert keeper.looks[-1].verdict.reason is VerdictReason.ROLLBACK_ASKED
    assert "asks to roll back" in ended.state.text


def test_judging_goes_on_while_a_hook_hangs(keeper: Gatekeeper) -> None:
    keeper.server.hangs()
    keeper.scene.users.fails["canary"] = 0.3
    ended = keeper.drive(Moment.ROLLOUT, patience=0.0, timeout=60.0)
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    assert keeper.looks[-1].verdict.reason is VerdictReason.ERRORS_HIGHER
    assert ended.state.fence == 1


def test_what_the_end_is_told_and_answers_changes_nothing(keeper: Gatekeeper) -> None:
    keeper.answers["post-rollout"] = [NO]
    assert keeper.drive(Moment.POST_ROLLOUT).state.phase is Phase.PROMOTED
    assert any("post-rollout" in line and "gate is closed" in line for line in keeper.said)


def test_looks_that_hooks_held_replay_to_the_same_figures(keeper: Gatekeeper) -> None:
    keeper.answers["confirm-traffic-increase"] = [NO, YES, NO, YES]
    keeper.drive(Moment.CONFIRM_TRAFFIC_INCREASE)
    looks = keeper.looks
    count, found = replay(SECONDS, looks)
    assert (count, found) == (len(looks), None)
    index = next(i for i, look in enumerate(looks) if look.verdict.reason is VerdictReason.NOT_CONFIRMED and look.step)
    verdict = replace(looks[index].verdict, log_e=9.0)
    looks[index] = replace(looks[index], verdict=verdict)
    assert replay(SECONDS, looks)[1] is not None
