"""What a lock stops and what it does not: nothing widens, the clocks of going on stand still, those of silence run."""

from dataclasses import replace

import pytest

from rampgate.evidence import VerdictWord
from rampgate.machine.events import Locked, Told, Unlocked
from rampgate.machine.state import Deadline, Lock, Order, Phase, Reason, Refused
from rampgate.plan import Budget, Confirm, Policy, RolloutPlan, Step
from tests.rampgate.machine.ramp import PLAN, START, STRATEGIES, Ramp, at_step, bake_out, dark


def asking(then: Policy) -> RolloutPlan:
    first = Step(share=10_000, confirm=Confirm(timeout=600.0, then=then))
    return replace(PLAN, steps=(first, *PLAN.steps[1:]))


def waiting(then: Policy) -> Ramp:
    ramp = bake_out(at_step(1, asking(then)))
    ramp.judge()
    assert ramp.phase is Phase.WAITING
    return ramp


def lock(until: float | None = None) -> Locked:
    return Locked(lock=Lock(reason="incident", by="@ann", until=until))


def test_a_lock_stops_verdicts_from_widening():
    ramp = bake_out(at_step(1))
    ramp.hear(lock())
    assert ramp.judge().because[0].reason is Reason.LOCKED
    assert ramp.share == 10_000


@pytest.mark.parametrize("order", [Order.ADVANCE, Order.COMPLETE])
def test_a_lock_stops_people_from_widening(order: Order):
    ramp = at_step(1)
    ramp.hear(lock())
    assert ramp.refused(Told(order=order, by="@bob")) is Refused.LOCKED


def test_a_lock_stops_policies_from_widening():
    ramp = waiting(Policy.PROMOTE)
    left = ramp.due(Deadline.CONFIRM)
    ramp.hear(lock())
    ramp.judge_for(3600, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.WAITING, 10_000)
    ramp.hear(Unlocked(by="@ann"))
    assert ramp.due(Deadline.CONFIRM) == left


@pytest.mark.parametrize("until", [None, 7200.0], ids=["lifted", "expired"])
def test_under_a_lock_the_steps_time_stands_still_and_goes_on_where_it_was(until: float | None):
    ramp = at_step(1)
    ramp.judge_for(300, VerdictWord.INCONCLUSIVE)
    left, budget = ramp.due(Deadline.STEP), ramp.due(Deadline.BUDGET_INCONCLUSIVE)
    assert left is not None
    ramp.hear(lock(until and ramp.now + until))
    ramp.judge_for(7200, VerdictWord.INCONCLUSIVE)
    if until is None:
        ramp.hear(Unlocked(by="@ann"))
    assert ramp.state.lock is None
    assert ramp.due(Deadline.STEP) == left
    assert ramp.due(Deadline.BUDGET_INCONCLUSIVE) == budget


def test_a_lock_stands_for_longer_than_a_step_may_take_and_nothing_is_reverted_for_it():
    ramp = at_step(1, replace(PLAN, step_timeout=1800.0))
    ramp.hear(lock())
    ramp.judge_for(4000, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.PROGRESSING, 10_000)


@pytest.mark.parametrize("word", [VerdictWord.NO_TRAFFIC, VerdictWord.SOURCE_DOWN])
def test_under_a_lock_silence_is_still_counted(word: VerdictWord):
    ramp = at_step(1, replace(PLAN, budgets={**PLAN.budgets, word: Budget(seconds=60.0, then=Policy.REVERT)}))
    ramp.hear(lock())
    ramp.judge_for(120, word)
    assert ramp.share == 0


def test_under_a_lock_a_gate_that_falls_silent_is_still_noticed():
    ramp = at_step(1)
    ramp.hear(lock())
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.share) == (Phase.REVERTING, 0)


def test_what_had_run_out_before_the_lock_came_is_not_put_off_by_it():
    ramp = waiting(Policy.REVERT)
    left = ramp.due(Deadline.CONFIRM)
    assert left is not None
    ramp.judge_for(left - 30, VerdictWord.HEALTHY)
    ramp.now += 40
    ramp.hear(lock())
    assert ramp.share == 0


def test_a_second_lock_takes_over_from_the_first_without_a_break():
    ramp = at_step(1)
    left = ramp.due(Deadline.STEP)
    ramp.hear(lock(ramp.now + 60))
    ramp.judge_for(30, VerdictWord.INCONCLUSIVE)
    ramp.hear(lock(ramp.now + 90))
    ramp.judge_for(75, VerdictWord.INCONCLUSIVE)
    assert ramp.state.lock is not None
    ramp.judge_for(30, VerdictWord.INCONCLUSIVE)
    assert ramp.state.lock is None
    assert left is not None
    assert ramp.due(Deadline.STEP) == left - 15


@pytest.mark.parametrize("by_verdict", [True, False])
def test_a_lock_never_stops_a_revert(by_verdict: bool):
    ramp = at_step(1)
    ramp.hear(lock())
    if by_verdict:
        ramp.judge(VerdictWord.REGRESSED)
    else:
        ramp.tell(Order.REVERT)
    assert (ramp.phase, ramp.share) == (Phase.REVERTING, 0)


def test_a_lock_that_has_expired_holds_nothing():
    ramp = at_step(1)
    ramp.hear(lock(until=ramp.now + 100))
    bake_out(ramp).judge()
    assert ramp.share == 50_000


def test_a_lock_that_was_lifted_holds_nothing():
    ramp = bake_out(at_step(1))
    ramp.hear(lock())
    ramp.hear(Unlocked(by="@ann"))
    ramp.judge()
    assert ramp.share == 50_000


@STRATEGIES
def test_a_rollout_created_under_a_lock_stays_dark(plan: RolloutPlan):
    ramp = dark(plan, lock=Lock(reason="freeze", by="@ann", until=START + 600))
    ramp.judge_for(570, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share, ramp.waits_for) == (Phase.DARK, 0, [])
    ramp.judge_for(30, VerdictWord.HEALTHY)
    assert ramp.share == plan.steps[0].share
