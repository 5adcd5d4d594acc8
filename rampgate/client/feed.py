"""Keeps a client's snapshot current: a change stream, polling where streams do not come through, and patience.

Runs in a thread of its own and reads only what the server says. What lookups do when it dies is not its business.
"""

import json
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from rampgate.client.server import (
    ANSWER_TIMEOUT,
    BrokenStreamError,
    Event,
    RefusedError,
    Server,
    Stream,
    UnreachableError,
)
from rampgate.client.snapshot import Clock, Snapshot, UnreadableSnapshotError
from rampgate.client.workshop import Workshop

log = logging.getLogger("rampgate.client")

FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
"""Seconds between attempts to reach the server; a quarter of the shortest ``staleAfter`` where that is less."""

SLACK = 1.0
"""Seconds that a heartbeat may be late, over twice its period."""

SHORT_LIFE = 5.0
"""A stream that ended sooner, in seconds, counts as a failure."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
"""Seconds until streams are tried again where they did not come through: doubled each time."""


LAG = 2.0
"""Seconds by which what a server knows may seem older than what is held, before it is. Clocks are read early here."""


class OutdatedServerError(UnreadableSnapshotError):
    """This server, a replica that lags, says less than is known already."""


class StreamEnd(Enum):
    """How a change stream ended."""

    CUT = "it worked, and then ended"
    SILENT = "a connection, but no event: something between us does not let streams through"
    UNREACHABLE = "no connection"


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next attempt: longer each time, never the same for two clients.

    Source: "Exponential Backoff and Jitter", AWS Architecture Blog (full jitter, with a floor).
    """

    chance: Callable[[], float]
    failures: int = 0

    def wait(self, longest: float, at_least: float = 0.0) -> float:
        """Seconds until the next attempt, at most ``longest`` unless the server asked for more."""
        limit = min(longest, FIRST_WAIT * 2.0 ** min(self.failures, 20))
        self.failures += 1
        return max(at_least, limit * (0.1 + 0.9 * self.chance()))


class Feed:
    """One client's contact with the server.

    Args:
        server: whom to ask.
        workshop: makes the snapshots.
        current: the snapshot that lookups use now.
        publish: put another in its place.
        chance: a number from 0 to 1, for the jitter.
        settle: called again and again, at least once a heartbeat, with the snapshot that lookups use.
    """

    def __init__(
        self,
        server: Server,
        workshop: Workshop,
        current: Callable[[], Snapshot],
        publish: Callable[[Snapshot], None],
        *,
        chance: Callable[[], float] = random.random,
        settle: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._settle = settle
        self._server = server
        self._workshop = workshop
        self._current = current
        self._publish = publish
        self._clock: Clock = workshop.clock
        self._chance = chance
        self._pause = FIRST_PAUSE
        self._stream_at = float("-inf")
        self._backoff = Backoff(chance)
        self._told = ""
        self.closed = threading.Event()

    def run(self) -> None:
        """Until closed. Whatever goes wrong is logged once and tried again."""
        while not self.closed.is_set():
            try:
                wait = self._once()
            except Exception:
                if not self.closed.is_set():
                    log.exception("rampgate: the feed met something unexpected and goes on")
                wait = self._backoff.wait(LONGEST_WAIT)
            self._settled()
            self.closed.wait(wait)

    def close(self) -> None:
        self.closed.set()
        self._server.end()

    def _once(self) -> float:
        """Stream as long as it goes, or poll once. Returns how many seconds to wait."""
        snapshot = self._current()
        longest = min(LONGEST_WAIT, snapshot.patience / 4)
        if snapshot.version is not None and self._clock() >= self._stream_at:
            began = self._clock()
            end, retry = self._follow(min(ANSWER_TIMEOUT, longest))
            if end is StreamEnd.CUT:
                self._pause = FIRST_PAUSE
                if self._clock() - began > SHORT_LIFE:
                    self._backoff.failures = 0
                return self._backoff.wait(longest, min(retry or 0.0, longest))
            if end is StreamEnd.UNREACHABLE:
                return self._backoff.wait(longest)
            self._stream_at = self._clock() + self._pause * (0.5 + 0.5 * self._chance())
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            log.info("rampgate: change streams do not come through, polling instead")
        try:
            self._poll()
        except (UnreachableError, RefusedError, UnreadableSnapshotError) as error:
            self._say(error)
            asked = error.retry_after or 0.0 if isinstance(error, RefusedError) else 0.0
            return self._backoff.wait(longest, min(asked, 60.0))
        self._backoff.failures = 0
        if snapshot.version is None:
            return 0.0
        snapshot = self._current()
        return min(snapshot.heartbeat, snapshot.patience / 4) * (0.8 + 0.2 * self._chance())

    def _poll(self) -> None:
        """Fetch what is new. Freshness counts from before the question: the answer cannot be older."""
        asked = self._clock()
        snapshot = self._current()
        fetched = self._server.fetch(snapshot.version)
        self._heard()
        if fetched.document is None:
            self._renew(snapshot, asked - fetched.age)
        else:
            self._replace(fetched.document, asked - fetched.age, snapshot)

    def _follow(self, wait: float) -> tuple[StreamEnd, float | None]:
        """Follow a change stream to its end; with it, how long the server asks to wait."""
        asked = self._clock()
        try:
            stream = self._server.stream(self._current().version, wait)
        except UnreachableError as error:
            self._say(error)
            return StreamEnd.UNREACHABLE, None
        except (RefusedError, TimeoutError):
            return StreamEnd.SILENT, None
        try:
            return (StreamEnd.CUT if self._listen(stream, wait, asked) else StreamEnd.SILENT), stream.retry
        finally:
            self._server.close_stream(stream)

    def _listen(self, stream: Stream, wait: float, asked: float) -> bool:
        """Obey the stream until it ends or falls silent. Returns whether any event came, the first within ``wait``.

        What is read may have waited in a buffer while this process was stopped. So an event counts as sent no later
        than ``floor``: the last moment at which nothing was waiting, at first that at which the stream was asked for.
        """
        floor, heard = asked, self._clock()
        came = False
        while not self.closed.is_set():
            heartbeat = self._current().heartbeat
            tick = min(1.0, max(0.05, heartbeat / 8))
            called = self._clock()
            try:
                events = stream.receive(tick)
                for event in events:
                    came, heard = True, self._clock()
                    self._heard()
                    if event.name == "reconnect":
                        return True
                    self._obey(event, floor)
            except (UnreachableError, RefusedError, BrokenStreamError, UnreadableSnapshotError) as error:
                self._say(error)
                return came
            if stream.drained:
                floor = called
                self._settled()
            now = self._clock()
            limit = 2 * heartbeat + SLACK if came else wait
            if now - heard > limit or now - called > tick + max(SLACK, heartbeat):
                return came
        return came

    def _obey(self, event: Event, sent: float) -> None:
        if event.name not in ("snapshot", "changed", "heartbeat"):
            return
        try:
            body = json.loads(event.data)
            age = float(body["age"])
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableSnapshotError(f"a {event.name} event cannot be read") from error
        snapshot = self._current()
        if event.name == "snapshot":
            self._replace(body.get("snapshot"), sent - age, snapshot)
        elif event.name == "changed" and body.get("previous") == snapshot.version and snapshot.version is not None:
            self._publish(self._workshop.from_change(_object(body), sent - age, snapshot))
        elif body.get("version") == snapshot.version and snapshot.version is not None:
            self._renew(snapshot, sent - age)
        else:
            self._poll()

    def _replace(self, document: object, as_of: float, last: Snapshot) -> None:
        """Put the server's snapshot in place, unless what is held is known to be newer: versions have no order."""
        made = self._workshop.from_document(document, as_of, last)
        if made.version != last.version and as_of < last.as_of[0] - LAG:
            raise OutdatedServerError("it knows less than this client does; asking again")
        self._publish(made)

    def _renew(self, snapshot: Snapshot, as_of: float) -> None:
        """This version is known to have been current ``as_of``; never moves backwards."""
        first = not snapshot.contacted
        snapshot.renew(as_of, self._clock())
        if first:
            self._publish(snapshot)

    def _settled(self) -> None:
        if self._settle is not None:
            self._settle(self._current())

    def _heard(self) -> None:
        if self._told:
            log.info("rampgate: contact with the flag server is back")
            self._told = ""

    def _say(self, error: Exception) -> None:
        """Log a failure, but not the same one again and again."""
        text = f"{type(error).__name__}: {error}"
        if text != self._told and not self.closed.is_set():
            log.warning("rampgate: no contact with the flag server: %s", text)
            self._told = text


def _object(body: object) -> Mapping[str, object]:
    if not isinstance(body, dict):
        raise UnreadableSnapshotError("an event holds no object")
    return body
