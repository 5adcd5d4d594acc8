"""One process's contact with the flag server: its threads, its counters, its snapshot. Made anew after a fork."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import rampgate.client.users  # noqa: F401 - loaded here, so that no thread of ours has to
from rampgate.client.assignment import Owed
from rampgate.client.cache import Cache
from rampgate.client.counts import Counts
from rampgate.client.feed import Feed
from rampgate.client.reporter import Reporter
from rampgate.client.server import Server
from rampgate.client.snapshot import Clock, Snapshot
from rampgate.client.workshop import Workshop

log = logging.getLogger("rampgate.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the flag server is, and who asks. The key stays out of every text."""

    url: str
    key: str
    environment: str
    ssl_context: ssl.SSLContext | None

    def __repr__(self) -> str:
        return f"Address(url={self.url!r}, environment={self.environment!r})"

    def server(self) -> Server:
        return Server(self.url, self.key, self.environment, self.ssl_context)


class Contact:
    """Feed and reporter of one client in one process.

    Args:
        address: whom to ask.
        telemetry: whether to count and report.
        outcome_timeout: seconds until an owed outcome is a failure.
        clock: the monotonic clock.
        current: the snapshot that lookups use.
        publish: put another in its place.
        overrides: flags that are forced here.
        cache: where the last good snapshot is kept.
    """

    apart = False

    def __init__(
        self,
        address: Address,
        *,
        telemetry: bool,
        outcome_timeout: float,
        clock: Clock,
        current: Callable[[], Snapshot],
        publish: Callable[[Snapshot], None],
        overrides: Mapping[str, object],
        cache: Cache | None,
    ) -> None:
        self.counts = Counts()
        self.owed = Owed(clock, outcome_timeout, self.counts)
        self.workshop = Workshop(clock=clock, counts=self.counts if telemetry else None, overrides=overrides)
        self._cache, self._current, self._telemetry = cache, current, telemetry
        self._servers = (address.server(), address.server())
        settle = None if cache is None else cache.save
        self.feed = Feed(self._servers[0], self.workshop, current, publish, settle=settle)
        self.reporter = Reporter(self._servers[1], self.counts, self.owed, current)
        self._threads = [threading.Thread(target=self.feed.run, name="rampgate-feed", daemon=True)]
        if telemetry:
            self._threads.append(threading.Thread(target=self.reporter.run, name="rampgate-reporter", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self, within: float) -> None:
        """End the threads, the last batch sent if the server takes it, in ``within`` seconds."""
        until = time.monotonic() + within
        self.feed.close()
        self.reporter.close(until)
        # The reporter first; and a callback of the app, in a thread of ours, may close the client too.
        threads = [thread for thread in reversed(self._threads) if thread is not threading.current_thread()]
        for thread in threads[:1]:
            thread.join(within / 4)
        if not self.reporter.last_call:
            # The reporter waits for an answer: let it fail, and send the same batch again with what time is left.
            self._servers[1].interrupt()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._telemetry and not self.reporter.done:
            log.warning("rampgate: %d counts or more are lost: not taken before the end", self.reporter.unsent)
        if self._cache is not None:
            self._cache.save(self._current(), now=True)

    def abandon(self) -> None:
        """Close what a fork copied from the parent, and leave the parent's connections alone."""
        for server in self._servers:
            server.abandon()


class Silence:
    """A reporter that has nobody to report to."""

    def flush(self) -> bool:
        return True

    def stir(self) -> None:
        pass


class Apart:
    """A client's counters and workshop without a server: for tests of apps, and for local work on overrides alone."""

    apart = True

    def __init__(self, *, outcome_timeout: float, clock: Clock, overrides: Mapping[str, object]) -> None:
        self.counts = Counts()
        self.owed = Owed(clock, outcome_timeout, self.counts)
        self.workshop = Workshop(clock=clock, counts=self.counts, overrides=overrides)
        self.reporter = Silence()

    def start(self) -> None:
        pass

    def close(self, within: float) -> None:
        pass

    def abandon(self) -> None:
        pass
