"""The source for InfluxDB: two queries, each asked once per arm, over a window that ends at one moment for both.

Sources: the InfluxDB documentation, "InfluxDB 1.x HTTP API" (/query) and "InfluxDB 2.x API" (/api/v2/query,
annotated CSV).
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from gate.fetch import Got, Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics import influxql
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
    parsed,
    refusal,
    said,
    span,
    unreadable,
)
from gate.metrics.influxql import FLUX, INFLUXQL
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxOptions(Access):
    """Two queries for counts over a window, in InfluxQL for a ``database`` or in Flux for an ``org``."""

    requests: Annotated[str, Key(As.TEXT, "A query for the count of all requests, up to {{stop}}.")] = ""
    errors: Annotated[str, Key(As.TEXT, "A query for the count of failed requests, up to {{stop}}.")] = ""
    database: Annotated[str | None, Key(As.TEXT, "The database, where the queries are InfluxQL (1.x).")] = None
    org: Annotated[str | None, Key(As.TEXT, "The organisation, where the queries are Flux (2.x).")] = None
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
        if (self.database is None) == (self.org is None):
            word = "database and org" if self.org is not None else "neither database nor org"
            yield Problem(path, word, "a database (queries in InfluxQL) or an org (queries in Flux)")
        language = INFLUXQL if self.org is None else FLUX
        for figure, text in wanted.queries.items():
            yield from influxql.problems(language, text, place_of(path, figure))

    def source(self, means: Means) -> Source:
        return StoreSource(InfluxStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return StoreGauge(InfluxStore(self, means.environ, wanted), wanted)


class InfluxStore:
    """Sums from before the rollout to one moment are counters: asked anew at each reading, they only rise."""

    kind = "influxdb"
    hint = "where there is none before the first error, say absentErrors: zero"

    def __init__(self, options: InfluxOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self.absent_errors = options.absent_errors
        self._options = options
        self._environ = environ
        language = INFLUXQL if options.org is None else FLUX
        self._queries = {figure: language.read(text) for figure, text in wanted.queries.items()}

    def login(self) -> Login:
        return self._options.login(self._environ, scheme="Token")

    def moment(self, question: Question) -> float:
        return self._window(question).stop

    def _window(self, question: Question) -> Span:
        return span(question, delay=self._options.delay)

    def texts(self, question: Question) -> Texts:
        window = self._window(question)
        times = influxql.influxql_times(window) if self._options.org is None else influxql.flux_times(window)
        known = {arm: values(question, arm) | times for arm in ARMS}
        return {(figure, arm): query.of(known[arm]) for figure, query in self._queries.items() for arm in ARMS}

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:  # noqa: ARG002
        ask = self._influxql if self._options.org is None else self._flux
        return lambda named: ask(visit, str(texts[named]))

    def _influxql(self, visit: Visit, query: str) -> float | None:
        """What an InfluxQL query finds, ``None`` for no series. Raises ``Down``."""
        options = self._options
        params = {"db": options.database or "", "q": query, "epoch": "s"}
        got = arrived(visit.get(options.url.rstrip("/") + "/query", params))
        answer = json_of(got)
        if got.status != 200:
            raise refusal(got.status, said(answer, "error", "message"), query)
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
            raise unreadable(f"its answer is not one query's result ({content_type(got) or 'no content type'})")
        return _cell(results[0], query)

    def _flux(self, visit: Visit, query: str) -> float | None:
        """What a Flux query finds, ``None`` for no table. Raises ``Down``."""
        options = self._options
        body = {"query": query, "type": "flux", "dialect": {"header": True, "annotations": []}}
        url = f"{options.url.rstrip('/')}/api/v2/query?{urlencode({'org': options.org or ''})}"
        headers = {"Content-Type": "application/json", "Accept": "application/csv"}
        got = arrived(visit.post(url, json.dumps(body).encode(), headers))
        if got.status != 200:
            raise refusal(got.status, said(parsed(got.body), "message", "error"), query)
        if content_type(got) not in ("text/csv", "application/csv"):
            raise unreadable(f"its answer is no CSV (content type: {content_type(got) or 'nothing named'})")
        return _row(got, query)


def _cell(result: Mapping[str, Any], query: str) -> float | None:
    """The one value of the one series of an InfluxQL result."""
    shown = cut(query, 300)
    if result.get("error") or result.get("partial"):
        raise unreadable(f"it cannot answer {shown}: {said(result, 'error')}")
    series = result.get("series", [])
    if not isinstance(series, list):
        raise unreadable("its answer is not what the query API answers")
    if not series:
        return None
    if len(series) > 1:
        raise unreadable(f"the query finds {len(series)} series; without GROUP BY there is one: {shown}")
    try:
        columns, rows = series[0]["columns"], series[0]["values"]
        at = [index for index, name in enumerate(columns) if name != "time"]
        if series[0].get("partial") or len(at) != 1 or len(rows) != 1:
            raise unreadable(f"the query finds {len(rows)} rows of {len(at)} columns; sum(…) makes them one: {shown}")
        value = rows[0][at[0]]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise unreadable(f"the query's value cannot be read: {shown}") from None
    return None if value is None else number_of(value if not isinstance(value, str) else None, query)


def _row(got: Got, query: str) -> float | None:
    """The one ``_value`` of a Flux answer: tables of CSV, each with a header, parted by empty lines."""
    shown = cut(query, 300)
    try:
        text = got.body.decode()
        rows = list(csv.reader(text.splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise unreadable("its answer is no CSV in UTF-8") from None
    if text.strip() and not text.endswith("\n"):
        raise unreadable("its answer breaks off in the middle of a line")
    header: list[str] | None = None
    found: list[str] = []
    for row in rows:
        if not any(row):
            header = None
        elif header is None:
            header = row
            if "_value" not in header and "error" not in header:
                raise unreadable(f"the query's tables have no _value column: {shown}")
        elif "error" in header and "_value" not in header:
            raise unreadable(f"it cannot answer {shown}: {row[min(header.index('error'), len(row) - 1)]}")
        elif len(row) != len(header):
            raise unreadable("its answer is no CSV with a header")
        else:
            found.append(row[header.index("_value")])
    if len(found) > 1:
        raise unreadable(f"the query finds {len(found)} rows; group() |> sum() makes them one: {shown}")
    return number_of(found[0], query) if found else None
