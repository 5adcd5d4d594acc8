"""Asks every source before anything is released, and says what would keep the judge from judging.

It decides nothing about a version. What a source answers today is compared with what it must be able to tell apart.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import product

from gate.config import Config, FurtherMetric
from gate.errors import PreflightError
from gate.judge import latency, limits
from gate.metrics import FlagServerOptions, Means, Options, Question, build
from gate.metrics.keys import AbsentErrors
from rampgate.criteria import ERRORS, JudgeSettings, Limit, MetricKind
from rampgate.evidence import Counters, Histogram, Measure, Moments, SourceDown
from rampgate.plan import seconds
from rampgate.rollout import Slot, Slots

NOBODY = "rampgate-preflight-nobody-runs-this"
"""A version, and a slot, that no series can have."""

FEW = 30
"""Requests below which nothing is made of how many of them failed."""


class Grade(StrEnum):
    """How grave a finding is. A refusal keeps the judge from judging; a remark is for a person to look at."""

    REFUSED = "refused"
    REMARK = "remark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found, at a path of the configuration."""

    path: str
    grade: Grade
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def preflight(config: Config, means: Means, slots: Slots, *, version: str | None, now: float) -> tuple[Finding, ...]:
    """Run every query, and find what is wrong with the answers.

    Args:
        config: the configuration.
        means: what sources may use.
        slots: the flag's two slots, and what they hold.
        version: the version that is to be released, if it is known.
        now: the moment to ask about, in seconds since the epoch.
    """
    question = Question(
        rollout_id="preflight",
        flag=config.plan.flag,
        environment=config.plan.environment,
        attempt=1,
        stable=slots.stable,
        canary=Slot(name=slots.idle.name, version=version or NOBODY),
        since=now,
        at=now,
    )
    found: list[Finding] = []
    for index, options in enumerate(config.metrics):
        # The flag server counts by rollout: before one there is nothing to ask, and nothing to get wrong.
        if not isinstance(options, FlagServerOptions):
            found += _source(options, means, question, f"metrics[{_place(config, index)}]")
    histograms: dict[str, Histogram] = {}
    for metric in config.further:
        if not isinstance(metric.options, FlagServerOptions):
            found += _further(metric, means, question, histograms)
    found += _limits(config.plan.judge, histograms)
    return tuple(found)


def _place(config: Config, index: int) -> int:
    """Where the errors stand in the file's list."""
    given = config.document.get("metrics", ())
    return next((place for place, one in enumerate(given) if isinstance(one, dict) and "errors" in one), index)


def checked(config: Config, where: str, means: Means, slots: Slots | None, version: str | None = None) -> list[str]:
    """Run the preflight, and return what it remarks, in sentences.

    ``where`` is the configuration's name in messages; ``slots`` are ``None`` for a flag that was never released.

    Raises:
        PreflightError: something keeps the judge from judging.
    """
    if slots is None or slots.stable.version is None:
        return ["No version is known to be stable, so there is nothing to ask the sources about yet."]
    found = preflight(config, means, slots, version=version, now=time.time())
    remarks = [str(one) for one in found if one.grade is Grade.REMARK]
    if refused := tuple(str(one) for one in found if one.grade is Grade.REFUSED):
        raise PreflightError(where, (*refused, *remarks))
    return remarks


def _source(options: Options, means: Means, question: Question, path: str) -> Iterator[Finding]:
    reading = build(options, means).read(question)
    if isinstance(reading, SourceDown):
        yield _refused(path, reading.text)
        return
    who = f"slot {question.stable.name}, version {question.stable.version or 'unknown'}"
    if reading.stable is None:
        text = f"no data for the stable arm ({who}), though there are some for the other: is it labelled so?"
        yield _refused(path, text)
        return
    yield from _labels(options, means, question, path)
    yield from _counts(options, means, question, reading.stable, path)


def _labels(options: Options, means: Means, question: Question, path: str) -> Iterator[Finding]:
    """Whether a version that nobody runs is told from one that has traffic."""
    nobody = replace(question, canary=Slot(name=NOBODY, version=NOBODY))
    reading = build(options, means).read(nobody)
    if isinstance(reading, SourceDown) or reading.canary is None:
        return
    if reading.canary.requests > 0:
        text = f"no version label: the requests query counts {reading.canary.requests} for a version that nobody runs"
        yield _refused(path, f"{text}, so it does not tell the arms apart")
    else:
        text = "the requests query answers 0 for a version that nobody runs: a canary whose series is missing, or whose"
        yield _remark(path, f"{text} label is misspelt, cannot be told from one without traffic")


def _counts(options: Options, means: Means, question: Question, stable: Counters, path: str) -> Iterator[Finding]:
    """Whether the errors are errors, and may be there at all."""
    if stable.errors > stable.requests:
        counts = f"{stable.errors} errors of {stable.requests} requests"
        yield _refused(f"{path}.queries", f"{counts}: the two queries do not count the same things")
    elif stable.errors == stable.requests >= FEW:
        text = f"all {stable.requests} requests are errors: the errors query leaves nothing out"
        yield _refused(f"{path}.queries.errors", text)
    elif stable.errors == 0 and stable.requests >= FEW:
        if _is_unknown(options, means, question):
            text = f"a condition that cannot fail: no series of errors is there, among {stable.requests} requests"
            yield _remark(
                f"{path}.queries.errors", f"{text}. Where nothing has ever failed, that is right; see the name"
            )
        else:
            text = f"no error among {stable.requests} requests: make one happen, to see that the query finds it"
            yield _remark(f"{path}.queries.errors", text)


def _is_unknown(options: Options, means: Means, question: Question) -> bool:
    """Whether the zero is none that was counted, but what the configuration makes of nothing."""
    strict = _without_zero(options)
    return strict is not None and isinstance(build(strict, means).read(question), SourceDown)


def _without_zero(options: Options) -> Options | None:
    """The options, asking for errors that are really there."""
    names = {one.name for one in fields(options)}  # type: ignore[arg-type]
    if "absent_errors" in names:
        changed: Options = replace(options, absent_errors=AbsentErrors.UNKNOWN)  # type: ignore[type-var]
        return changed
    text = getattr(options, "errors", "")
    bare = text.rstrip().removesuffix("vector(0)").rstrip().removesuffix("or").rstrip()
    if "errors" not in names or bare == text:
        return None
    changed = replace(options, errors=bare)  # type: ignore[type-var]
    return changed


def _further(
    metric: FurtherMetric, means: Means, question: Question, histograms: dict[str, Histogram]
) -> Iterator[Finding]:
    """Whether a further metric has figures, tells its arms apart, and counts them alike.

    ``histograms`` is given those that were found, by the metrics' names.
    """
    path, wanted = metric.path, metric.wanted
    gauge = metric.options.gauge(means, wanted)
    both = gauge.read(question)
    if isinstance(both, SourceDown):
        yield _refused(path, both.text)
        return
    if both.stable is None:
        yield _refused(path, "no data for the stable arm, though there are some for the other: is it labelled so?")
        return
    if isinstance(both.stable, Histogram):
        histograms[wanted.name] = both.stable
    yield from _sound(both.stable, path)
    if both.canary is not None:
        yield from _alike(both.stable, both.canary, path)
    nobody = gauge.read(replace(question, canary=Slot(name=NOBODY, version=NOBODY)))
    if isinstance(nobody, SourceDown) or nobody.canary is None:
        return
    if wanted.kind is MetricKind.VALUE or _counted(nobody.canary) > 0:
        text = "no version label: there are figures for a version that nobody runs, so the arms are not told apart"
        yield _refused(path, text)


def _counted(measure: Measure) -> float:
    """How many were counted."""
    match measure:
        case Counters(requests=count) | Histogram(total=count) | Moments(count=count):
            return count
        case _:
            return 0


def _sound(stable: Measure, path: str) -> Iterator[Finding]:
    """Whether the figures can be what they are said to be."""
    if isinstance(stable, Histogram) and not latency.is_sound(stable):
        yield _refused(path, "its buckets do not rise, or hold more than there are in all: that is no histogram")
    elif isinstance(stable, Histogram) and stable.total >= FEW and stable.counts[-1] == 0:
        slowest = seconds(stable.bounds[-1])
        text = f"none of {stable.total} requests is within {slowest}: a condition that cannot fail, or another unit"
        yield _refused(path, text)
    elif isinstance(stable, Moments) and stable.count >= FEW and stable.sum <= 0:
        yield _remark(path, "its mean is not above 0, and ratios of such means say nothing: it will not be judged")


def _alike(stable: Measure, canary: Measure, path: str) -> Iterator[Finding]:
    """Whether both arms are of one kind, with the same buckets."""
    if (kinds := (_kind(stable), _kind(canary)))[0] != kinds[1]:
        yield _refused(path, f"stable's is {kinds[0]} and the canary's {kinds[1]}")
    elif isinstance(stable, Histogram) and isinstance(canary, Histogram) and stable.bounds != canary.bounds:
        apart = sorted(set(stable.bounds) ^ set(canary.bounds))
        text = f"the arms have different buckets ({', '.join(f'{one:g}' for one in apart[:5])})"
        yield _refused(path, f"{text}: what is not counted alike cannot be compared")


def _kind(measure: Measure) -> str:
    return type(measure).__name__.lower()


def _limits(judge: JudgeSettings, histograms: Mapping[str, Histogram]) -> Iterator[Finding]:
    """Limits that no figure can fail, or none can pass."""
    kinds = {one.name: one.kind for one in judge.metrics}
    for index, limit in enumerate(judge.limits):
        kind = MetricKind.ERRORS if limit.metric == ERRORS else kinds.get(limit.metric)
        figures = [] if kind is None else list(_possible(kind, histograms.get(limit.metric)))
        failed = [one for one in figures if _fails(limit, one)]
        if figures and not failed:
            yield _refused(f"limits[{index}]", f"a condition that cannot fail, whatever {limit.metric} are")
        elif figures and len(failed) == len(figures):
            yield _refused(f"limits[{index}]", f"a condition that always fails, whatever {limit.metric} are")


def _possible(kind: MetricKind, histogram: Histogram | None) -> Iterator[dict[str, float]]:
    """Figures that a metric may come to; nothing where that is not known."""
    if kind is MetricKind.LATENCY:
        for bound in histogram.bounds if histogram else ():
            yield dict.fromkeys(("result", "stable", "p50", "p90", "p95", "p99"), bound) | {"requests": 1e6}
        return
    rates = [step / 50 for step in range(51)]
    wide = [sign * 10.0**power for power in range(-6, 13) for sign in (-1.0, 1.0)] + [0.0]
    values = rates if kind is MetricKind.ERRORS else wide
    for one, two in product(values, values):
        yield {"result": one, "stable": two, "requests": 1e6}


def _fails(limit: Limit, figures: dict[str, float]) -> bool:
    """Whether a measurement would not count as a success."""
    try:
        if limit.failure is not None and limits.is_met(limits.condition(limit.failure), figures):
            return True
        return limit.success is not None and not limits.is_met(limits.condition(limit.success), figures)
    except (LookupError, ArithmeticError, ValueError):
        return True


def _refused(path: str, text: str) -> Finding:
    return Finding(path=path, grade=Grade.REFUSED, text=text)


def _remark(path: str, text: str) -> Finding:
    return Finding(path=path, grade=Grade.REMARK, text=text)
