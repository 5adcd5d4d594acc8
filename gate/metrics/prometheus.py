"""The source for whoever speaks Prometheus' query API: each query asked once per arm, at one moment.

It takes only what is certain: one series, a counter's value, no warning of partial data. All else is ``SourceDown``.
Source: the Prometheus documentation, "HTTP API", instant queries; "Histograms and summaries" (``le``).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isnan
from typing import Annotated, Any, ClassVar

from gate.fetch import Got, Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics import promql
from gate.metrics.asking import (
    ARMS,
    Access,
    Login,
    arrived,
    count_of,
    json_of,
    number_of,
    refusal,
    said,
    unreadable,
)
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.evidence import Histogram
from rampgate.problem import Problem


class Unit(StrEnum):
    """What a histogram's bounds count."""

    SECONDS = "s"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusOptions(Access):
    """Two queries for raw counters, and where to ask them. ``unit`` is for latency: what ``le`` counts."""

    requests: Annotated[str, Key(As.TEXT, "A query for the count of all requests.")] = ""
    errors: Annotated[str, Key(As.TEXT, "A query for the count of failed requests.")] = ""
    unit: Annotated[Unit, Key(As.CHOICE, "For latency: what the buckets' bounds count, s or ms.")] = Unit.SECONDS

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind)
    past: ClassVar[bool] = True
    buckets: ClassVar[bool] = True

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.problems_of(main(self.requests, self.errors), path)

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        yield from self.access_problems(path)
        for figure, text in wanted.queries.items():
            raw = wanted.kind is not MetricKind.VALUE
            yield from promql.problems(text, place_of(path, figure), raw=raw)

    def source(self, means: Means) -> Source:
        return StoreSource(PrometheusStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        store = PrometheusStore(self, means.environ, wanted)
        return StoreGauge(store, wanted, store.spread)


class PrometheusStore:
    """Asks instant queries at the question's moment."""

    kind = "prometheus"
    absent_errors = AbsentErrors.UNKNOWN
    hint = "where there is none before the first error, end the query with: or vector(0)"

    def __init__(self, options: PrometheusOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self._options = options
        self._queries = {figure: promql.read(text) for figure, text in wanted.queries.items()}
        self._environ = environ
        self._api = options.url.rstrip("/") + "/api/v1/query"

    def login(self) -> Login:
        return self._options.login(self._environ)

    def moment(self, question: Question) -> float:
        return question.at

    def texts(self, question: Question) -> Texts:
        known = {arm: values(question, arm) for arm in ARMS}
        return {(figure, arm): query.of(known[arm]) for figure, query in self._queries.items() for arm in ARMS}

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:
        def number(named: Named) -> float | None:
            query = str(texts[named])
            return _number(self._ask(visit, query, question.at), query)

        return number

    def spread(self, visit: Visit, question: Question, text: object) -> Histogram | None:
        unit = 1.0 if self._options.unit is Unit.SECONDS else 0.001
        return _histogram(self._ask(visit, str(text), question.at), str(text), unit)

    def _ask(self, visit: Visit, query: str, at: float) -> list[Any]:
        """What a query finds. Raises ``Down``."""
        got = arrived(visit.get(self._api, {"query": query, "time": f"{at:.3f}"}))
        return _result(got, query)


def _result(got: Got, query: str) -> list[Any]:
    answer = json_of(got)
    if got.status != 200:
        raise refusal(got.status, said(answer, "error"), query)
    if not isinstance(answer, dict):
        kind = got.headers.get("Content-Type", "nothing named")
        raise unreadable(f"its answer is not the query API's JSON (content type: {kind})")
    if answer.get("status") != "success":
        raise unreadable("it answers without success: " + said(answer, "error"))
    # Older versions put remarks on the query among the warnings; the rest of them mean partial data.
    warnings = answer.get("warnings") or []
    if not isinstance(warnings, list):
        raise unreadable("its answer is not what the query API answers")
    grave = [str(warning) for warning in warnings if not str(warning).startswith("PromQL info:")]
    if grave:
        raise unreadable(f"it warns that its data may be partial: {grave[0]}")
    data = answer.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise unreadable("its answer is not what the query API answers")
    if data.get("resultType") != "vector":
        raise unreadable(f"the query has a result that is not series: {cut(query, 300)}")
    result: list[Any] = data["result"]
    return result


def _number(result: list[Any], query: str) -> float | None:
    """The one series' value."""
    if not result:
        return None
    if len(result) > 1:
        raise unreadable(f"the query finds {len(result)} series; sum(…) makes them one: {cut(query, 300)}")
    return _value(result[0], query)


def _value(series: Any, query: str) -> float:
    try:
        _, text = series["value"]
    except (KeyError, TypeError, ValueError, IndexError):
        text = None
    # The API writes numbers as text: anything else is another API.
    return number_of(text if isinstance(text, str) else None, query)


def _histogram(result: list[Any], query: str, unit: float) -> Histogram | None:
    """The buckets of ``sum by (le) (…)``, whose bounds count ``unit`` seconds."""
    if not result:
        return None
    found: dict[float, int] = {}
    for series in result:
        labels = series.get("metric") if isinstance(series, dict) else None
        bound = labels.get("le") if isinstance(labels, dict) else None
        if not isinstance(labels, dict) or set(labels) != {"le"} or not isinstance(bound, str):
            raise unreadable(f"its series are no buckets; sum by (le) (…) makes them such: {cut(query, 300)}")
        try:
            place = float(bound)
        except ValueError:
            raise unreadable(f"le={cut(bound, 40)} is no bucket's bound: {cut(query, 300)}") from None
        if place in found or isnan(place):
            raise unreadable(f"the bucket le={cut(bound, 40)} comes twice: {cut(query, 300)}")
        found[place] = count_of(_value(series, query), query)
    bounds = sorted(found)
    if bounds[-1] != inf or len(bounds) < 2:
        raise unreadable(f"it has no bucket +Inf beside others, and so no whole histogram: {cut(query, 300)}")
    counts = tuple(found[bound] for bound in bounds[:-1])
    return Histogram(bounds=tuple(bound * unit for bound in bounds[:-1]), counts=counts, total=found[inf])
