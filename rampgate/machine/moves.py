"""The moves a rollout can make, each from one state to the next: the only code that builds states.

A move does not ask whether it may be made; `decide.py` does. Each returns a whole `Transition`.
"""

from collections.abc import Mapping
from dataclasses import replace

from rampgate.evidence import ArmName, VerdictWord
from rampgate.machine.state import (
    STOPPED_BY_LOCK,
    Action,
    ActionKind,
    Because,
    Deadline,
    Due,
    HeldBy,
    Phase,
    Reason,
    Refusal,
    Refused,
    State,
    Transition,
    Verb,
    WidenedBy,
    running,
)
from rampgate.plan import (
    WHOLE,
    Confirm,
    FlagKind,
    OnGateLost,
    Policy,
    RolloutPlan,
    Strategy,
    UsersFollow,
    percent,
)

BUDGETS = (Deadline.BUDGET_INCONCLUSIVE, Deadline.BUDGET_NO_TRAFFIC, Deadline.BUDGET_SOURCE_DOWN)
_OF_THE_PHASE = (*BUDGETS, Deadline.CONFIRM, Deadline.PAUSE, Deadline.HOLD)
_OF_THE_STEP = (*_OF_THE_PHASE, Deadline.STEP)


def share(plan: RolloutPlan, state: State) -> int:
    """The canary's share of users now, in 1/100 000: what the flag server serves."""
    match state.phase:
        case Phase.PROGRESSING | Phase.WAITING | Phase.PAUSED:
            return step_share(plan, state.step)
        case Phase.COMPLETING | Phase.PROMOTED:
            return WHOLE
        case _:
            return 0


def step_share(plan: RolloutPlan, step: int) -> int:
    """The canary's share at a step; the last one leaves the hold-back on stable, where machines are left for it."""
    wanted = plan.step(step).share
    if step < plan.last or plan.strategy is Strategy.ROLLING:
        return wanted
    return min(wanted, WHOLE - plan.hold_back)


def stay(state: State, verb: Verb = Verb.HOLD, *because: Because) -> Transition:
    return Transition(state=state, verb=verb, because=because)


def refuse(state: State, refused: Refused, text: str) -> Transition:
    return Transition(state=state, verb=Verb.HOLD, refusal=Refusal(refused=refused, text=text))


def changed(state: State, reason: Reason, text: str, **changes: object) -> State:
    """The state with these changes, a new revision and the reason for it."""
    return replace(state, revision=state.revision + 1, reason=reason, text=text, **changes)  # type: ignore[arg-type]


def with_due(state: State, **due: Due) -> State:
    deadlines = {**state.deadlines, **{Deadline[name.upper()]: one for name, one in due.items()}}
    return replace(state, deadlines=deadlines)


def without_due(state: State, *names: Deadline) -> State:
    return replace(state, deadlines={name: due for name, due in state.deadlines.items() if name not in names})


def renewed(plan: RolloutPlan, state: State, now: float) -> State:
    """The lease runs anew; no one sees a change, so the revision stays."""
    if state.lease is None:
        return state
    return with_due(state, lease=Due(at=now + plan.lease, then=lease_policy(plan)))


def granted(plan: RolloutPlan, state: State, now: float) -> State:
    """The lease as it runs for the asking alone: work renews it, but a gate that only attaches again cannot."""
    at = now + plan.lease
    if state.phase.is_judged:
        at = min(at, max(state.since, state.judged_at or 0.0) + 2 * plan.lease)
    then = Policy.COMPLETE if state.phase.is_final else lease_policy(plan)
    return with_due(state, lease=Due(at=at, then=then))


def watched(plan: RolloutPlan, state: State, now: float) -> State:
    """With nobody at the lease, somebody must take it within a lease's time."""
    return state if Deadline.LEASE in state.deadlines else granted(plan, state, now)


def let_go(state: State, now: float) -> State:
    """Nobody holds the lease. Hands that may have begun to undo leave it unknown what runs in the slot."""
    begun = state.lease is not None and any(
        one.kind is ActionKind.UNDO and one.not_before <= now for one in state.actions
    )
    return without_due(replace(state, lease=None, deployed=state.deployed and not begun), Deadline.LEASE)


def lease_policy(plan: RolloutPlan) -> Policy:
    # Where users follow the machines the server cannot move them, so a lapse can only stop the widening.
    if plan.users_follow is UsersFollow.DEPLOYMENT:
        return Policy.HOLD
    return Policy.REVERT if plan.on_gate_lost is OnGateLost.REVERT else Policy.HOLD


def demand(state: State, *wanted: tuple[ActionKind, ArmName, float, int | None]) -> tuple[State, tuple[Action, ...]]:
    """The state with these actions appended, numbered on from the last."""
    actions = tuple(
        Action(number=state.last_action + index, kind=kind, arm=arm, not_before=not_before, share=to)
        for index, (kind, arm, not_before, to) in enumerate(wanted, start=1)
    )
    state = replace(state, actions=state.actions + actions, last_action=state.last_action + len(actions))
    return state, actions


def without_action(state: State, number: int) -> State:
    return replace(state, actions=tuple(action for action in state.actions if action.number != number))


def deploy(plan: RolloutPlan, state: State, now: float, reason: Reason, text: str) -> Transition:
    """Bring the canary's slot up, or, where it already runs this version, verify it again."""
    if state.deployed:
        return verify(plan, state, now, reason, text)
    state = changed(state, reason, text, phase=Phase.DEPLOYING, since=now, actions=())
    start = max(now, state.clear_at)
    state, actions = demand(state, (ActionKind.DEPLOY, ArmName.CANARY, start, _in_the_dark(plan, state)))
    state = with_due(
        replace(state, deadlines=_lease_only(plan, state, now)),
        deploy=Due(at=start + plan.deploy_all, then=Policy.REVERT),
    )
    return Transition(state=state, verb=Verb.HOLD, because=(Because(reason=reason, text=text),), actions=actions)


def postponed(moved: Transition, until: float) -> Transition:
    """The same move, with its actions and their deadline no earlier than ``until``."""
    state = moved.state
    later = max((until - action.not_before for action in state.actions), default=0.0)
    if later <= 0:
        return moved
    actions = tuple(replace(action, not_before=max(action.not_before, until)) for action in state.actions)
    state = replace(state, actions=actions)
    for name in (Deadline.DEPLOY, Deadline.VERIFY):
        if (due := state.deadlines.get(name)) is not None:
            state = with_due(state, **{name: Due(at=due.at + later, then=due.then)})
    return replace(moved, state=state, actions=actions)


def verify(plan: RolloutPlan, state: State, now: float, reason: Reason, text: str) -> Transition:
    state = changed(state, reason, text, phase=Phase.VERIFYING, since=now, actions=(), deployed=True)
    state, actions = demand(state, (ActionKind.VERIFY, ArmName.CANARY, now, _in_the_dark(plan, state)))
    state = with_due(
        replace(state, deadlines=_lease_only(plan, state, now)),
        verify=Due(at=now + plan.verify, then=Policy.REVERT),
    )
    return Transition(state=state, verb=Verb.HOLD, because=(Because(reason=reason, text=text),), actions=actions)


def _in_the_dark(plan: RolloutPlan, state: State) -> int | None:
    """The share of targets with the new version before the first step; ``None`` where it has a slot of its own."""
    if plan.strategy is not Strategy.ROLLING:
        return None
    return 0 if state.baseline else WHOLE


def go_dark(plan: RolloutPlan, state: State, now: float, text: str) -> Transition:
    """The new version is up and verified, at 0 %. Step 0 begins; its verdict is the verification's."""
    state = changed(state, Reason.VERIFIED, text, phase=Phase.DARK, since=now, entered_at=now, step=0, up=True)
    state = replace(state, actions=(), deadlines=_lease_only(plan, state, now))
    state = with_due(state, step=Due(at=now + plan.timeout(state.step), then=Policy.REVERT))
    return stay(state, Verb.HOLD, Because(reason=Reason.VERIFIED, text=text))


def advance(plan: RolloutPlan, state: State, now: float, by: WidenedBy, because: Because) -> Transition:
    """To the next step; from the last one, or with no stable version to compare with, to completion."""
    if state.step >= plan.last or not state.baseline:
        return complete(plan, state, now, by, because)
    return enter_step(plan, state, state.step + 1, now, by, because)


def enter_step(plan: RolloutPlan, state: State, step: int, now: float, by: WidenedBy, because: Because) -> Transition:
    state = changed(
        state, because.reason, because.text, phase=Phase.PROGRESSING, step=step, since=now, entered_at=now,
        widened_by=by, exposed=True, back_to=None, held_by=None, word=None, no_harm=False,
    )  # fmt: skip
    state = watched(plan, without_due(state, *_OF_THE_STEP), now)
    state = with_due(state, step=Due(at=now + plan.timeout(state.step), then=Policy.REVERT))
    actions: tuple[Action, ...] = ()
    if plan.strategy is Strategy.ROLLING:
        state, actions = demand(state, (ActionKind.ROLL, ArmName.CANARY, now, step_share(plan, step)))
        state = with_due(state, deploy=Due(at=now + plan.deploy, then=Policy.REVERT))
    return Transition(state=state, verb=Verb.ADVANCE, because=(because,), actions=actions)


def complete(plan: RolloutPlan, state: State, now: float, by: WidenedBy, because: Because) -> Transition:
    """Everybody goes to the new version; the old one stays warm for the scale-down delay."""
    if not state.baseline:
        return promote(state, now, because, widened_by=by)
    if plan.strategy is Strategy.ROLLING and state.step < plan.last:
        moved = enter_step(plan, state, plan.last, now, by, because)
        hurried = with_due(moved.state, deploy=Due(at=now + plan.deploy_all, then=Policy.REVERT))
        return replace(moved, state=replace(hurried, hurried=True))
    state = changed(
        state, because.reason, because.text, phase=Phase.COMPLETING, step=plan.last, since=now, entered_at=now,
        widened_by=by, exposed=True, back_to=None, held_by=None, hurried=False,
    )  # fmt: skip
    state = with_due(
        watched(plan, without_due(state, *_OF_THE_STEP), now),
        retire=Due(at=now + plan.scale_down_delay, then=Policy.COMPLETE),
    )
    return stay(state, Verb.COMPLETE, because)


def is_seen_up(state: State, now: float) -> bool:
    """Whether somebody still looks at the new version, and last found it up: else the old one must stay."""
    lease = state.deadlines.get(Deadline.LEASE)
    # Both may have passed while nobody looked: then nobody knows, whichever was first.
    driven = state.lease is not None and lease is not None and now < lease.at
    return driven and state.word is not VerdictWord.SOURCE_DOWN


def begin_retirement(plan: RolloutPlan, state: State, now: float) -> Transition:
    """From here a revert is no longer possible: the old version may be gone at any moment."""
    because = Because(reason=Reason.RETIREMENT_BEGUN, text="The old version is being retired.")
    if plan.kind is FlagKind.RELEASE or plan.strategy is Strategy.ROLLING:
        return promote(replace(state, retirement_begun=True), now, because)
    state = changed(state, because.reason, because.text, retirement_begun=True, since=now)
    state, actions = demand(state, (ActionKind.RETIRE, ArmName.STABLE, now, None))
    state = with_due(without_due(state, Deadline.HOLD), retire=Due(at=now + plan.retire, then=Policy.COMPLETE))
    return Transition(state=state, verb=Verb.COMPLETE, because=(because,), actions=actions)


def promote(state: State, now: float, because: Because, *, widened_by: WidenedBy | None = None) -> Transition:
    text = "The new version serves everybody."
    if state.actions:
        text = "The new version serves everybody; the old deployment still waits to be retired."
    state = finished(changed(state, Reason.PROMOTED, text, phase=Phase.PROMOTED, since=now, exposed=True))
    state = replace(state, widened_by=widened_by or state.widened_by, retirement_begun=True)
    return stay(state, Verb.COMPLETE, because, Because(reason=Reason.PROMOTED, text=text))


def finished(state: State) -> State:
    """A final state: no deadlines, and no lease unless hands are still at work on what is left to do."""
    if state.actions and state.lease is not None:
        return without_due(state, *(name for name in Deadline if name not in (Deadline.LEASE, Deadline.RETIRE)))
    return replace(state, deadlines={}, lease=None, back_to=None, held_by=None)


def pause(state: State, now: float, by: HeldBy, because: Because, name: Deadline, after: float) -> Transition:
    """Stop widening; judging goes on. The step's own time runs on, except for what a person adds to it."""
    back_to = state.back_to if state.phase is Phase.PAUSED else state.phase
    state = changed(
        state, because.reason, because.text, phase=Phase.PAUSED, since=now, back_to=back_to, held_by=by, hurried=False
    )
    due = {**without_due(state, *_OF_THE_PHASE).deadlines, name: Due(at=now + after, then=Policy.REVERT)}
    if by is HeldBy.PERSON and (step := due.get(Deadline.STEP)) is not None:
        due[Deadline.STEP] = replace(step, at=step.at + after)
    return stay(replace(state, deadlines=due), Verb.PAUSE, because)


def resume(plan: RolloutPlan, state: State, now: float, because: Because) -> Transition:
    """Out of a pause, to where it came from; a confirmation that was being waited for is asked for anew."""
    back_to = Phase.PROGRESSING if state.back_to in (None, Phase.WAITING) else state.back_to
    if state.step == 0:
        back_to = Phase.DARK
    state = changed(state, because.reason, because.text, phase=back_to, since=now, back_to=None, held_by=None)
    # The step's time-out runs on: else holds and resumptions in turn could keep a step for ever.
    return stay(watched(plan, without_due(state, *_OF_THE_PHASE), now), Verb.HOLD, because)


def unlock(plan: RolloutPlan, state: State, now: float, text: str) -> Transition:
    """The clocks that the lock has stopped go on with what was left of them when it began, or when they did."""
    because = Because(reason=Reason.UNLOCKED, text=text)
    ended = now if state.lock is None or state.lock.until is None else min(now, state.lock.until)
    stopped = ended if state.locked_at is None else state.locked_at
    begun = {Deadline.STEP: state.entered_at, Deadline.CONFIRM: state.since}
    deadlines = dict(state.deadlines)
    for name in STOPPED_BY_LOCK & set(deadlines) - set(running(state)):
        due = deadlines[name]
        since = begun.get(name, due.at - plan.budgets[VerdictWord.INCONCLUSIVE].seconds)
        deadlines[name] = replace(due, at=due.at + max(0.0, ended - max(stopped, since)))
    free = replace(state, lock=None, locked_at=None, deadlines=deadlines, revision=state.revision + 1)
    return stay(free, Verb.HOLD, because)


def ask(state: State, now: float, confirm: Confirm, because: Because) -> Transition:
    """Wait for a person's yes; judging goes on."""
    state = changed(state, because.reason, because.text, phase=Phase.WAITING, since=now, hurried=False)
    state = with_due(without_due(state, *BUDGETS), confirm=Due(at=now + confirm.timeout, then=confirm.then))
    return stay(state, Verb.PAUSE, because)


def first(plan: RolloutPlan, state: State, now: float, by: WidenedBy) -> Transition:
    """Out of the dark where no stable version is up: to everybody, or first to a person's yes."""
    because = Because(reason=Reason.FIRST_DEPLOY, text="First deploy: there is no stable version to compare with.")
    confirm = plan.dark.confirm or (Confirm() if plan.first_deploy is Policy.ASK else None)
    if confirm is not None:
        return ask(state, now, confirm, because)
    return complete(plan, state, now, by, because)


def revert(plan: RolloutPlan, state: State, now: float, because: Because) -> Transition:
    """Users to stable at once; then the hands undo the deployment and look at what was restored."""
    ends_as = Phase.FAILED if because.reason in _UNSEEN and not state.exposed else Phase.REVERTED
    rolls = plan.strategy is Strategy.ROLLING
    # Clients that are cut off follow within staleAfter, and what they have asked for takes its time: until then the
    # canary must stay up for them. Where users follow the machines, only the undoing takes them back.
    clear_at = now + plan.stale_after + plan.drain if state.exposed and not rolls else state.clear_at
    undo_at = max(now, clear_at)
    touched = step_share(plan, state.step) if rolls else None
    state = changed(
        state, because.reason, because.text, phase=Phase.REVERTING, since=now, ends_as=ends_as,
        actions=(), back_to=None, held_by=None, hurried=False, up=False, clear_at=clear_at,
    )  # fmt: skip
    wanted: list[tuple[ActionKind, ArmName, float, int | None]] = [(ActionKind.UNDO, ArmName.CANARY, undo_at, touched)]
    if state.baseline:
        # In place, what was restored is there to be seen only once it is restored.
        wanted.insert(1 if rolls else 0, (ActionKind.PROBE, ArmName.STABLE, now, WHOLE if rolls else None))
    state, actions = demand(state, *wanted)
    state = replace(state, deadlines=_lease_only(plan, state, now) if state.lease else {})
    state = with_due(state, retire=Due(at=undo_at + plan.retire, then=Policy.COMPLETE))
    return Transition(state=state, verb=Verb.REVERT, because=(because,), actions=actions)


def restoring(plan: RolloutPlan, state: State) -> tuple[int, int | None]:
    """The numbers of a revert's own actions, which are always the last that were demanded: to undo, and to look at what
    was restored (``None``: there was nothing).
    """
    if not state.baseline:
        return state.last_action, None
    first, last = state.last_action - 1, state.last_action
    return (first, last) if plan.strategy is Strategy.ROLLING else (last, first)


def end_revert(state: State, now: float) -> Transition:
    """The revert's actions are done, or wait for other hands; users have long been on stable."""
    phase = state.ends_as or Phase.REVERTED
    state = finished(replace(state, phase=phase, since=now, revision=state.revision + 1))
    if state.needs_hands:
        return stay(state, Verb.REVERT, Because(reason=Reason.NEEDS_HANDS, text=_left(state)))
    return stay(state, Verb.REVERT, Because(reason=state.reason, text=state.text))


def _left(state: State) -> str:
    undo = next((action for action in state.actions if action.kind is ActionKind.UNDO), None)
    if undo is not None and undo.share is not None:
        return "Targets still wait to be put back; their users are on the new version."
    if undo is not None:
        return "Users are on stable; the deployment still waits to be undone."
    if all(action.failed is None for action in state.actions):
        return "Users are back on stable; nobody has looked whether it is up."
    return "Users are back on stable, which was not seen up."


def widened_text(plan: RolloutPlan, state: State) -> str:
    """Where the next widening leads, in words: "to 50 %" or "to everybody"."""
    if state.step >= plan.last:
        return "to everybody"
    return f"to {percent(plan.step(state.step + 1).share)}"


_UNSEEN = frozenset({Reason.DEPLOY_FAILED, Reason.DEPLOY_EXPIRED, Reason.VERIFY_FAILED, Reason.VERIFY_EXPIRED})


def _lease_only(plan: RolloutPlan, state: State, now: float) -> Mapping[Deadline, Due]:
    # With no holder yet the same time bounds how long the rollout waits for its first one.
    kept = state.deadlines.get(Deadline.LEASE) or Due(at=now + plan.lease, then=lease_policy(plan))
    return {Deadline.LEASE: kept}
