"""What a rollout is judged by: the judge's constants, the metrics beside the errors, and fixed limits.

Fixed when the rollout starts: a criterion that moves with the data is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rampgate.problem import Problem
from rampgate.wire import STRICT

ERRORS, TRAFFIC = "errors", "traffic"
"""What the two parts of the evidence are called that every rollout has."""


class MetricKind(StrEnum):
    """What a further metric is made of.

    Failures of requests, events that requests have any number of, a histogram, a mean, or a value for limits alone.
    """

    ERRORS = "errors"
    COUNT = "count"
    LATENCY = "latency"
    MEAN = "mean"
    VALUE = "value"


class Better(StrEnum):
    """Which way a metric is good."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """A further metric beside the errors.

    ``margin`` is the largest harmless ratio, worse arm to better: of failures, of events, of requests slower than a
    bound, of means. ``floor`` is the rate below which nothing is reverted. ``weight`` is its part of what the metrics
    share. ``better``: where more of it is good, a canary that has less is worse.
    """

    __pydantic_config__ = STRICT

    name: str
    kind: MetricKind
    margin: float = 1.25
    floor: float = 0.001
    weight: float = 1.0
    better: Better = Better.LOWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A fixed limit, beside the test and never instead of it: what the canary's own figures must not do.

    ``metric`` is ``errors`` or a further metric's name. ``success`` and ``failure`` are conditions, such as
    ``result <= 0.02``; with both, a measurement that meets neither is inconclusive. The counts are how many
    measurements of each kind are tolerated in all (errors: in a row).
    """

    __pydantic_config__ = STRICT

    metric: str = "errors"
    success: str | None = None
    failure: str | None = None
    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """The judge's constants, fixed for the whole rollout.

    ``alpha`` bounds the chance to revert a healthy release; ``margin`` is the largest harmless ratio of error
    rates; ``floor`` the error rate below which nothing is reverted; ``beta`` the chance to call a canary healthy
    that is at the limit; ``exclude`` the ratio that must be excluded to leave a step, for the first step and
    for the later ones; ``min_polls`` the fewest polls of a step before it may be left. ``metrics`` are judged beside
    the errors, ``limits`` hold besides; ``strict`` refuses a plan that cannot see what its margin promises.
    """

    __pydantic_config__ = STRICT

    alpha: float = 0.05
    beta: float = 0.05
    margin: float = 1.2
    floor: float = 0.001
    exclude: tuple[float, float] = (3.0, 1.5)
    min_polls: int = 5
    min_intervals: int = 2
    metrics: tuple[MetricSettings, ...] = ()
    limits: tuple[Limit, ...] = ()
    strict: bool = False


JUDGE_BOUNDS: Mapping[str, tuple[float, float]] = {
    "alpha": (1e-6, 0.5),
    "beta": (1e-6, 0.5),
    "margin": (1, 10),
    "floor": (0, 0.5),
    "weight": (1e-3, 1e3),
    "exclude": (1.01, 100),
    "minPolls": (1, 1000),
    "minIntervals": (1, 1000),
}
"""Between which figures the judge is a judge: outside of them it never reverts, or never lets anything go on."""


def criteria_problems(judge: JudgeSettings) -> Iterator[Problem]:
    """Everything that makes a judge none; nothing for good settings."""
    for name, value in (
        ("alpha", judge.alpha),
        ("beta", judge.beta),
        ("margin", judge.margin),
        ("floor", judge.floor),
        ("minPolls", judge.min_polls),
        ("minIntervals", judge.min_intervals),
    ):
        yield from _bounded(name, name, value)
    for number, ratio in enumerate(judge.exclude):
        yield from _bounded(f"exclude[{number}]", "exclude", ratio)
    for number, metric in enumerate(judge.metrics):
        for name, value in (("margin", metric.margin), ("floor", metric.floor), ("weight", metric.weight)):
            yield from _bounded(f"metrics[{number}].{name}", name, value)
    names = [ERRORS, TRAFFIC, *(metric.name for metric in judge.metrics)]
    for number, metric in enumerate(judge.metrics):
        if metric.name in names[: number + 2]:
            yield Problem(f"metrics[{number}].name", repr(metric.name), "a name of its own, for reports and limits")
    for number, limit in enumerate(judge.limits):
        if limit.metric == TRAFFIC or limit.metric not in names:
            known = ", ".join(one for one in names if one != TRAFFIC)
            yield Problem(f"limits[{number}].metric", repr(limit.metric), f"one of {known}")


def _bounded(path: str, name: str, value: float) -> Iterator[Problem]:
    low, high = JUDGE_BOUNDS[name]
    if not low <= value <= high:
        yield Problem(path, f"{value:g}", f"a number from {low:g} to {high:g}")
