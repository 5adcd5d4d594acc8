"""The source for Graphite: two targets, each rendered once per arm, as raw counters or as sums of intervals.

Source: the Graphite documentation, "The Render URL API" (format=json) and "The Whisper Database" (retentions, roll-up).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import fsum
from typing import Annotated, Any, ClassVar

from gate.fetch import Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics.asking import (
    ARMS,
    Access,
    Login,
    Span,
    arrived,
    content_type,
    delay_problems,
    json_of,
    number_of,
    refusal,
    span,
    unreadable,
)
from gate.metrics.graphitepath import LANGUAGE
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.problem import Problem

STALE = 300.0
"""Seconds after which a counter's last value is a series no more, as Prometheus has it."""

MOST_BYTES = 8 << 20


class Stores(StrEnum):
    """What the points of a series are."""

    COUNTERS = "counters"
    SUMS = "sums"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphiteOptions(Access):
    """Two targets for counts, and whether their points are counters or sums of intervals."""

    requests: Annotated[str, Key(As.TEXT, "A target for the count of all requests.")] = ""
    errors: Annotated[str, Key(As.TEXT, "A target for the count of failed requests.")] = ""
    stores: Annotated[Stores, Key(As.CHOICE, "What points are: counters that rise, or sums of one interval each.")]
    interval: Annotated[float, Key(As.DURATION, "The time between two points.")] = 10.0
    delay: Annotated[float, Key(As.DURATION, "How late points may arrive.")] = 10.0
    absent_errors: Annotated[AbsentErrors, Key(As.CHOICE, "What no errors found means: unknown, or zero.")] = (
        AbsentErrors.UNKNOWN
    )

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind)
    past: ClassVar[bool] = True

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.problems_of(main(self.requests, self.errors), path)

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        yield from self.access_problems(path)
        yield from delay_problems(self.delay, path)
        if not (1 <= self.interval <= 3600 and self.interval == int(self.interval)):
            yield Problem(f"{path}.interval", f"{self.interval:g}s", "whole seconds, at most 1h")
        for figure, text in wanted.queries.items():
            yield from LANGUAGE.problems(text, place_of(path, figure))

    def source(self, means: Means) -> Source:
        return StoreSource(GraphiteStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return StoreGauge(GraphiteStore(self, means.environ, wanted), wanted)


class GraphiteStore:
    """Reads whole intervals only, and only where every one since before the rollout is still kept as it came."""

    kind = "graphite"
    hint = "where there is none before the first error, say absentErrors: zero"

    def __init__(self, options: GraphiteOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self.absent_errors = options.absent_errors
        self._options = options
        self._environ = environ
        self._queries = {figure: LANGUAGE.read(text) for figure, text in wanted.queries.items()}
        # A value is what was said last, however the counts are kept.
        self._last = options.stores is Stores.COUNTERS or wanted.kind is MetricKind.VALUE

    def login(self) -> Login:
        return self._options.login(self._environ)

    def moment(self, question: Question) -> float:
        return self._window(question).stop

    def _window(self, question: Question) -> Span:
        return span(question, delay=self._options.delay, every=self._options.interval)

    def texts(self, question: Question) -> Texts:
        known = {arm: values(question, arm) for arm in ARMS}
        return {(figure, arm): query.of(known[arm]) for figure, query in self._queries.items() for arm in ARMS}

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:
        window = self._window(question)
        return lambda named: self._number(visit, str(texts[named]), window)

    def _number(self, visit: Visit, target: str, window: Span) -> float | None:
        """What a target's points make, ``None`` for no series. Raises ``Down``."""
        if self._last:
            window = Span(window.stop - STALE - self._options.interval, window.stop)
        # The point at `from` itself is left out by some versions: one more is asked for.
        params = {
            "target": target,
            "from": f"{window.start - self._options.interval:.0f}",
            "until": f"{window.stop:.0f}",
            "format": "json",
            "noCache": "true",
        }
        got = arrived(visit.get(self._options.url.rstrip("/") + "/render", params, most=MOST_BYTES))
        answer = json_of(got)
        if got.status != 200:
            text = got.body[:200].decode("utf-8", "replace") if content_type(got) == "text/plain" else "no explanation"
            raise refusal(got.status, text, target)
        if not isinstance(answer, list):
            raise unreadable(f"its answer is not the render API's JSON ({content_type(got) or 'no content type'})")
        if not answer:
            return None
        if len(answer) > 1:
            text = f"the target finds {len(answer)} series; sumSeries(…) makes them one: {cut(target, 300)}"
            raise unreadable(text)
        points = [one for one in _points(answer[0], target) if window.start <= one[1] < window.stop]
        return _last(points, target) if self._last else self._sum(points, target, window)

    def _sum(self, points: list[tuple[float | None, float]], target: str, window: Span) -> float | None:
        """The sum of whole intervals; refused where some are gone, or were rolled up into longer ones."""
        interval = self._options.interval
        moments = [at for _, at in points]
        if not moments:
            return None
        if any(later - earlier != interval for earlier, later in pairwise(moments)) or moments[0] % interval:
            step = moments[1] - moments[0] if len(moments) > 1 else 0.0
            text = f"its points are {step:.0f} s apart and not {interval:.0f} s: rolled up, they are no sums any more"
            raise unreadable(f"{text}: {cut(target, 300)}")
        if moments[0] > window.start:
            text = "it keeps less than the rollout and an hour before it, so sums over that time would fall"
            raise unreadable(f"{text}: {cut(target, 300)}")
        found = [value for value, at in points if value is not None and at + interval <= window.stop]
        return number_of(fsum(found), target) if found else None


def _last(points: list[tuple[float | None, float]], target: str) -> float | None:
    found = [value for value, _ in points if value is not None]
    return number_of(found[-1], target) if found else None


def _points(series: Any, target: str) -> list[tuple[float | None, float]]:
    """A series' points: value (``None``: nothing was said) and moment."""
    try:
        points = [(value, float(at)) for value, at in series["datapoints"]]
        if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value, _ in points):
            raise TypeError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise unreadable(f"the target's points cannot be read: {cut(target, 300)}") from None
    return points
