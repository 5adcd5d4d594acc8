"""One call to GitHub after another, with patience and manners: retries, rate limits, pages. Knows no meaning.

PyGithub signs, addresses and sends; its own retries are off. By default it repeats a POST, sleeps until a rate limit
ends, and takes a `Retry-After` of hours at its word. Here everything that waits draws on one patience, and a POST
is repeated only after a look that did not find it done.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import requests
from github import Auth, Github, GithubException
from github.Requester import Requester
from pydantic import TypeAdapter, ValidationError

from gate.errors import GitHubError
from gate.foreign import cut, harmless

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How long GitHub may take, and how often it is asked.

    Args:
        timeout: whole seconds for a connection, and for each read.
        patience: seconds for one call of the port, all its requests and waits; no request begins after it.
        tries: how often one request is sent at most.
        pause: seconds before the second try; twice that before the third.
        rest: seconds in which reports are not even tried after GitHub failed one, so that judging goes on.
        most_pages: pages of one listing; more is taken for a loop.
        writes: how much is written in a minute at most. GitHub's own limit, 80, is for all jobs of a token together.
    """

    timeout: int = 5
    patience: float = 10.0
    tries: int = 3
    pause: float = 0.5
    rest: float = 60.0
    most_pages: int = 200
    writes: int = 30


class Trouble(Enum):
    """What kind of failure it was. The first three may pass by themselves."""

    UNREACHABLE = auto()
    SERVER = auto()
    RATE_LIMIT = auto()
    CREDENTIALS = auto()
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    REFUSED = auto()
    UNREADABLE = auto()

    @property
    def may_pass(self) -> bool:
        return self in _MAY_PASS


_MAY_PASS = frozenset({Trouble.UNREACHABLE, Trouble.SERVER, Trouble.RATE_LIMIT})

_LASTING = frozenset({Trouble.CREDENTIALS, Trouble.FORBIDDEN, Trouble.NOT_FOUND, Trouble.REFUSED})

_ADVICE = {
    Trouble.CREDENTIALS: "Check the input `github-token`; an App's token ends after an hour.",
    Trouble.FORBIDDEN: "Check the job's `permissions`: pull-requests, deployments and statuses need write.",
}


class CallError(GitHubError):
    """A failed call, with its kind; ``wait`` is how many seconds GitHub asked for, where it did."""

    def __init__(self, what: str, trouble: Trouble, wait: float | None = None) -> None:
        super().__init__(what, do=_ADVICE.get(trouble, ""))
        self.trouble = trouble
        self.wait = wait
        self.lasting = trouble in _LASTING


class Answer(NamedTuple):
    headers: Mapping[str, Any]
    data: Any


def path(*parts: str | int) -> str:
    """A path of parts, each quoted whole: no part can leave its place."""
    return "".join("/" + quote(str(part), safe="") for part in parts)


def connect(*, api_url: str, token: str, manners: Manners) -> Requester:
    """PyGithub's sender for this API (`GITHUB_API_URL`, so that GitHub Enterprise works), without its own waits."""
    client = Github(
        auth=Auth.Token(token),
        base_url=api_url,
        timeout=manners.timeout,
        per_page=100,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
        user_agent="rampgate",
        lazy=True,
    )
    return client.requester


class Calls:
    """Sends requests for one port call at a time; not to be shared between threads."""

    def __init__(
        self,
        requester: Requester,
        manners: Manners,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._requester = requester
        self._manners = manners
        self._clock = clock
        self._sleep = sleep
        self._until = float("-inf")
        self._tries = manners.tries
        self._rests_until = float("-inf")
        self._written: deque[float] = deque(maxlen=manners.writes)

    @contextmanager
    def patiently(self, *, tries: int | None = None) -> Iterator[None]:
        """All requests inside share one patience."""
        self._until = self._clock() + self._manners.patience
        self._tries = tries or self._manners.tries
        yield

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """As ``patiently``, for what can wait: while GitHub rests, it fails at once."""
        left = self._rests_until - self._clock()
        if left > 0:
            raise CallError(f"GitHub failed a moment ago; asked again in {left:.0f} s.", Trouble.UNREACHABLE)
        try:
            with self.patiently():
                yield
        except CallError as error:
            if error.trouble.may_pass:
                self._rests_until = self._clock() + max(self._manners.rest, error.wait or 0.0)
            raise

    def get(self, kind: type[T], where: str, **query: str | int) -> T:
        return read(kind, self._again("GET", where, query=query).data)

    def pages(self, kind: type[T], where: str, **query: str | int) -> Iterator[T]:
        """Every item of a listing, over all its pages.

        Raises:
            CallError: also where the listing does not end.
        """
        next_url: str | None = where
        first: Mapping[str, str | int] = {**query, "per_page": 100}
        for _ in range(self._manners.most_pages):
            if next_url is None:
                return
            answer = self._again("GET", next_url, query=first)
            yield from read(list[kind], answer.data)  # type: ignore[valid-type]
            links = requests.utils.parse_header_links(str(answer.headers.get("link", "")))
            next_url, first = next((link["url"] for link in links if link.get("rel") == "next"), None), {}
        raise CallError(f"GET {where}: the pages do not end.", Trouble.UNREADABLE)

    @property
    def graphql(self) -> str:
        """Where the GraphQL API of the same GitHub is."""
        return self._requester.graphql_url

    def patch(self, kind: type[T], where: str, body: Mapping[str, Any]) -> T:
        """Edit: saying the same twice changes nothing, so it may be repeated."""
        return read(kind, self._again("PATCH", where, body=body).data)

    def post(self, kind: type[T], where: str, body: Mapping[str, Any], *, found: Callable[[], T | None]) -> T:
        """Create one thing, and never two: where a try fails in the dark, ``found`` looks for it before the next.

        Raises:
            CallError: it was not created, as far as GitHub says.
        """
        for number in range(self._tries):
            if number and (there := found()) is not None:
                return there
            try:
                return read(kind, self._once("POST", where, body=body).data)
            except CallError as error:
                if not error.trouble.may_pass and error.trouble is not Trouble.UNREADABLE:
                    raise
                failed = error
                if number + 1 < self._tries:
                    self._wait(error, number)
        if (there := found()) is not None:
            return there
        raise failed

    def _again(
        self, verb: str, where: str, query: Mapping[str, str | int] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        for number in range(self._tries - 1):
            try:
                return self._once(verb, where, query, body)
            except CallError as error:
                if not error.trouble.may_pass:
                    raise
                self._wait(error, number)
        return self._once(verb, where, query, body)

    def _wait(self, error: CallError, number: int) -> None:
        """Pause before the next try; a pause that patience does not cover is the failure itself."""
        pause = max(self._manners.pause * 2**number, error.wait or 0.0)
        if self._clock() + pause > self._until:
            raise error
        if pause:
            self._sleep(pause)

    def _once(
        self, verb: str, where: str, query: Mapping[str, str | int] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        if self._clock() > self._until:
            raise CallError(f"{verb} {where}: GitHub took too long.", Trouble.UNREACHABLE)
        if verb != "GET":
            self._count_write(verb, where)
        try:
            headers, data = self._requester.requestJsonAndCheck(
                verb, where, parameters=dict(query or {}), headers={"Accept": "application/vnd.github+json"}, input=body
            )
        except GithubException as error:
            raise _failure(verb, where, error) from error
        except OSError as error:
            text = f"{verb} {where}: GitHub could not be reached ({type(error).__name__})."
            raise CallError(text, Trouble.UNREACHABLE) from error
        except (RuntimeError, AssertionError, ValueError) as error:
            # PyGithub's word for a redirect or a link that leaves the API's host.
            raise CallError(f"{verb} {where}: {_plain(str(error))}", Trouble.UNREADABLE) from error
        return Answer(headers, data)

    def _count_write(self, verb: str, where: str) -> None:
        """Keep within what one gate may write in a minute."""
        now = self._clock()
        full = len(self._written) == self._manners.writes
        if full and (wait := self._written[0] + 60.0 - now) > 0:
            text = f"{verb} {where}: this gate has written {self._manners.writes} times within a minute."
            raise CallError(text, Trouble.RATE_LIMIT, wait)
        self._written.append(now)


def read(kind: type[T], data: Any) -> T:
    """An answer's fields, or the one error."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CallError(f"GitHub's answer cannot be read: {place}: {first['msg']}.", Trouble.UNREADABLE) from error


def _failure(verb: str, where: str, error: GithubException) -> CallError:
    headers = {str(key).lower(): str(value) for key, value in (error.headers or {}).items()}
    message = _plain(str(error.data.get("message", ""))) if isinstance(error.data, dict) else ""
    trouble = _trouble(error.status, message, headers)
    text = f"{verb} {where}: GitHub answered {error.status}{': ' if message else ''}{message.rstrip('.')}."
    return CallError(text, trouble, _asked_wait(headers) if trouble.may_pass else None)


def _trouble(status: int, message: str, headers: Mapping[str, str]) -> Trouble:
    if status >= 500:
        return Trouble.SERVER
    limited = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    if status == 429 or (status == 403 and (limited or Requester.isRateLimitError(message))):
        return Trouble.RATE_LIMIT
    kinds = {401: Trouble.CREDENTIALS, 403: Trouble.FORBIDDEN, 404: Trouble.NOT_FOUND, 410: Trouble.NOT_FOUND}
    return kinds.get(status, Trouble.REFUSED if status >= 400 else Trouble.UNREADABLE)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """How many seconds GitHub asks us to stay away: `Retry-After`, or until the primary limit is renewed."""
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return float(after[:9])
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:15]) - time.time()) + 1.0
    return None


def _plain(text: str) -> str:
    return cut(harmless(text.replace("\n", " ")), 300)
