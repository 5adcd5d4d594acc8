"""The source for Datadog: two metric queries, summed for each arm over whole intervals that end at one moment.

Sources: the Datadog documentation, "Query timeseries points" (API v1), "Rollup", and "Getting started with tags" (which
characters a tag's value may have, and what becomes of the others).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import floor, fsum
from typing import Annotated, Any, ClassVar

from gate.fetch import Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics.asking import (
    ARMS,
    Login,
    Span,
    arrived,
    content_type,
    credential,
    delay_problems,
    json_of,
    refusal,
    said,
    span,
    timeout_problems,
    unreadable,
    url_problems,
)
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import TIMES, Language, Placeholder, UnwritableError, Writer, shown, values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.problem import Problem

HOUR = 3600.0
"""Whole hours are asked for as hours, because one series has at most 1 500 points."""

_SITE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)+")
_COUNT = re.compile(r"\s*sum:[\w.]+\s*\{[^{}]*\}\s*\.as_count\(\)\s*")


def tag_value(value: str) -> str:
    """The value as Datadog keeps it in a tag: small letters, and an underscore for whatever a tag cannot hold."""
    plain = re.sub(r"[^\w:./-]", "_", value.lower())
    kept = re.sub(r"_+", "_", plain).rstrip("_")
    if not kept or len(value) > 200:
        raise UnwritableError(f"{value!r} is nothing that a Datadog tag can hold; {{{{slot}}}} can stand for it")
    return kept


def _writer(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    return tag_value if token[:1] == "{" and len(token) > 1 else None


LANGUAGE = Language(
    token=re.compile(r"\{(?:\{\{[^{}]*\}\}|[^{}])*\}(?!\})"),
    writer=_writer,
    where="placeholders stand in the tags: sum:shop.requests{version:{{version}}}.as_count()",
    takes=frozenset(Placeholder) - TIMES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatadogOptions:
    """Two queries for counts, and how to be let in.

    ``interval`` is the length of the sums that are asked for, in seconds; ``delay`` how long figures take to arrive.
    """

    requests: Annotated[str, Key(As.TEXT, "A query for all requests: sum:…{…}.as_count().")] = ""
    errors: Annotated[str, Key(As.TEXT, "A query for failed requests: sum:…{…}.as_count().")] = ""
    site: Annotated[str, Key(As.TEXT, "The Datadog site.")] = "datadoghq.com"
    url: Annotated[str | None, Key(As.ADDRESS, "Where Datadog answers, if not at its own address.")] = None
    interval: Annotated[float, Key(As.DURATION, "How long the sums are that are asked for.")] = 60.0
    delay: Annotated[float, Key(As.DURATION, "How late figures may arrive.")] = 120.0
    absent_errors: Annotated[AbsentErrors, Key(As.CHOICE, "What no errors found means: unknown, or zero.")] = (
        AbsentErrors.UNKNOWN
    )
    api_key_env: Annotated[str, Key(As.VARIABLE, "The variable that holds an API key.")] = "DD_API_KEY"
    app_key_env: Annotated[str, Key(As.VARIABLE, "The variable that holds an application key.")] = "DD_APP_KEY"
    timeout: Annotated[float, Key(As.DURATION, "The longest that one reading may take.")] = 10.0

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind) - {MetricKind.VALUE}
    past: ClassVar[bool] = True

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.problems_of(main(self.requests, self.errors), path)

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        if self.url is not None:
            yield from url_problems(self.url, f"{path}.url")
        if not _SITE.fullmatch(self.site):
            yield Problem(f"{path}.site", shown(self.site), "a Datadog site such as datadoghq.com or datadoghq.eu")
        yield from timeout_problems(self.timeout, path)
        yield from delay_problems(self.delay, path)
        if not 10 <= self.interval <= 600 or HOUR % self.interval:
            yield Problem(f"{path}.interval", f"{self.interval:g}s", "10s to 10m, a part of an hour")
        for figure, text in wanted.queries.items():
            yield from LANGUAGE.problems(text, place_of(path, figure))
            # Several series, rates, averages and functions have no place where events are counted.
            if not _COUNT.fullmatch(LANGUAGE.token.sub("{}", text)):
                allowed = "one count, sum:shop.requests{version:{{version}}}.as_count(), without by, rollup and sums"
                yield Problem(place_of(path, figure), shown(text), allowed)

    def credentials(self) -> tuple[str, ...]:
        return (self.api_key_env, self.app_key_env)

    def source(self, means: Means) -> Source:
        return StoreSource(DatadogStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return StoreGauge(DatadogStore(self, means.environ, wanted), wanted)


class DatadogStore:
    """Sums from before the rollout to one moment are counters: asked anew at each reading, they only rise."""

    kind = "datadog"
    hint = "where there is none before the first error, say absentErrors: zero"

    def __init__(self, options: DatadogOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self.absent_errors = options.absent_errors
        self._options = options
        self._environ = environ
        self._queries = {figure: LANGUAGE.read(text) for figure, text in wanted.queries.items()}
        self._api = (options.url or f"https://api.{options.site}").rstrip("/") + "/api/v1/query"

    def moment(self, question: Question) -> float:
        return self._window(question).stop

    def _window(self, question: Question) -> Span:
        return span(question, delay=self._options.delay, every=self._options.interval, grid=HOUR)

    def texts(self, question: Question) -> Texts:
        known = {arm: values(question, arm) for arm in ARMS}
        asked = self._queries.items()
        return {(figure, arm): query.of(known[arm]).strip() for figure, query in asked for arm in ARMS}

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:
        found = self._sums(visit, [str(text) for text in texts.values()], self._window(question))
        sums = dict(zip(texts, found, strict=True))
        return lambda named: fsum(sums[named]) if sums[named] else None

    def login(self) -> Login:
        api = credential(self._environ, self._options.api_key_env)
        app = credential(self._environ, self._options.app_key_env)
        return Login({"DD-API-KEY": api, "DD-APPLICATION-KEY": app}, (api, app))

    def _sums(self, visit: Visit, texts: list[str], window: Span) -> list[list[float]]:
        """Each query's sums, whole hours as such. Raises ``Down``."""
        hours = floor(window.stop / HOUR) * HOUR
        found: list[list[float]] = [[] for _ in texts]
        spans = ((Span(window.start, hours), HOUR), (Span(hours, window.stop), self._options.interval))
        for part, length in spans:
            if part.stop > part.start:
                for kept, more in zip(found, self._part(visit, texts, part, length), strict=True):
                    kept.extend(more)
        return found

    def _part(self, visit: Visit, texts: list[str], part: Span, length: float) -> list[list[float]]:
        query = ",".join(f"{text}.rollup(sum, {length:.0f})" for text in texts)
        # The interval that begins at `to` would be in the answer as well: the last one asked for ends there.
        params = {"from": f"{part.start:.0f}", "to": f"{part.stop - 1:.0f}", "query": query}
        got = arrived(visit.get(self._api, params))
        answer = json_of(got)
        if got.status != 200:
            errors = answer.get("errors") if isinstance(answer, dict) else None
            text = ", ".join(map(str, errors)) if isinstance(errors, list) else "no explanation"
            raise refusal(got.status, text, query)
        if not isinstance(answer, dict) or not isinstance(answer.get("series"), list):
            raise unreadable(f"its answer is not the query API's JSON ({content_type(got) or 'no content type'})")
        if answer.get("status") != "ok" or answer.get("error"):
            raise unreadable(f"it answers without success: {said(answer, 'error', 'message')}")
        found: list[list[float]] = [[] for _ in texts]
        seen: set[int] = set()
        for series in answer["series"]:
            index = _index(series, len(texts))
            if index in seen:
                raise unreadable(
                    f"the query finds several series; without by {{…}} there is one: {cut(texts[index], 300)}"
                )
            seen.add(index)
            found[index] = _points(series, part, length, texts[index])
        return found


def _index(series: Any, most: int) -> int:
    index = series.get("query_index") if isinstance(series, dict) else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < most:
        raise unreadable("its answer does not say which query a series belongs to")
    return index


def _points(series: Mapping[str, Any], part: Span, length: float, query: str) -> list[float]:
    """A series' sums, refused where they are not of the length that was asked for."""
    shown_query = cut(query, 300)
    if series.get("interval") != length:
        text = f"it sums over {series.get('interval')} s and not over {length:.0f} s, so edges would not fit"
        raise unreadable(f"{text}: {shown_query}")
    try:
        points = [(float(at) / 1000, value) for at, value in series["pointlist"]]
        if any(isinstance(value, bool) or not isinstance(value, int | float | None) for _, value in points):
            raise TypeError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise unreadable(f"the query's points cannot be read: {shown_query}") from None
    if any(at % length for at, _ in points):
        raise unreadable(f"its sums do not begin on whole intervals: {shown_query}")
    return [float(value) for at, value in points if value is not None and part.start <= at < part.stop]
