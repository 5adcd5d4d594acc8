"""ASGI middleware: each request is assigned once, and its outcome counted by variant. The app writes no line more."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rampgate.client.answers import User
from rampgate.client.flag_client import FlagClient
from rampgate.client.testers import carried

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ASSIGNMENTS = "rampgate.assignments"
"""Where in the ``scope`` the request's assignments are: a dictionary by flag."""

TOKENS = "rampgate.tokens"
"""Where in the ``scope`` the request's tester tokens are, once they were looked for."""


def tokens_in(scope: Scope) -> tuple[str, str | None]:
    """The request's tester tokens, and the ``Set-Cookie`` that keeps a link's: for whoever asks first."""
    if TOKENS in scope:
        return scope[TOKENS], None
    header, cookies = "", ""
    for name, value in scope.get("headers", ()):
        if name == b"rampgate-force":
            header = value.decode("latin-1")
        elif name == b"cookie":
            cookies = f"{cookies}; {value.decode('latin-1')}"
    query = scope.get("query_string", b"").decode("latin-1")
    found = carried(header, cookies, query, secure=scope.get("scheme") == "https", now=time.time)
    scope[TOKENS] = found.tokens
    return found.tokens, found.cookie


class FlagMiddleware:
    """Assigns every HTTP request's user to a variant of ``flag`` and records how the request ended.

    Requests, errors (a status of 500 and above, an exception, an answer that never began) and latency are counted by
    variant. Within the request, and in the tasks it starts, lookups of the flag for this user keep the variant. A
    request that carries a tester token gets the variant that it names, and is not counted. What is no HTTP request
    passes through. Stack one for each flag.

    Args:
        app: the app.
        client: the client; the app may use it too.
        flag: the flag.
        user: from the request's ``scope`` to the user's key or context. ``None`` or an exception: nobody, who gets
            the default and is not counted.
        default: the assignment's value where the flag has none.
        is_error: which statuses are errors; 500 and above unless given.
    """

    def __init__(
        self,
        app: App,
        client: FlagClient,
        flag: str,
        user: Callable[[Scope], User | None],
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tokens, cookie = tokens_in(scope)
        assignment = self._client.assign(self._flag, self._whom(scope), self._default, tokens=tokens)
        scope.setdefault(ASSIGNMENTS, {})[self._flag] = assignment
        good: bool | None = None

        async def tell(message: Message) -> None:
            nonlocal good
            if message["type"] == "http.response.start":
                good = not self._is_error(message["status"])
                if cookie is not None:
                    headers = [*message.get("headers", ()), (b"set-cookie", cookie.encode("latin-1"))]
                    message = {**message, "headers": headers}
            await send(message)
            if message["type"] == "http.response.body":
                # What runs after the last piece, a background task perhaps, is no part of the answer.
                if message.get("more_body"):
                    assignment.renew()
                else:
                    assignment.finish(ok=bool(good))

        try:
            with assignment.pinned():
                await self._app(scope, receive, tell)
        except asyncio.CancelledError:
            # The client went away, or the server ends: what was said so far is the outcome, and silence is a failure.
            assignment.finish(ok=bool(good))
            raise
        except BaseException:
            assignment.finish(ok=False)
            raise
        assignment.finish(ok=bool(good))

    def _whom(self, scope: Scope) -> User | None:
        try:
            return self._user(scope)
        except Exception:
            return None
