"""The client that an app imports: lookups from memory, which never raise and never wait.

Everything slow happens elsewhere: the feed keeps the snapshot current, the reporter hands in what was counted.
"""

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from rampgate.client.answers import Details, User, answer, key_of, pinned
from rampgate.client.assignment import Assignment
from rampgate.client.counts import ArmKey
from rampgate.client.snapshot import NOTHING, Clock, Entry, Snapshot, arm_key
from rampgate.flags import ValueType, value_type

if TYPE_CHECKING:
    import ssl

log = logging.getLogger("rampgate.client")

T = TypeVar("T")

OUTCOME_TIMEOUT = 60.0
"""Seconds after which an observed request that has said nothing counts as a failure."""

CLOSE_WITHIN = 1.9
"""Seconds that closing may take."""

_clients: "weakref.WeakSet[FlagClient]" = weakref.WeakSet()


class FlagClient:
    """Asks one environment of a Rampgate flag server. Make one per process and keep it; any thread may use it.

    Args:
        url: where the flag server is, such as ``https://flags.example.com``.
        key: a key with the role ``sdk``.
        environment: which environment's flags.
        telemetry: whether to count exposures and outcomes and hand them in.
        outcome_timeout: seconds after which an observed request without an outcome counts as a failure.
        ssl_context: for a certificate authority of your own; ``None``: the system's.
        clock: the monotonic clock, in seconds.

    Raises:
        ValueError: the URL is not http(s), or the key or environment is unusable. Nothing raises later.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        environment: str = "production",
        telemetry: bool = True,
        outcome_timeout: float = OUTCOME_TIMEOUT,
        ssl_context: "ssl.SSLContext | None" = None,
        clock: Clock = time.monotonic,
    ) -> None:
        from rampgate.client.contact import Address, Contact  # noqa: PLC0415 - http.client costs an import 20 ms

        _check(url, key, environment, outcome_timeout)
        self._telemetry = telemetry
        self._clock = clock
        self._snapshot: Snapshot = NOTHING
        self._asleep: Snapshot | None = None
        self._watchers: dict[str, tuple[Callable[[str], Any], ...]] = {}
        self._listeners: tuple[Callable[[frozenset[str]], Any], ...] = ()
        self._closed = False
        self._fresh_locks()
        self._reach: Callable[[], Contact] = partial(
            Contact,
            Address(url=url, key=key, environment=environment, ssl_context=ssl_context),
            telemetry=telemetry,
            outcome_timeout=outcome_timeout,
            clock=clock,
            current=lambda: self._snapshot,
            publish=self._publish,
        )
        self._contact = self._reach()
        self._farewell = partial(_close, weakref.ref(self))
        atexit.register(self._farewell)
        _clients.add(self)
        self._contact.start()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A client from ``RAMPGATE_URL``, ``RAMPGATE_KEY`` and, if set, ``RAMPGATE_ENVIRONMENT``.

        Raises:
            ValueError: one of the first two is missing, or one is unusable.
        """
        env = os.environ if environ is None else environ
        missing = [name for name in ("RAMPGATE_URL", "RAMPGATE_KEY") if not env.get(name)]
        if missing:
            raise ValueError(f"{' and '.join(missing)}: not set; the client needs the flag server's address and a key")
        return cls(
            env["RAMPGATE_URL"], env["RAMPGATE_KEY"], environment=env.get("RAMPGATE_ENVIRONMENT") or "production"
        )

    def boolean(self, flag: str, default: bool, user: User) -> bool:
        """The flag's value for this user, or ``default``. Never raises, never waits."""
        if type(user) is str:
            try:
                value = self._snapshot.booleans[flag](user)
                if value is not None:
                    return value  # type: ignore[return-value]
            except Exception:
                pass
        return self._details(flag, default, user, ValueType.BOOLEAN).value

    def string(self, flag: str, default: str, user: User) -> str:
        """The flag's value for this user, or ``default``. Never raises, never waits."""
        if type(user) is str:
            try:
                value = self._snapshot.strings[flag](user)
                if value is not None:
                    return value  # type: ignore[return-value]
            except Exception:
                pass
        return self._details(flag, default, user, ValueType.STRING).value

    def number(self, flag: str, default: float, user: User) -> float:
        """The flag's value for this user, or ``default``; a whole number comes as ``int``. Never raises or waits."""
        if type(user) is str:
            try:
                value = self._snapshot.numbers[flag](user)
                if value is not None:
                    return value  # type: ignore[return-value]
            except Exception:
                pass
        return self._details(flag, default, user, ValueType.NUMBER).value

    def object(self, flag: str, default: Mapping[str, Any], user: User) -> Mapping[str, Any]:
        """The flag's value for this user, a copy of its own, or ``default``. Never raises, never waits."""
        return self._details(flag, default, user, ValueType.OBJECT).value

    def details(self, flag: str, default: T, user: User) -> Details[T]:
        """The value with its variant and reason. The type of ``default`` is the type asked for; ``None`` takes any."""
        return self._details(flag, default, user, value_type(default))

    def assign(self, flag: str, user: User | None, default: Any = None) -> Assignment:
        """Fix the user's variant for one request and owe its outcome, which ``Assignment.finish`` records.

        Counts one exposure. A request whose outcome never comes is a failure after ``outcome_timeout``. Nothing is
        counted where ``user`` has no key.
        """
        self._wake()
        found = answer(self._snapshot, flag, user, value_type(default), self._clock())
        key = key_of(user)
        counted = self._telemetry and found.counted and key is not None
        arm = _arm(flag, found.entry, found.resolution.variant) if counted else None
        return Assignment(found.details(flag, default), key, arm, self._contact.owed)

    @contextmanager
    def observe(self, flag: str, user: User | None, default: Any = None) -> Iterator[Assignment]:
        """One request: assigned at the start, its outcome recorded at the end, an exception as an error.

        In the block, lookups of the flag for this user keep the variant. A block inside another one for the same
        flag and user, or inside the middleware, is the same request and records nothing of its own.
        """
        held = pinned(flag, user)
        if isinstance(held, Assignment):
            yield held
            return
        assignment = self.assign(flag, user, default)
        with assignment.pinned():
            try:
                yield assignment
            except BaseException:
                assignment.finish(ok=False)
                raise
        assignment.finish(ok=True)

    def track(
        self, flag: str, user: User, *, ok: bool = True, ms: float | None = None, variant: str | None = None
    ) -> None:
        """Record how one request of this user ended, where ``observe`` does not fit. Never raises, never waits.

        Inside ``observe`` or the middleware it records that request's outcome.

        Args:
            flag: the flag.
            user: who it was.
            ok: whether it went well.
            ms: how long it took, in milliseconds.
            variant: what the request was served with, from ``details``; ``None``: what the user would get now.
        """
        held = pinned(flag, user)
        if isinstance(held, Assignment):
            held.finish(ok=ok, ms=ms)
            return
        self._wake()
        found = answer(self._snapshot, flag, user, None, self._clock())
        if not self._telemetry or found.entry is None or key_of(user) is None:
            return
        if variant is None and found.counted:
            variant = found.resolution.variant
        if variant in found.entry.compiled.variants:
            self._contact.counts.arm(_arm(flag, found.entry, variant)).record(ok, ms)

    def ready(self, timeout: float | None = 10.0) -> bool:
        """Wait up to ``timeout`` seconds (``None``: forever) for the first snapshot. Returns whether it came."""
        self._wake()
        return self._arrived.wait(timeout)

    def on_change(self, flag: str, callback: Callable[[str], Any]) -> Callable[[], None]:
        """Call ``callback(flag)``, in a thread of ours, whenever the flag or its rollout changes.

        Returns a function that ends this.
        """
        self._wake()
        with self._lock:
            self._watchers[flag] = (*self._watchers.get(flag, ()), callback)

        def forget() -> None:
            with self._lock:
                left = list(self._watchers.get(flag, ()))
                if callback in left:
                    left.remove(callback)
                self._watchers[flag] = tuple(left)

        return forget

    def on_any_change(self, callback: Callable[[frozenset[str]], Any]) -> Callable[[], None]:
        """Call ``callback(flags)``, in a thread of ours, with the keys of all flags that changed at once.

        The first snapshot is no change. Returns a function that ends this.
        """
        self._wake()
        with self._lock:
            self._listeners = (*self._listeners, callback)

        def forget() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not callback)

        return forget

    @property
    def fresh_for(self) -> float:
        """Seconds until contact counts as lost unless the server is heard again; below zero: it is lost.

        That is when the first flag in a rollout turns stale, or after a minute where there is no rollout.
        """
        self._wake()
        snapshot = self._snapshot
        return snapshot.as_of[0] + snapshot.patience - self._clock()

    def flush(self) -> bool:
        """Hand in what was counted, now. Returns whether the server has it all. Waits for the network."""
        self._wake()
        return self._contact.reporter.flush()

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

    def _details(self, flag: str, default: T, user: User, wanted: ValueType | None) -> Details[T]:
        """Every lookup that the fast path has no answer for. Counts an exposure where it counts as evidence."""
        self._wake()
        held = pinned(flag, user)
        if isinstance(held, Assignment) and (wanted is None or value_type(held.value) is wanted):
            return held.details
        found = answer(self._snapshot, flag, user, wanted, self._clock())
        if found.counted and self._telemetry and found.entry is not None and found.entry.ramp is not None:
            self._contact.counts.arm(_arm(flag, found.entry, found.resolution.variant)).exposures.add()
        return found.details(flag, default)

    def _publish(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place, whole, and tell those who watch."""
        before, self._snapshot = self._snapshot, snapshot
        self._arrived.set()
        if before.poll != snapshot.poll:
            self._contact.reporter.stir()
        for flag, callbacks in list(self._watchers.items()):
            if _same(before.entries.get(flag), snapshot.entries.get(flag)):
                continue
            for callback in callbacks:
                try:
                    callback(flag)
                except Exception:
                    log.exception("rampgate: a callback for the flag %s failed", flag)
        if self._listeners and before.version is not None:
            self._announce(before, snapshot)

    def _announce(self, before: Snapshot, after: Snapshot) -> None:
        """Tell who listens to all flags which of them changed."""
        keys = before.entries.keys() | after.entries.keys()
        changed = frozenset(key for key in keys if not _same(before.entries.get(key), after.entries.get(key)))
        for callback in self._listeners if changed else ():
            try:
                callback(changed)
            except Exception:
                log.exception("rampgate: a callback for all flags failed")

    def _fresh_locks(self) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        if self._snapshot.version is not None:
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
            register(self, FlagClient._close_at_worker_exit)

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
            self._snapshot = asleep if asleep.version is None else self._contact.workshop.again(asleep)
            self._asleep = None
            self._contact.start()


def _arm(flag: str, entry: Entry | None, variant: str | None) -> ArmKey:
    return arm_key(flag, None if entry is None else entry.ramp, str(variant))


def _same(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None or before is after:
        return before is after
    return before.flag == after.flag and before.ramp == after.ramp


def _check(url: str, key: str, environment: str, outcome_timeout: float) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a flag server: http://… or https://…")
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("the key is empty or holds characters that no key has")
    if not environment:
        raise ValueError("the environment is empty")
    if not outcome_timeout > 0:
        raise ValueError(f"outcome_timeout is {outcome_timeout!r}: seconds, more than 0")


def _close(client: "weakref.ref[FlagClient]") -> None:
    found = client()
    if found is not None:
        found.close()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
