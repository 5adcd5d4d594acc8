"""The source for any API that answers in JSON: one document for each arm, or one for both, and JMESPath into it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from gate.fetch import Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics import jsonpath
from gate.metrics.asking import (
    ARMS,
    Login,
    Span,
    arrived,
    content_type,
    credential,
    delay_problems,
    number_of,
    parsed,
    refusal,
    said,
    span,
    timeout_problems,
    unreadable,
)
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import OF_AN_ARM, TIMES, has, values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.problem import Problem

_JSON = ("application/json", "text/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """An address whose JSON holds both counts, and where in it they stand.

    ``headers_env`` maps a header's name to the environment variable that holds its value.
    """

    url: Annotated[str, Key(As.TEXT, "The address, with placeholders where it needs them.")]
    requests: Annotated[str, Key(As.TEXT, "Where the count of all requests stands (JMESPath).")] = ""
    errors: Annotated[str, Key(As.TEXT, "Where the count of failed requests stands (JMESPath).")] = ""
    token_env: Annotated[str | None, Key(As.VARIABLE, "The variable that holds a bearer token.")] = None
    headers_env: Annotated[Mapping[str, str], Key(As.VARIABLES, "Header to the variable with its value.")] = field(
        default_factory=dict
    )
    delay: Annotated[float, Key(As.DURATION, "How late figures may arrive; for {{start}} and {{stop}}.")] = 10.0
    absent_errors: Annotated[AbsentErrors, Key(As.CHOICE, "What no errors found means: unknown, or zero.")] = (
        AbsentErrors.UNKNOWN
    )
    timeout: Annotated[float, Key(As.DURATION, "The longest that one reading may take.")] = 5.0

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind)
    past: ClassVar[bool] = False

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.problems_of(main(self.requests, self.errors), path)

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        apart = any(has(text, *OF_AN_ARM) for text in (self.url, *wanted.queries.values()))
        yield from jsonpath.url_problems(self.url, f"{path}.url", per_arm=False)
        for figure, text in wanted.queries.items():
            yield from jsonpath.expression_problems(text, place_of(path, figure))
        if not apart:
            yield Problem(path, "the same for both arms", "{{version}}, {{slot}} or {{arm}} in the url or the queries")
        yield from delay_problems(self.delay, path)
        yield from timeout_problems(self.timeout, path)
        for name in self.headers_env:
            if not name.replace("-", "").isalnum() or not name.isascii():
                yield Problem(f"{path}.headersEnv", repr(name), "a header's name, such as X-Api-Key")

    def credentials(self) -> tuple[str, ...]:
        return tuple(name for name in (self.token_env, *self.headers_env.values()) if name is not None)

    def source(self, means: Means) -> Source:
        return StoreSource(WebStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return StoreGauge(WebStore(self, means.environ, wanted), wanted)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a figure stands: in which document, and where in that."""

    url: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} in {self.url}"


class WebStore:
    """Counts are counters as they come, or sums from before the rollout to one moment where the address has times."""

    kind = "web"
    hint = "where there is none before the first error, say absentErrors: zero"

    def __init__(self, options: WebOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self.absent_errors = options.absent_errors
        self._options = options
        self._environ = environ
        self._url = jsonpath.URL.read(options.url)
        self._paths = wanted.queries
        self._timed = has(options.url, *TIMES)

    def moment(self, question: Question) -> float:
        return self._window(question).stop if self._timed else question.at

    def _window(self, question: Question) -> Span:
        return span(question, delay=self._options.delay)

    def texts(self, question: Question) -> Mapping[Named, _Place]:
        times = jsonpath.epochs(self._window(question))
        known = {arm: values(question, arm) | times for arm in ARMS}
        return {
            (figure, arm): _Place(self._url.of(known[arm]), jsonpath.filled(path, known[arm]))
            for figure, path in self._paths.items()
            for arm in ARMS
        }

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:  # noqa: ARG002
        places = {named: place for named, place in texts.items() if isinstance(place, _Place)}
        # Where one address serves both arms, it is one document, of one moment.
        documents = {url: self._document(visit, url) for url in dict.fromkeys(one.url for one in places.values())}
        return lambda named: _number(documents[places[named].url], places[named].path)

    def login(self) -> Login:
        options = self._options
        headers = {name: credential(self._environ, variable) for name, variable in options.headers_env.items()}
        secrets = tuple(headers.values())
        if options.token_env is not None:
            token = credential(self._environ, options.token_env)
            headers, secrets = headers | {"Authorization": f"Bearer {token}"}, (*secrets, token)
        return Login(headers, secrets)

    def _document(self, visit: Visit, url: str) -> Any:
        got = arrived(visit.get(url))
        kind = content_type(got)
        document = parsed(got.body) if kind in _JSON or kind.endswith("+json") else None
        if got.status != 200:
            raise refusal(got.status, said(document, "error", "message", "detail"), url)
        if not isinstance(document, dict | list):
            raise unreadable(f"its answer is no JSON document (content type: {kind or 'nothing named'})")
        return document


def _number(document: Any, path: str) -> float | None:
    """What stands at a path, ``None`` for nothing. Raises ``Down``."""
    try:
        value = jsonpath.compiled(path).search(document)
    except (ValueError, RecursionError, TypeError, ArithmeticError) as error:
        raise unreadable(f"{cut(path, 300)} cannot be found: {type(error).__name__}") from None
    if isinstance(value, list):
        if len(value) > 1:
            raise unreadable(f"{cut(path, 300)} finds {len(value)} values; sum(…) makes them one")
        value = value[0] if value else None
    return None if value is None else number_of(value if not isinstance(value, str) else None, path)
