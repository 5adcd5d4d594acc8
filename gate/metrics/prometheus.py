"""The source for whoever speaks Prometheus' query API: two queries, each asked once per arm, at one moment.

It takes only what is certain: one series, a counter's value, no warning of partial data. All else is ``SourceDown``.
Source: the Prometheus documentation, "HTTP API", instant queries.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from gate.fetch import Got, NotGot, Trouble, Visit, origin
from gate.foreign import Secrets, cut
from gate.metrics import promql
from gate.metrics.promql import Placeholder, Query
from gate.metrics.source import Means, Question, Source
from rampgate.evidence import ArmName, Counters, Reading, SourceDown, VerdictReason
from rampgate.plan import Problem
from rampgate.rollout import Slot

MOST_TEXT = 600
MOST_COUNT = 2**53
"""Prometheus counts in floating point: above this a count is no longer exact."""


class _Down(Exception):  # noqa: N818
    """Ends a reading; never leaves this file."""

    def __init__(self, reason: VerdictReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusOptions:
    """Two queries for raw counters, and where to ask them.

    ``token_env`` names the environment variable that holds a bearer token; ``user_env`` and ``password_env`` those
    of basic authentication. ``timeout`` bounds one reading, all its queries together, in seconds.
    """

    url: str
    requests: str
    errors: str
    token_env: str | None = None
    user_env: str | None = None
    password_env: str | None = None
    timeout: float = 5.0

    def problems(self, path: str) -> Iterator[Problem]:
        yield from _url_problems(self.url, f"{path}.url")
        yield from promql.problems(self.requests, f"{path}.requests")
        yield from promql.problems(self.errors, f"{path}.errors")
        if (self.user_env is None) != (self.password_env is None):
            yield Problem(path, "half of a login", "userEnv and passwordEnv together")
        if self.token_env is not None and self.user_env is not None:
            yield Problem(path, "tokenEnv and userEnv", "one way to log in")
        if not 0 < self.timeout <= 60:
            yield Problem(f"{path}.timeout", str(self.timeout), "more than 0s and at most 1m")

    def credentials(self) -> tuple[str, ...]:
        return tuple(name for name in (self.token_env, self.user_env, self.password_env) if name is not None)

    def source(self, means: Means) -> Source:
        return PrometheusSource(self, means.environ)


def _url_problems(url: str, path: str) -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        yield Problem(path, origin(url), "an address such as https://prometheus.example.com")
    elif parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        allowed = "an address without user, query and fragment: credentials come from the environment (tokenEnv)"
        yield Problem(path, origin(url) + "/…", allowed)


class PrometheusSource:
    """Asks four instant queries at the question's moment. Errors first: what is counted in between is no error yet."""

    def __init__(self, options: PrometheusOptions, environ: Mapping[str, str]) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self._options = options
        self._requests = promql.read(options.requests)
        self._errors = promql.read(options.errors)
        self._environ = environ
        self._api = options.url.rstrip("/") + "/api/v1/query"

    def read(self, question: Question) -> Reading | SourceDown:
        secrets = Secrets()
        try:
            headers, secrets = self._login()
            with Visit(seconds=self._options.timeout, headers=headers) as visit:
                return self._both(_Asked(visit=visit, api=self._api, at=question.at), question)
        except _Down as down:
            return SourceDown(at=question.at, reason=down.reason, text=_sentence(secrets, down))

    def _both(self, asked: "_Asked", question: Question) -> Reading:
        arms = ((ArmName.STABLE, question.stable), (ArmName.CANARY, question.canary))
        for arm, slot in arms:
            self._check_known(arm, slot)
        errors = {arm: asked.count(self._errors, slot) for arm, slot in arms}
        requests = {arm: asked.count(self._requests, slot) for arm, slot in arms}
        if all(count is None for count in requests.values()):
            query = cut(self._requests.of(question.canary), 300)
            raise _Down(VerdictReason.SOURCE_EMPTY, f"the requests query has no series for either arm: {query}")
        counters: dict[ArmName, Counters | None] = {}
        for arm, slot in arms:
            n, x = requests[arm], errors[arm]
            if n is not None and x is None:
                query = cut(self._errors.of(slot), 300)
                hint = "where there is none before the first error, end the query with: or vector(0)"
                raise _Down(VerdictReason.SOURCE_EMPTY, f"the errors query has no series for {arm}: {query}; {hint}")
            counters[arm] = None if n is None or x is None else Counters(requests=n, errors=x)
        return Reading(at=question.at, stable=counters[ArmName.STABLE], canary=counters[ArmName.CANARY])

    def _check_known(self, arm: ArmName, slot: Slot) -> None:
        if slot.version is None and (
            self._requests.needs(Placeholder.VERSION) or self._errors.needs(Placeholder.VERSION)
        ):
            text = f"the version of {arm} (slot {slot.name}) is not known, so {{{{version}}}} cannot be asked for"
            raise _Down(VerdictReason.SOURCE_EMPTY, f"{text}; {{{{slot}}}} can")

    def _login(self) -> tuple[dict[str, str], Secrets]:
        """The headers of a request, and what of them nobody may read. Read anew each time: tokens are rotated."""
        options = self._options
        headers = {"Accept": "application/json", "User-Agent": "rampgate"}
        if options.token_env is not None:
            token = self._credential(options.token_env)
            return headers | {"Authorization": f"Bearer {token}"}, Secrets([token])
        if options.user_env is not None and options.password_env is not None:
            user, password = self._credential(options.user_env), self._credential(options.password_env)
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            return headers | {"Authorization": f"Basic {login}"}, Secrets([password, login])
        return headers, Secrets()

    def _credential(self, name: str) -> str:
        value = self._environ.get(name, "").strip()
        if not value:
            raise _Down(VerdictReason.SOURCE_UNREACHABLE, f"the environment variable {name} is not set: no credentials")
        if not value.isprintable():
            raise _Down(VerdictReason.SOURCE_UNREACHABLE, f"the environment variable {name} holds control characters")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One reading under way."""

    visit: Visit
    api: str
    at: float

    def count(self, query: Query, slot: Slot) -> int | None:
        """The counter that a query finds; ``None`` where it finds no series. Raises ``_Down``."""
        text = query.of(slot)
        got = self.visit.get(self.api, {"query": text, "time": f"{self.at:.3f}"})
        if isinstance(got, NotGot):
            refused = got.trouble is Trouble.REFUSED
            raise _Down(VerdictReason.SOURCE_UNREADABLE if refused else VerdictReason.SOURCE_UNREACHABLE, got.text)
        return _count(self._result(got, text), text)

    def _result(self, got: Got, query: str) -> list[Any]:
        answer = _json(got)
        if got.status != 200:
            raise _refusal(got.status, answer, query)
        if not isinstance(answer, dict):
            kind = got.headers.get("Content-Type", "nothing named")
            raise _unreadable(f"its answer is not the query API's JSON (content type: {kind})")
        if answer.get("status") != "success":
            raise _unreadable("it answers without success: " + _said(answer))
        # Older versions put remarks on the query among the warnings; the rest of them mean partial data.
        warnings = answer.get("warnings") or []
        if not isinstance(warnings, list):
            raise _unreadable("its answer is not what the query API answers")
        grave = [str(warning) for warning in warnings if not str(warning).startswith("PromQL info:")]
        if grave:
            raise _unreadable(f"it warns that its data may be partial: {grave[0]}")
        data = answer.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("result"), list):
            raise _unreadable("its answer is not what the query API answers")
        if data.get("resultType") != "vector":
            raise _unreadable(f"the query has a result that is not series: {cut(query, 300)}")
        result: list[Any] = data["result"]
        return result


def _refusal(status: int, answer: object, query: str) -> _Down:
    said = _said(answer) if isinstance(answer, dict) else "no explanation"
    if status in (401, 403):
        return _unreadable(f"it refuses the credentials (HTTP {status})")
    if status >= 500 or status in (408, 429):
        return _Down(VerdictReason.SOURCE_UNREACHABLE, f"it answers HTTP {status}: {said}")
    return _unreadable(f"it answers HTTP {status} to {cut(query, 300)}: {said}")


def _sentence(secrets: Secrets, down: _Down) -> str:
    """What a person reads. Masked before it is cut: half a secret is one too."""
    return cut(secrets.shown(f"prometheus: {down.text}"), MOST_TEXT)


def _unreadable(text: str) -> _Down:
    return _Down(VerdictReason.SOURCE_UNREADABLE, text)


def _json(got: Got) -> object:
    """The answer, where it is JSON and says so; else ``None``."""
    if got.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        return json.loads(got.body)
    except (ValueError, RecursionError):
        return None


def _said(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    return error if isinstance(error, str) and error else "no explanation"


def _count(result: list[Any], query: str) -> int | None:
    """The one series' value, as a counter holds it."""
    shown = cut(query, 300)
    if not result:
        return None
    if len(result) > 1:
        text = f"the query finds {len(result)} series; sum(…) makes them one: {shown}"
        raise _unreadable(text)
    try:
        _, text = result[0]["value"]
        if not isinstance(text, str):
            raise TypeError
        value = float(text)
    except (KeyError, TypeError, ValueError, IndexError):
        raise _unreadable(f"the query's value cannot be read: {shown}") from None
    if not isfinite(value):
        raise _unreadable(f"the query's value is {value}, no count: {shown}")
    if value < 0 or value > MOST_COUNT or value != int(value):
        raise _unreadable(f"{text} is no counter's value (0, 1, 2, …): {shown}")
    return int(value)
