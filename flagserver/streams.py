"""Change streams (server-sent events): each client has the latest snapshot or is told of it, never a queue.

Clients wait in shards of at most 100, with a yield of the loop between two, so that an event for thousands of
streams holds up no lookup.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import partial
from typing import Any

from flagserver import hub
from flagserver.publish import Published
from flagserver.services import Services
from flagserver.views.route import Call, still_admitted
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

    __slots__ = ("beat", "future", "gone", "version")

    def __init__(self, version: str) -> None:
        self.version = version
        self.beat = False
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


class Streams:
    """All open streams of the process. Lives on one event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._channels: dict[str, _Channel] = {}
        self._open = 0
        self._closing = False

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
        limit = self._services.settings.max_streams
        if self._closing or self._open >= limit:
            await refuse(send, "The server is going away." if self._closing else f"{limit} streams are open.")
            return
        channel = self._channel(call.params["environment"])
        client = _Client(call.headers.get("last-event-id", ""))
        shard = channel.join(client)
        self._open += 1
        self._services.meters.streams.set(self._open)
        watcher = asyncio.ensure_future(gone(receive))
        watcher.add_done_callback(client.leave)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._run(call, channel, client, send)
        finally:
            watcher.cancel()
            shard.discard(client)
            self._open -= 1
            self._leave(channel)
            self._services.meters.streams.set(self._open)

    async def _run(self, call: Call, channel: _Channel, client: _Client, send: Send) -> None:
        published = self._services.live.current(channel.environment)
        first = f"retry: {random.randint(500, 2500)}\n\n".encode()
        if client.version == published.version:
            first += self._heartbeat(published)
        else:
            client.version = published.version
            first += self._snapshot(published)
        await chunk(send, first)
        while not client.gone and not self._closing:
            if channel.version and client.version != channel.version:
                client.version = channel.version
                await chunk(send, channel.changed)
            elif client.beat:
                client.beat = False
                if not still_admitted(self._services, call):
                    break
                await chunk(send, self._heartbeat(self._services.live.current(channel.environment)))
            else:
                client.future = asyncio.get_running_loop().create_future()
                await client.future
        if not client.gone:
            await send({"type": "http.response.body", "body": event("reconnect", "", b"{}"), "more_body": False})

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

    def _snapshot(self, published: Published) -> bytes:
        data = b'{"age":%s,"snapshot":%s}' % (encode(self._age()), published.body)
        return event("snapshot", published.version, data)

    def _heartbeat(self, published: Published) -> bytes:
        return event("heartbeat", "", encode({"version": published.version, "age": self._age()}))

    def _age(self) -> float:
        return round(min(self._services.live.age(), 1e9), 3)


async def _wake(channel: _Channel, *, beat: bool) -> None:
    for shard in channel:
        for client in shard:
            client.beat = client.beat or beat
            client.wake()
        await asyncio.sleep(0)
    channel.shards = [shard for shard in channel.shards if shard] or channel.shards[:1]


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
