"""The client that an app imports: lookups from memory, which never raise and never wait.

Everything slow happens elsewhere: the feed keeps the snapshot current, the reporter hands in what was counted.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rampgate.client.answers import Details, User, answer, key_of, pinned
from rampgate.client.assignment import Assignment
from rampgate.client.blame import blamed
from rampgate.client.counts import ArmKey
from rampgate.client.lifetime import OUTCOME_TIMEOUT, Lifetime
from rampgate.client.settings import check, from_env
from rampgate.client.snapshot import Clock, Entry, arm_key
from rampgate.flags import ValueType, value_type
from rampgate.wire import FORCE

if TYPE_CHECKING:
    import ssl


T = TypeVar("T")

KEY = "targetingKey"


class FlagClient(Lifetime):
    """Asks one environment of a Rampgate flag server. Make one per process and keep it; any thread may use it.

    Args:
        url: where the flag server is, such as ``https://flags.example.com``.
        key: a key with the role ``sdk``.
        environment: which environment's flags.
        telemetry: whether to count exposures and outcomes and hand them in.
        outcome_timeout: seconds after which an observed request without an outcome counts as a failure.
        ssl_context: for a certificate authority of your own; ``None``: the system's.
        clock: the monotonic clock, in seconds.
        cache: a folder in which to keep the last good snapshot, for a start while the server is away.
        bootstrap: flags to start with where there is none: a file (or mapping) as flagd or the server writes it.
        overrides: values, or names of variants, by flag: forced for everybody, and never counted.

    Flags in a rollout that come from cache or bootstrap serve stable until the first contact.

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
        cache: "str | os.PathLike[str] | None" = None,
        bootstrap: "str | os.PathLike[str] | Mapping[str, Any] | None" = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        # Here, because http.client costs an import 20 ms.
        from rampgate.client.cache import Cache  # noqa: PLC0415
        from rampgate.client.contact import Address, Contact  # noqa: PLC0415

        check(url, key, environment, outcome_timeout)
        kept = None if cache is None else Cache(cache, url, environment, clock)
        reach = partial(
            Contact,
            Address(url=url, key=key, environment=environment, ssl_context=ssl_context),
            telemetry=telemetry,
            outcome_timeout=outcome_timeout,
            clock=clock,
            current=lambda: self._snapshot,
            publish=self._publish,
            overrides=overrides or {},
            cache=kept,
        )
        self._begin(reach, telemetry, clock, kept, bootstrap)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A client from ``RAMPGATE_URL`` and ``RAMPGATE_KEY``.

        If set, ``RAMPGATE_ENVIRONMENT``, ``RAMPGATE_CACHE`` (a folder), ``RAMPGATE_BOOTSTRAP`` (a file) and
        ``RAMPGATE_OVERRIDES`` (``new-checkout=true,shop=green``) count too. With overrides alone, neither address nor
        key, the client serves those and asks nobody.

        Raises:
            ValueError: address or key is missing, or something is unusable.
        """
        found = from_env(os.environ if environ is None else environ)
        if found.url is None or found.key is None:
            client = cls.__new__(cls)
            client._alone(found.overrides)
            return client
        return cls(
            found.url, found.key, environment=found.environment, cache=found.cache, bootstrap=found.bootstrap,
            overrides=found.overrides,
        )  # fmt: skip

    def boolean(self, flag: str, default: bool, user: User) -> bool:
        """The flag's value for this user, or ``default``. Never raises, never waits."""
        try:
            if type(user) is str:
                value = self._snapshot.booleans[flag](user)
            elif (
                type(user) is dict
                and FORCE not in user
                and flag in (now := self._snapshot).keyed
                and type(key := user[KEY]) is str
            ):
                value = now.booleans[flag](key)
            else:
                value = None
            if value is not None:
                return value  # type: ignore[no-any-return]
        except Exception:
            pass
        return self._details(flag, default, user, ValueType.BOOLEAN).value

    def string(self, flag: str, default: str, user: User) -> str:
        """The flag's value for this user, or ``default``. Never raises, never waits."""
        try:
            if type(user) is str:
                value = self._snapshot.strings[flag](user)
            elif (
                type(user) is dict
                and FORCE not in user
                and flag in (now := self._snapshot).keyed
                and type(key := user[KEY]) is str
            ):
                value = now.strings[flag](key)
            else:
                value = None
            if value is not None:
                return value  # type: ignore[no-any-return]
        except Exception:
            pass
        return self._details(flag, default, user, ValueType.STRING).value

    def number(self, flag: str, default: float, user: User) -> float:
        """The flag's value for this user, or ``default``; a whole number comes as ``int``. Never raises or waits."""
        try:
            if type(user) is str:
                value = self._snapshot.numbers[flag](user)
            elif (
                type(user) is dict
                and FORCE not in user
                and flag in (now := self._snapshot).keyed
                and type(key := user[KEY]) is str
            ):
                value = now.numbers[flag](key)
            else:
                value = None
            if value is not None:
                return value  # type: ignore[no-any-return]
        except Exception:
            pass
        return self._details(flag, default, user, ValueType.NUMBER).value

    def object(self, flag: str, default: Mapping[str, Any], user: User) -> Mapping[str, Any]:
        """The flag's value for this user, a copy of its own, or ``default``. Never raises, never waits."""
        return self._details(flag, default, user, ValueType.OBJECT).value

    def details(self, flag: str, default: T, user: User) -> Details[T]:
        """The value with its variant and reason. The type of ``default`` is the type asked for; ``None`` takes any."""
        try:
            if type(user) is str:
                found = self._snapshot.details[type(default)][flag](user)
            elif (
                type(user) is dict
                and FORCE not in user
                and flag in (now := self._snapshot).keyed
                and type(key := user[KEY]) is str
            ):
                found = now.details[type(default)][flag](key)
            else:
                found = None
            if found is not None:
                return found  # type: ignore[no-any-return]
        except Exception:
            pass
        return self._details(flag, default, user, value_type(default))

    def assign(self, flag: str, user: User | None, default: Any = None, *, tokens: str = "") -> Assignment:
        """Fix the user's variant for one request and owe its outcome, which ``Assignment.finish`` records.

        Counts one exposure. A request whose outcome never comes is a failure after ``outcome_timeout``. Nothing is
        counted where ``user`` has no key, is on a list of the rollout, or was forced.

        Args:
            flag: the flag.
            user: who asks; ``None``: nobody.
            default: the value where the flag has none.
            tokens: the tester tokens that the request carries, in whatever header or cookie.
        """
        self._wake()
        held = pinned(flag, None)
        if isinstance(held, Assignment) and not tokens:
            return held
        found = answer(self._snapshot, flag, user, value_type(default), self._clock(), tokens)
        key = key_of(user)
        counted = self._telemetry and found.counted and key is not None
        arm = _arm(flag, found.entry, found.resolution.variant) if counted else None
        visits = self._visits(tokens) if tokens else None
        return Assignment(found.details(flag, default), key, arm, self._contact.owed, visits)

    def _visits(self, tokens: str) -> dict[str, Assignment]:
        """What the tokens of a request force, by flag: each as an assignment that owes no outcome."""
        from rampgate.forcing import claims  # noqa: PLC0415 - see answers

        visits = {}
        for flag in claims(tokens):
            found = answer(self._snapshot, flag, None, None, self._clock(), tokens)
            if found.resolution.handpicked:
                visits[flag] = Assignment(found.details(flag, None), None, None, self._contact.owed)
        return visits

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
            variant: what the request was served with, from ``details``; ``None``: what the user gets now. Without it
                the outcome of a user who moved lately is in doubt: it is counted nowhere and reported as dropped.
        """
        held = pinned(flag, user)
        if isinstance(held, Assignment):
            held.finish(ok=ok, ms=ms)
            return
        self._wake()
        key, owed = key_of(user), self._contact.owed
        if not self._telemetry or key is None:
            return
        arm, in_doubt = blamed(self._snapshot, flag, user, variant, self._clock(), owed.timeout)
        if arm is not None:
            self._contact.counts.arm(arm).record(ok, ms, key)
        elif in_doubt:
            owed.refuse()

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
    def has_flags(self) -> bool:
        """Whether there is anything to serve: the server's, a last good snapshot, a bootstrap, or overrides alone."""
        self._wake()
        return self._snapshot.version is not None or self._arrived.is_set()

    @property
    def fresh_for(self) -> float:
        """Seconds until contact counts as lost unless the server is heard again; below zero: it is lost.

        That is when the first flag in a rollout turns stale, or after a minute where there is no rollout. Without a
        server there is none to lose: infinity.
        """
        self._wake()
        if self._contact.apart:
            return float("inf")
        snapshot = self._snapshot
        return snapshot.as_of[0] + snapshot.patience - self._clock()

    def flush(self) -> bool:
        """Hand in what was counted, now. Returns whether the server has it all. Waits for the network."""
        self._wake()
        return self._contact.reporter.flush()

    def _details(self, flag: str, default: T, user: User, wanted: ValueType | None) -> Details[T]:
        """Every lookup that the fast path has no answer for. Counts an exposure where it counts as evidence."""
        self._wake()
        held = pinned(flag, user)
        if isinstance(held, Assignment) and (wanted is None or value_type(held.value) is wanted):
            return held.details
        found = answer(self._snapshot, flag, user, wanted, self._clock())
        if found.entry is not None and found.entry.compiled.cut is not None:
            self._snapshot.keyed.add(flag)
        if found.counted and self._telemetry and found.entry is not None and found.entry.ramp is not None:
            self._contact.counts.arm(_arm(flag, found.entry, found.resolution.variant)).exposures.add()
        return found.details(flag, default)


def _arm(flag: str, entry: Entry | None, variant: str | None) -> ArmKey:
    return arm_key(flag, None if entry is None else entry.ramp, str(variant))
