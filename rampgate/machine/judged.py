"""What a verdict makes of a rollout. Fresh evidence renews the lease; only `healthy` widens by itself."""

from dataclasses import replace
from typing import assert_never

from rampgate.evidence import ArmName, Look, Reading, VerdictWord
from rampgate.machine import moves
from rampgate.machine.events import Judged
from rampgate.machine.state import (
    BUDGET_OF,
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
)
from rampgate.plan import RolloutPlan, percent


def weigh(plan: RolloutPlan, state: State, event: Judged, now: float) -> Transition:
    """Weigh one look: refuse it, hold, go on, or revert."""
    verdict = event.look.verdict
    if refusal := _refusal(plan, state, event):
        return refusal
    state = moves.renewed(plan, state, now)
    state = replace(state, word=verdict.word, no_harm=verdict.no_harm, judged_at=now)
    if not state.baseline and state.phase is Phase.DARK and verdict.word in _UNCOMPARED:
        # A first deploy is compared with nothing: what admits it is its verification, and the plan's policy.
        return _healthy(plan, _with_budgets(plan, state, None, now), verdict.text, now, WidenedBy.POLICY)
    match verdict.word:
        case VerdictWord.REGRESSED:
            if state.retirement_begun:
                text = f"{verdict.text} The old version is being retired, so it completes: start a rollback."
                return moves.stay(state, Verb.HOLD, Because(reason=Reason.REGRESSED, text=text))
            return moves.revert(plan, state, now, Because(reason=Reason.REGRESSED, text=verdict.text))
        case VerdictWord.HEALTHY:
            return _healthy(plan, _with_budgets(plan, state, None, now), verdict.text, now)
        case VerdictWord.INCONCLUSIVE | VerdictWord.NO_TRAFFIC | VerdictWord.SOURCE_DOWN:
            because = Because(reason=Reason(_REASONS[verdict.word]), text=verdict.text)
            return moves.stay(_with_budgets(plan, state, verdict.word, now), Verb.HOLD, because)
        case _:
            assert_never(verdict.word)


_REASONS = {
    VerdictWord.INCONCLUSIVE: Reason.COLLECTING,
    VerdictWord.NO_TRAFFIC: Reason.NO_TRAFFIC,
    VerdictWord.SOURCE_DOWN: Reason.SOURCE_DOWN,
}


_UNCOMPARED = (VerdictWord.INCONCLUSIVE, VerdictWord.NO_TRAFFIC)


def _refusal(plan: RolloutPlan, state: State, event: Judged) -> Transition | None:
    if state.phase.is_final:
        return moves.refuse(state, Refused.FINISHED, f"The rollout is {state.phase}.")
    if state.lease is None or state.lease.fence != event.fence:
        return moves.refuse(state, Refused.NOT_LEASE_HOLDER, f"Fence {event.fence} does not hold the lease.")
    if not state.phase.is_judged and state.phase is not Phase.COMPLETING:
        return moves.refuse(state, Refused.WRONG_PHASE, f"The rollout is {state.phase}: nothing to judge.")
    harm = event.look.verdict.word is VerdictWord.REGRESSED and event.attempt == state.attempt
    if not harm and (event.attempt, event.revision, event.look.step) != (
        state.attempt,
        state.revision,
        state.step,
    ):
        text = (
            f"The look is of step {event.look.step} at revision {event.revision}; "
            f"the rollout is at step {state.step}, revision {state.revision}."
        )
        return moves.refuse(state, Refused.STALE, text)
    if missing := _missing(plan, state, event.look):
        return moves.refuse(state, Refused.UNFOUNDED, f"No evidence for a healthy verdict: {missing}.")
    return None


def _missing(plan: RolloutPlan, state: State, look: Look) -> str | None:
    """What a healthy look lacks to widen, in words. Users who are asked about must have been looked at."""
    # The dark step's evidence is its verification, and looks at the completed rollout no longer widen.
    if look.verdict.word is not VerdictWord.HEALTHY or state.step == 0 or state.phase is Phase.COMPLETING:
        return None
    if not isinstance(look.reading, Reading):
        return "the look has no reading of the metrics source"
    if look.share != (share := moves.share(plan, state)):
        return f"the look is of a share of {percent(look.share)}, and the canary has {percent(share)}"
    for arm, sample in ((ArmName.STABLE, look.stable), (ArmName.CANARY, look.canary)):
        if sample is not None and not 0 <= sample.errors <= sample.requests:
            return f"the {arm} sample has {sample.errors} errors in {sample.requests} requests"
    return None


def _healthy(plan: RolloutPlan, state: State, text: str, now: float, by: WidenedBy = WidenedBy.VERDICT) -> Transition:
    if state.phase is Phase.COMPLETING:
        if not state.retirement_begun and Deadline.RETIRE not in state.deadlines:
            # The delay was over before anybody knew that the new version is up; now they do.
            return moves.begin_retirement(plan, state, now)
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.HEALTHY, text=text))
    if state.phase is Phase.PAUSED and state.held_by is HeldBy.PERSON:
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.PAUSED_BY_PERSON, text=state.text))
    if state.phase is Phase.PAUSED and state.reason is Reason.CONFIRM_EXPIRED:
        # What was missing is an answer, and no verdict is one.
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.CONFIRM_EXPIRED, text=state.text))
    if state.phase is Phase.PAUSED:
        return moves.resume(plan, state, now, Because(reason=Reason.RESUMED, text=f"Evidence is back: {text}"))
    step = plan.step(state.step)
    if state.phase is Phase.WAITING and (step.confirm is not None or not state.baseline):
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.CONFIRMATION_NEEDED, text=state.text))
    # A person who was asked for want of evidence need not answer once the evidence is there.
    if state.is_locked(now) and state.lock is not None:
        words = f"Locked by {state.lock.by}: {state.lock.reason}"
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.LOCKED, text=words))
    if state.pending(ActionKind.ROLL):
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.REPLACING, text="The batch is being replaced."))
    if now < state.entered_at + step.bake:
        return moves.stay(state, Verb.HOLD, Because(reason=Reason.BAKING, text=text))
    if not state.baseline:
        return moves.first(plan, state, now, by)
    if step.confirm is not None:
        words = f"Ready to go {moves.widened_text(plan, state)}: waiting for a person's yes."
        because = Because(reason=Reason.CONFIRMATION_NEEDED, text=words)
        return moves.ask(state, now, step.confirm, because)
    return moves.advance(plan, state, now, by, Because(reason=Reason.HEALTHY, text=text))


def _with_budgets(plan: RolloutPlan, state: State, word: VerdictWord | None, now: float) -> State:
    """The budgets as this verdict leaves them: its own runs from its first look, what it disproves stops."""
    disproved = {
        None: moves.BUDGETS,
        VerdictWord.INCONCLUSIVE: (Deadline.BUDGET_NO_TRAFFIC, Deadline.BUDGET_SOURCE_DOWN),
        VerdictWord.NO_TRAFFIC: (Deadline.BUDGET_SOURCE_DOWN,),
        VerdictWord.SOURCE_DOWN: (),
    }
    state = moves.without_due(state, *disproved[word])
    if word is None or state.phase not in (Phase.DARK, Phase.PROGRESSING, Phase.WAITING):
        return state
    name, budget = BUDGET_OF[word], plan.budget(word, state.step)
    if name in state.deadlines:
        return state
    start = now
    if word is VerdictWord.INCONCLUSIVE:
        if state.phase is Phase.WAITING:
            return state
        # Too little data is no news before the step could have been left anyway.
        start = max(now, state.entered_at + plan.step(state.step).bake)
    due = Due(at=start + budget.seconds, then=budget.then)
    return replace(state, deadlines={**state.deadlines, name: due})
