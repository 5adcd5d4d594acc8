"""A client's life: how it begins, what a fork does to it, how it takes a new snapshot, and how it ends."""

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rampgate.client.snapshot import NOTHING, Clock, Snapshot, same

if TYPE_CHECKING:
    from rampgate.client.cache import Cache
    from rampgate.client.contact import Apart, Contact

log = logging.getLogger("rampgate.client")

OUTCOME_TIMEOUT = 60.0
"""Seconds after which an observed request that has said nothing counts as a failure."""

CLOSE_WITHIN = 1.9
"""Seconds that closing may take."""

_clients: "weakref.WeakSet[Lifetime]" = weakref.WeakSet()


class Lifetime:
    """What a client is between its lookups. An app uses ``FlagClient``."""

    _snapshot: Snapshot
    _listeners: tuple[Callable[[frozenset[str]], Any], ...]

    def _begin(
        self,
        reach: "Callable[[], Contact | Apart]",
        telemetry: bool,
        clock: Clock,
        cache: "Cache | None" = None,
        bootstrap: "str | os.PathLike[str] | Mapping[str, Any] | None" = None,
    ) -> None:
        """Start from what is at hand: the last good snapshot, the bootstrap file, the overrides, or nothing."""
        from rampgate.client.cache import bootstrap as read_bootstrap  # noqa: PLC0415

        self._telemetry = telemetry
        self._clock = clock
        self._reach = reach
        self._contact = reach()
        workshop = self._contact.workshop
        self._snapshot: Snapshot = workshop.empty()
        self._asleep: Snapshot | None = None
        self._watchers: dict[str, tuple[Callable[[str], Any], ...]] = {}
        self._listeners = ()
        self._closed = False
        self._fresh_locks()
        found = None if cache is None else cache.load(workshop, self._snapshot)
        if found is not None:
            self._snapshot = found
        elif bootstrap is not None:
            self._snapshot = read_bootstrap(bootstrap, workshop, self._snapshot)
        self._farewell = partial(_close, weakref.ref(self))
        atexit.register(self._farewell)
        _clients.add(self)
        self._contact.start()

    def _alone(self, overrides: Mapping[str, Any], clock: Clock = time.monotonic) -> None:
        """Begin without a server."""
        from rampgate.client.contact import Apart  # noqa: PLC0415

        self._begin(partial(Apart, outcome_timeout=OUTCOME_TIMEOUT, clock=clock, overrides=overrides), True, clock)
        self._arrived.set()

    def close(self) -> None:
        """Hand in what was counted and end the threads, within two seconds. Lookups go on with what is held."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._farewell)
        if self._asleep is None:
            self._contact.close(CLOSE_WITHIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place, whole, and tell those who watch."""
        before, self._snapshot = self._snapshot, snapshot
        self._arrived.set()
        if before.poll != snapshot.poll:
            self._contact.reporter.stir()
        for flag, callbacks in list(self._watchers.items()):
            if same(before.entries.get(flag), snapshot.entries.get(flag)):
                continue
            for callback in callbacks:
                try:
                    callback(flag)
                except Exception:
                    log.exception("rampgate: a callback for the flag %s failed", flag)
        if self._listeners and (before.version is not None or self._contact.apart):
            self._announce(before, snapshot)

    def _announce(self, before: Snapshot, after: Snapshot) -> None:
        """Tell who listens to all flags which of them changed."""
        keys = before.entries.keys() | after.entries.keys()
        changed = frozenset(key for key in keys if not same(before.entries.get(key), after.entries.get(key)))
        for callback in self._listeners if changed else ():
            try:
                callback(changed)
            except Exception:
                log.exception("rampgate: a callback for all flags failed")

    def _fresh_locks(self) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        if self._snapshot.contacted:
            self._arrived.set()

    def _forked(self) -> None:
        """In a new child: the parent's threads are not here. Sleep until the first lookup, which finds nothing."""
        self._fresh_locks()
        self._contact.abandon()
        if self._closed:
            return
        if self._asleep is None:
            self._asleep, self._snapshot = self._snapshot, NOTHING
        register = getattr(sys.modules.get("multiprocessing.util"), "register_after_fork", None)
        if register is not None:
            register(self, Lifetime._close_at_worker_exit)

    def _close_at_worker_exit(self) -> None:
        """A multiprocessing worker ends without ``atexit``; its own finalizers do run."""
        finalize = sys.modules["multiprocessing.util"].Finalize
        finalize(None, self._farewell, exitpriority=100)

    def _wake(self) -> None:
        """After a fork, on first use: threads and counters of its own, and the parent's flags at their age."""
        if self._asleep is None:
            return
        with self._lock:
            asleep = self._asleep
            if asleep is None or self._closed:
                return
            self._contact = self._reach()
            self._snapshot = self._contact.workshop.again(asleep) if asleep.entries else asleep
            self._asleep = None
        # Without the lock: a start waits for its threads, and where gevent came after the fork, so would the lock's
        # next taker, in the same thread.
        self._contact.start()


def _close(client: "weakref.ref[Lifetime]") -> None:
    found = client()
    if found is not None:
        found.close()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
