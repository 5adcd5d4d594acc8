"""The one function that decides: what an event makes of a rollout. Pure: no I/O, no clock, no randomness.

``decide`` answers one event; ``handle`` is what the flag server calls in a transaction: it first applies every
deadline that is already due, so that a late verdict never revives a lapsed lease. Rules: docs/state-machine.md.
"""

from dataclasses import replace
from typing import assert_never

from rampgate.machine import moves
from rampgate.machine.deadlines import passed
from rampgate.machine.events import (
    Attached,
    Cancelled,
    CarriedOut,
    Created,
    DeadlinePassed,
    Deployed,
    Detached,
    Event,
    HookFailed,
    HookProgressed,
    Judged,
    Locked,
    Resumed,
    RetirementBegun,
    Superseded,
    Told,
    Unlocked,
    Verified,
)
from rampgate.machine.judged import weigh
from rampgate.machine.state import (
    NOT_RESUMABLE,
    Action,
    ActionKind,
    Because,
    Deadline,
    Due,
    HeldBy,
    Lease,
    Phase,
    Reason,
    Refused,
    State,
    Transition,
    Verb,
    WidenedBy,
    next_deadline,
)
from rampgate.machine.told import obey
from rampgate.plan import Policy, RolloutPlan, Strategy


def begin(plan: RolloutPlan, event: Created, now: float) -> Transition:
    """The first state of a rollout: deploying into the idle slot, nobody exposed, no lease given yet."""
    state = State(
        phase=Phase.DEPLOYING, revision=0, since=now, baseline=event.baseline, lock=event.lock, fence=event.fence,
        locked_at=now if event.lock else None,
    )  # fmt: skip
    moved = moves.deploy(plan, state, now, Reason.CREATED, f"Asked for by {event.by}.")
    return moves.postponed(moved, event.not_before)


def handle(plan: RolloutPlan, state: State, event: Event | None, now: float) -> tuple[tuple[Event, Transition], ...]:
    """Everything that follows from an event at this moment: first the deadlines that are due, oldest first.

    Returns each event that was applied with its transition, in order; the last one's state is the new state.
    With no event, only the clock speaks; nothing due gives an empty tuple.
    """
    done: list[tuple[Event, Transition]] = []
    while (due := next_deadline(state)) is not None and due[1].at <= now:
        late = DeadlinePassed(what=due[0])
        transition = decide(plan, state, late, now)
        done.append((late, transition))
        state = transition.state
    if event is not None:
        done.append((event, decide(plan, state, event, now)))
    return tuple(done)


def decide(plan: RolloutPlan, state: State, event: Event, now: float) -> Transition:
    """What one event makes of a state.

    Args:
        plan: the rollout's plan, free of problems.
        state: where the rollout stands.
        event: what happened.
        now: the moment, in seconds since the epoch, never before an earlier call's.

    Returns:
        The transition. A refused event leaves the state as it is and says why.
    """
    match event:
        case DeadlinePassed():
            return passed(plan, state, event.what, now)
        case Judged():
            return weigh(plan, state, event, now)
        case Told():
            return obey(plan, state, event, now)
        case Created():
            return moves.refuse(state, Refused.WRONG_PHASE, "The rollout exists already.")
        case Attached():
            return _attach(plan, state, event, now)
        case Resumed():
            return _resume(plan, state, event, now)
        case Superseded():
            return _supersede(state, event, now)
        case Locked() | Unlocked():
            return _lock(plan, state, event, now)
        case Detached() | Cancelled() | RetirementBegun():
            return _by_holder(plan, state, event, now)
        case Deployed() | Verified() | HookProgressed() | CarriedOut() | HookFailed():
            return _by_hands(plan, state, event, now)
        case _:
            assert_never(event)


def _attach(plan: RolloutPlan, state: State, event: Attached, now: float) -> Transition:
    if state.phase.is_final and not state.actions:
        return moves.refuse(state, Refused.FINISHED, f"The rollout is {state.phase}; nothing is left to do.")
    if state.lease is not None and state.lease.holder not in (event.holder, event.replaces):
        return moves.refuse(state, Refused.LEASE_HELD, f"{state.lease.holder} holds the lease.")
    because = Because(reason=Reason.ATTACHED, text=f"{event.holder} drives.")
    fence = state.fence + 1
    state = replace(
        state,
        lease=Lease(holder=event.holder, fence=fence),
        fence=fence,
        revision=state.revision + 1,
        actions=tuple(replace(action, failed=None) for action in state.actions),
    )
    state = moves.granted(plan, state, now)
    if state.phase.is_final:
        begun = max([now, *(action.not_before for action in state.actions)])
        state = moves.with_due(state, retire=Due(at=begun + plan.retire, then=Policy.COMPLETE))
    if state.phase is Phase.COMPLETING and Deadline.RETIRE in state.deadlines:
        state = moves.without_due(state, Deadline.HOLD)
    if state.phase is Phase.PAUSED and state.held_by is HeldBy.GATE_LOST:
        return moves.resume(plan, state, now, because)
    return moves.stay(state, Verb.HOLD, because)


def _resume(plan: RolloutPlan, state: State, event: Resumed, now: float) -> Transition:
    if not state.phase.is_final and state.phase is not Phase.REVERTING:
        return moves.refuse(state, Refused.WRONG_PHASE, f"The rollout is {state.phase}: attach to it instead.")
    if state.phase is Phase.PROMOTED or state.reason in NOT_RESUMABLE:
        text = f"The rollout ended {state.phase} ({state.reason}); only a new one can try again."
        return moves.refuse(state, Refused.NOT_RESUMABLE, text)
    if state.lease is not None:
        return moves.refuse(state, Refused.LEASE_HELD, f"{state.lease.holder} is still undoing the deployment.")
    state = replace(
        state, attempt=state.attempt + 1, step=0, up=False, exposed=False, ends_as=None, widened_by=None,
        word=None, no_harm=False, judged_at=None, deadlines={}, baseline=event.baseline,
        fence=max(state.fence, event.fence),
        # Targets that nobody has put back still run the new version: the first step begins without one.
        deployed=state.deployed and plan.strategy is not Strategy.ROLLING,
    )  # fmt: skip
    moved = moves.deploy(plan, state, now, Reason.RESUMED, f"Resumed by {event.by}, with new evidence.")
    return moves.postponed(moved, event.not_before)


def _supersede(state: State, event: Superseded, now: float) -> Transition:
    if state.phase.is_final:
        return _relieve(state, event)
    if state.retirement_begun:
        return moves.refuse(state, Refused.RETIREMENT_BEGUN, "The old version is being retired; it completes.")
    # The successor brings its own version up in this slot, whatever is there: whoever drove this rollout must no
    # longer touch it, and nothing is left to undo.
    because = Because(reason=Reason.SUPERSEDED, text=f"Superseded by {event.by}.")
    gone = replace(state, lease=None, fence=state.fence + 1, actions=(), up=False, hurried=False)
    gone = moves.changed(gone, because.reason, because.text, phase=Phase.SUPERSEDED, since=now, ends_as=None)
    return moves.stay(moves.finished(gone), Verb.REVERT, because)


def _relieve(state: State, event: Superseded) -> Transition:
    if not state.actions:
        return moves.refuse(state, Refused.FINISHED, f"The rollout is {state.phase}.")
    because = Because(reason=Reason.SUPERSEDED, text=f"What was left to do is taken over by {event.by}.")
    freed = replace(state, actions=(), lease=None, fence=state.fence + 1, revision=state.revision + 1)
    return moves.stay(moves.finished(freed), Verb.HOLD, because)


def _lock(plan: RolloutPlan, state: State, event: Locked | Unlocked, now: float) -> Transition:
    if state.phase.is_final:
        return moves.refuse(state, Refused.FINISHED, f"The rollout is {state.phase}.")
    if isinstance(event, Unlocked):
        return moves.unlock(plan, state, now, f"Unlocked by {event.by}.")
    because = Because(reason=Reason.LOCKED, text=f"Locked by {event.lock.by}: {event.lock.reason}")
    since = state.locked_at if state.lock is not None else now
    locked = replace(state, lock=event.lock, locked_at=since, revision=state.revision + 1)
    return moves.stay(locked, Verb.HOLD, because)


def _by_holder(
    plan: RolloutPlan, state: State, event: Detached | Cancelled | RetirementBegun, now: float
) -> Transition:
    if refusal := _not_holder(state, event.fence):
        return refusal
    if isinstance(event, Detached):
        freed = replace(moves.let_go(state, now), revision=state.revision + 1)
        freed = moves.finished(freed) if state.phase.is_final else moves.granted(plan, freed, now)
        return moves.stay(freed, Verb.HOLD, Because(reason=Reason.DETACHED, text="The gate let go."))
    if state.phase.is_final:
        return moves.refuse(state, Refused.FINISHED, f"The rollout is {state.phase}.")
    if isinstance(event, Cancelled):
        if state.phase is Phase.REVERTING or state.retirement_begun:
            return moves.stay(state)
        return moves.revert(plan, state, now, Because(reason=Reason.CANCELLED, text=event.text or "Cancelled."))
    if state.retirement_begun:
        return moves.refuse(state, Refused.WRONG_PHASE, "The old version is being retired already.")
    if state.phase is not Phase.COMPLETING:
        return moves.refuse(state, Refused.WRONG_PHASE, f"The rollout is {state.phase}, not completing.")
    if now < state.since + plan.scale_down_delay:
        return moves.refuse(state, Refused.TOO_EARLY, "The old version stays warm until the scale-down delay ends.")
    if not moves.is_seen_up(state, now):
        return moves.refuse(state, Refused.NOT_UP, "The old version stays warm: nobody knows that the new one is up.")
    return moves.begin_retirement(plan, state, now)


def _by_hands(
    plan: RolloutPlan,
    state: State,
    event: Deployed | Verified | HookProgressed | CarriedOut | HookFailed,
    now: float,
) -> Transition:
    if refusal := _not_holder(state, event.fence):
        return refusal
    action = next((one for one in state.actions if one.number == event.action), None)
    if action is None or action.kind not in _KINDS.get(type(event), tuple(ActionKind)):
        text = f"Action {event.action} is not waiting; waiting: {_waiting(state)}."
        return moves.refuse(state, Refused.UNKNOWN_ACTION, text)
    state = moves.renewed(plan, state, now)
    match event:
        case HookProgressed():
            return moves.stay(state)
        case HookFailed():
            return _hook_failed(plan, state, action, event.text, now)
        case Deployed():
            return moves.verify(plan, state, now, Reason.DEPLOYED, event.text or "The new version runs, dark.")
        case Verified():
            return _verified(plan, state, event, now)
        case CarriedOut():
            return _carried_out(plan, moves.without_action(state, action.number), action, event, now)


_KINDS = {
    Deployed: (ActionKind.DEPLOY,),
    Verified: (ActionKind.VERIFY,),
    CarriedOut: (ActionKind.ROLL, ActionKind.RETIRE, ActionKind.UNDO, ActionKind.PROBE),
}


def _verified(plan: RolloutPlan, state: State, event: Verified, now: float) -> Transition:
    moved = moves.go_dark(plan, state, now, event.text or "The new version is up and verified, at 0 %.")
    if state.baseline or state.is_locked(now):
        return moved
    first = moves.first(plan, moved.state, now, WidenedBy.POLICY)
    return replace(first, because=(*moved.because, *first.because))


def _carried_out(plan: RolloutPlan, state: State, action: Action, event: CarriedOut, now: float) -> Transition:
    because = Because(reason=Reason.CARRIED_OUT, text=event.text or f"Done: {action.kind} {action.arm}.")
    if action.kind is ActionKind.UNDO:
        state = replace(state, deployed=False)
    if action.kind is ActionKind.ROLL:
        state = moves.without_due(replace(state, entered_at=now), Deadline.DEPLOY)
        if state.hurried and not state.is_locked(now):
            return moves.complete(plan, state, now, WidenedBy.PERSON, because)
        state = replace(state, hurried=False, revision=state.revision + 1)
        return moves.stay(state, Verb.HOLD, because)
    return _goes_on(state, because, now)


def _hook_failed(plan: RolloutPlan, state: State, action: Action, text: str, now: float) -> Transition:
    reasons = {ActionKind.DEPLOY: Reason.DEPLOY_FAILED, ActionKind.VERIFY: Reason.VERIFY_FAILED}
    because = Because(reason=reasons.get(action.kind, Reason.HOOK_FAILED), text=text)
    if action.kind in (ActionKind.DEPLOY, ActionKind.VERIFY, ActionKind.ROLL):
        return moves.revert(plan, state, now, because)
    marked = tuple(replace(one, failed=text) if one.number == action.number else one for one in state.actions)
    return _goes_on(replace(state, actions=marked), because, now)


def _goes_on(state: State, because: Because, now: float) -> Transition:
    """After an action that brings nothing up: on with the rest, or to the end where these hands are through."""
    state = replace(state, revision=state.revision + 1)
    if any(one.failed is None for one in state.actions):
        return moves.stay(state, Verb.HOLD, because)
    if state.actions:
        # The hands gave up on all that is left: let go, so that other hands may try.
        state = moves.let_go(state, now)
    if state.phase is Phase.REVERTING:
        return moves.end_revert(state, now)
    if state.phase is Phase.COMPLETING:
        return moves.promote(state, now, because)
    return moves.stay(moves.finished(state), Verb.HOLD, because)


def _not_holder(state: State, fence: int) -> Transition | None:
    if state.lease is not None and state.lease.fence == fence:
        return None
    holder = f"{state.lease.holder} holds the lease" if state.lease else "nobody holds the lease"
    return moves.refuse(state, Refused.NOT_LEASE_HOLDER, f"Fence {fence} is not the lease's: {holder}.")


def _waiting(state: State) -> str:
    return ", ".join(f"{one.number} ({one.kind} {one.arm})" for one in state.actions) or "none"
