"""Leases: who may act for a rollout, what keeps the right to, and what follows when it lapses (SEMANTICS 4 and 6)."""

from dataclasses import replace

import pytest

from rampgate.evidence import VerdictWord
from rampgate.machine.events import Attached, CarriedOut, Deployed, Detached, HookProgressed
from rampgate.machine.state import ActionKind, Deadline, HeldBy, Order, Phase, Reason, Refused
from rampgate.plan import OnGateLost, Strategy, UsersFollow
from tests.rampgate.machine.ramp import PLAN, Ramp, at_step, completing, dark, deploying, retiring, verifying

HOLD = replace(PLAN, on_gate_lost=OnGateLost.HOLD)


def test_a_lapsed_lease_sends_users_to_stable_with_nobody_awake():
    ramp = at_step(2)
    assert ramp.share == 50_000

    ramp.after(PLAN.lease)

    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.GATE_LOST, 0)
    assert ramp.state.lease is None


def test_an_accepted_look_renews_the_lease():
    ramp = at_step(1)
    ramp.after(30)
    ramp.judge(VerdictWord.INCONCLUSIVE)
    assert ramp.due(Deadline.LEASE) == PLAN.lease


def test_a_refused_look_does_not_renew_the_lease():
    ramp = at_step(1)
    ramp.after(30)
    ramp.judge(revision=ramp.state.revision - 1)
    assert ramp.due(Deadline.LEASE) == PLAN.lease - 30


def test_a_late_verdict_never_revives_a_lapsed_lease():
    ramp = at_step(1)
    late = ramp.judged()
    ramp.now += PLAN.lease
    answer = ramp.hear(late)
    assert answer.refusal is not None
    assert ramp.phase is Phase.REVERTING


def test_a_gate_that_only_attaches_again_and_again_loses_the_rollout():
    ramp = at_step(2)
    for number in range(20):
        ramp.after(20)
        ramp.attach("gate 1", replaces=None)
        if ramp.phase is not Phase.PROGRESSING:
            break
        assert number < 5, "attaching alone keeps the lease"
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.GATE_LOST)


def test_attaching_and_detaching_in_turn_keeps_no_lease_either():
    ramp = at_step(2)
    for _ in range(10):
        ramp.after(20)
        ramp.attach("gate 1")
        ramp.hear(Detached(fence=ramp.fence))
    assert ramp.phase is Phase.REVERTING


def test_a_gate_that_takes_over_has_a_whole_lease_for_its_first_look():
    ramp = at_step(2)
    ramp.after(PLAN.lease - 1)
    ramp.attach("gate 2", replaces="gate 1")
    assert ramp.due(Deadline.LEASE) == PLAN.lease


def test_a_held_lease_is_not_given_to_another_gate():
    assert at_step(1).refused(Attached(holder="gate 2")) is Refused.LEASE_HELD


def test_a_gate_known_to_be_dead_is_replaced_and_its_events_are_refused():
    ramp = at_step(1)
    old = ramp.judged()
    assert ramp.refused(Attached(holder="gate 2", replaces="gate 1")) is None
    assert ramp.refused(old) is Refused.NOT_LEASE_HOLDER
    assert ramp.refused(Attached(holder="gate 1")) is Refused.LEASE_HELD


def test_every_lease_has_a_higher_fence_than_all_before_it():
    ramp = dark()
    fences = [ramp.fence]
    for number in range(2, 5):
        ramp.attach(f"gate {number}", replaces=f"gate {number - 1}")
        fences.append(ramp.fence)
    assert fences == sorted(set(fences))


def test_hands_with_an_older_fence_are_refused():
    ramp = deploying()
    old = Deployed(fence=ramp.fence, action=ramp.state.actions[0].number)
    ramp.attach("gate 2", replaces="gate 1")
    assert ramp.refused(old) is Refused.NOT_LEASE_HOLDER
    assert ramp.phase is Phase.DEPLOYING


def test_a_hook_at_work_renews_the_lease_up_to_its_own_deadline():
    ramp = deploying()
    for _ in range(int(PLAN.deploy // 15) - 1):
        ramp.after(15)
        assert ramp.refused(HookProgressed(fence=ramp.fence, action=1)) is None
    ramp.after(15)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.DEPLOY_EXPIRED)


def test_a_rollout_that_no_gate_ever_takes_ends_by_itself():
    ramp = Ramp()
    assert ramp.after(PLAN.lease).phase is Phase.REVERTING
    assert ramp.after(PLAN.retire).phase is Phase.REVERTED
    assert not ramp.state.exposed


def test_a_detached_rollout_waits_one_lease_for_its_follower():
    ramp = at_step(1)
    ramp.hear(Detached(fence=ramp.fence))
    assert ramp.phase is Phase.PROGRESSING
    ramp.after(PLAN.lease - 1)
    ramp.attach("follower")
    ramp.judge()
    assert ramp.phase is Phase.PROGRESSING


def test_a_detached_rollout_without_a_follower_is_reverted():
    ramp = at_step(1)
    ramp.hear(Detached(fence=ramp.fence))
    assert ramp.after(PLAN.lease).phase is Phase.REVERTING


def test_whoever_has_detached_is_no_longer_heard():
    ramp = at_step(1)
    late = ramp.judged()
    ramp.hear(Detached(fence=ramp.fence))
    assert ramp.refused(late) is Refused.NOT_LEASE_HOLDER
    assert ramp.refused(Detached(fence=late.fence)) is Refused.NOT_LEASE_HOLDER


def test_on_gate_lost_hold_stops_where_it_is_for_a_while_and_then_reverts():
    ramp = at_step(2, HOLD)
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.state.held_by, ramp.share) == (Phase.PAUSED, HeldBy.GATE_LOST, 50_000)
    ramp.after(HOLD.hold)
    assert (ramp.phase, ramp.state.reason, ramp.share) == (Phase.REVERTING, Reason.HOLD_EXPIRED, 0)


def test_a_gate_that_comes_back_during_the_hold_goes_on():
    ramp = at_step(2, HOLD)
    ramp.after(PLAN.lease)
    ramp.attach("gate 2")
    assert (ramp.phase, ramp.share) == (Phase.PROGRESSING, 50_000)
    assert ramp.due(Deadline.LEASE) == PLAN.lease
    assert ramp.due(Deadline.HOLD) is None


@pytest.mark.parametrize("order", [Order.RESUME, Order.ADVANCE, Order.COMPLETE])
def test_what_a_person_sets_going_again_without_a_gate_is_under_a_lease_again(order: Order):
    ramp = at_step(1, HOLD)
    ramp.after(PLAN.lease)
    ramp.tell(order)
    assert ramp.phase in (Phase.PROGRESSING, Phase.COMPLETING)
    assert ramp.due(Deadline.LEASE) == PLAN.lease, "users would stay on a version that nobody judges"


def test_a_gate_lost_before_the_new_version_is_up_reverts_even_where_the_plan_holds():
    assert verifying(HOLD).after(PLAN.lease).phase is Phase.REVERTING


def test_a_gate_lost_while_completing_reverts_too():
    assert completing().after(PLAN.lease).phase is Phase.REVERTING


def test_a_gate_lost_and_found_while_completing_leaves_no_deadline_to_revert_by():
    short = replace(HOLD, hold=60.0)
    ramp = completing(short)
    ramp.after(PLAN.lease)
    assert ramp.due(Deadline.HOLD) == 60
    ramp.attach("gate 2")
    ramp.judge_for(PLAN.scale_down_delay, VerdictWord.HEALTHY)
    assert ramp.state.retirement_begun


def test_a_gate_lost_after_retirement_began_completes_forward():
    ramp = retiring()
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.share) == (Phase.COMPLETING, 100_000)
    ramp.after(PLAN.retire)
    assert ramp.phase is Phase.PROMOTED
    assert ramp.state.needs_hands


def test_where_users_follow_the_machines_a_lapse_only_stops_the_widening():
    plan = replace(PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT)
    ramp = at_step(2, plan)
    ramp.do(ActionKind.ROLL)
    ramp.after(PLAN.lease)
    assert (ramp.phase, ramp.share) == (Phase.PAUSED, 50_000)


def test_after_a_lapse_the_deployment_waits_for_hands_and_any_gate_may_be_them():
    ramp = at_step(1)
    ramp.after(PLAN.lease)
    assert ramp.state.needs_hands
    ramp.attach("sweep")
    assert not ramp.state.needs_hands
    ramp.do(ActionKind.PROBE)
    ramp.do(ActionKind.UNDO)
    assert (ramp.phase, ramp.state.lease) == (Phase.REVERTED, None)


def test_hands_are_welcome_after_the_end_and_bounded_there_too():
    ramp = at_step(1)
    ramp.after(PLAN.lease).after(PLAN.stale_after + PLAN.retire)
    assert ramp.phase is Phase.REVERTED
    ramp.attach("sweep")
    number = ramp.state.actions[-1].number
    for _ in range(int(PLAN.retire // 15)):
        assert ramp.state.lease is not None
        ramp.hear(HookProgressed(fence=ramp.fence, action=number))
        ramp.after(15)
    assert ramp.state.needs_hands, "a hook that never ends would keep every other hand away"
    assert not ramp.state.deadlines


def test_the_last_hand_after_the_end_leaves_nothing_behind():
    ramp = at_step(1)
    ramp.after(PLAN.lease).after(PLAN.stale_after + PLAN.retire)
    ramp.attach("sweep")
    while ramp.state.actions:
        ramp.do()
    assert (ramp.phase, ramp.state.lease, dict(ramp.state.deadlines)) == (Phase.REVERTED, None, {})
    assert ramp.refused(Attached(holder="sweep")) is Refused.FINISHED


def test_an_action_is_confirmed_by_its_number_and_only_once():
    ramp = at_step(1)
    ramp.tell(Order.REVERT)
    ramp.do(ActionKind.PROBE)
    assert ramp.refused(CarriedOut(fence=ramp.fence, action=3)) is Refused.UNKNOWN_ACTION
    assert ramp.refused(CarriedOut(fence=ramp.fence, action=99)) is Refused.UNKNOWN_ACTION


def test_a_report_of_the_wrong_kind_is_refused():
    ramp = deploying()
    assert ramp.refused(CarriedOut(fence=ramp.fence, action=1)) is Refused.UNKNOWN_ACTION
