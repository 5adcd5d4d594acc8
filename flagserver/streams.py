"""Change streams (server-sent events): each client has the latest snapshot or is told of it, never a queue. Pages
hear only that something changed: OFREP's event stream.

Clients wait in shards of at most 100, with a yield of the loop between two, so that an event for thousands of
streams holds up no lookup.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flagserver import hub
from flagserver.publish import Published
from flagserver.services import Services
from flagserver.views.ofrep import NoPassError
from flagserver.views.route import Call, Reply, refused, still_admitted
from flagserver.wire import encode

SHARD = 100

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Client:
    """One open stream: what it has, and the future that wakes it."""

    __slots__ = ("again", "beat", "future", "gone", "version")

    def __init__(self, version: str) -> None:
        self.version = version
        self.beat = False
        self.again = False
        self.gone = False
        self.future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def leave(self, _task: object = None) -> None:
        self.gone = True
        self.wake()


class _Channel:
    """The streams of one environment, in shards, and the bytes that all of them get."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.shards: list[set[_Client]] = []
        self.changed = b""
        self.notice = b""
        self.version = ""
        self.told = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.stop: Callable[[], None] = lambda: None

    def join(self, client: _Client) -> set[_Client]:
        shard = next((one for one in self.shards if len(one) < SHARD), None)
        if shard is None:
            shard = set()
            self.shards.append(shard)
        shard.add(client)
        return shard

    def __iter__(self) -> Iterator[set[_Client]]:
        return iter(list(self.shards))


@dataclass(frozen=True, slots=True)
class _Listener:
    """Who asks to be told: of which environment, what it has, whether it is a page, and until when it may listen."""

    environment: str
    version: str
    admitted: Callable[[], bool]
    is_page: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Streams:
    """All open streams of the process. Lives on one event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._channels: dict[str, _Channel] = {}
        self._open = 0
        self._closing = False
        services.notices.served = True

    def close(self) -> None:
        """Tell every client to come back later, and end its stream."""
        self._closing = True
        for channel in self._channels.values():
            channel.stop()
            if channel.keeper is not None:
                channel.keeper.cancel()
            for shard in channel:
                for client in shard:
                    client.wake()

    async def serve(self, call: Call, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves or the server ends."""
        if await self._full(self._open, self._services.settings.max_streams, send):
            return
        has = call.headers.get("last-event-id", "")
        listener = _Listener(call.params["environment"], has, partial(still_admitted, self._services, call))
        self._count(1, is_page=False)
        try:
            await self._tell_until_gone(listener, receive, send)
        finally:
            self._count(-1, is_page=False)

    async def serve_page(self, call: Call, receive: Receive, send: Send) -> Reply | None:
        """Serve one page until it leaves or the server ends; returns a refusal that is still to be sent."""
        notices = self._services.notices
        origin, text = call.headers.get("origin", ""), call.query.get("pass", "")
        caller = notices.holder(text, origin)
        if caller is None or caller.environment is None:
            return refused(NoPassError())
        if await self._full(notices.open, notices.most, send):
            return None
        allowed = ((b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")) if origin else ()
        listener = _Listener(
            caller.environment, call.headers.get("last-event-id", ""), lambda: notices.holder(text, origin) is not None,
            is_page=True, headers=allowed,
        )  # fmt: skip
        self._count(1, is_page=True)
        try:
            await self._tell_until_gone(listener, receive, send)
        finally:
            self._count(-1, is_page=True)
        return None

    async def _full(self, there: int, most: int, send: Send) -> bool:
        if self._closing or there >= most:
            await refuse(send, "The server is going away." if self._closing else f"{most} streams are open.")
            return True
        return False

    def _count(self, change: int, *, is_page: bool) -> None:
        if is_page:
            self._services.notices.open += change
            self._services.meters.pages.set(self._services.notices.open)
        else:
            self._open += change
            self._services.meters.streams.set(self._open)

    async def _tell_until_gone(self, listener: _Listener, receive: Receive, send: Send) -> None:
        channel = self._channel(listener.environment)
        client = _Client(listener.version)
        shard = channel.join(client)
        watcher = asyncio.ensure_future(gone(receive))
        watcher.add_done_callback(client.leave)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *listener.headers]})
            await self._run(listener, channel, client, send)
        finally:
            watcher.cancel()
            shard.discard(client)
            self._leave(channel)

    async def _run(self, listener: _Listener, channel: _Channel, client: _Client, send: Send) -> None:
        published = self._services.live.current(channel.environment)
        first = f"retry: {random.randint(500, 2500)}\n\n".encode()
        if client.version == published.version:
            first += self._beat(listener, client, published)
        else:
            client.version = published.version
            first += _notice(published) if listener.is_page else self._snapshot(published)
        await chunk(send, first)
        while not client.gone and not self._closing:
            if channel.version and client.version != channel.version:
                client.version = channel.version
                client.again = True
                await chunk(send, channel.notice if listener.is_page else channel.changed)
            elif client.beat:
                client.beat = False
                if not listener.admitted():
                    break
                await chunk(send, self._beat(listener, client, self._services.live.current(channel.environment)))
            else:
                client.future = asyncio.get_running_loop().create_future()
                await client.future
        if not client.gone:
            last = b"" if listener.is_page else event("reconnect", "", b"{}")
            await send({"type": "http.response.body", "body": last, "more_body": False})

    def _channel(self, environment: str) -> _Channel:
        channel = self._channels.get(environment)
        if channel is None:
            loop = asyncio.get_running_loop()
            channel = self._channels[environment] = _Channel(environment)
            channel.stop = self._services.hub.listen(
                hub.environment(environment), partial(loop.call_soon_threadsafe, channel.told.set)
            )
            channel.keeper = asyncio.ensure_future(self._keep(channel))
        return channel

    def _leave(self, channel: _Channel) -> None:
        """Forget an environment that nobody listens to."""
        if any(channel.shards) or self._channels.get(channel.environment) is not channel:
            return
        del self._channels[channel.environment]
        channel.stop()
        if channel.keeper is not None:
            channel.keeper.cancel()

    async def _keep(self, channel: _Channel) -> None:
        """Pass on changes at once and heartbeats in time, until the server ends."""
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        while True:
            published = self._services.live.current(channel.environment)
            if published.version != channel.version:
                first = channel.version == ""
                self._tell(channel, published)
                await _wake(channel, beat=False)
                if not first:
                    self._services.meters.told.observe(self._services.live.changed_ago(channel.environment))
            if loop.time() >= beat_at:
                await _wake(channel, beat=True)
                beat_at = loop.time() + published.heartbeat
            beat_at = min(beat_at, loop.time() + published.heartbeat)
            channel.told.clear()
            if self._services.live.current(channel.environment).version == channel.version:
                left = min(beat_at - loop.time(), self._until(published))
                try:
                    await asyncio.wait_for(channel.told.wait(), max(0.0, left))
                except TimeoutError:
                    continue

    def _until(self, published: Published) -> float:
        return max(0.05, published.valid_until - self._services.store.now())

    def _tell(self, channel: _Channel, published: Published) -> None:
        data = {
            "version": published.version,
            "previous": published.previous,
            "age": self._age(),
            "flags": published.changed,
            "removed": published.removed,
            "rollouts": published.rollouts,
        }
        channel.version = published.version
        channel.changed = event("changed", published.version, encode(data))
        channel.notice = _notice(published)

    def _snapshot(self, published: Published) -> bytes:
        data = b'{"age":%s,"snapshot":%s}' % (encode(self._age()), published.body)
        return event("snapshot", published.version, data)

    def _beat(self, listener: _Listener, client: _Client, published: Published) -> bytes:
        if not listener.is_page:
            return event("heartbeat", "", encode({"version": published.version, "age": self._age()}))
        # Told once more: a page may have asked a replica that had not heard of the change yet, and asks no more.
        again, client.again = client.again, False
        return _notice(published) if again else b": still here\n\n"

    def _age(self) -> float:
        return round(min(self._services.live.age(), 1e9), 3)


async def _wake(channel: _Channel, *, beat: bool) -> None:
    for shard in channel:
        for client in shard:
            client.beat = client.beat or beat
            client.wake()
        await asyncio.sleep(0)
    channel.shards = [shard for shard in channel.shards if shard] or channel.shards[:1]


def _notice(published: Published) -> bytes:
    """What a page is told: to ask again. Source: OFREP's ADR 0008, "Server-Sent Events for bulk evaluation changes"."""
    return event("message", published.version, encode({"type": "refetchEvaluation", "etag": published.version}))


async def gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def refuse(send: Send, message: str) -> None:
    body = encode({"error": "no_stream_free", "message": message})
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"2")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def chunk(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def event(name: str, event_id: str, data: bytes) -> bytes:
    head = f"event: {name}\n" + (f"id: {event_id}\n" if event_id else "")
    return head.encode() + b"data: " + data + b"\n\n"
