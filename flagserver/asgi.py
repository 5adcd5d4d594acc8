"""The event loop in front of Flask: answers the hot routes itself, lets long polls wait without a thread, and
carries streams. Everything else goes to Flask in a pool of threads.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from a2wsgi import WSGIMiddleware
from structlog.contextvars import bound_contextvars

from flagserver import hub, wire
from flagserver.app import create_app, too_large
from flagserver.at_once import AtOnce
from flagserver.auth import Caller
from flagserver.errors import FlagServerError, UnknownKeyError
from flagserver.logs import request_id
from flagserver.services import Services
from flagserver.streams import Streams
from flagserver.table import Table
from flagserver.views.cors import shared
from flagserver.views.ofrep import EVENTS
from flagserver.views.rollouts import read_one, wish
from flagserver.views.route import (
    MOST_BODY,
    MOST_KEYLESS,
    Call,
    Reply,
    Route,
    Served,
    admit,
    admit_fresh,
    answer,
    fault,
    presented,
    refused,
    reply_with,
)
from flagserver.watching import Watching

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_READERS = 4
_URGENT = 4
_OF_ROLLOUTS = "/v1/rollouts/"
_EVENT_OF_ONE = re.compile(r"/v1/rollouts/[^/]+/events")
_ABORT_FORM = re.compile(r"/ui/rollouts/[^/]+/abort")


class FrontDoor:
    """The ASGI application."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._table = Table()
        app = create_app(services)
        self._flask = WSGIMiddleware(app, workers=services.settings.threads)  # type: ignore[arg-type]
        # While the database hangs everybody's threads wait for it; an abort must not wait for theirs.
        self._urgent = WSGIMiddleware(app, workers=_URGENT)  # type: ignore[arg-type]
        self.at_once = AtOnce(services, self._table)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
        self.streams = Streams(services)
        self.watching = Watching(services, self._readers)
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let every stream and long poll go; called on the loop, once."""
        self._closing.set()
        self.streams.close()
        self.watching.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        found = self._table.find(scope["method"], scope["path"])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if found is None:
            # WSGI cannot tell `X_Forwarded_For` from what only a proxy may say.
            scope["headers"] = [(name, value) for name, value in scope["headers"] if b"_" not in name]
            urgent, receive = await _urgent(scope, await self._whole(scope, receive, headers))
            await (self._urgent if urgent else self._flask)(scope, receive, send)  # type: ignore[arg-type]
            return
        route, params = found
        asked = request_id(headers.get("x-request-id"))
        try:
            caller = await self._admit(route, headers, params)
            body = await _body(receive, headers) if route.method == "POST" else b""
        except FlagServerError as error:
            refusal = shared(self._services, route, headers, refused(self._slowed(error, scope, headers)))
            await self._send(send, route, refusal, asked)
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        call = Call(params=params, query=query, headers=headers, body=body, caller=caller)
        if route.served is Served.STREAM:
            if (refused_one := await self._stream(route, call, receive, send)) is not None:
                await self._send(send, route, refused_one, asked)
        elif route.served is Served.LONG_POLL:
            await self._send(send, route, await self._long_poll(route, call), asked)
        else:
            with bound_contextvars(request=asked):
                reply = answer(self._services, route, call)
            await self._send(send, route, shared(self._services, route, headers, reply), asked)

    async def _whole(self, scope: Scope, receive: Receive, headers: Mapping[str, str]) -> Receive:
        """The request's body, waited for on the loop: who sends it slowly must hold none of the few threads.

        Flask waits for itself where the key is one that only the database may know.
        """
        key = presented(headers)
        if ("content-length" not in headers and "transfer-encoding" not in headers) or (
            key and self._services.keyring.caller(key) is None
        ):
            return receive
        most = MOST_BODY if key else MOST_KEYLESS
        came, length = await _came(receive, most)
        # What is too large ends here: Flask refuses it by its length.
        came[-1] = {**came[-1], "more_body": False}
        if "content-length" not in headers:
            # Flask reads nothing of a body in chunks, whose length nobody said.
            others = [(name, value) for name, value in scope["headers"] if name != b"transfer-encoding"]
            scope["headers"] = [*others, (b"content-length", str(length).encode())]
        return _again(came, receive)

    async def _stream(self, route: Route, call: Call, receive: Receive, send: Send) -> Reply | None:
        """Stream until the client leaves; returns a refusal that is still to be sent."""
        if route.path.startswith(_OF_ROLLOUTS):
            return await self.watching.serve(call, receive, send)
        if route.path == EVENTS:
            return await self.streams.serve_page(call, receive, send)
        await self.streams.serve(call, receive, send)
        return None

    def _slowed(self, error: FlagServerError, scope: Scope, headers: Mapping[str, str]) -> FlagServerError:
        remote = (scope.get("client") or ("",))[0]
        return self._services.slow_down.refused(error, remote, headers.get("x-forwarded-for", ""))

    async def _admit(self, route: Route, headers: Mapping[str, str], params: Mapping[str, str]) -> Caller:
        try:
            return admit(self._services, route, headers, params)
        except UnknownKeyError as error:
            if not error.guessed:
                raise
        caller: Caller = await self._in_thread(admit_fresh, self._services, route, headers, params)
        return caller

    async def _long_poll(self, route: Route, call: Call) -> Reply:
        """Answer when the rollout's revision is another than the caller's, or when its wait is over."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        stop = self._services.hub.listen(
            hub.rollout(call.params["id"]), partial(loop.call_soon_threadsafe, changed.set)
        )
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            after, wait = wish(call)
            ends = loop.time() + wait
            while True:
                changed.clear()
                rollout = await self._in_thread(read_one, self._services.rollouts, call)
                left = ends - loop.time()
                if rollout.state.revision != after or left <= 0 or self._closing.is_set():
                    return reply_with(wire.ROLLOUT, rollout)
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait((waiting, closing), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        except FlagServerError as error:
            return refused(error)
        except Exception:
            return fault(route, call)
        finally:
            closing.cancel()
            stop()

    async def _send(self, send: Send, route: Route, reply: Reply, asked: str) -> None:
        self._services.meters.answered(route.method, route.path, reply.status)
        headers = [(b"x-request-id", asked.encode())]
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
        if reply.status not in (204, 304):
            headers.append((b"content-type", reply.type.encode()))
            headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *args)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._readers.shutdown(wait=False, cancel_futures=True)
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _urgent(scope: Scope, receive: Receive) -> tuple[bool, Receive]:
    """Whether this may be an abort, and where its body is to be had; the routes know for certain."""
    if scope["method"] != "POST" or not _EVENT_OF_ONE.fullmatch(scope["path"]):
        return scope["method"] == "POST" and _ABORT_FORM.fullmatch(scope["path"]) is not None, receive
    came, _ = await _came(receive, MOST_BODY)
    return b'"revert"' in b"".join(one.get("body", b"") for one in came), _again(came, receive)


async def _came(receive: Receive, most: int) -> tuple[list[Message], int]:
    """A body as it comes, and its length; where it is longer than ``most``, its beginning."""
    came: list[Message] = []
    length, more = 0, True
    while more and length <= most:
        came.append(await receive())
        length += len(came[-1].get("body", b""))
        more = came[-1].get("more_body", False)
    return came, length


def _again(came: list[Message], receive: Receive) -> Receive:
    """What has come, and then what comes."""
    left = came[::-1]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


async def _body(receive: Receive, headers: Mapping[str, str]) -> bytes:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MOST_BODY:
        raise too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= MOST_BODY:
        message = await receive()
        body += message.get("body", b"")
    if len(body) > MOST_BODY:
        raise too_large()
    return body
