"""From raw counters to samples to batches: what may be compared, and what has to be let go.

Sources count upwards and now and then start again, fall silent or contradict themselves. Nothing here looks at how
many errors there are, only at whether the figures can be: to drop what looks bad would be to choose the verdict.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from rampgate.evidence import Counters, Reading, Sample

NOTHING = Sample(requests=0, errors=0)

BATCH = 30
"""Requests of both arms that make a batch. Of smaller ones, conditioning on the requests would throw much away."""


class Gap(StrEnum):
    """Why a reading ends no interval that could be used."""

    FIRST = "first"
    LATE = "late"
    ABSENT = "absent"
    NONSENSE = "nonsense"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one reading added: both arms' samples, or why there are none.

    ``requests`` is what both arms were asked since the last reading at which traffic could be compared: stable
    and canary. It is there where a missing canary counts as none (``None``: nothing to compare).
    """

    stable: Sample | None = None
    canary: Sample | None = None
    requests: tuple[int, int] | None = None
    gap: Gap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Where the counters stood at the last reading, and what rose since both arms could last be compared.

    ``rate`` is requests per second of both arms together; it says which increments after a restart can be believed.
    """

    at: float | None = None
    stable: Counters | None = None
    canary: Counters | None = None
    open_stable: Sample = NOTHING
    open_canary: Sample = NOTHING
    open_requests: tuple[int, int] = (0, 0)
    since: float = 0.0
    rate: float | None = None


def take(tally: Tally, reading: Reading, *, anew: bool, absent_is_none: bool) -> tuple[Tally, Interval]:
    """Difference one reading with the last.

    ``anew`` starts from here (a new step, or traffic has not settled: nothing before this moment counts).
    ``absent_is_none`` says that a canary without a series has had no requests.
    """
    if tally.at is not None and reading.at <= tally.at:
        return tally, Interval(gap=Gap.LATE)
    if anew or tally.at is None:
        return _from_here(tally, reading), Interval(gap=Gap.FIRST)
    stable, canary = _rise(tally.stable, reading.stable), _rise(tally.canary, reading.canary)
    if stable is None or canary is None:
        return _from_here(tally, reading), Interval(gap=Gap.NONSENSE)
    total = stable.requests + canary.requests
    limit = 30.0 + 3.0 * (tally.rate or 0.0) * (reading.at - tally.since)
    if (_restarted(tally.stable, reading.stable) or _restarted(tally.canary, reading.canary)) and total > limit:
        return _from_here(tally, reading), Interval(gap=Gap.RESET)
    tally = replace(
        tally,
        at=reading.at,
        stable=reading.stable or tally.stable,
        canary=reading.canary or tally.canary,
        open_stable=plus(tally.open_stable, stable),
        open_canary=plus(tally.open_canary, canary),
        open_requests=(tally.open_requests[0] + stable.requests, tally.open_requests[1] + canary.requests),
    )
    return _close(tally, reading, absent_is_none)


def _close(tally: Tally, reading: Reading, absent_is_none: bool) -> tuple[Tally, Interval]:
    requests = None
    if reading.stable is not None and (reading.canary is not None or absent_is_none):
        requests, tally = tally.open_requests, replace(tally, open_requests=(0, 0))
    if reading.stable is None or reading.canary is None:
        return tally, Interval(requests=requests, gap=Gap.ABSENT)
    stable, canary = tally.open_stable, tally.open_canary
    rate = (stable.requests + canary.requests) / (reading.at - tally.since)
    rate = rate if tally.rate is None else (tally.rate + rate) / 2
    tally = replace(tally, open_stable=NOTHING, open_canary=NOTHING, since=reading.at, rate=rate)
    return tally, Interval(stable=stable, canary=canary, requests=requests)


def _from_here(tally: Tally, reading: Reading) -> Tally:
    return Tally(at=reading.at, stable=reading.stable, canary=reading.canary, since=reading.at, rate=tally.rate)


def _restarted(before: Counters | None, now: Counters | None) -> bool:
    """Whether an increment is a counter's whole value: it began again, or was not there before."""
    return now is not None and (before is None or now.requests < before.requests)


def _rise(before: Counters | None, now: Counters | None) -> Sample | None:
    """What one arm's counters rose by; nothing for an absent arm; ``None`` where that cannot be."""
    if now is None:
        return NOTHING
    if before is None or now.requests < before.requests:
        before = Counters(requests=0, errors=0, active_users=0, affected_users=0)
    rise = Sample(
        requests=now.requests - before.requests,
        errors=now.errors - before.errors,
        active_users=_difference(now.active_users, before.active_users),
        affected_users=_difference(now.affected_users, before.affected_users),
    )
    return rise if 0 <= rise.errors <= rise.requests else None


def _difference(now: int | None, before: int | None) -> int | None:
    return now - before if now is not None and before is not None and now >= before else None


def plus(first: Sample, second: Sample) -> Sample:
    """Two samples of one arm, one after the other."""
    if first == NOTHING:
        return second
    if second == NOTHING:
        return first
    return Sample(
        requests=first.requests + second.requests,
        errors=first.errors + second.errors,
        active_users=_sum(first.active_users, second.active_users),
        affected_users=_sum(first.affected_users, second.affected_users),
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return first + second if first is not None and second is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples of both arms from one step, pooled until they say something."""

    stable: Sample = NOTHING
    canary: Sample = NOTHING

    def plus(self, stable: Sample, canary: Sample) -> "Batch":
        """With one more interval."""
        return Batch(stable=plus(self.stable, stable), canary=plus(self.canary, canary))

    def of_users(self) -> "Batch | None":
        """The same batch with users in the place of requests; ``None`` where the source did not count them all.

        Users with an error, of those that were active; of the requests, where only the affected were counted: then
        what a user asks on average is taken for alike in both arms.
        """
        stable, canary = self.stable, self.canary
        if stable.affected_users is None or canary.affected_users is None:
            return None
        if stable.active_users is None or canary.active_users is None:
            exposed = stable.requests, canary.requests
        else:
            exposed = stable.active_users, canary.active_users
        if stable.affected_users > exposed[0] or canary.affected_users > exposed[1]:
            return None
        return Batch(
            stable=Sample(requests=exposed[0], errors=stable.affected_users),
            canary=Sample(requests=exposed[1], errors=canary.affected_users),
        )

    @property
    def is_full(self) -> bool:
        """Enough requests, and some in each arm. Errors have no say."""
        return self.canary.requests >= 1 and self.stable.requests >= 1 and self.is_large

    @property
    def is_large(self) -> bool:
        """Enough requests, in whichever arm."""
        return self.canary.requests + self.stable.requests >= BATCH
