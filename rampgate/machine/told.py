"""What a person's order makes of a rollout. A revert is never refused for staleness, a lock or a dead gate."""

from typing import assert_never

from rampgate.machine import moves
from rampgate.machine.events import Told
from rampgate.machine.state import (
    REFUSE_VERSION,
    ActionKind,
    Because,
    Deadline,
    HeldBy,
    Order,
    Phase,
    Reason,
    Refused,
    State,
    Transition,
    Verb,
    WidenedBy,
)
from rampgate.plan import FlagKind, RolloutPlan


def obey(plan: RolloutPlan, state: State, event: Told, now: float) -> Transition:
    """Obey, or refuse with the current state."""
    if state.phase.is_final:
        text = f"The rollout is {state.phase}: {state.text}"
        if event.order is Order.REVERT and state.phase is Phase.PROMOTED and plan.kind is FlagKind.ROLLOUT:
            text = "The rollout is promoted; `/rollback` starts a rollout back to the version before."
        return moves.refuse(state, Refused.FINISHED, text)
    if event.order is Order.REVERT:
        return _abort(plan, state, event, now)
    if event.revision is not None and event.revision != state.revision:
        text = f"You saw revision {event.revision}; the rollout is now {state.phase} at revision {state.revision}."
        return moves.refuse(state, Refused.STALE, text)
    if not state.phase.is_judged:
        text = f"The rollout is {state.phase}; only /abort means something now."
        return moves.refuse(state, Refused.WRONG_PHASE, text)
    match event.order:
        case Order.PAUSE:
            because = Because(reason=Reason.PAUSED_BY_PERSON, text=_said(event, "paused"))
            return moves.pause(state, now, HeldBy.PERSON, because, Deadline.PAUSE, plan.pause)
        case Order.RESUME:
            if state.phase is not Phase.PAUSED:
                return moves.refuse(state, Refused.WRONG_PHASE, f"Nothing is paused: the rollout is {state.phase}.")
            return moves.resume(plan, state, now, Because(reason=Reason.RESUMED, text=_said(event, "resumed")))
        case Order.ADVANCE | Order.COMPLETE:
            return _widen(plan, state, event, now)
        case _:
            assert_never(event.order)


def _abort(plan: RolloutPlan, state: State, event: Told, now: float) -> Transition:
    if state.retirement_begun:
        text = "The old version is being retired; `/rollback` starts a rollout back to it."
        return moves.refuse(state, Refused.RETIREMENT_BEGUN, text)
    because = Because(reason=Reason.ABORTED, text=_said(event, "aborted"))
    if state.phase is Phase.REVERTING and state.reason in REFUSE_VERSION:
        return moves.stay(state, Verb.REVERT, Because(reason=state.reason, text="It is reverting already."))
    if state.phase is Phase.REVERTING:
        # The users are safe already; the person's word is what keeps a re-run from trying this version again.
        return moves.stay(moves.changed(state, because.reason, because.text), Verb.REVERT, because)
    return moves.revert(plan, state, now, because)


def _widen(plan: RolloutPlan, state: State, event: Told, now: float) -> Transition:
    if state.is_locked(now) and state.lock is not None:
        return moves.refuse(state, Refused.LOCKED, f"Locked by {state.lock.by}: {state.lock.reason}")
    if not state.up:
        return moves.refuse(state, Refused.NOT_UP, "The new version is not known to be up.")
    if state.pending(ActionKind.ROLL):
        return moves.refuse(state, Refused.WRONG_PHASE, "The batch is still being replaced.")
    because = Because(reason=Reason.PROMOTED_BY_PERSON, text=_said(event, "promoted"))
    if event.order is Order.COMPLETE:
        return moves.complete(plan, state, now, WidenedBy.PERSON, because)
    return moves.advance(plan, state, now, WidenedBy.PERSON, because)


def _said(event: Told, verb: str) -> str:
    return f"{event.by} {verb}: {event.text}" if event.text else f"{event.by} {verb}."
