"""WSGI middleware: each request is assigned once, and its outcome counted by variant. The app writes no line more."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rampgate.client.answers import User
from rampgate.client.assignment import Assignment
from rampgate.client.flag_client import FlagClient
from rampgate.client.testers import carried

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ASSIGNMENTS = "rampgate.assignments"
"""Where in ``environ`` the request's assignments are: a dictionary by flag."""

TOKENS = "rampgate.tokens"
"""Where in ``environ`` the request's tester tokens are, once they were looked for."""


def tokens_in(environ: "WSGIEnvironment") -> tuple[str, str | None]:
    """The request's tester tokens, and the ``Set-Cookie`` that keeps a link's: for whoever asks first."""
    if TOKENS in environ:
        return environ[TOKENS], None
    found = carried(
        environ.get("HTTP_RAMPGATE_FORCE", ""), environ.get("HTTP_COOKIE", ""), environ.get("QUERY_STRING", ""),
        secure=environ.get("wsgi.url_scheme") == "https", now=time.time,
    )  # fmt: skip
    environ[TOKENS] = found.tokens
    return found.tokens, found.cookie


class FlagMiddleware:
    """Assigns every request's user to a variant of ``flag`` and records how the request ended.

    Requests, errors (a status of 500 and above, or an exception, at the end of a streamed answer too) and latency
    are counted by variant. Within the request, lookups of the flag for this user keep the variant. A request that
    carries a tester token gets the variant that it names, and is not counted. Stack one for each flag.

    Args:
        app: the app.
        client: the client; the app may use it too.
        flag: the flag.
        user: from the request's ``environ`` to the user's key or context. ``None`` or an exception: nobody, who gets
            the default and is not counted.
        default: the assignment's value where the flag has none.
        is_error: which statuses are errors; 500 and above unless given.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        client: FlagClient,
        flag: str,
        user: "Callable[[WSGIEnvironment], User | None]",
        *,
        default: object = None,
        is_error: Callable[[int], bool] = lambda status: status >= 500,
    ) -> None:
        self._app = app
        self._client = client
        self._flag = flag
        self._user = user
        self._default = default
        self._is_error = is_error

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        tokens, cookie = tokens_in(environ)
        assignment = self._client.assign(self._flag, self._whom(environ), self._default, tokens=tokens)
        environ.setdefault(ASSIGNMENTS, {})[self._flag] = assignment
        failed = [False]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
            failed[0] = self._is_error(_code(status))
            if cookie is not None:
                headers = [*headers, ("Set-Cookie", cookie)]
            return start_response(status, headers) if exc_info is None else start_response(status, headers, exc_info)

        try:
            with assignment.pinned():
                body = self._app(environ, start)
        except BaseException:
            assignment.finish(ok=False)
            raise
        if isinstance(body, list | tuple):
            # Nothing can go wrong any more, and servers read the length of these.
            assignment.finish(ok=not failed[0])
            return body
        return Body(body, assignment, failed)

    def _whom(self, environ: "WSGIEnvironment") -> User | None:
        try:
            return self._user(environ)
        except Exception:
            return None


class Body:
    """An answer that is still being made: its outcome is known at its end, or when it is closed."""

    def __init__(self, body: Iterable[bytes], assignment: Assignment, failed: list[bool]) -> None:
        self._body = body
        self._assignment = assignment
        self._failed = failed
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._assignment.pinned():
                if self._pieces is None:
                    self._pieces = iter(self._body)
                piece = next(self._pieces)
        except StopIteration:
            self._assignment.finish(ok=not self._failed[0])
            raise
        except BaseException:
            self._assignment.finish(ok=False)
            raise
        self._assignment.renew()
        return piece

    def close(self) -> None:
        """The server is done, or its client went away: what was said so far is the outcome."""
        try:
            with self._assignment.pinned():
                close = getattr(self._body, "close", None)
                if close is not None:
                    close()
        except BaseException:
            self._assignment.finish(ok=False)
            raise
        self._assignment.finish(ok=not self._failed[0])


def _code(status: str) -> int:
    """The number at the head of a status line; one without is the app's fault."""
    try:
        return int(status[:3])
    except ValueError:
        return 500
