"""Reverts: what leads to one, what it promises, and how it ends (SEMANTICS 3, 5, 6 and 7)."""

from dataclasses import replace

import pytest

from rampgate.evidence import ArmName, VerdictWord
from rampgate.machine.events import (
    Cancelled,
    CarriedOut,
    Created,
    Deployed,
    HookProgressed,
    Locked,
    Resumed,
    RetirementBegun,
    Told,
)
from rampgate.machine.state import ActionKind, Deadline, Lock, Order, Phase, Reason, Refused, Verb
from rampgate.plan import Strategy, UsersFollow
from tests.rampgate.machine.ramp import PLAN, at_step, completing, dark, deploying, retiring, verifying

BEFORE_RETIREMENT = [deploying, verifying, dark, lambda: at_step(1), lambda: at_step(3), completing]


@pytest.mark.parametrize("reach", BEFORE_RETIREMENT)
def test_an_abort_is_accepted_in_every_phase_before_retirement_with_a_stale_revision_too(reach):
    ramp = reach()
    answer = ramp.tell(Order.REVERT, revision=1)
    assert (answer.refusal, answer.verb) == (None, Verb.REVERT)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.ABORTED, 0)


@pytest.mark.parametrize("reach", BEFORE_RETIREMENT)
def test_an_abort_needs_no_living_gate(reach):
    ramp = reach()
    ramp.state = replace(ramp.state, lease=None)
    assert ramp.refused(Told(order=Order.REVERT, by="@bob")) is None
    assert ramp.state.needs_hands


@pytest.mark.parametrize("reach", [dark, lambda: at_step(1), lambda: at_step(3), completing])
def test_harm_reverts_wherever_it_is_seen(reach):
    ramp = reach()
    ramp.judge(VerdictWord.REGRESSED)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.REGRESSED, 0)


def test_harm_seen_in_an_earlier_step_still_reverts():
    ramp = at_step(1)
    event = ramp.judged(VerdictWord.REGRESSED)
    ramp.tell(Order.ADVANCE)
    assert ramp.refused(event) is None
    assert ramp.phase is Phase.REVERTING


def test_harm_seen_in_an_earlier_attempt_reverts_nothing():
    ramp = at_step(1)
    event = ramp.judged(VerdictWord.REGRESSED, attempt=0)
    assert ramp.refused(event) is Refused.STALE


def test_harm_reverts_while_paused():
    ramp = at_step(1)
    ramp.tell(Order.PAUSE)
    ramp.judge(VerdictWord.REGRESSED)
    assert ramp.phase is Phase.REVERTING


def test_an_abort_twice_reverts_once():
    ramp = at_step(1)
    first = ramp.tell(Order.REVERT)
    second = ramp.tell(Order.REVERT)
    assert (second.refusal, second.actions, second.state) == (None, (), first.state)


def test_an_abort_of_a_rollout_that_reverts_for_a_lost_gate_marks_the_version_as_aborted():
    ramp = at_step(1)
    ramp.after(PLAN.lease)
    actions = ramp.state.actions
    ramp.tell(Order.REVERT)
    assert (ramp.phase, ramp.state.reason, ramp.state.actions) == (Phase.REVERTING, Reason.ABORTED, actions)


def test_an_abort_does_not_hide_that_the_version_regressed():
    ramp = at_step(1)
    ramp.judge(VerdictWord.REGRESSED)
    ramp.tell(Order.REVERT)
    assert ramp.state.reason is Reason.REGRESSED


def test_a_cancelled_job_reverts():
    ramp = at_step(2)
    ramp.hear(Cancelled(fence=ramp.fence))
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.CANCELLED, 0)


def test_a_cancelled_job_that_lost_its_lease_reverts_nothing():
    ramp = at_step(2)
    assert ramp.refused(Cancelled(fence=ramp.fence - 1)) is Refused.NOT_LEASE_HOLDER


def test_a_cancelled_job_does_not_undo_a_retirement():
    ramp = retiring()
    ramp.hear(Cancelled(fence=ramp.fence))
    assert (ramp.phase, ramp.share) == (Phase.COMPLETING, 100_000)


def test_a_running_hook_is_stopped_by_a_revert_and_then_undone():
    ramp = deploying()
    running = ramp.state.actions[0].number
    ramp.tell(Order.REVERT)
    assert ramp.refused(HookProgressed(fence=ramp.fence, action=running)) is Refused.UNKNOWN_ACTION
    assert ramp.refused(Deployed(fence=ramp.fence, action=running)) is Refused.UNKNOWN_ACTION
    assert ActionKind.UNDO in ramp.waits_for


def test_the_canary_stays_up_until_cut_off_clients_have_left_it():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    undo = next(one for one in ramp.state.actions if one.kind is ActionKind.UNDO)
    assert undo.not_before == ramp.now + PLAN.stale_after


def test_a_canary_that_no_user_met_is_undone_at_once():
    ramp = dark()
    ramp.tell(Order.REVERT)
    assert all(one.not_before == ramp.now for one in ramp.state.actions)


def test_the_version_that_users_are_back_on_is_looked_at():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    assert [(one.kind, one.arm) for one in ramp.state.actions] == [
        (ActionKind.PROBE, ArmName.STABLE),
        (ActionKind.UNDO, ArmName.CANARY),
    ]


def test_a_revert_ends_when_its_actions_are_done():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    ramp.do(ActionKind.PROBE)
    assert ramp.phase is Phase.REVERTING
    ramp.do(ActionKind.UNDO)
    assert (ramp.phase, ramp.state.reason, ramp.state.lease) == (Phase.REVERTED, Reason.ABORTED, None)


@pytest.mark.parametrize("first_fails", [True, False])
def test_a_revert_whose_hands_are_through_ends_and_asks_for_other_hands(first_fails: bool):
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    if first_fails:
        ramp.fail(ActionKind.PROBE)
        last = ramp.do(ActionKind.UNDO)
    else:
        ramp.do(ActionKind.PROBE)
        last = ramp.fail(ActionKind.UNDO)
    assert ramp.phase is Phase.REVERTED
    assert ramp.state.needs_hands
    assert ("not seen up" if first_fails else "waits to be undone") in last.because[0].text


def test_other_hands_try_again_what_failed():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    ramp.do(ActionKind.PROBE)
    ramp.fail(ActionKind.UNDO)
    ramp.attach("sweep")
    assert [one.failed for one in ramp.state.actions] == [None]
    ramp.do(ActionKind.UNDO)
    assert not ramp.state.actions


def test_a_revert_that_nobody_carries_out_ends_all_the_same():
    ramp = at_step(1)
    ramp.after(PLAN.lease)
    ramp.after(PLAN.stale_after + PLAN.retire)
    assert ramp.phase is Phase.REVERTED
    assert ramp.state.needs_hands


@pytest.mark.parametrize(
    ("reach", "kind", "reason"),
    [
        (deploying, ActionKind.DEPLOY, Reason.DEPLOY_FAILED),
        (verifying, ActionKind.VERIFY, Reason.VERIFY_FAILED),
    ],
)
def test_a_version_that_does_not_come_up_has_failed_and_met_nobody(reach, kind: ActionKind, reason: Reason):
    ramp = reach()
    ramp.fail(kind)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, reason, 0)
    ramp.do(ActionKind.PROBE)
    ramp.do(ActionKind.UNDO)
    assert ramp.phase is Phase.FAILED


def test_a_verification_that_takes_too_long_fails():
    ramp = verifying()
    while ramp.phase is Phase.VERIFYING:
        ramp.hear(HookProgressed(fence=ramp.fence, action=ramp.state.actions[0].number))
        ramp.after(15)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.VERIFY_EXPIRED)


def test_after_the_end_every_event_is_refused_and_changes_nothing():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    ramp.do(ActionKind.PROBE)
    fence, last = ramp.fence, ramp.state.actions[0].number
    ramp.do(ActionKind.UNDO)
    for order in Order:
        assert ramp.refused(Told(order=order, by="@bob")) is Refused.FINISHED
    assert ramp.refused(ramp.judged(VerdictWord.REGRESSED)) is Refused.FINISHED
    assert ramp.refused(CarriedOut(fence=fence, action=last)) is Refused.NOT_LEASE_HOLDER
    assert ramp.refused(Cancelled(fence=fence)) is Refused.NOT_LEASE_HOLDER
    assert ramp.refused(Locked(lock=Lock(reason="late", by="@ann"))) is Refused.FINISHED
    assert ramp.refused(Created(baseline=True, by="@ann")) is Refused.WRONG_PHASE


def test_a_revert_can_not_be_taken_back_by_any_order():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    for order in (Order.ADVANCE, Order.COMPLETE, Order.RESUME, Order.PAUSE):
        assert ramp.refused(Told(order=order, by="@bob")) is Refused.WRONG_PHASE
    assert ramp.refused(ramp.judged()) is Refused.WRONG_PHASE


def test_the_old_version_stays_warm_for_the_scale_down_delay():
    ramp = completing()
    ramp.after(30)
    assert ramp.refused(RetirementBegun(fence=ramp.fence)) is Refused.TOO_EARLY
    ramp.judge_for(PLAN.scale_down_delay - 60, VerdictWord.HEALTHY)
    assert not ramp.state.retirement_begun
    assert ActionKind.RETIRE not in ramp.waits_for


def test_once_the_delay_is_over_the_old_version_is_retired_with_nobody_asking():
    ramp = retiring()
    assert [(one.kind, one.arm) for one in ramp.state.actions] == [(ActionKind.RETIRE, ArmName.STABLE)]
    ramp.do(ActionKind.RETIRE)
    assert (ramp.phase, ramp.share, ramp.state.lease) == (Phase.PROMOTED, 100_000, None)
    late = ramp.hear(Told(order=Order.REVERT, by="@bob")).refusal
    assert late is not None
    assert "`/rollback` starts a rollout back" in late.text


def test_the_old_version_stays_while_nobody_knows_that_the_new_one_is_up():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay - 2 * PLAN.poll, VerdictWord.HEALTHY)
    ramp.judge_for(3 * PLAN.poll, VerdictWord.SOURCE_DOWN)
    assert not ramp.state.retirement_begun
    assert ramp.refused(RetirementBegun(fence=ramp.fence)) is Refused.NOT_UP
    ramp.judge(VerdictWord.REGRESSED)
    assert (ramp.phase, ramp.share) == (Phase.REVERTING, 0)


def test_the_old_version_retires_once_the_new_one_is_seen_up_again():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay - 2 * PLAN.poll, VerdictWord.HEALTHY)
    ramp.judge_for(3 * PLAN.poll, VerdictWord.SOURCE_DOWN)
    ramp.judge_for(2 * PLAN.poll, VerdictWord.HEALTHY)
    assert ramp.state.retirement_begun
    assert Deadline.HOLD not in ramp.state.deadlines


def test_a_new_version_that_stays_unseen_is_reverted_when_a_hold_may_last_no_longer():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay + PLAN.hold + 2 * PLAN.poll, VerdictWord.SOURCE_DOWN)
    assert (ramp.phase, ramp.share, ramp.state.reason) == (Phase.REVERTING, 0, Reason.HOLD_EXPIRED)


def test_a_server_that_slept_past_lease_and_delay_takes_users_back():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay - PLAN.poll, VerdictWord.HEALTHY)
    ramp.after(PLAN.lease + PLAN.poll)
    assert (ramp.phase, ramp.share, ramp.state.reason) == (Phase.REVERTING, 0, Reason.GATE_LOST)


def test_an_abort_after_retirement_began_is_refused_and_says_what_to_do():
    ramp = retiring()
    answer = ramp.tell(Order.REVERT)
    assert answer.refusal is not None
    assert answer.refusal.refused is Refused.RETIREMENT_BEGUN
    assert "`/rollback`" in answer.refusal.text


def test_harm_after_retirement_began_completes_forward_because_stable_may_be_gone():
    ramp = retiring()
    answer = ramp.judge(VerdictWord.REGRESSED)
    assert answer.because[0].reason is Reason.REGRESSED
    assert (ramp.phase, ramp.share) == (Phase.COMPLETING, 100_000)


def test_a_retirement_that_fails_promotes_and_asks_for_other_hands():
    ramp = retiring()
    ramp.fail(ActionKind.RETIRE)
    assert ramp.phase is Phase.PROMOTED
    assert ramp.state.needs_hands
    assert not ramp.state.deadlines


def test_an_abort_in_the_moment_before_retirement_still_reverts():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay - PLAN.poll, VerdictWord.HEALTHY)
    ramp.now += (ramp.due(Deadline.RETIRE) or 0) - 0.001
    ramp.tell(Order.REVERT)
    assert (ramp.phase, ramp.share) == (Phase.REVERTING, 0)


def test_an_abort_in_the_moment_of_retirement_comes_too_late():
    ramp = completing()
    ramp.judge_for(PLAN.scale_down_delay - PLAN.poll, VerdictWord.HEALTHY)
    ramp.now += ramp.due(Deadline.RETIRE) or 0
    assert ramp.tell(Order.REVERT).refusal is not None
    assert ramp.share == 100_000


def test_requests_under_way_have_the_drain_time_on_top_of_what_cut_off_clients_have():
    plan = replace(PLAN, drain=120.0)
    ramp = at_step(1, plan)
    ramp.judge(VerdictWord.REGRESSED)
    undo = next(one for one in ramp.state.actions if one.kind is ActionKind.UNDO)
    assert undo.not_before == ramp.now + plan.stale_after + 120.0
    assert ramp.due(Deadline.RETIRE) == plan.stale_after + 120.0 + plan.retire


def test_a_rolling_revert_puts_targets_back_at_once_and_looks_at_them_afterwards():
    ramp = at_step(2, replace(PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT))
    ramp.do(ActionKind.ROLL)
    ramp.judge(VerdictWord.REGRESSED)
    assert [(one.kind, one.share, one.not_before) for one in ramp.state.actions] == [
        (ActionKind.UNDO, 50_000, ramp.now),
        (ActionKind.PROBE, 100_000, ramp.now),
    ]


def test_a_rolling_rollout_taken_up_again_begins_by_putting_back_what_was_left():
    ramp = at_step(1, replace(PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT))
    ramp.fail(ActionKind.ROLL)
    ramp.after(PLAN.lease + 1)
    ramp.hear(Resumed(by="a later run"))
    assert [(one.kind, one.share) for one in ramp.state.actions] == [(ActionKind.DEPLOY, 0)]
