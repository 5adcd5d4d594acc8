"""A rollout in one plain line of at most 140 characters: a deployment's description, a commit status. No Markdown."""

from collections.abc import Sequence

from gate.foreign import cut, harmless
from rampgate import figures
from rampgate.evidence import Look
from rampgate.machine.state import ActionKind, Deadline, Phase, running
from rampgate.rollout import Entry, Rollout
from rampgate.wording import clock, count, one_line

LONGEST = 140
"""Characters that GitHub takes in a description."""


def short(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float) -> str:
    """Where a rollout stands, such as ``10 % since 12:03, 3/2 000 errors``.

    Args:
        rollout: as the flag server last told it.
        looks: of this attempt, oldest first.
        entries: the rollout's history, oldest first.
        now: seconds since the epoch, on the flag server's clock.
    """
    return cut(harmless(one_line(_said(rollout, looks, entries, now), 400)), LONGEST)


def waited(count: int) -> str:
    """What a sweep found."""
    if not count:
        return "Nothing waits for hands."
    return "1 rollout waited for hands." if count == 1 else f"{count} rollouts waited for hands."


def _said(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float) -> str:
    state = rollout.state
    match state.phase:
        case Phase.DEPLOYING | Phase.VERIFYING | Phase.DARK if rollout.plan.in_place:
            return f"Is next; every target runs the old version{_until(rollout, now)}"
        case Phase.DEPLOYING:
            return "Being deployed; nobody is sent there yet"
        case Phase.VERIFYING:
            return "Being verified; nobody is sent there yet"
        case Phase.DARK:
            return f"Up and dark; nobody is sent there yet{_until(rollout, now)}"
        case Phase.PROGRESSING:
            return _ramp(rollout, looks, entries, now)
        case Phase.WAITING:
            return f"Waits for a yes{_until(rollout, now)}: {_ramp(rollout, looks, entries, now)}"
        case Phase.PAUSED:
            return f"Paused{_until(rollout, now)}: {_ramp(rollout, looks, entries, now)}"
        case Phase.COMPLETING:
            return f"{_everybody(rollout)} is on it; the old version {_warm(rollout, now)}"
        case Phase.PROMOTED:
            return f"{_everybody(rollout)} is on it since {_since(rollout, entries, now)}"
        case Phase.SUPERSEDED:
            return "Made way for a newer rollout"
        case _:
            return _back(rollout)


def _ramp(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], now: float) -> str:
    last = figures.of_this_step(looks)
    share = figures.people_read(rollout, now, clock(figures.bake_ends(rollout), now))
    share = "Switched over" if rollout.plan.switches else share
    here = f"{share} since {_since(rollout, entries, now)}"
    if not last or last[-1].step != rollout.state.step:
        return here
    found = figures.figures(last)
    stable = f"{count(found.stable.errors)}/{count(found.stable.requests)}"
    return f"{here}, {count(found.canary.errors)}/{count(found.canary.requests)} errors (stable {stable})"


def _since(rollout: Rollout, entries: Sequence[Entry], now: float) -> str:
    return clock(figures.entered(rollout, entries).get(rollout.state.step, rollout.state.entered_at), now)


def _until(rollout: Rollout, now: float) -> str:
    runs = running(rollout.state)
    due = next((runs[name] for name in (Deadline.CONFIRM, Deadline.PAUSE, Deadline.HOLD) if name in runs), None)
    return f" until {clock(due.at, now)}" if due else ""


def _warm(rollout: Rollout, now: float) -> str:
    due = rollout.state.deadlines.get(Deadline.RETIRE)
    if rollout.state.retirement_begun or due is None:
        return "is being retired"
    return f"{'can be put back' if rollout.plan.in_place else 'stays warm'} until {clock(due.at, now)}"


def _back(rollout: Rollout) -> str:
    why = rollout.state.text or str(rollout.state.reason)
    if not rollout.state.baseline:
        return f"Taken back, and nothing was there before: {why}"
    if rollout.state.phase is Phase.FAILED:
        return f"Never got to users: {why}"
    stable = one_line(rollout.stable.version or "the stable version", 20)
    put_back = rollout.plan.in_place and rollout.state.pending(ActionKind.UNDO)
    return f"{'Targets go back to' if put_back else 'Back on'} {stable}: {why}"


def _everybody(rollout: Rollout) -> str:
    return "Every target" if rollout.plan.in_place else "Everybody"
