"""How rollouts begin, begin again, give way, and bring instances up batch by batch (SEMANTICS 2, 6, 7, 9 and 11)."""

from dataclasses import replace

import pytest

from rampgate.evidence import VerdictWord
from rampgate.machine import begin
from rampgate.machine.events import (
    Attached,
    CarriedOut,
    Created,
    Detached,
    HookProgressed,
    Locked,
    Resumed,
    Superseded,
    Told,
)
from rampgate.machine.state import ActionKind, Deadline, Lock, Order, Phase, Reason, Refused, WidenedBy
from rampgate.plan import Confirm, FlagKind, OnGateLost, Policy, RolloutPlan, Step
from tests.rampgate.machine.ramp import (
    PLAN,
    ROLLING,
    START,
    STRATEGIES,
    Ramp,
    at_step,
    bake_out,
    completing,
    dark,
    deploying,
    retiring,
    verifying,
)

ASKS = replace(PLAN, first_deploy=Policy.ASK)


def lost(at: Ramp) -> Ramp:
    """The gate fell silent, and nobody has touched the deployment since."""
    at.after(PLAN.lease)
    assert at.phase is Phase.REVERTING
    return at


def test_a_rollout_begins_dark_with_one_thing_to_do():
    ramp = Ramp()
    assert (ramp.phase, ramp.share, ramp.waits_for) == (Phase.DEPLOYING, 0, [ActionKind.DEPLOY])
    assert ramp.state.revision == 1


def test_fences_go_on_from_those_of_the_flags_earlier_rollouts():
    state = begin(PLAN, Created(baseline=True, by="@ann", fence=41), START).state
    ramp = Ramp()
    ramp.state = state
    ramp.attach()
    assert ramp.fence == 42


def test_a_slot_that_may_still_have_users_is_not_deployed_into():
    moved = begin(PLAN, Created(baseline=True, by="@ann", not_before=START + 60), START)
    assert [one.not_before for one in moved.actions] == [START + 60]
    assert moved.state.deadlines[Deadline.DEPLOY].at == START + 60 + PLAN.deploy


@pytest.mark.parametrize("reason", [Reason.GATE_LOST, Reason.CANCELLED, Reason.NO_TRAFFIC, Reason.HOOK_FAILED])
def test_a_rollout_ended_for_want_of_something_is_resumed_from_its_first_step_with_new_evidence(reason: Reason):
    ramp = lost(at_step(2))
    ramp.state = replace(ramp.state, reason=reason)
    assert ramp.refused(Resumed(by="a re-run")) is None
    assert (ramp.state.attempt, ramp.state.step, ramp.share, ramp.state.word) == (2, 0, 0, None)


@pytest.mark.parametrize("order_or_word", [Order.REVERT, VerdictWord.REGRESSED])
def test_a_version_that_regressed_or_was_aborted_is_not_resumed(order_or_word: Order | VerdictWord):
    ramp = at_step(1)
    if isinstance(order_or_word, Order):
        ramp.tell(order_or_word)
    else:
        ramp.judge(order_or_word)
    ramp.do(ActionKind.PROBE)
    ramp.do(ActionKind.UNDO)
    assert ramp.refused(Resumed(by="a re-run")) is Refused.NOT_RESUMABLE


def test_a_version_aborted_while_it_was_reverting_anyway_is_not_resumed():
    ramp = lost(at_step(1))
    ramp.tell(Order.REVERT)
    assert ramp.refused(Resumed(by="a re-run")) is Refused.NOT_RESUMABLE


def test_a_re_run_after_a_lost_gate_deploys_nothing_a_second_time():
    ramp = lost(at_step(2))
    ramp.hear(Resumed(by="a re-run"))
    assert (ramp.phase, ramp.waits_for) == (Phase.VERIFYING, [ActionKind.VERIFY])


def test_a_re_run_long_after_deploys_nothing_a_second_time_where_nobody_undid_anything():
    ramp = lost(at_step(2)).after(PLAN.stale_after + PLAN.retire)
    assert ramp.phase is Phase.REVERTED
    ramp.hear(Resumed(by="a re-run"))
    assert ramp.phase is Phase.VERIFYING


@pytest.mark.parametrize("how", ["done", "failed", "killed", "let go"])
def test_a_re_run_after_hands_were_on_the_slot_deploys_again(how: str):
    ramp = lost(at_step(2)).after(PLAN.stale_after)
    ramp.attach("sweep")
    ramp.do(ActionKind.PROBE)
    if how == "done":
        ramp.do(ActionKind.UNDO)
    elif how == "failed":
        ramp.fail(ActionKind.UNDO)
    elif how == "killed":
        ramp.after(PLAN.lease)
    else:
        ramp.hear(Detached(fence=ramp.fence))
    ramp.hear(Resumed(by="a re-run"))
    assert (ramp.phase, ramp.waits_for) == (Phase.DEPLOYING, [ActionKind.DEPLOY])


def test_a_rollout_is_not_resumed_under_the_hands_that_undo_it():
    ramp = lost(at_step(1))
    ramp.attach("sweep")
    assert ramp.refused(Resumed(by="a re-run")) is Refused.LEASE_HELD


def test_a_rollout_at_work_is_attached_to_and_not_resumed():
    assert at_step(1).refused(Resumed(by="a re-run")) is Refused.WRONG_PHASE


def test_a_promoted_rollout_is_not_resumed():
    ramp = retiring()
    ramp.do(ActionKind.RETIRE)
    assert ramp.refused(Resumed(by="a re-run")) is Refused.NOT_RESUMABLE


def test_looks_of_the_attempt_before_count_no_more():
    ramp = at_step(1)
    old = ramp.judged(VerdictWord.REGRESSED)
    lost(ramp).hear(Resumed(by="a re-run"))
    ramp.attach("gate 2")
    ramp.do(ActionKind.VERIFY)
    event = replace(old, fence=ramp.fence)
    assert ramp.refused(event) is Refused.STALE


def test_an_attempt_that_fails_at_once_still_waits_for_users_of_the_one_before():
    ramp = lost(at_step(2))
    reverted_at = ramp.now
    ramp.hear(Resumed(by="a re-run"))
    ramp.attach("gate 2")
    ramp.after(1)
    ramp.fail(ActionKind.VERIFY)
    undo = next(one for one in ramp.state.actions if one.kind is ActionKind.UNDO)
    assert undo.not_before == reverted_at + PLAN.stale_after


def test_a_superseded_rollout_sends_users_to_stable_and_leaves_the_slot_alone():
    ramp = at_step(2)
    ramp.hear(Superseded(by="the rollout of v3"))
    assert (ramp.phase, ramp.share, ramp.state.actions) == (Phase.SUPERSEDED, 0, ())
    assert ramp.state.lease is None
    assert not ramp.state.deadlines


def test_whoever_drove_a_superseded_rollout_is_heard_no_more():
    ramp = deploying()
    running = HookProgressed(fence=ramp.fence, action=1)
    late = Attached(holder="gate 1")
    ramp.hear(Superseded(by="the rollout of v3"))
    assert ramp.refused(running) is Refused.NOT_LEASE_HOLDER
    assert ramp.refused(late) is Refused.FINISHED
    assert ramp.refused(Resumed(by="a re-run")) is Refused.NOT_RESUMABLE


def test_an_abort_of_a_superseded_rollout_touches_nothing():
    ramp = at_step(1)
    ramp.hear(Superseded(by="the rollout of v3"))
    assert ramp.refused(Told(order=Order.REVERT, by="@bob")) is Refused.FINISHED


def test_what_a_finished_rollout_left_to_do_is_its_successors():
    ramp = lost(at_step(1)).after(PLAN.stale_after + PLAN.retire)
    assert ramp.state.needs_hands
    ramp.hear(Superseded(by="the rollout of v3"))
    assert (ramp.phase, ramp.state.actions) == (Phase.REVERTED, ())


def test_a_rollout_that_retires_the_old_version_is_not_superseded():
    assert retiring().refused(Superseded(by="the rollout of v3")) is Refused.RETIREMENT_BEGUN


def test_a_rollout_that_keeps_the_old_version_warm_is_superseded_back_to_it():
    ramp = completing()
    ramp.hear(Superseded(by="the rollout of v3"))
    assert (ramp.phase, ramp.share) == (Phase.SUPERSEDED, 0)


@STRATEGIES
def test_a_first_deploy_has_nothing_to_compare_with_and_says_so(plan: RolloutPlan):
    ramp = verifying(plan, baseline=False)
    answer = ramp.do(ActionKind.VERIFY)
    assert Reason.FIRST_DEPLOY in [one.reason for one in answer.because]
    assert (ramp.phase, ramp.share, ramp.state.widened_by) == (Phase.PROMOTED, 100_000, WidenedBy.POLICY)


def test_a_first_deploy_asks_where_the_plan_says_so():
    ramp = dark(ASKS, baseline=False)
    ramp.judge_for(300, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.WAITING, 0)
    ramp.tell(Order.ADVANCE)
    assert (ramp.phase, ramp.share) == (Phase.PROMOTED, 100_000)


def test_a_first_deploy_that_nobody_confirms_is_undone():
    ramp = dark(ASKS, baseline=False)
    ramp.judge_for(Confirm().timeout + PLAN.poll, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share, ramp.waits_for) == (Phase.REVERTING, 0, [ActionKind.UNDO])


def test_a_first_deploy_honours_the_confirmation_of_the_dark_step():
    plan = replace(PLAN, dark=Step(share=0, bake=0.0, confirm=Confirm(timeout=60.0)))
    assert dark(plan, baseline=False).phase is Phase.WAITING


@pytest.mark.parametrize("by_person", [True, False])
def test_a_first_deploys_question_survives_a_pause_and_a_lost_gate(by_person: bool):
    ramp = dark(replace(ASKS, on_gate_lost=OnGateLost.HOLD), baseline=False)
    if by_person:
        ramp.tell(Order.PAUSE)
        ramp.tell(Order.RESUME)
    else:
        ramp.after(PLAN.lease)
        ramp.attach("gate 2")
    assert ramp.phase is Phase.DARK
    ramp.judge_for(60, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.WAITING, 0)


@pytest.mark.parametrize("word", [VerdictWord.HEALTHY, VerdictWord.INCONCLUSIVE, VerdictWord.NO_TRAFFIC])
def test_a_lock_keeps_a_first_deploy_dark_until_it_ends(word: VerdictWord):
    ramp = dark(baseline=False, lock=Lock(reason="freeze", by="@ann", until=START + 60))
    assert (ramp.phase, ramp.share) == (Phase.DARK, 0)
    ramp.judge_for(75, word)
    assert (ramp.phase, ramp.share) == (Phase.PROMOTED, 100_000)


def test_a_release_flag_ends_on_and_has_no_old_version_to_retire():
    ramp = completing(replace(PLAN, kind=FlagKind.RELEASE))
    ramp.judge_for(PLAN.scale_down_delay, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share, ramp.state.actions) == (Phase.PROMOTED, 100_000, ())


def test_every_rolling_step_replaces_its_batch_first():
    ramp = dark(ROLLING)
    answer = ramp.judge()
    assert [(one.kind, one.share) for one in answer.actions] == [(ActionKind.ROLL, 10_000)]


def test_a_batch_is_judged_only_once_it_is_replaced():
    ramp = dark(ROLLING)
    ramp.judge()
    for _ in range(40):
        ramp.after(15)
        assert ramp.judge().because[0].reason is Reason.REPLACING
    ramp.do(ActionKind.ROLL)
    assert ramp.judge().because[0].reason is Reason.BAKING
    assert ramp.due(Deadline.DEPLOY) is None


def test_nobody_widens_past_a_batch_at_work():
    ramp = at_step(1, ROLLING)
    assert ramp.refused(Told(order=Order.ADVANCE, by="@bob")) is Refused.WRONG_PHASE


def test_a_batch_that_cannot_be_replaced_rolls_back():
    ramp = at_step(2, ROLLING)
    ramp.fail(ActionKind.ROLL)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.HOOK_FAILED, 0)
    assert ActionKind.UNDO in ramp.waits_for


def test_a_batch_that_takes_too_long_rolls_back():
    ramp = at_step(1, ROLLING)
    ramp.judge_for(PLAN.deploy + PLAN.poll, VerdictWord.INCONCLUSIVE)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.DEPLOY_EXPIRED)


def test_what_is_about_all_targets_has_the_time_for_all_of_them():
    plan = replace(ROLLING, deploy=60.0, retire=600.0)
    assert deploying(plan).due(Deadline.DEPLOY) == 600
    ramp = at_step(1, plan)
    assert ramp.due(Deadline.DEPLOY) == 60
    ramp.do(ActionKind.ROLL)
    ramp.tell(Order.COMPLETE)
    assert ramp.due(Deadline.DEPLOY) == 600


def test_the_last_batch_is_everything_because_no_machine_may_keep_the_old_version():
    ramp = at_step(3, ROLLING)
    assert next(one.share for one in ramp.state.actions) == 100_000


def hurrying() -> Ramp:
    ramp = at_step(1, ROLLING)
    ramp.do(ActionKind.ROLL)
    ramp.tell(Order.COMPLETE)
    assert (ramp.state.step, ramp.waits_for) == (3, [ActionKind.ROLL])
    return ramp


def test_promote_full_replaces_the_rest_and_then_completes():
    ramp = hurrying()
    ramp.do(ActionKind.ROLL)
    assert ramp.phase is Phase.COMPLETING


def test_a_pause_after_promote_full_keeps_it_from_completing():
    ramp = hurrying()
    ramp.tell(Order.PAUSE)
    ramp.do(ActionKind.ROLL)
    assert ramp.phase is Phase.PAUSED


def test_a_lock_after_promote_full_keeps_it_from_completing():
    ramp = hurrying()
    ramp.hear(Locked(lock=Lock(reason="incident", by="@ann")))
    ramp.do(ActionKind.ROLL)
    assert ramp.phase is Phase.PROGRESSING
    bake_out(ramp).judge()
    assert ramp.phase is Phase.PROGRESSING


def test_harm_after_promote_full_rolls_back():
    ramp = hurrying()
    roll = ramp.state.actions[0].number
    ramp.judge(VerdictWord.REGRESSED)
    assert ramp.phase is Phase.REVERTING
    assert ramp.refused(CarriedOut(fence=ramp.fence, action=roll)) is Refused.UNKNOWN_ACTION
