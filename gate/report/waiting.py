"""Why a rollout waits and until when, and what follows if nothing happens: sentences, one a line."""

from collections.abc import Iterator, Sequence

from gate.report.prose import code, order, plain
from rampgate.evidence import Look, VerdictWord
from rampgate.figures import bake_ends, left_to_do
from rampgate.machine.state import (
    BUDGET_OF,
    NOT_RESUMABLE,
    REFUSE_VERSION,
    ActionKind,
    Deadline,
    Due,
    HeldBy,
    Phase,
    WidenedBy,
    running,
)
from rampgate.rollout import Rollout
from rampgate.wording import clock, follows


def waiting(rollout: Rollout, looks: Sequence[Look], now: float) -> Iterator[str]:
    """What it waits for now. Nothing for a rollout that has ended."""
    state = rollout.state
    match state.phase:
        case Phase.DEPLOYING:
            yield f"**Waiting** for the deployment{_until(rollout, Deadline.DEPLOY, now)}"
        case Phase.VERIFYING:
            yield f"**Waiting** for the verification{_until(rollout, Deadline.VERIFY, now)}"
        case Phase.DARK | Phase.PROGRESSING:
            yield from _step(rollout, looks, now)
        case Phase.WAITING:
            yield f"**Waiting** for a yes: {order(rollout, 'promote')}{_until(rollout, Deadline.CONFIRM, now)}"
        case Phase.PAUSED:
            yield _paused(rollout, now)
        case Phase.COMPLETING if state.retirement_begun:
            yield f"**Waiting** for the old version to be gone{_by_other_hands(rollout, now)}"
        case Phase.COMPLETING:
            due = state.deadlines.get(Deadline.RETIRE)
            when = f" until {clock(due.at, now)}" if due else ""
            back = order(rollout, "abort")
            if rollout.plan.in_place:
                yield f"**Waiting**{when}; until then {back} still puts every target back"
                return
            yield f"**Waiting**: the old version stays warm{when}; until then {back} still goes back at once"
        case Phase.REVERTING if rollout.plan.in_place:
            yield f"**Waiting** for the targets to be put back{_by_other_hands(rollout, now)}"
        case Phase.REVERTING:
            yield f"**Waiting** for the deployment to be undone{_by_other_hands(rollout, now)}"
        case _:
            return


def _step(rollout: Rollout, looks: Sequence[Look], now: float) -> Iterator[str]:
    state = rollout.state
    look = looks[-1] if looks and looks[-1].step == state.step else None
    if look is not None and look.verdict.word is not VerdictWord.HEALTHY:
        name = BUDGET_OF.get(look.verdict.word)
        until = _lasting(rollout, name, now) if name else ""
        yield f"**Waiting**: {plain(look.verdict.text).rstrip('.')}{until}"
    elif look is not None:
        yield f"**Verdict:** {plain(look.verdict.text)}"
    if bake_ends(rollout) > now:
        yield f"**Bakes** until {clock(bake_ends(rollout), now)}"


def _paused(rollout: Rollout, now: float) -> str:
    state = rollout.state
    by = state.held_by
    who = "Held by the plan" if by is HeldBy.POLICY else "Held: the gate fell silent" if by is HeldBy.GATE_LOST else ""
    name = Deadline.HOLD if Deadline.HOLD in state.deadlines else Deadline.PAUSE
    text = plain(state.text).rstrip(".")
    said = f"{who}: {text}" if who else text
    return f"**Paused**: {said}. {order(rollout, 'resume')} goes on{_until(rollout, name, now)}"


def _until(rollout: Rollout, name: Deadline, now: float) -> str:
    return _else(rollout, running(rollout.state).get(name), "if not by", now)


def _lasting(rollout: Rollout, name: Deadline, now: float) -> str:
    return _else(rollout, running(rollout.state).get(name), "if that lasts until", now)


def _else(rollout: Rollout, due: Due | None, patience: str, now: float) -> str:
    """What follows when patience ends."""
    if due is None:
        return ""
    return f"; {patience} {clock(due.at, now)}, {follows(due.then, rollout.plan, baseline=rollout.state.baseline)}"


def _by_other_hands(rollout: Rollout, now: float) -> str:
    due = rollout.state.deadlines.get(Deadline.RETIRE)
    return f"; if not by {clock(due.at, now)}, it is left to the next run" if due else ""


def next_steps(rollout: Rollout) -> Iterator[str]:
    """What somebody can do about a rollout that was taken back."""
    state = rollout.state
    if state.phase not in (Phase.REVERTING, Phase.REVERTED, Phase.FAILED):
        return
    if state.reason in REFUSE_VERSION:
        hurry = not state.baseline or (rollout.plan.in_place and state.pending(ActionKind.UNDO))
        calm = "a fix" if hurry else "nobody has to hurry. A fix"
        again = f"{code(rollout.version, 40)} itself is refused until an {order(rollout, 'override')}"
        yield f"**Next:** {calm} is a new commit, and a new rollout; {again}"
    elif state.reason not in NOT_RESUMABLE and state.phase.is_final:
        yield "**Next:** run the job again: it takes this rollout up from its first step, with new evidence"


def still_to_say(rollout: Rollout, now: float) -> Iterator[str]:
    """Locks, hands that are missing, policies that widened, an old version that is no longer there to go back to."""
    state = rollout.state
    if state.lock is not None and state.lock.holds(now) and not state.phase.is_final:
        until = f" until {clock(state.lock.until, now)}" if state.lock.until is not None else ""
        by, scope = plain(state.lock.by, 60), f" ({plain(state.lock.scope, 300)})" if state.lock.scope else ""
        yield f"**Locked**{until} by {by}{scope}: {plain(state.lock.reason)}. Going back is still possible"
    if state.widened_by is WidenedBy.POLICY:
        yield "**Widened by the plan's policy**, not by evidence and not by a person"
    if not state.baseline:
        yield "**First deploy:** there was no stable version to compare with"
    for action in state.actions:
        if action.failed is not None:
            yield f"**Could not {action.kind} {action.arm}:** {plain(action.failed)}"
    if state.needs_hands and state.phase.is_final:
        yield f"**Left to do:** {left_to_do(rollout, code)}; the next run finishes it first"
    elif state.lease is None and not state.phase.is_final:
        then = _else(rollout, state.deadlines.get(Deadline.LEASE), "if none comes by", now)
        yield f"**No gate is driving** it{then}"
