"""The source for whoever speaks Prometheus' query API: two queries, each asked once per arm, at one moment.

It takes only what is certain: one series, a counter's value, no warning of partial data. All else is ``SourceDown``.
Source: the Prometheus documentation, "HTTP API", instant queries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from gate.fetch import Got, Visit
from gate.foreign import cut
from gate.metrics import promql
from gate.metrics.asking import (
    ARMS,
    Access,
    Login,
    What,
    answered,
    arrived,
    both_arms,
    count_of,
    json_of,
    refusal,
    said,
    unreadable,
)
from gate.metrics.keys import As, Key
from gate.metrics.queries import values
from gate.metrics.source import Means, Question, Source
from rampgate.evidence import ArmName, Reading, SourceDown
from rampgate.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusOptions(Access):
    """Two queries for raw counters, and where to ask them."""

    requests: Annotated[str, Key(As.TEXT, "A query for the count of all requests.")]
    errors: Annotated[str, Key(As.TEXT, "A query for the count of failed requests.")]

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.access_problems(path)
        yield from promql.problems(self.requests, f"{path}.queries.requests")
        yield from promql.problems(self.errors, f"{path}.queries.errors")

    def source(self, means: Means) -> Source:
        return PrometheusSource(self, means.environ)


class PrometheusSource:
    """Asks four instant queries at the question's moment."""

    def __init__(self, options: PrometheusOptions, environ: Mapping[str, str]) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self._options = options
        self._queries = {What.REQUESTS: promql.read(options.requests), What.ERRORS: promql.read(options.errors)}
        self._environ = environ
        self._api = options.url.rstrip("/") + "/api/v1/query"

    def read(self, question: Question) -> Reading | SourceDown:
        def read(visit: Visit) -> Reading:
            known = {arm: values(question, arm) for arm in ARMS}
            texts = {(what, arm): self._queries[what].of(known[arm]) for what in What for arm in ARMS}

            def count(what: What, arm: ArmName) -> int | None:
                return self._count(visit, texts[what, arm], question.at)

            hint = "where there is none before the first error, end the query with: or vector(0)"
            return both_arms(question.at, count, lambda what, arm: texts[what, arm], hint=hint)

        return answered("prometheus", question, self._options.timeout, self._login, read)

    def _login(self) -> Login:
        return self._options.login(self._environ)

    def _count(self, visit: Visit, query: str, at: float) -> int | None:
        """The counter that a query finds; ``None`` where it finds no series. Raises ``Down``."""
        got = arrived(visit.get(self._api, {"query": query, "time": f"{at:.3f}"}))
        return _count(_result(got, query), query)


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


def _count(result: list[Any], query: str) -> int | None:
    """The one series' value, as a counter holds it."""
    if not result:
        return None
    if len(result) > 1:
        raise unreadable(f"the query finds {len(result)} series; sum(…) makes them one: {cut(query, 300)}")
    try:
        _, text = result[0]["value"]
    except (KeyError, TypeError, ValueError, IndexError):
        text = None
    # The API writes numbers as text: anything else is another API.
    return count_of(text if isinstance(text, str) else None, query)
