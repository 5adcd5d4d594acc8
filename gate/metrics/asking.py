"""What sources that ask over HTTP have in common: the way in, what an answer must be, and both arms from four counts.

What cannot be believed ends a reading as ``Down``, in a sentence; ``answered`` is where that becomes ``SourceDown``.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import floor, isfinite
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from gate.fetch import Got, NotGot, Trouble, Visit, origin
from gate.foreign import Secrets, cut
from gate.keys import As, Key
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import UnwritableError
from gate.metrics.source import Question
from rampgate.evidence import ArmName, Counters, Reading, SourceDown, VerdictReason
from rampgate.problem import Problem

MOST_TEXT = 600
MOST_COUNT = 2**53
"""These sources count in floating point: above this a count is no longer exact."""

LOOK_BACK = 3600.0
"""Seconds before the rollout from which sums are taken, so that a stable version with traffic has a series at once."""


Answer = TypeVar("Answer")


class Down(Exception):  # noqa: N818
    """Ends a reading; never leaves a source."""

    def __init__(self, reason: VerdictReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def unreadable(text: str) -> Down:
    return Down(VerdictReason.SOURCE_UNREADABLE, text)


def unreachable(text: str) -> Down:
    return Down(VerdictReason.SOURCE_UNREACHABLE, text)


def empty(text: str) -> Down:
    return Down(VerdictReason.SOURCE_EMPTY, text)


@dataclass(frozen=True, slots=True)
class Login:
    """The headers that let in, and what of them nobody may read."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where to ask, and how to be let in.

    ``token_env`` names the environment variable that holds a token; ``user_env`` and ``password_env`` those of basic
    authentication. ``timeout`` bounds one reading, all its queries together, in seconds.
    """

    url: Annotated[str, Key(As.ADDRESS, "Where it answers.")]
    token_env: Annotated[str | None, Key(As.VARIABLE, "The variable that holds a bearer token.")] = None
    user_env: Annotated[str | None, Key(As.VARIABLE, "The variable that holds a user's name.")] = None
    password_env: Annotated[str | None, Key(As.VARIABLE, "The variable that holds that user's password.")] = None
    timeout: Annotated[float, Key(As.DURATION, "The longest that one reading may take.")] = 5.0

    def access_problems(self, path: str) -> Iterator[Problem]:
        """Everything wrong with them."""
        yield from url_problems(self.url, f"{path}.url")
        if (self.user_env is None) != (self.password_env is None):
            yield Problem(path, "half of a login", "userEnv and passwordEnv together, or neither")
        if self.token_env is not None and self.user_env is not None:
            yield Problem(path, "tokenEnv and userEnv", "one way to log in")
        yield from timeout_problems(self.timeout, path)

    def credentials(self) -> tuple[str, ...]:
        return tuple(name for name in (self.token_env, self.user_env, self.password_env) if name is not None)

    def login(self, environ: Mapping[str, str], scheme: str = "Bearer") -> Login:
        """Read anew each time, because tokens are rotated. Raises ``Down`` where they are not there."""
        if self.token_env is not None:
            token = credential(environ, self.token_env)
            return Login({"Authorization": f"{scheme} {token}"}, (token,))
        if self.user_env is not None and self.password_env is not None:
            user, password = credential(environ, self.user_env), credential(environ, self.password_env)
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            return Login({"Authorization": f"Basic {login}"}, (password, login))
        return Login()


def credential(environ: Mapping[str, str], name: str) -> str:
    """The value of the variable that a configuration names. Raises ``Down``."""
    value = environ.get(name, "").strip()
    if not value:
        raise unreachable(f"the environment variable {name} is not set: no credentials")
    if not value.isprintable():
        raise unreachable(f"the environment variable {name} holds control characters")
    return value


def url_problems(url: str, path: str) -> Iterator[Problem]:
    """What keeps a text from being an address without credentials in it."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        yield Problem(path, origin(url), "an address such as https://metrics.example.com")
    elif parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        allowed = "an address without user, query and fragment: credentials come from the environment (tokenEnv)"
        yield Problem(path, origin(url) + "/…", allowed)


def timeout_problems(timeout: float, path: str, most: float = 60.0) -> Iterator[Problem]:
    if not 0 < timeout <= most:
        yield Problem(f"{path}.timeout", f"{timeout:g}s", f"more than 0s and at most {most:g}s")


def delay_problems(delay: float, path: str) -> Iterator[Problem]:
    if not 0 <= delay <= 900:
        yield Problem(f"{path}.delay", f"{delay:g}s", "at most 15m")


def answered(
    kind: str, question: Question, timeout: float, login: Callable[[], Login], read: Callable[[Visit], Answer]
) -> Answer | SourceDown:
    """One reading, by ``read``, over connections that ``login`` opens; ``kind`` is what people call the source."""
    secrets = Secrets()
    try:
        given = login()
        secrets = Secrets(given.secrets)
        headers = {"Accept": "application/json", "User-Agent": "rampgate", **given.headers}
        with Visit(seconds=timeout, headers=headers) as visit:
            return read(visit)
    except Down as down:
        return source_down(kind, question, secrets, down)
    except UnwritableError as error:
        return source_down(kind, question, secrets, empty(str(error)))


def source_down(kind: str, question: Question, secrets: Secrets, down: Down) -> SourceDown:
    """What a person reads. Masked before it is cut: half a secret is one too."""
    text = cut(secrets.shown(f"{kind}: {down.text}"), MOST_TEXT)
    return SourceDown(at=question.at, reason=down.reason, text=text)


def arrived(got: Got | NotGot) -> Got:
    """The answer, if there is one. Raises ``Down``."""
    if isinstance(got, NotGot):
        raise (unreadable if got.trouble is Trouble.REFUSED else unreachable)(got.text)
    return got


def refusal(status: int, said: str, query: str) -> Down:
    """What a status other than success means."""
    if status in (401, 403):
        return unreadable(f"it refuses the credentials (HTTP {status})")
    if status >= 500 or status in (408, 429):
        return unreachable(f"it answers HTTP {status}: {said}")
    return unreadable(f"it answers HTTP {status} to {cut(query, 300)}: {said}")


def json_of(got: Got) -> object:
    """The answer, where it is JSON and says so; else ``None``."""
    if content_type(got) != "application/json":
        return None
    return parsed(got.body)


def parsed(text: bytes | str) -> object:
    """JSON, or ``None`` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def content_type(got: Got) -> str:
    return got.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def said(answer: object, *keys: str) -> str:
    """What an answer explains under one of these keys."""
    found = [answer[key] for key in keys if isinstance(answer, dict) and answer.get(key)]
    return str(found[0]) if found else "no explanation"


def number_of(value: object, query: str) -> float:
    """A number, whichever. Raises ``Down``."""
    shown = cut(query, 300)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise unreadable(f"the query's value cannot be read: {shown}")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise unreadable(f"the query's value cannot be read: {shown}") from None
    if not isfinite(number):
        raise unreadable(f"the query's value is {number}, no count: {shown}")
    return number


def count_of(value: object, query: str) -> int:
    """A number as a counter holds it. Raises ``Down``."""
    number = number_of(value, query)
    whole = round(number)
    if number < 0 or number > MOST_COUNT or abs(number - whole) > 1e-9 * max(1.0, number):
        raise unreadable(f"{number:.17g} is no counter's value (0, 1, 2, …): {cut(query, 300)}")
    return whole


class What(StrEnum):
    """The two figures of each arm."""

    ERRORS = "errors"
    REQUESTS = "requests"


ARMS = (ArmName.STABLE, ArmName.CANARY)

Counts = Callable[[What, ArmName], int | None]
"""The counter that is asked for, or ``None`` where there is no series."""


def both_arms(
    at: float,
    count: Counts,
    shown: Callable[[What, ArmName], str],
    *,
    absent_errors: AbsentErrors = AbsentErrors.UNKNOWN,
    hint: str = "where there is none before the first error, say absentErrors: zero",
) -> Reading:
    """Both arms from four counts. Errors first: what is counted in between is no error yet.

    ``shown`` is the query as it was asked. Raises ``Down`` where what is missing cannot be told from what is not there.
    """
    for what in What:
        if shown(what, ArmName.STABLE) == shown(what, ArmName.CANARY):
            query = cut(shown(what, ArmName.CANARY), 300)
            raise unreadable(f"the {what} query is the same for both arms, so nothing tells them apart: {query}")
    errors = {arm: count(What.ERRORS, arm) for arm in ARMS}
    requests = {arm: count(What.REQUESTS, arm) for arm in ARMS}
    if all(number is None for number in requests.values()):
        query = cut(shown(What.REQUESTS, ArmName.CANARY), 300)
        raise empty(f"the requests query has no series for either arm: {query}")
    counters: dict[ArmName, Counters | None] = {}
    for arm in ARMS:
        n, x = requests[arm], errors[arm]
        if n is not None and x is None:
            if absent_errors is AbsentErrors.UNKNOWN:
                query = cut(shown(What.ERRORS, arm), 300)
                raise empty(f"the errors query has no series for {arm}: {query}; {hint}")
            x = 0
        counters[arm] = None if n is None or x is None else Counters(requests=n, errors=x)
    return Reading(at=at, stable=counters[ArmName.STABLE], canary=counters[ArmName.CANARY])


@dataclass(frozen=True, slots=True)
class Span:
    """The time over which sums are taken, in seconds since the epoch: ``start`` is in it, ``stop`` is not."""

    start: float
    stop: float


def span(question: Question, *, delay: float, every: float = 1.0, grid: float | None = None) -> Span:
    """From a moment that stays the same for the whole rollout to the newest one whose figures are all there.

    ``stop`` lies ``delay`` seconds before the question's moment, on a multiple of ``every``; ``start`` an hour before
    the rollout on a multiple of ``grid`` (``every`` unless said). So two spans of one rollout differ by what happened
    in between alone, and sums over them are counters.
    """
    grid = grid or every
    stop = floor((question.at - delay) / every) * every
    return Span(start=min(floor((question.since - LOOK_BACK) / grid) * grid, stop), stop=stop)
