"""Deadlines: what each silence leads to, alone and together, on clocks good and bad (SEMANTICS 4)."""

from dataclasses import replace

import pytest

from rampgate.evidence import VerdictWord
from rampgate.machine import decide, next_deadline
from rampgate.machine.events import DeadlinePassed
from rampgate.machine.state import Deadline, HeldBy, Order, Phase, Reason, Refused
from rampgate.plan import Budget, Confirm, OnGateLost, Policy, Step
from tests.rampgate.machine.ramp import PLAN, Ramp, at_step, bake_out, completing, dark, deploying, retiring, verifying

DOWN, NONE, UNSURE, HEALTHY = (
    VerdictWord.SOURCE_DOWN,
    VerdictWord.NO_TRAFFIC,
    VerdictWord.INCONCLUSIVE,
    VerdictWord.HEALTHY,
)
HOLDS = replace(
    PLAN,
    step_timeout=7200.0,
    budgets={word: Budget(seconds=60.0, then=Policy.HOLD) for word in PLAN.budgets},
)


def ramp_in(phase: Phase) -> Ramp:
    if phase is Phase.PAUSED:
        ramp = at_step(1)
        ramp.tell(Order.PAUSE)
        return ramp
    if phase is Phase.WAITING:
        ramp = bake_out(at_step(1, asking()))
        ramp.judge()
        return ramp
    if phase is Phase.REVERTING:
        ramp = at_step(1)
        ramp.tell(Order.REVERT)
        return ramp
    return {
        Phase.DEPLOYING: deploying,
        Phase.VERIFYING: verifying,
        Phase.DARK: dark,
        Phase.PROGRESSING: lambda: at_step(1),
        Phase.COMPLETING: completing,
    }[phase]()


def asking(then: Policy = Policy.REVERT):
    first = Step(share=10_000, confirm=Confirm(timeout=600.0, then=then))
    return replace(PLAN, steps=(first, *PLAN.steps[1:]))


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_final])
def test_every_unfinished_phase_has_a_deadline(phase: Phase):
    ramp = ramp_in(phase)
    assert ramp.phase is phase
    assert next_deadline(ramp.state) is not None


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_final])
def test_with_nothing_but_the_clock_every_phase_ends_finished(phase: Phase):
    ramp = ramp_in(phase)
    while (due := next_deadline(ramp.state)) is not None:
        ramp.after(due[1].at - ramp.now)
    assert ramp.phase.is_final
    assert ramp.share == 0


@pytest.mark.parametrize(("word", "reason"), [(DOWN, Reason.SOURCE_DOWN), (NONE, Reason.NO_TRAFFIC)])
def test_a_silence_holds_and_reverts_once_its_budget_is_spent(word: VerdictWord, reason: Reason):
    ramp = at_step(2)
    budget = PLAN.budgets[word].seconds
    ramp.judge_for(budget, word)
    assert (ramp.phase, ramp.share) == (Phase.PROGRESSING, 50_000)
    ramp.judge_for(60, word)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, reason, 0)


def test_a_source_that_is_back_in_time_spends_no_budget():
    ramp = at_step(1)
    ramp.judge_for(200, DOWN)
    ramp.judge(HEALTHY)
    assert ramp.due(Deadline.BUDGET_SOURCE_DOWN) is None


def test_a_source_that_is_down_every_second_poll_still_ends_the_step_in_time():
    ramp = at_step(1)
    ramp.judge_for(PLAN.step_timeout, DOWN, UNSURE)
    assert ramp.phase is Phase.REVERTING
    assert ramp.now <= ramp.state.entered_at + 300 + PLAN.budgets[UNSURE].seconds + PLAN.hold + 2 * PLAN.poll


@pytest.mark.parametrize("words", [(DOWN, NONE), (NONE, UNSURE), (DOWN, NONE, UNSURE)])
def test_silences_of_changing_kinds_never_live_for_ever(words: tuple[VerdictWord, ...]):
    ramp = at_step(1)
    ramp.judge_for(PLAN.step_timeout, *words)
    assert ramp.phase is Phase.REVERTING


def test_holds_and_resumptions_in_turn_end_with_the_step_all_the_same():
    ramp = at_step(1, HOLDS)
    entered = ramp.now
    while ramp.phase.is_judged and ramp.now < entered + 10 * HOLDS.step_timeout:
        ramp.judge_for(90, DOWN)
        if ramp.phase is Phase.PAUSED:
            ramp.judge(HEALTHY)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.STEP_EXPIRED)
    assert ramp.now <= entered + HOLDS.step_timeout + HOLDS.poll


def test_a_gate_that_comes_and_goes_ends_with_the_step_all_the_same():
    plan = replace(HOLDS, on_gate_lost=OnGateLost.HOLD)
    ramp = at_step(1, plan)
    entered = ramp.now
    while not ramp.phase.is_final and ramp.phase is not Phase.REVERTING:
        ramp.after(plan.lease)
        if ramp.phase is Phase.PAUSED:
            ramp.attach()
    assert ramp.state.reason is Reason.STEP_EXPIRED
    assert ramp.now <= entered + plan.step_timeout + plan.lease


def test_the_time_a_person_pauses_is_added_to_the_step():
    plan = replace(PLAN, step_timeout=900.0)
    ramp = at_step(1, plan)
    ramp.tell(Order.PAUSE)
    ramp.judge_for(3000, UNSURE)
    assert ramp.phase is Phase.PAUSED
    ramp.tell(Order.RESUME)
    assert ramp.phase is Phase.PROGRESSING


def test_too_little_data_is_no_news_before_the_bake_ends():
    ramp = at_step(1)
    ramp.judge(UNSURE)
    assert ramp.due(Deadline.BUDGET_INCONCLUSIVE) == 300 + PLAN.budgets[UNSURE].seconds


def test_too_little_data_in_time_follows_the_policy_hold():
    ramp = at_step(1)
    ramp.judge_for(300 + PLAN.budgets[UNSURE].seconds + PLAN.poll, UNSURE)
    assert (ramp.phase, ramp.state.held_by, ramp.share) == (Phase.PAUSED, HeldBy.POLICY, 10_000)


def test_a_hold_by_policy_ends_when_evidence_is_back():
    ramp = at_step(1, HOLDS)
    ramp.judge_for(90, DOWN)
    assert ramp.phase is Phase.PAUSED
    ramp.judge(HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.PROGRESSING, 10_000)


def test_a_hold_by_policy_reverts_when_nothing_comes():
    ramp = at_step(1, HOLDS)
    ramp.judge_for(60 + HOLDS.hold + 2 * HOLDS.poll, DOWN)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.HOLD_EXPIRED)


def test_a_pause_lasts_an_hour_unless_set_and_then_reverts():
    ramp = at_step(1)
    ramp.tell(Order.PAUSE)
    ramp.judge_for(3600 - PLAN.poll, UNSURE)
    assert ramp.phase is Phase.PAUSED
    ramp.judge_for(2 * PLAN.poll, UNSURE)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.PAUSE_EXPIRED)


def test_a_step_that_never_becomes_ready_reverts():
    plan = replace(PLAN, step_timeout=600.0, steps=(Step(share=10_000, bake=599.0), *PLAN.steps[1:]))
    ramp = at_step(1, plan)
    ramp.judge_for(700, UNSURE)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.STEP_EXPIRED)


def test_a_step_may_have_a_time_out_and_a_way_with_too_little_data_of_its_own():
    own = Step(share=10_000, timeout=1200.0, inconclusive=Budget(seconds=60.0, then=Policy.PROMOTE_IF_NO_EVIDENCE))
    plan = replace(PLAN, steps=(own, *PLAN.steps[1:]))
    ramp = at_step(1, plan)
    assert ramp.due(Deadline.STEP) == 1200.0
    ramp.judge(UNSURE)
    assert ramp.due(Deadline.BUDGET_INCONCLUSIVE) == 300 + 60
    ramp = at_step(2, plan)
    assert ramp.due(Deadline.STEP) == PLAN.step_timeout
    ramp.judge(UNSURE)
    assert ramp.due(Deadline.BUDGET_INCONCLUSIVE) == PLAN.step(2).bake + PLAN.budgets[UNSURE].seconds


def test_a_dark_version_does_not_stay_dark_for_ever():
    ramp = dark()
    ramp.judge_for(PLAN.step_timeout + PLAN.poll, UNSURE)
    assert ramp.phase is Phase.REVERTING


def test_deadlines_passed_unseen_are_applied_before_anything_else_oldest_first():
    ramp = at_step(1)
    ramp.judge_for(15, DOWN)
    ramp.now += PLAN.budgets[DOWN].seconds
    answer = ramp.tell(Order.ADVANCE)
    assert answer.refusal is not None
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.GATE_LOST)


def test_where_a_lapse_and_a_widening_policy_fall_due_together_nothing_widens():
    plan = replace(asking(Policy.PROMOTE), on_gate_lost=OnGateLost.HOLD)
    ramp = bake_out(at_step(1, plan))
    ramp.judge()
    ramp.judge_for(600 - PLAN.lease, HEALTHY)
    assert ramp.due(Deadline.CONFIRM) == ramp.due(Deadline.LEASE)
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.share) == (Phase.PAUSED, 10_000)


def test_a_widening_policy_that_passed_while_nobody_looked_does_not_widen_for_a_dead_gate():
    plan = replace(asking(Policy.PROMOTE), on_gate_lost=OnGateLost.HOLD)
    ramp = bake_out(at_step(1, plan))
    ramp.judge()
    ramp.judge_for(585, HEALTHY)
    ramp.after(3000)
    assert (ramp.phase, ramp.share) == (Phase.PAUSED, 10_000)


def test_a_revert_and_a_retirement_that_fall_due_together_revert():
    plan = replace(PLAN, scale_down_delay=120.0)
    ramp = completing(plan)
    ramp.judge_for(75, HEALTHY)
    assert ramp.due(Deadline.LEASE) == ramp.due(Deadline.RETIRE)
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.share) == (Phase.REVERTING, 0)


def test_a_deadline_is_not_passed_before_its_time():
    ramp = at_step(1)
    assert ramp.refused(DeadlinePassed(what=Deadline.STEP)) is Refused.TOO_EARLY


def test_a_deadline_that_does_not_run_changes_nothing():
    ramp = at_step(1)
    before = ramp.state
    assert decide(PLAN, before, DeadlinePassed(what=Deadline.CONFIRM), ramp.now).state == before


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.is_final])
def test_a_clock_that_steps_back_a_little_crashes_nothing_and_widens_nothing(phase: Phase):
    ramp = ramp_in(phase)
    share = ramp.share
    ramp.now -= 3.0
    ramp.attach("gate 2", replaces="gate 1")
    ramp.after(0)
    ramp.judge(UNSURE)
    assert ramp.share == share
    ramp.tell(Order.REVERT)
    assert ramp.phase is Phase.REVERTING


def test_retirement_that_takes_too_long_leaves_the_rest_to_other_hands():
    ramp = retiring()
    ramp.judge_for(PLAN.retire + PLAN.poll, HEALTHY)
    assert ramp.phase is Phase.PROMOTED
    assert ramp.state.needs_hands
