"""What may widen: a healthy verdict, a named person, or a policy that the plan names; nothing else (SEMANTICS 5, 9)."""

from dataclasses import replace

import pytest

from rampgate.evidence import Sample, SourceDown, VerdictReason, VerdictWord
from rampgate.machine import step_share
from rampgate.machine.events import Told
from rampgate.machine.state import Deadline, HeldBy, Order, Phase, Reason, Refused, Verb, WidenedBy
from rampgate.plan import Budget, Confirm, OnGateLost, Policy, Step, Strategy
from tests.rampgate.machine.ramp import PLAN, Ramp, at_step, bake_out, completing, dark, verifying

QUIET = [word for word in VerdictWord if word is not VerdictWord.HEALTHY]


def asking(then: Policy = Policy.REVERT):
    first = Step(share=10_000, confirm=Confirm(timeout=600.0, then=then))
    return replace(PLAN, steps=(first, *PLAN.steps[1:]))


def waiting(then: Policy = Policy.REVERT) -> Ramp:
    ramp = bake_out(at_step(1, asking(then)))
    ramp.judge()
    assert ramp.phase is Phase.WAITING
    return ramp


def promoting_without_evidence() -> Ramp:
    budgets = {**PLAN.budgets, VerdictWord.INCONCLUSIVE: Budget(seconds=60.0, then=Policy.PROMOTE_IF_NO_EVIDENCE)}
    return bake_out(at_step(1, replace(PLAN, budgets=budgets)))


def test_a_healthy_release_goes_10_50_95_and_then_to_everybody():
    ramp = dark()
    shares = [ramp.share]
    while ramp.phase is not Phase.COMPLETING:
        bake_out(ramp).judge()
        shares.append(ramp.share)
    assert shares == [0, 10_000, 50_000, 95_000, 100_000]


def test_nothing_widens_before_the_bake_is_over():
    ramp = at_step(1)
    ramp.after(30)
    assert ramp.judge().verb is Verb.HOLD
    assert ramp.share == 10_000


@pytest.mark.parametrize("word", QUIET)
def test_no_other_verdict_than_healthy_widens(word: VerdictWord):
    ramp = bake_out(at_step(1))
    ramp.judge(word)
    assert ramp.share <= 10_000


@pytest.mark.parametrize("seen", [{"step": 0}, {"revision": 1}, {"attempt": 0}])
def test_a_healthy_look_at_another_step_revision_or_attempt_widens_nothing(seen: dict[str, int]):
    ramp = bake_out(at_step(1))
    assert ramp.refused(ramp.judged(**seen)) is Refused.STALE


def test_the_same_healthy_look_twice_widens_once():
    ramp = bake_out(at_step(1))
    event = ramp.judged()
    assert ramp.refused(event) is None
    assert ramp.refused(event) is Refused.STALE
    assert ramp.state.step == 2


@pytest.mark.parametrize(
    "lacks",
    [
        {"reading": None},
        {"reading": SourceDown(at=0.0, reason=VerdictReason.SOURCE_UNREACHABLE, text="Nobody answers.")},
        {"share": 0},
        {"share": 50_000},
        {"canary": Sample(requests=10, errors=11)},
        {"stable": Sample(requests=10, errors=-1)},
    ],
    ids=[
        "no reading",
        "the source down",
        "the dark's share",
        "a later step's share",
        "errors > requests",
        "errors < 0",
    ],
)
@pytest.mark.parametrize("paused", [False, True], ids=["on the step", "paused"])
def test_a_healthy_verdict_without_evidence_is_refused(lacks: dict[str, object], paused: bool) -> None:
    ramp = bake_out(at_step(1))
    if paused:
        ramp.tell(Order.PAUSE)
    event = ramp.judged()
    assert ramp.refused(replace(event, look=replace(event.look, **lacks))) is Refused.UNFOUNDED


def test_looks_after_the_last_step_need_no_reading_for_they_widen_nothing() -> None:
    ramp = completing()
    event = ramp.judged()
    assert ramp.hear(replace(event, look=replace(event.look, reading=None, share=0))).refusal is None


@pytest.mark.parametrize("word", QUIET)
def test_a_verdict_that_does_not_widen_is_believed_without_a_reading(word: VerdictWord) -> None:
    ramp = at_step(1)
    event = ramp.judged(word)
    assert ramp.hear(replace(event, look=replace(event.look, reading=None))).refusal is None


def test_a_named_person_may_widen_without_waiting_for_the_bake():
    ramp = at_step(1)
    ramp.tell(Order.ADVANCE)
    assert (ramp.state.step, ramp.state.widened_by, ramp.state.text) == (2, WidenedBy.PERSON, "@bob promoted.")


def test_promote_full_sends_everybody_and_keeps_the_old_version_warm():
    ramp = at_step(1)
    ramp.tell(Order.COMPLETE)
    assert (ramp.phase, ramp.share) == (Phase.COMPLETING, 100_000)
    assert ramp.due(Deadline.RETIRE) == PLAN.scale_down_delay


def test_a_person_who_saw_an_older_state_widens_nothing():
    ramp = at_step(1)
    seen = ramp.state.revision
    ramp.tell(Order.PAUSE)
    assert ramp.refused(Told(order=Order.ADVANCE, by="@bob", revision=seen)) is Refused.STALE


def test_nobody_is_sent_to_a_version_that_is_not_known_to_be_up():
    ramp = verifying()
    assert ramp.refused(Told(order=Order.COMPLETE, by="@bob")) is Refused.WRONG_PHASE
    assert ramp.share == 0


def test_a_policy_that_the_plan_names_may_widen_and_is_recorded_as_such():
    ramp = promoting_without_evidence()
    ramp.judge_for(60, VerdictWord.INCONCLUSIVE)
    assert (ramp.state.step, ramp.state.widened_by) == (2, WidenedBy.POLICY)
    assert ramp.state.reason is Reason.WIDENED_BY_POLICY


def test_promote_if_no_evidence_holds_where_there_is_some():
    ramp = promoting_without_evidence()
    while ramp.phase is Phase.PROGRESSING:
        ramp.after(15)
        ramp.judge(VerdictWord.INCONCLUSIVE, no_harm=False)
    assert (ramp.phase, ramp.state.held_by, ramp.share) == (Phase.PAUSED, HeldBy.POLICY, 10_000)


def test_100_percent_leaves_the_hold_back_on_stable_until_it_has_baked():
    assert step_share(PLAN, PLAN.last) == 95_000
    assert completing().share == 100_000


def test_blue_green_moves_everybody_at_once_and_bakes_there():
    plan = replace(PLAN, strategy=Strategy.BLUE_GREEN, hold_back=0, steps=(Step(share=100_000),))
    ramp = at_step(1, plan)
    assert (ramp.phase, ramp.share) == (Phase.PROGRESSING, 100_000)
    ramp.judge(VerdictWord.REGRESSED)
    assert ramp.share == 0


def test_a_step_with_a_confirmation_waits_for_a_persons_yes():
    ramp = waiting()
    ramp.judge_for(300, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.WAITING, 10_000)
    ramp.tell(Order.ADVANCE)
    assert ramp.share == 50_000


def test_the_harm_found_while_a_person_is_awaited_reverts():
    ramp = waiting()
    ramp.judge(VerdictWord.REGRESSED)
    assert ramp.phase is Phase.REVERTING


@pytest.mark.parametrize(
    ("then", "phase", "share"),
    [
        (Policy.REVERT, Phase.REVERTING, 0),
        (Policy.HOLD, Phase.PAUSED, 10_000),
        (Policy.PROMOTE, Phase.PROGRESSING, 50_000),
    ],
)
def test_a_confirmation_that_nobody_gives_ends_as_the_plan_chose(then: Policy, phase: Phase, share: int):
    ramp = waiting(then)
    ramp.judge_for(600, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (phase, share)


def test_a_hold_for_want_of_an_answer_is_not_ended_by_evidence_but_by_its_own_time():
    ramp = waiting(Policy.HOLD)
    ramp.judge_for(600 + 3600 - 30, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.state.reason) == (Phase.PAUSED, Reason.CONFIRM_EXPIRED)
    ramp.judge_for(45, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.HOLD_EXPIRED)


@pytest.mark.parametrize("word", [VerdictWord.SOURCE_DOWN, VerdictWord.NO_TRAFFIC])
def test_an_unanswered_question_promotes_nothing_unseen(word: VerdictWord):
    ramp = waiting(Policy.PROMOTE)
    ramp.judge_for(480, VerdictWord.HEALTHY)
    ramp.judge_for(120, word)
    assert (ramp.phase, ramp.share) == (Phase.PAUSED, 10_000)


def test_a_second_question_does_not_put_the_first_ones_deadline_off():
    budgets = {**PLAN.budgets, VerdictWord.NO_TRAFFIC: Budget(seconds=60.0, then=Policy.ASK)}
    ramp = bake_out(at_step(1, replace(asking(), budgets=budgets)))
    ramp.judge()
    ramp.judge_for(600, VerdictWord.NO_TRAFFIC)
    assert (ramp.phase, ramp.state.reason) == (Phase.REVERTING, Reason.CONFIRM_EXPIRED)


def test_a_question_asked_for_want_of_evidence_is_settled_by_evidence():
    budgets = {**PLAN.budgets, VerdictWord.INCONCLUSIVE: Budget(seconds=60.0, then=Policy.ASK)}
    ramp = bake_out(at_step(1, replace(PLAN, budgets=budgets)))
    ramp.judge_for(60, VerdictWord.INCONCLUSIVE)
    assert ramp.phase is Phase.WAITING
    ramp.judge()
    assert (ramp.phase, ramp.state.step, ramp.state.widened_by) == (Phase.PROGRESSING, 2, WidenedBy.VERDICT)


def test_a_question_paused_and_resumed_is_asked_anew():
    ramp = waiting()
    ramp.tell(Order.PAUSE)
    ramp.tell(Order.RESUME)
    assert ramp.phase is Phase.PROGRESSING
    ramp.judge()
    assert (ramp.phase, ramp.share) == (Phase.WAITING, 10_000)


def test_a_pause_by_a_person_needs_a_person_to_end_it():
    ramp = bake_out(at_step(1))
    ramp.tell(Order.PAUSE)
    ramp.judge_for(600, VerdictWord.HEALTHY)
    assert (ramp.phase, ramp.share) == (Phase.PAUSED, 10_000)


def test_a_gate_lost_and_found_does_not_end_a_persons_pause():
    ramp = at_step(1, replace(PLAN, on_gate_lost=OnGateLost.HOLD))
    ramp.tell(Order.PAUSE)
    ramp.after(PLAN.lease)
    ramp.attach("gate 2")
    assert (ramp.phase, ramp.state.held_by) == (Phase.PAUSED, HeldBy.PERSON)
    assert ramp.due(Deadline.PAUSE) == PLAN.pause - PLAN.lease


def test_a_pause_that_follows_a_lost_gate_stays_when_the_gate_is_back():
    ramp = at_step(1, replace(PLAN, on_gate_lost=OnGateLost.HOLD))
    ramp.after(PLAN.lease)
    ramp.tell(Order.PAUSE)
    ramp.attach("gate 2")
    assert ramp.phase is Phase.PAUSED


def test_nothing_is_resumed_that_was_not_paused():
    assert at_step(1).refused(Told(order=Order.RESUME, by="@bob")) is Refused.WRONG_PHASE
