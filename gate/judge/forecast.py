"""What a plan will be able to see, before it starts: from the traffic there is, and no more than that.

Expected evidence and its scatter, by the formulas of `harm` and `promotion`; errors are taken to be independent and
to stay at their rate. docs/forecast.md compares it with simulations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, log, log1p, sqrt

from gate.judge.alone import DRIFT
from gate.judge.evidence import ALONE, BASELINE, TOGETHER
from gate.judge.promotion import ABSOLUTE, RELATIVE
from rampgate.criteria import JudgeSettings, MetricKind
from rampgate.evidence import VerdictWord
from rampgate.plan import WHOLE, RolloutPlan, percent, seconds
from rampgate.problem import Problem

CHANCE = 0.8
"""The chance at which something counts as seen."""

_QUANTILE = 0.8416
"""Standard deviations that four fifths of a normal distribution stay above the mean less so many of."""

PRICE = 1.0
"""Nats that not knowing the effect costs: the mixture, restarts, and polls that come late."""

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSeen:
    """What goes on now: requests of all users per second, and the part of them that fails."""

    per_second: float
    error_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepForecast:
    """One step: seconds until a regression of each ratio is seen, and until the step's limit can be excluded.

    ``limit`` is ``None`` in the last step, which asks for no proof. ``blind`` is the smallest of the ratios that is not
    seen, with `CHANCE`, within the step's bake; ``excludable`` the smallest ratio that can be excluded within it.
    ``bake`` is the planned one, ``suggested`` what it takes.
    """

    step: int
    share: int
    seen: tuple[tuple[float, float], ...]
    limit: float | None
    excluded: float
    excludable: float | None
    bake: float
    suggested: float

    @property
    def blind(self) -> float | None:
        """The largest tried ratio that is not seen within the bake."""
        return max((ratio for ratio, after in self.seen if after > max(self.bake, 0.0)), default=None)


def forecast(plan: RolloutPlan, traffic: TrafficSeen) -> tuple[StepForecast, ...]:
    """Every step of a plan, under this traffic."""
    return tuple(_step(plan, number, traffic) for number in range(1, plan.last + 1))


def _step(plan: RolloutPlan, number: int, traffic: TrafficSeen) -> StepForecast:
    step, last = plan.step(number), number == plan.last
    share = min(step.share, WHOLE - plan.hold_back) if last else step.share
    limit = None if last else plan.judge.exclude[0 if number == 1 else 1]
    least = plan.judge.min_polls * plan.poll
    excluded = inf if limit is None else _in_polls(exclusion_time(plan.judge, traffic, share, limit), plan.poll)
    bake = max(step.bake, least)
    wanted = bake if limit is None else max(excluded, least)
    return StepForecast(
        step=number,
        share=share,
        seen=tuple(
            (ratio, max(_in_polls(detection_time(plan, traffic, share, ratio), plan.poll), _fewest(plan)))
            for ratio in RATIOS
            if ratio > plan.judge.margin
        ),
        limit=limit,
        excluded=excluded,
        excludable=_excludable(plan.judge, traffic, share, bake),
        bake=step.bake,
        suggested=wanted,
    )


def _fewest(plan: RolloutPlan) -> float:
    return plan.judge.min_intervals * plan.poll


def _in_polls(after: float, poll: float) -> float:
    return ceil(after / poll - 1e-9) * poll if after < inf else inf


def detection_time(plan: RolloutPlan, traffic: TrafficSeen, share: int, ratio: float) -> float:
    """Seconds after which a canary with this ratio of error rates is reverted, with a chance of `CHANCE`."""
    judge = plan.judge
    if ratio <= judge.margin:
        return inf
    others = any(one.kind is not MetricKind.VALUE for one in judge.metrics)
    weight = (TOGETHER if others else ALONE).errors
    need = -log(judge.alpha * (1.0 if plan.hold_back else 1.0 - BASELINE)) - log(weight) + PRICE
    if share == WHOLE:
        # Nobody is left on stable: the bar is what its rate was before, twice over.
        return _reached(need, *_above(traffic, share, ratio, max(judge.floor, DRIFT * traffic.error_rate)))
    return max(
        _reached(need, *_split(traffic, share, ratio, judge.margin)),
        _reached(need, *_above(traffic, share, ratio, judge.floor)),
    )


def exclusion_time(judge: JudgeSettings, traffic: TrafficSeen, share: int, limit: float) -> float:
    """Seconds after which a healthy canary is known, with a chance of `CHANCE`, not to be at this limit."""
    need = -log(judge.beta)
    relative = _reached(need - log(RELATIVE) + PRICE, *_split(traffic, share, 1.0, limit))
    absolute = _reached(need - log(ABSOLUTE) + PRICE, *_above(traffic, share, 1.0, judge.floor, below=True))
    return min(relative, absolute)


def _split(traffic: TrafficSeen, share: int, ratio: float, against: float) -> tuple[float, float]:
    """Per second, the mean and the variance of the evidence for ``ratio`` against ``against``."""
    part = share / WHOLE
    if not 0.0 < part < 1.0 or ratio == against:
        return 0.0, 0.0
    canary = part * traffic.per_second * min(1.0, traffic.error_rate * ratio)
    stable = (1.0 - part) * traffic.per_second * traffic.error_rate
    weight, nats = part * against / (part * against + 1.0 - part), log(ratio / against)
    both = log1p(weight * (ratio / against - 1.0))
    return canary * (nats - both) - stable * both, canary * (nats - both) ** 2 + stable * both**2


def _above(traffic: TrafficSeen, share: int, ratio: float, floor: float, *, below: bool = False) -> tuple[float, float]:
    """The same for the canary's own rate against the floor, above it or below it."""
    requests, rate = share / WHOLE * traffic.per_second, min(1.0, traffic.error_rate * ratio)
    if floor <= 0.0:
        return (0.0, 0.0) if below else (inf, 0.0)
    if (rate >= floor) if below else (rate <= floor):
        return 0.0, 0.0
    nats = log(max(rate, floor * exp(-3.0)) / floor)
    return requests * (rate * nats - floor * (exp(nats) - 1.0)), requests * rate * nats**2


def _reached(need: float, mean: float, variance: float) -> float:
    """Seconds until evidence with this mean and variance per second has reached ``need``, with `CHANCE`."""
    if mean == inf:
        return 0.0
    if mean <= 0.0:
        return inf
    root = (_QUANTILE * sqrt(variance) + sqrt(_QUANTILE**2 * variance + 4.0 * mean * need)) / (2.0 * mean)
    return root**2


def _excludable(judge: JudgeSettings, traffic: TrafficSeen, share: int, bake: float) -> float | None:
    """The smallest ratio, in steps of 5 %, that a healthy canary can be told from within the bake."""
    ratio = 1.05
    while ratio <= 20.0:
        if exclusion_time(judge, traffic, share, ratio) <= bake:
            return ratio
        ratio *= 1.05
    return None


def problems(plan: RolloutPlan, traffic: TrafficSeen) -> Iterator[Problem]:
    """Why a strict plan is refused: a step that cannot exclude its limit in its bake and the budget after it."""
    for one in forecast(plan, traffic):
        budget = plan.budget(VerdictWord.INCONCLUSIVE, one.step).seconds
        if one.limit is None or one.excluded <= max(one.bake, _least(plan)) + budget:
            continue
        needed = "no time" if one.excluded == inf else seconds(float(ceil(one.excluded)))
        allowed = (
            f"a step in which ×{one.limit:g} can be excluded: with {traffic.per_second:g} requests a second, of which "
            f"{100 * traffic.error_rate:.3g} % fail, that takes {needed} at {percent(one.share)}"
        )
        yield Problem(f"steps[{one.step - 1}].bake", seconds(one.bake), allowed)


def told(steps: Sequence[StepForecast], poll: float) -> Iterator[str]:
    """A forecast in sentences, one a step."""
    for one in steps:
        seen = next(((ratio, after) for ratio, after in one.seen if ratio == 2.0), one.seen[-1] if one.seen else None)
        parts = [f"at {percent(one.share)} for {seconds(one.bake)}"]
        if seen is not None:
            parts.append(f"×{seen[0]:g} is seen {_about(seen[1])}")
        if one.blind is not None and (seen is None or one.blind != seen[0]):
            after = dict(one.seen)[one.blind]
            parts.append(f"×{one.blind:g} only {_about(after)}")
        if one.limit is not None:
            parts.append(f"×{one.limit:g}, which has to be excluded, is excluded {_about(one.excluded)}")
            if one.suggested > max(one.bake, poll):
                parts.append(f"suggested bake: {_round(one.suggested)}")
        if one.excludable is not None:
            parts.append(f"nothing under ×{one.excludable:.2f} can be excluded in that time")
        yield "; ".join(parts) + "."


def brief(plan: RolloutPlan, steps: Sequence[StepForecast], traffic: str) -> Iterator[str]:
    """The forecast in one or two lines: how soon ×2 is seen, and which steps cannot exclude what they have to."""
    seen = [
        f"{_about(dict(one.seen)[2.0]).removeprefix('in about ')} at {percent(one.share)}"
        for one in steps
        if 2.0 in dict(one.seen)
    ]
    if seen:
        yield f"With {traffic}, twice the errors are seen after about {', '.join(seen)}."
    else:
        yield f"With {traffic}, and a margin of ×{plan.judge.margin:g}, twice the errors are harmless."
    budget = plan.budget
    short = [
        f"{percent(one.share)} (×{one.limit:g}: {_round(one.excluded)})"
        for one in steps
        if one.limit is not None
        and one.excluded > max(one.bake, _least(plan)) + budget(VerdictWord.INCONCLUSIVE, one.step).seconds
    ]
    if short:
        yield f"Not to be excluded in the time planned: {', '.join(short)}."


def _least(plan: RolloutPlan) -> float:
    return plan.judge.min_polls * plan.poll


def _about(after: float) -> str:
    return "never with this traffic" if after == inf else f"in about {_round(after)}"


def _round(after: float) -> str:
    """A duration as people say it: never too short."""
    if after == inf:
        return "no bake is long enough"
    size = 1.0 if after < 120 else 60.0 if after < 7200 else 900.0
    return seconds(ceil(after / size) * size)
