"""How long the way back took, from a rollout's recorded history alone: since when users met what was bad, when they
were safe, when the deployment was undone, and when what was restored was seen up. Pure; it measures nothing itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rampgate.evidence import Look, VerdictReason, VerdictWord
from rampgate.machine.events import (
    BY_GATES,
    Cancelled,
    CarriedOut,
    DeadlinePassed,
    HookFailed,
    Judged,
    Told,
)
from rampgate.machine.moves import restoring
from rampgate.machine.state import Deadline, Phase, Verb
from rampgate.plan import seconds
from rampgate.rollout import Entry, Rollout
from rampgate.wording import clock


class Since(StrEnum):
    """What the time to safe is counted from."""

    SAMPLE = "first_bad_sample"
    ORDER = "order"
    GATE = "last_word_of_the_gate"
    DECISION = "decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """A revert's moments, in seconds since the epoch on the flag server's clock; ``None``: not yet, or never.

    ``began_at`` is what ``since`` says. At ``users_at`` everybody is on stable: where a flag moves users, when the flag
    server served it; where they follow the machines, when all were put back. Apps that were cut off then follow by
    ``cut_off_by``. ``restored_at`` is when what users are back on was looked at, and ``is_up`` what was found.
    ``exposed``: users had met the new version.
    """

    since: Since
    began_at: float
    decided_at: float
    exposed: bool
    in_place: bool
    users_at: float | None = None
    cut_off_by: float | None = None
    undone_at: float | None = None
    restored_at: float | None = None
    is_up: bool | None = None

    @property
    def time_to_safe(self) -> float | None:
        """Seconds from ``began_at`` to ``users_at``; ``None`` while users are not back, or where none had met it."""
        return self.users_at - self.began_at if self.exposed and self.users_at is not None else None


def way_back(rollout: Rollout, entries: Sequence[Entry]) -> WayBack | None:
    """The way back of this attempt; ``None`` where it was not taken back, there was no version before it, or a
    successor took it over.

    Args:
        rollout: as it stands.
        entries: its history, oldest first; looks that only repeat may be missing.
    """
    mine = [one for one in entries if one.attempt == rollout.state.attempt and one.refusal is None]
    place = next((n for n, one in enumerate(mine) if one.phase is Phase.REVERTING and one.verb is Verb.REVERT), None)
    if place is None or not rollout.state.baseline or rollout.state.phase is Phase.SUPERSEDED:
        return None
    before, decided, after = mine[:place], mine[place], mine[place + 1 :]
    met = next((one.at for one in before if one.share > 0), None)
    since, began_at = _began(before, decided, decided.at if met is None else met)
    in_place = rollout.plan.in_place
    undo, probe = restoring(rollout.plan, rollout.state)
    undone, looked = _done(after, undo), _done(after, probe)
    undone_at = undone.at if undone is not None and isinstance(undone.event, CarriedOut) else None
    return WayBack(
        since=since,
        began_at=min(began_at, decided.at),
        decided_at=decided.at,
        exposed=met is not None,
        in_place=in_place,
        users_at=undone_at if in_place else decided.at,
        cut_off_by=None if in_place else decided.at + rollout.plan.stale_after,
        undone_at=undone_at,
        restored_at=looked.at if looked is not None else None,
        is_up=isinstance(looked.event, CarriedOut) if looked is not None else None,
    )


def _done(after: Sequence[Entry], number: int | None) -> Entry | None:
    """The last word of hands on an action."""
    for one in reversed(after):
        if isinstance(one.event, CarriedOut | HookFailed) and one.event.action == number:
            return one
    return None


def _began(before: Sequence[Entry], decided: Entry, met: float) -> tuple[Since, float]:
    """What to count from, given when users first ``met`` it."""
    looks = [one.event.look for one in before if isinstance(one.event, Judged) and one.event.look.share > 0]
    match decided.event:
        case Judged(look=look):
            return Since.SAMPLE, _first_bad(looks, look, met)
        case Told() | Cancelled():
            return Since.ORDER, decided.at
        case DeadlinePassed(what=Deadline.LEASE):
            return Since.GATE, next((one.at for one in reversed(before) if isinstance(one.event, BY_GATES)), met)
        case DeadlinePassed(what=Deadline.BUDGET_SOURCE_DOWN):
            return Since.SAMPLE, _run_began(looks, lambda look: look.verdict.word is VerdictWord.SOURCE_DOWN, met)
        case DeadlinePassed(what=Deadline.BUDGET_NO_TRAFFIC):
            return Since.SAMPLE, _run_began(looks, lambda look: look.verdict.word is VerdictWord.NO_TRAFFIC, met)
        case _:
            return Since.DECISION, decided.at


_BUILDS_UP = {
    VerdictReason.LIMIT_EXCEEDED: frozenset({VerdictReason.LIMIT_UNCLEAR}),
    VerdictReason.SLOT_DOWN: frozenset({VerdictReason.SLOT_DOWN}),
    VerdictReason.HOOK_FAILED: frozenset({VerdictReason.HOOK_FAILED}),
    VerdictReason.ROLLBACK_ASKED: frozenset(),
}
"""Harm that is not weighed but counted: what the looks before it say."""


def _first_bad(looks: Sequence[Look], last: Look, met: float) -> float:
    """When the first sample began that belongs to the harm which the ``last`` look found."""
    if last.verdict.word is not VerdictWord.REGRESSED:
        return last.at
    builds_up = _BUILDS_UP.get(last.verdict.reason)
    if builds_up is not None:
        return _run_began([*looks, last], lambda look: look is last or look.verdict.reason in builds_up, met)
    # Evidence adds up, so it was at its lowest when the last sample ended that still spoke against harm.
    lows = [0.0, *(look.verdict.log_e for look in looks)]
    lowest = max(range(len(lows)), key=lambda place: (-lows[place], place))
    # The burst guard keeps one bad sample out of the evidence: it is seen by what is suspected.
    if lowest and not looks[lowest - 1].verdict.no_harm:
        lowest -= 1
    return looks[lowest - 1].at if lowest else met


def _run_began(looks: Sequence[Look], belongs: Callable[[Look], bool], met: float) -> float:
    """When the first sample began of the unbroken run of such looks at the end."""
    for place in range(len(looks) - 1, -1, -1):
        if not belongs(looks[place]):
            return looks[place].at
    return met


def told(way: WayBack, now: float) -> tuple[tuple[str, str], ...]:
    """A way back in sentences, each a lead and a text: what can be said at ``now``, without anybody's own text."""
    if not way.exposed:
        return (("Time to safe", "none, as no user had met it"), *_restored(way, now))
    began = f"{_SINCE[way.since]} ({clock(way.began_at, now, exact=True)})"
    if way.users_at is None:
        text = f"not over: users are on some targets still, {_lasted(now - way.began_at)} after {began}"
        return (("Time to safe", text), *_restored(way, now))
    end = "every target being put back" if way.in_place else "stable for everybody"
    cut_off = ""
    if way.cut_off_by is not None:
        cut_off = f"; apps that were cut off then: by {clock(way.cut_off_by, now, exact=True)}"
    at = clock(way.users_at, now, exact=True)
    text = f"{_lasted(way.users_at - way.began_at)}, from {began} to {end} ({at}){cut_off}"
    return (("Time to safe", text), *_restored(way, now))


_SINCE = {
    Since.SAMPLE: "the first bad sample",
    Since.ORDER: "the order",
    Since.GATE: "the gate's last word",
    Since.DECISION: "the decision",
}


def _restored(way: WayBack, now: float) -> tuple[tuple[str, str], ...]:
    parts = []
    if way.undone_at is not None and not way.in_place:
        parts.append((way.undone_at, "the new version was undone"))
    if way.restored_at is not None:
        parts.append((way.restored_at, f"stable was {'seen up' if way.is_up else 'not seen up'}"))
    said = ", ".join(f"{text} at {clock(at, now, exact=True)}" for at, text in sorted(parts))
    return (("Restored", said),) if said else ()


def _lasted(duration: float) -> str:
    return seconds(round(duration) if duration >= 1 else round(max(duration, 0.0), 2))
