"""Streams of rollouts (server-sent events): one rollout, or an environment's, each as it now stands, never a queue.

For gates and dashboards, of which there are few; apps have the streams of flags.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any

from flagserver import hub, wire
from flagserver.errors import FlagServerError, NotFoundError, StoreGoneError
from flagserver.services import Services
from flagserver.store.rollouts import Wanted
from flagserver.streams import HEADERS, Receive, Send, chunk, event, gone, refuse
from flagserver.views.rollouts import read_one
from flagserver.views.route import Call, Reply, refused, still_admitted
from rampgate.rollout import Rollout

MOST = 200
"""Streams of rollouts open at once: each reads the database for itself."""

BEAT = 15.0
"""Seconds between heartbeats."""

_MOST_LISTED = 500
_AGAIN = 1.0


class Watching:
    """All open streams of rollouts of the process. Lives on one event loop; reads in the threads of ``readers``."""

    def __init__(self, services: Services, readers: Executor, *, most: int = MOST, beat: float = BEAT) -> None:
        self._services = services
        self._readers = readers
        self._most = most
        self._beat = beat
        self._open: set[asyncio.Event] = set()
        self._closing = False

    def close(self) -> None:
        """Tell every client to come back later, and end its stream."""
        self._closing = True
        for told in self._open:
            told.set()

    async def serve(self, call: Call, receive: Receive, send: Send) -> Reply | None:
        """Serve one client until it leaves or the server ends; returns a refusal that is still to be sent."""
        if self._closing or len(self._open) >= self._most:
            await refuse(send, "The server is going away." if self._closing else f"{self._most} streams are open.")
            return None
        told = asyncio.Event()
        self._open.add(told)
        try:
            environment = None if "id" in call.params else _environment(call)
            topic = hub.rollout(call.params["id"]) if environment is None else hub.rollouts(environment)
            loop = asyncio.get_running_loop()
            stop = self._services.hub.listen(topic, partial(loop.call_soon_threadsafe, told.set))
            try:
                await self._run(call, environment, told, receive, send)
            finally:
                stop()
        except FlagServerError as error:
            return refused(error)
        finally:
            self._open.discard(told)
        return None

    async def _run(
        self, call: Call, environment: str | None, told: asyncio.Event, receive: Receive, send: Send
    ) -> None:
        found = await self._in_thread(self._read, call, environment, ())
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        watcher = asyncio.ensure_future(gone(receive))
        watcher.add_done_callback(lambda _: told.set())
        has: dict[str, int] = {}
        if call.headers.get("last-event-id") == _marker(found, environment):
            has = {one.id: one.state.revision for one in found.values()}
        try:
            # The first answer comes at once: what is new, or that nothing is.
            await chunk(send, self._news(found, has, environment) or self._heartbeat())
            while not (watcher.done() or self._closing) and still_admitted(self._services, call):
                try:
                    await asyncio.wait_for(told.wait(), self._beat)
                except TimeoutError:
                    await chunk(send, self._heartbeat())
                    continue
                told.clear()
                try:
                    found = await self._in_thread(self._read, call, environment, tuple(has))
                except StoreGoneError:
                    asyncio.get_running_loop().call_later(_AGAIN, told.set)
                    continue
                if news := self._news(found, has, environment):
                    await chunk(send, news)
            if not watcher.done():
                await send({"type": "http.response.body", "body": event("reconnect", "", b"{}"), "more_body": False})
        finally:
            watcher.cancel()

    def _read(self, call: Call, environment: str | None, known: tuple[str, ...]) -> Mapping[str, Rollout]:
        """What the client may see now: the rollout, or the environment's unfinished ones and those it knew as such."""
        rollouts = self._services.rollouts
        if environment is None:
            one = read_one(rollouts, call)
            return {one.id: one}
        found, _ = rollouts.find(Wanted(environment=environment, active=True, limit=_MOST_LISTED))
        seen = {one.id: one for one in found}
        for rollout_id in known:
            if rollout_id not in seen:
                with suppress(NotFoundError):
                    seen[rollout_id] = rollouts.read(rollout_id)
        grant = call.caller.grant
        if grant is None:
            return seen
        # Of those sent before, too: who takes a rollout up again may be another repository.
        return {key: one for key, one in seen.items() if grant.covers(one.plan.flag, one.repository, one.repository_id)}

    def _news(self, found: Mapping[str, Rollout], has: dict[str, int], environment: str | None) -> bytes:
        """The rollouts that the client has not seen as they are; the last one carries the id to resume from."""
        new = [one for one in found.values() if has.get(one.id) != one.state.revision]
        marker = _marker(found, environment)
        said = b""
        for number, one in enumerate(new, start=1):
            said += event("rollout", marker if number == len(new) else "", wire.ROLLOUT.dump_json(one))
            has[one.id] = one.state.revision
            if environment is not None and one.state.phase.is_final:
                del has[one.id]
        return said

    def _heartbeat(self) -> bytes:
        return event("heartbeat", "", wire.encode({"now": self._services.store.now()}))

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *args)


def _environment(call: Call) -> str:
    call.own(call.query.get("environment"))
    return call.environment()


def _marker(found: Mapping[str, Rollout], environment: str | None) -> str:
    """What names all that the client has seen: a rollout's revision, or a hash of the unfinished ones'."""
    revisions = {one.id: one.state.revision for one in found.values() if not one.state.phase.is_final}
    if environment is None:
        return "".join(str(one.state.revision) for one in found.values())
    return blake2b(wire.encode(sorted(revisions.items())), digest_size=8).hexdigest()
