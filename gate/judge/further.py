"""Further metrics beside the errors: each with its own counters, its own games, and its own word on being well.

Failures of another kind and latency are played as errors are, means by their own game. A metric that cannot be
compared is never taken for well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf, log

from gate.judge import harm, latency, means, promotion
from gate.judge.counters import BATCH, Batch
from gate.judge.eprocess import Stakes, sum_of_logs
from gate.judge.harm import Harm
from gate.judge.means import Means, Sums
from gate.judge.promotion import Promotion
from rampgate.criteria import Better, MetricKind, MetricSettings
from rampgate.evidence import Counters, Histogram, Measured, Moments, Sample, SourceDown, Value, VerdictReason
from rampgate.evidence import Measure as Raw
from rampgate.plan import seconds

Figures = tuple[float, ...]
"""One arm's figures, raw or risen. The first is how many were counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """What is remembered of one metric.

    ``at`` is the moment of the last reading in this step, in seconds since the epoch.
    ``stable`` and ``canary`` are the raw figures of the last reading that had them both, ``open_`` what rose since a
    batch was closed, ``here_`` what rose in this step. ``bounds`` are a histogram's, ``chosen`` those bet on, one of
    ``harms`` for each. ``fresh`` counts this step's polls with something to compare. ``trouble`` says why the last
    reading could not be used, ``down`` that its source could not be read.
    """

    at: float | None = None
    bounds: Figures = ()
    stable: Figures = ()
    canary: Figures = ()
    open_stable: Figures = ()
    open_canary: Figures = ()
    here_stable: Figures = ()
    here_canary: Figures = ()
    last_stable: Figures = ()
    last_canary: Figures = ()
    chosen: tuple[int, ...] = ()
    harms: tuple[Harm, ...] = ()
    promotion: Promotion | None = None
    means: Means = field(default_factory=Means)
    value: float | None = None
    stable_value: float | None = None
    fresh: int = 0
    trouble: str = ""
    down: VerdictReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one bet is placed under: the step, the limit to exclude there, the stakes and the cap of one batch."""

    step: int
    limit: float
    stakes: Stakes
    cap: float


def entered(metric: Further) -> Further:
    """A new step: evidence of harm goes on, everything else begins again."""
    return Further(
        bounds=metric.bounds,
        chosen=metric.chosen,
        harms=metric.harms,
        means=means.entered(metric.means),
    )


def take(
    metric: Further, settings: MetricSettings, measured: Measured | SourceDown | None, *, at: float, settled_at: float
) -> Further:
    """Difference one reading with the last. Nothing from before ``settled_at`` counts: no interval spans two steps.

    ``at`` is the reading's moment, which stands for the metric's where that has none of its own. Both are seconds.
    """
    metric = replace(metric, last_stable=(), last_canary=(), value=None, stable_value=None, trouble="", down=None)
    if isinstance(measured, SourceDown):
        return replace(metric, trouble=measured.text, down=measured.reason)
    if measured is None or measured.stable is None or measured.canary is None:
        return replace(metric, trouble="the source has no figures for both arms")
    before, moment = metric.at, at if measured.at is None else measured.at
    if before is not None and moment <= before:
        return metric
    metric = replace(metric, at=moment)
    if settings.kind is MetricKind.VALUE:
        return _valued(metric, measured)
    stable, canary = _figures(measured.stable, settings.kind), _figures(measured.canary, settings.kind)
    if stable is None or canary is None:
        return replace(
            metric, stable=(), canary=(), trouble="its figures contradict themselves, or are of another kind"
        )
    if isinstance(measured.stable, Histogram) and isinstance(measured.canary, Histogram):
        if measured.stable.bounds != measured.canary.bounds or metric.bounds not in ((), measured.stable.bounds):
            return replace(
                metric, stable=(), canary=(), trouble="the arms have different buckets, or they have changed"
            )
        metric = replace(metric, bounds=measured.stable.bounds)
        if not metric.chosen:
            # From what stable had counted before this interval, so that no bet looks at its own outcome.
            known = metric.stable or stable
            metric = replace(metric, chosen=latency.choose(int(known[0]), [int(one) for one in known[1:]]))
    before_stable, before_canary = metric.stable, metric.canary
    metric = replace(metric, stable=stable, canary=canary)
    if before is None or before < settled_at or not before_stable or not before_canary:
        return metric
    risen = _risen(before_stable, stable, settings.kind), _risen(before_canary, canary, settings.kind)
    if risen[0] is None or risen[1] is None:
        return replace(metric, trouble="a counter began again: this interval is dropped for both arms")
    return replace(
        metric,
        last_stable=risen[0],
        last_canary=risen[1],
        open_stable=_plus(metric.open_stable, risen[0]),
        open_canary=_plus(metric.open_canary, risen[1]),
        here_stable=_plus(metric.here_stable, risen[0]),
        here_canary=_plus(metric.here_canary, risen[1]),
        fresh=metric.fresh + (risen[1][0] > 0),
    )


def _valued(metric: Further, measured: Measured) -> Further:
    if not isinstance(measured.stable, Value) or not isinstance(measured.canary, Value):
        return replace(metric, trouble="the source gives no plain values")
    value, stable = measured.canary.value, measured.stable.value
    return replace(metric, value=value, stable_value=stable, fresh=metric.fresh + 1)


def _figures(raw: Raw, kind: MetricKind) -> Figures | None:
    """Raw figures of the kind that the plan names; ``None`` for what cannot be."""
    match raw, kind:
        case Counters(requests=n, errors=x), MetricKind.ERRORS:
            return (n, x) if 0 <= x <= n else None
        case Counters(requests=n, errors=x), MetricKind.COUNT:
            return (n, x) if n >= 0 and x >= 0 else None
        case Histogram() as spread, MetricKind.LATENCY:
            return (spread.total, *spread.counts) if latency.is_sound(spread) else None
        case Moments(count=n, sum=total, squares=squares), MetricKind.MEAN:
            return (n, total, squares) if n >= 0 and abs(total) < inf and 0.0 <= squares < inf else None
    return None


def _risen(before: Figures, now: Figures, kind: MetricKind) -> Figures | None:
    """What was added; ``None`` where a counter fell, or less rose than what it is a part of."""
    if len(before) != len(now):
        return None
    risen = tuple(late - early for early, late in zip(before, now, strict=True))
    if kind is MetricKind.MEAN:
        n, total, squares = risen
        sound = n >= 0 and squares >= 0 and (n > 0 or total == 0) and total**2 <= n * squares * (1 + 1e-6) + 1e-9
    elif kind is MetricKind.LATENCY:
        spread = (0.0, *risen[1:], risen[0])
        sound = all(low <= high for low, high in pairwise(spread))
    elif kind is MetricKind.COUNT:
        sound = min(risen) >= 0
    else:
        sound = 0 <= risen[1] <= risen[0]
    return risen if sound else None


def _plus(first: Figures, second: Figures) -> Figures:
    return tuple(map(sum, zip(first, second, strict=True))) if first else second


def weigh(metric: Further, settings: MetricSettings, terms: Terms) -> Further:
    """Bet, if what is open makes a batch."""
    stable, canary = metric.open_stable, metric.open_canary
    if not stable or not canary or settings.kind is MetricKind.VALUE:
        return metric
    if settings.kind is MetricKind.MEAN:
        return _weigh_means(metric, settings, terms)
    if stable[0] < 1 or canary[0] < 1 or stable[0] + canary[0] < BATCH:
        return metric
    metric = replace(metric, open_stable=(), open_canary=())
    batches = [_batch(*_by_harm(stable, canary, settings), place) for place in _places(metric, settings)]
    if not batches:
        return metric
    harms = metric.harms or (Harm(),) * len(batches)
    well = metric.promotion or Promotion(limit=terms.limit)
    return replace(
        metric,
        # The bound that most requests exceed says most about the rest of them.
        promotion=promotion.seen(well, batches[0], harms[0].dispersion.factor),
        harms=tuple(
            harm.weigh(
                one,
                batch,
                margin=settings.margin,
                floor=settings.floor,
                stakes=terms.stakes,
                step=terms.step,
                cap=terms.cap,
            )
            for one, batch in zip(harms, batches, strict=True)
        ),
    )


def _weigh_means(metric: Further, settings: MetricSettings, terms: Terms) -> Further:
    stable, canary = _by_harm(metric.open_stable, metric.open_canary, settings)
    if stable[0] < means.LEAST or canary[0] < means.LEAST:
        return metric
    weighed = means.weigh(
        metric.means,
        Sums(count=int(canary[0]), total=canary[1], squares=canary[2]),
        Sums(count=int(stable[0]), total=stable[1], squares=stable[2]),
        margin=settings.margin,
        limit=max(terms.limit, settings.margin),
        stakes=terms.stakes,
        step=terms.step,
        cap=terms.cap,
    )
    return replace(metric, means=weighed, open_stable=(), open_canary=())


def _by_harm(stable: Figures, canary: Figures, settings: MetricSettings) -> tuple[Figures, Figures]:
    """The arm that should have less, and the one suspected of more. Where more is good, that one is stable.

    "Stable has at most ``margin`` times the canary's" is the same claim with the arms exchanged, and as exact.
    """
    return (stable, canary) if settings.better is Better.LOWER else (canary, stable)


def _places(metric: Further, settings: MetricSettings) -> tuple[int, ...]:
    """Which of the figures are played: the failures themselves, or what exceeds each chosen bound."""
    return tuple(number + 1 for number in metric.chosen) if settings.kind is MetricKind.LATENCY else (0,)


def _batch(stable: Figures, canary: Figures, place: int) -> Batch:
    def sample(figures: Figures) -> Sample:
        failed = figures[1] if place == 0 else figures[0] - figures[place]
        return Sample(requests=int(figures[0]), errors=int(failed))

    return Batch(stable=sample(stable), canary=sample(canary))


def log_e(metric: Further, settings: MetricSettings, *, guarded: bool = True) -> float:
    """ln E, the evidence of harm by this metric: the mean over its bounds. 0 before anything was bet."""
    if settings.kind is MetricKind.MEAN:
        return metric.means.harm.log_e if guarded else metric.means.harm.raw
    if not metric.harms:
        return 0.0
    return sum_of_logs(one.log_e if guarded else one.raw for one in metric.harms) - log(len(metric.harms))


def is_well(metric: Further, settings: MetricSettings, *, beta: float, last: bool, polls: int) -> bool:
    """Whether the metric keeps no step from being left: it is there, and the step's limit is excluded by it.

    The last step asks for no new proof, only for figures.
    """
    if metric.trouble or metric.fresh < polls:
        return False
    if last or settings.kind is MetricKind.VALUE:
        return True
    if settings.kind is MetricKind.MEAN:
        return metric.means.well.raw >= -log(beta)
    if settings.kind is MetricKind.LATENCY and not metric.chosen:
        return False
    return metric.promotion is not None and promotion.is_well(metric.promotion, settings.floor, beta)


def figures(metric: Further, settings: MetricSettings) -> Mapping[str, float] | None:
    """What a fixed limit may name of the last interval; nothing (but not ``None``) without requests in it."""
    if metric.trouble:
        return None
    if settings.kind is MetricKind.VALUE:
        found = {"result": metric.value, "stable": metric.stable_value}
        return {name: value for name, value in found.items() if value is not None}
    here, stable = metric.last_canary, metric.last_stable
    if not here or here[0] <= 0:
        return {}
    found = {"requests": here[0], "result": _figure(metric, here, settings.kind)}
    found["stable"] = _figure(metric, stable, settings.kind) if stable[0] > 0 else None
    if settings.kind is MetricKind.LATENCY:
        found |= {f"p{part}": _quantile(metric, here, part) for part in (50, 90, 95, 99)}
    return {name: value for name, value in found.items() if value is not None}


def _figure(metric: Further, here: Figures, kind: MetricKind) -> float | None:
    return _quantile(metric, here, 99) if kind is MetricKind.LATENCY else here[1] / here[0]


def _quantile(metric: Further, here: Figures, part: int) -> float | None:
    return latency.quantile(metric.bounds, [int(one) for one in here[1:]], int(here[0]), part / 100)


def sentence(metric: Further, settings: MetricSettings) -> str:
    """Both arms in this step, in words."""
    stable, canary = metric.here_stable, metric.here_canary
    if metric.trouble or not stable or not canary or min(stable[0], canary[0]) <= 0:
        return f"{settings.name}: {metric.trouble or 'nothing to compare yet'}"
    if settings.kind in (MetricKind.MEAN, MetricKind.COUNT):
        each = "" if settings.kind is MetricKind.MEAN else " a request"
        mine, its = f"{canary[1] / canary[0]:.4g}{each}", f"{stable[1] / stable[0]:.4g}{each}"
        return f"{settings.name}: {mine} on the canary against {its} on stable"
    place = _worst(metric) if settings.kind is MetricKind.LATENCY else 0
    what = f"{settings.name}" if place == 0 else f"{settings.name} above {_time(metric.bounds[place - 1])}"
    batch = _batch(stable, canary, place)
    return f"{what}: {_part(batch.canary)} on the canary against {_part(batch.stable)} on stable"


def _time(bound: float) -> str:
    return seconds(bound) if bound >= 0.001 else f"{1000 * bound:g}ms"


def _worst(metric: Further) -> int:
    if not metric.harms:
        return (metric.chosen or (0,))[0] + 1
    return max(zip(metric.harms, metric.chosen, strict=True), key=lambda pair: pair[0].log_e)[1] + 1


def _part(sample: Sample) -> str:
    return f"{100 * sample.errors / sample.requests:.2g} % ({sample.errors} of {sample.requests})"
