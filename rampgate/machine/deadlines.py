"""What a passed deadline makes of a rollout: its policy, applied by the server with nobody awake."""

from dataclasses import replace
from typing import assert_never

from rampgate.evidence import VerdictWord
from rampgate.machine import moves
from rampgate.machine.state import (
    ActionKind,
    Because,
    Deadline,
    Due,
    HeldBy,
    Phase,
    Reason,
    Refused,
    State,
    Transition,
    Verb,
    WidenedBy,
    running,
)
from rampgate.plan import Confirm, Policy, RolloutPlan, seconds

_REASONS = {
    Deadline.LEASE: Reason.GATE_LOST,
    Deadline.STEP: Reason.STEP_EXPIRED,
    Deadline.CONFIRM: Reason.CONFIRM_EXPIRED,
    Deadline.PAUSE: Reason.PAUSE_EXPIRED,
    Deadline.HOLD: Reason.HOLD_EXPIRED,
    Deadline.DEPLOY: Reason.DEPLOY_EXPIRED,
    Deadline.VERIFY: Reason.VERIFY_EXPIRED,
    Deadline.RETIRE: Reason.NEEDS_HANDS,
    Deadline.BUDGET_INCONCLUSIVE: Reason.INCONCLUSIVE,
    Deadline.BUDGET_NO_TRAFFIC: Reason.NO_TRAFFIC,
    Deadline.BUDGET_SOURCE_DOWN: Reason.SOURCE_DOWN,
}

_TEXTS = {
    Deadline.LEASE: "The gate fell silent: its lease lapsed.",
    Deadline.STEP: "The step took longer than it may.",
    Deadline.CONFIRM: "Nobody confirmed in time.",
    Deadline.PAUSE: "The pause lasted longer than it may.",
    Deadline.HOLD: "It was held longer than it may be.",
    Deadline.DEPLOY: "The deployment took longer than it may.",
    Deadline.VERIFY: "The verification took longer than it may.",
    Deadline.RETIRE: "The old deployment could not be taken away in time.",
    Deadline.BUDGET_INCONCLUSIVE: "There was not enough data to decide in time.",
    Deadline.BUDGET_NO_TRAFFIC: "There was no traffic to judge by for too long.",
    Deadline.BUDGET_SOURCE_DOWN: "The metrics could not be read for too long.",
}


def passed(plan: RolloutPlan, state: State, what: Deadline, now: float) -> Transition:
    """Apply the policy of a deadline that has passed; one that does not run, or has not passed, changes nothing."""
    due = running(state).get(what)
    if due is None:
        return moves.stay(state)
    if now < due.at:
        return moves.refuse(state, Refused.TOO_EARLY, f"The deadline {what} has not passed yet.")
    if what is Deadline.LOCK:
        return moves.unlock(plan, state, now, "The lock has ended.")
    state = moves.without_due(state, what)
    because = Because(reason=_REASONS[what], text=_TEXTS[what])
    if what is Deadline.LEASE:
        return _gate_lost(plan, state, due.then, because, now)
    if what is Deadline.RETIRE:
        return _retire(plan, state, because, now)
    match due.then:
        case Policy.REVERT:
            return moves.revert(plan, state, now, because)
        case Policy.HOLD:
            return _hold(plan, state, HeldBy.POLICY, because, now)
        case Policy.ASK if state.phase is Phase.WAITING:
            # It has been asked: a second question would only put the first one's deadline off.
            return moves.stay(state, Verb.HOLD, because)
        case Policy.ASK:
            return moves.ask(state, now, Confirm(), because)
        case Policy.PROMOTE | Policy.PROMOTE_IF_NO_EVIDENCE:
            return _widen(plan, state, due.then, because, now)
        case Policy.COMPLETE:
            return moves.stay(state)
        case _:
            assert_never(due.then)


def _gate_lost(plan: RolloutPlan, state: State, policy: Policy, because: Because, now: float) -> Transition:
    text = f"{because.text} Lease: {seconds(plan.lease)}."
    because = Because(reason=because.reason, text=text)
    state = moves.let_go(state, now)
    if state.phase.is_final:
        state = moves.finished(state)
    if state.phase.is_final or state.phase is Phase.REVERTING or state.retirement_begun:
        # Users are where they belong; what is left needs other hands.
        return moves.stay(replace(state, revision=state.revision + 1), Verb.HOLD, because)
    if policy is Policy.REVERT or not state.up:
        return moves.revert(plan, state, now, because)
    if state.phase is Phase.COMPLETING:
        held = moves.with_due(state, hold=Due(at=now + plan.hold, then=Policy.REVERT))
        return moves.stay(replace(held, revision=state.revision + 1), Verb.HOLD, because)
    if state.phase is Phase.PAUSED:
        # Whoever paused it still has to end the pause, and the pause still ends by itself.
        return moves.stay(replace(state, revision=state.revision + 1), Verb.HOLD, because)
    return _hold(plan, state, HeldBy.GATE_LOST, because, now)


def _retire(plan: RolloutPlan, state: State, because: Because, now: float) -> Transition:
    if state.phase.is_final:
        freed = moves.finished(moves.let_go(state, now))
        return moves.stay(replace(freed, revision=state.revision + 1), Verb.HOLD, because)
    if state.phase is Phase.REVERTING:
        return moves.end_revert(moves.let_go(state, now), now)
    if not state.retirement_begun and not moves.is_seen_up(state, now):
        return _keep_warm(plan, state, now)
    if not state.retirement_begun:
        return moves.begin_retirement(plan, state, now)
    return moves.promote(moves.let_go(state, now), now, because)


def _keep_warm(plan: RolloutPlan, state: State, now: float) -> Transition:
    """Keep the way back until the new version is seen up again; if that takes longer than a hold may, take it."""
    reason = Reason.GATE_LOST if state.lease is None else Reason.SOURCE_DOWN
    because = Because(reason=reason, text="The old version stays warm: nobody knows that the new one is up.")
    if Deadline.HOLD not in state.deadlines:
        state = moves.with_due(state, hold=Due(at=now + plan.hold, then=Policy.REVERT))
    return moves.stay(replace(state, revision=state.revision + 1), Verb.HOLD, because)


def _hold(plan: RolloutPlan, state: State, by: HeldBy, because: Because, now: float) -> Transition:
    return moves.pause(state, now, by, because, Deadline.HOLD, plan.hold)


def _widen(plan: RolloutPlan, state: State, policy: Policy, because: Because, now: float) -> Transition:
    """A policy that the plan names may widen, but not through a lock, a batch at work or missing evidence."""
    lease = state.deadlines.get(Deadline.LEASE)
    # Both may have passed while nobody looked: then nobody judges, whichever was first.
    driven = state.lease is not None and lease is not None and now < lease.at
    judged = state.word in (VerdictWord.INCONCLUSIVE, VerdictWord.HEALTHY)
    if policy is Policy.PROMOTE_IF_NO_EVIDENCE:
        judged = judged and state.no_harm
    if state.is_locked(now) or not judged or not driven or state.pending(ActionKind.ROLL):
        return _hold(plan, state, HeldBy.POLICY, because, now)
    text = f"{because.text} The plan says {policy}."
    widened = Because(reason=Reason.WIDENED_BY_POLICY, text=text)
    moved = moves.advance(plan, state, now, WidenedBy.POLICY, widened)
    return replace(moved, because=(because, widened))
