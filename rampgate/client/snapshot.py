"""Every flag of an environment as one immutable value. No network here, and no opinion on how it came.

A flag is kept as the text that the server wrote, and made into lookups when it is first asked for: an app may have
thousands of flags, and ask ten.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from rampgate.client.counts import ArmKey
from rampgate.evaluation import NO_METADATA, CompiledFlag, compile_flag
from rampgate.flags import MetadataValue, read

log = logging.getLogger("rampgate.client")

HEARTBEAT = 15.0
"""Seconds between the server's heartbeats when no rollout asks for more."""

Clock = Callable[[], float]
Lookup = Callable[[str], Any]
"""From a user's key to a flag's value, or all about it; ``None`` where the longer way has to be gone."""


class UnreadableSnapshotError(ValueError):
    """The server sent what is no snapshot. The one that is held stays."""


class Pinned(Protocol):
    """A variant that a running request keeps."""

    @property
    def value(self) -> object: ...


PINS: ContextVar[Mapping[tuple[str, str | None], Pinned] | None] = ContextVar("rampgate_pins", default=None)
"""What the running request was assigned, by flag and user; by flag and ``None`` what it was forced onto, whoever the
user is. Such a lookup keeps its answer and counts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """A flag's rollout as the server published it. Times are in seconds. ``hash_key`` hides users in what is
    reported of them; ``None``: the server unites no users. ``force_key`` verifies tester tokens; ``None``: there is
    nothing to visit."""

    rollout: str
    attempt: int
    stable: str
    canary: str
    stale_after: float
    poll: float
    heartbeat: float
    hash_key: str | None = field(default=None, repr=False)
    force_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, body: object) -> "Ramp":
        """Raises ``UnreadableSnapshotError`` for what no server of ours sends."""
        if not isinstance(body, Mapping):
            raise UnreadableSnapshotError("a rollout is no object")
        try:
            times = {name: float(body[wire]) for name, wire in _TIMES.items()}
            hash_key, force_key = body.get("hashKey"), body.get("forceKey")
            ramp = cls(
                rollout=str(body["rollout"]),
                attempt=int(body["attempt"]),
                stable=str(body["stable"]),
                canary=str(body["canary"]),
                force_key=force_key if isinstance(force_key, str) and force_key else None,
                hash_key=hash_key if isinstance(hash_key, str) and 0 < len(hash_key.encode()) <= 64 else None,
                **times,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableSnapshotError(f"a rollout lacks a sound {error}") from error
        if not all(0 < time < float("inf") for time in times.values()):
            raise UnreadableSnapshotError("a rollout's times are not positive")
        return ramp

    def written(self) -> dict[str, object]:
        """As the server published it, but for the key of tester tokens: what is kept has nothing to visit."""
        times = {wire: getattr(self, name) for name, wire in _TIMES.items()}
        said = {"rollout": self.rollout, "attempt": self.attempt, "stable": self.stable, "canary": self.canary}
        return {**said, **times, **({"hashKey": self.hash_key} if self.hash_key else {})}


_TIMES = {"stale_after": "staleAfter", "poll": "poll", "heartbeat": "heartbeat"}


@dataclass(frozen=True, slots=True)
class Shared:
    """What the flags of one document have in common: rules to refer to, and metadata."""

    evaluators: object = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=lambda: NO_METADATA)

    def document(self, flags: Mapping[str, object]) -> dict[str, object]:
        """A flagd document of these flags."""
        more = {"$evaluators": self.evaluators} if self.evaluators else {}
        return {"flags": flags, **more, **({"metadata": dict(self.metadata)} if self.metadata else {})}


NOTHING_SHARED = Shared()


class Entry:
    """One flag: the text that the server wrote, its rollout if it is in one, and whether it was forced here.

    Only what has been read once without a problem becomes an entry.
    """

    __slots__ = ("_compiled", "forced", "key", "ramp", "raw", "shared")

    def __init__(
        self, key: str, raw: str, shared: Shared = NOTHING_SHARED, ramp: Ramp | None = None, *, forced: bool = False
    ) -> None:
        self.key = key
        self.raw = raw
        self.shared = shared
        self.ramp = ramp
        self.forced = forced
        self._compiled: CompiledFlag | None = None

    @property
    def compiled(self) -> CompiledFlag:
        """Ready to be asked; kept from then on."""
        if self._compiled is None:
            self._compiled = self.compile()
        return self._compiled

    def compile(self) -> CompiledFlag:
        """Ready to be asked; kept only where it is the only way to answer, or will be asked for again."""
        if self._compiled is not None:
            return self._compiled
        flagset = read(self.shared.document({self.key: json.loads(self.raw)}))
        compiled = compile_flag(flagset.flags[self.key], flagset.metadata)
        if compiled.cut is None or self.ramp is not None:
            self._compiled = compiled
        return compiled

    def says(self, raw: str, shared: Shared) -> bool:
        """Whether it is made of this text."""
        return self.raw == raw and self.shared == shared and not self.forced

    def within(self, ramp: Ramp | None) -> "Entry":
        """The same flag in this rollout, or in none."""
        if self.ramp == ramp:
            return self
        moved = Entry(self.key, self.raw, self.shared, ramp, forced=self.forced)
        moved._compiled = self._compiled
        return moved


def same(before: Entry | None, after: Entry | None) -> bool:
    """Whether a flag and its rollout are what they were."""
    if before is None or after is None:
        return before is after
    return before is after or (before.says(after.raw, after.shared) and before.ramp == after.ramp)


class Table(dict[str, Lookup]):
    """Lookups by flag, each made when it is first asked for; a ``KeyError`` sends the caller the longer way."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[str], Lookup], kept: Iterable[tuple[str, Lookup]] = ()) -> None:
        super().__init__(kept)
        self._make = make

    def __missing__(self, flag: str) -> Lookup:
        made = self[flag] = self._make(flag)
        return made


def _none(flag: str) -> Lookup:
    raise KeyError(flag)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Snapshot:
    """All flags at one version. Swapped whole: whoever holds one reads one version.

    ``as_of`` is the one thing in it that moves: the moment on the monotonic clock at which the server last knew this
    version to be current, and the moment until which, at the latest, flags in a rollout were stale. The lookups of
    flags in a rollout hold the same list. The tables fill as they are asked; ``keyed`` has the flags of which it is
    known that the targeting key alone decides. ``former`` has what flags in a rollout were before, and until when.
    """

    version: str | None
    entries: Mapping[str, Entry]
    ramps: Mapping[str, Ramp]
    as_of: list[float]
    shared: Shared = NOTHING_SHARED
    environment: str = ""
    former: Mapping[str, tuple[tuple[float, Entry], ...]] = field(default_factory=dict)
    booleans: Table = field(default_factory=lambda: Table(_none))
    strings: Table = field(default_factory=lambda: Table(_none))
    numbers: Table = field(default_factory=lambda: Table(_none))
    details: Mapping[type, Table] = field(default_factory=dict)
    keyed: set[str] = field(default_factory=set)

    @property
    def heartbeat(self) -> float:
        """How often, in seconds, the server lets itself be heard."""
        return min([HEARTBEAT, *(ramp.heartbeat for ramp in self.ramps.values())])

    @property
    def poll(self) -> float | None:
        """How often, in seconds, a gate reads what apps counted; ``None``: there is no rollout."""
        return min((ramp.poll for ramp in self.ramps.values()), default=None)

    @property
    def patience(self) -> float:
        """After how many seconds without contact the first flag turns stale."""
        return min((ramp.stale_after for ramp in self.ramps.values()), default=4 * HEARTBEAT)

    @property
    def contacted(self) -> bool:
        """Whether the server has ever said that this is current: what comes from a file has not been heard."""
        return self.as_of[0] > float("-inf")

    def renew(self, as_of: float, now: float) -> None:
        """This version is known to have been current ``as_of``; never moves backwards."""
        self.as_of[1] = self.stale_until(now)
        self.as_of[0] = max(self.as_of[0], as_of)

    def stale_until(self, now: float) -> float:
        """Until when, at the latest, flags in a rollout were stale after they had once been fresh."""
        return now if self.contacted and now - self.as_of[0] > self.patience else self.as_of[1]

    def is_stale(self, entry: Entry, now: float) -> bool:
        return entry.ramp is not None and now - self.as_of[0] > entry.ramp.stale_after


NOTHING = Snapshot(version=None, entries={}, ramps={}, as_of=[float("-inf"), float("-inf")])
"""What a client has before its first contact: every lookup gives the app's default."""


def arm_key(flag: str, ramp: Ramp | None, variant: str) -> ArmKey:
    """What a variant of this flag is counted under."""
    if ramp is None:
        return ArmKey(flag, None, None, variant)
    return ArmKey(flag, ramp.rollout, ramp.attempt, variant, ramp.hash_key)
