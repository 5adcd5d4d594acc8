"""What was seen of the two arms, and the judge's word on it.

Values only: nothing here reads a source, a clock or a plan. A *reading* is what a metrics source answered, in raw
cumulative counters; a *sample* is one arm's increment over one interval; a *look* is both samples of one interval
and what the judge made of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rampgate.wire import STRICT


class ArmName(StrEnum):
    """The two sides of a comparison."""

    STABLE = "stable"
    CANARY = "canary"


class Outcome(StrEnum):
    """How one request ended."""

    OK = "ok"
    ERROR = "error"


class VerdictWord(StrEnum):
    """The judge's word on a step. ``inconclusive`` is valid data, but not enough of it yet."""

    HEALTHY = "healthy"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"
    NO_TRAFFIC = "no_traffic"
    SOURCE_DOWN = "source_down"


class VerdictReason(StrEnum):
    """Why the judge said so: a closed list, each with a row in docs/reasons.md."""

    VERIFIED = "verified"
    NOT_WORSE = "not_worse"
    BAKED = "baked"
    COLLECTING = "collecting"
    BOTH_ARMS_BAD = "both_arms_bad"
    HARM_BUILDING = "harm_building"
    ERRORS_HIGHER = "errors_higher"
    METRIC_WORSE = "metric_worse"
    LIMIT_EXCEEDED = "limit_exceeded"
    LIMIT_UNCLEAR = "limit_unclear"
    TRAFFIC_MISSING = "traffic_missing"
    NO_TRAFFIC = "no_traffic"
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_UNREADABLE = "source_unreadable"
    SOURCE_EMPTY = "source_empty"
    SLOT_DOWN = "slot_down"
    NOT_CONFIRMED = "not_confirmed"
    HOOK_FAILED = "hook_failed"
    ROLLBACK_ASKED = "rollback_asked"


SAID_BY_HOOKS = frozenset({VerdictReason.NOT_CONFIRMED, VerdictReason.HOOK_FAILED, VerdictReason.ROLLBACK_ASKED})
"""Reasons that hooks give, over the judge's own: no reading replays to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One arm's raw counters as a source keeps them: they only rise, except when the source restarts.

    ``active_users`` and ``affected_users`` (with at least one error) sum up how many different users each interval
    had; a user is counted again in a later interval, and never twice in one.
    """

    __pydantic_config__ = STRICT

    requests: int
    errors: int
    active_users: int | None = None
    affected_users: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How long one arm's requests took: ``counts[i]`` at most ``bounds[i]`` seconds (they rise), of ``total``."""

    __pydantic_config__ = STRICT

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A quantity's raw sums in one arm: how many values, their sum, and the sum of their squares."""

    __pydantic_config__ = STRICT

    count: int
    sum: float
    squares: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A figure that the source works out by itself. A fixed limit can be held to it; it is no evidence for the test."""

    __pydantic_config__ = STRICT

    value: float


Measure = Counters | Histogram | Moments | Value
"""One arm's part of a further metric. As counters, ``errors`` may be events, of which requests have any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A further metric of both arms, raw and cumulative like the counters. ``None``: no such series.

    ``at`` is the moment its figures go up to, where that is not the reading's own: sources are late in their own ways.
    """

    __pydantic_config__ = STRICT

    stable: Measure | None
    canary: Measure | None
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDown:
    """A source that could not be read: why, in one sentence that holds no secret."""

    __pydantic_config__ = STRICT

    at: float
    reason: VerdictReason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Both arms' counters, read at one moment ``at`` (seconds since the epoch). ``None``: no such series.

    ``metrics`` are further ones by their names in the plan, read up to the same moment, or why they were not.
    """

    __pydantic_config__ = STRICT

    at: float
    stable: Counters | None
    canary: Counters | None
    metrics: Mapping[str, Measured | SourceDown] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One arm's increment over one interval."""

    __pydantic_config__ = STRICT

    requests: int
    errors: int
    active_users: int | None = None
    affected_users: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judge's word, and the figures behind it.

    ``log_e`` is the evidence of harm in nats, ``threshold`` what it must reach to revert; ``excluded`` is the
    smallest ratio of error rates, canary to stable, that this step's data exclude at 1 - beta (``None``: none yet);
    ``no_harm`` is true while the data speak against harm (E < 1, the burst guard left aside), which a policy may
    ask for; ``culprit`` names what regressed (``errors``, ``traffic``, or a further metric by its name), or the hook
    that holds it.
    """

    __pydantic_config__ = STRICT

    word: VerdictWord
    reason: VerdictReason
    text: str
    log_e: float = 0.0
    threshold: float = 0.0
    excluded: float | None = None
    no_harm: bool = False
    culprit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One poll: the samples of both arms in the interval that ends ``at``, and the verdict on all seen so far.

    ``step`` counts from 1 (0 is the dark step) and ``share`` is the canary's share in 1/100 000 of all users.
    ``stable`` and ``canary`` are ``None`` where the interval was dropped or could not be read. ``settled_at`` is
    the moment from which traffic counted for the step. The reading is kept raw, so that the looks of a rollout replay
    to the same verdicts.
    """

    __pydantic_config__ = STRICT

    at: float
    step: int
    share: int
    reading: Reading | SourceDown | None
    stable: Sample | None
    canary: Sample | None
    verdict: Verdict
    settled_at: float = 0.0
