"""Every flag of an environment as one immutable value, compiled for lookups, and how a change makes the next one.

A lookup is a dictionary and a call. A flag in a rollout compares the clock with the snapshot's age in the call
itself, so nothing that dies beside it can hide that contact is lost. No network here.
"""

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from rampgate.bucketing import BUCKETING
from rampgate.client.counts import ArmKey, Counts
from rampgate.evaluation import NO_METADATA, CompiledFlag, compile_flag
from rampgate.flags import Flag, MetadataValue, ValueType, copied, read

log = logging.getLogger("rampgate.client")

HEARTBEAT = 15.0
"""Seconds between the server's heartbeats when no rollout asks for more."""

Clock = Callable[[], float]
Lookup = Callable[[str], object]
"""From a user's key to a flag's value; ``None`` where the app's default counts."""


class UnreadableSnapshotError(ValueError):
    """The server sent what is no snapshot. The one that is held stays."""


class Pinned(Protocol):
    """A variant that a running request keeps."""

    @property
    def value(self) -> object: ...


PINS: ContextVar[Mapping[tuple[str, str], Pinned] | None] = ContextVar("rampgate_pins", default=None)
"""What the running request was assigned, by flag and user. Such a lookup keeps its answer and counts nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """A flag's rollout as the server published it. Times are in seconds."""

    rollout: str
    attempt: int
    stable: str
    canary: str
    stale_after: float
    poll: float
    heartbeat: float

    @classmethod
    def read(cls, body: object) -> "Ramp":
        """Raises ``UnreadableSnapshotError`` for what no server of ours sends."""
        if not isinstance(body, Mapping):
            raise UnreadableSnapshotError("a rollout is no object")
        try:
            times = {name: float(body[wire]) for name, wire in _TIMES.items()}
            ramp = cls(
                rollout=str(body["rollout"]),
                attempt=int(body["attempt"]),
                stable=str(body["stable"]),
                canary=str(body["canary"]),
                **times,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableSnapshotError(f"a rollout lacks a sound {error}") from error
        if not all(0 < time < float("inf") for time in times.values()):
            raise UnreadableSnapshotError("a rollout's times are not positive")
        return ramp


_TIMES = {"stale_after": "staleAfter", "poll": "poll", "heartbeat": "heartbeat"}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One flag: as read, compiled, and its rollout if it is in one."""

    flag: Flag
    compiled: CompiledFlag
    ramp: Ramp | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Snapshot:
    """All flags at one version. Swapped whole: whoever holds one reads one version.

    ``as_of`` is the one thing in it that moves: a single number, the moment on the monotonic clock at which the
    server last knew this version to be current. The lookups of flags in a rollout hold the same list.
    """

    version: str | None
    entries: Mapping[str, Entry]
    ramps: Mapping[str, Ramp]
    as_of: list[float]
    booleans: dict[str, Lookup] = field(default_factory=dict)
    strings: dict[str, Lookup] = field(default_factory=dict)
    numbers: dict[str, Lookup] = field(default_factory=dict)
    objects: dict[str, Lookup] = field(default_factory=dict)
    metadata: Mapping[str, MetadataValue] = field(default_factory=lambda: NO_METADATA)
    evaluators: object = None

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

    def is_stale(self, entry: Entry, now: float) -> bool:
        return entry.ramp is not None and now - self.as_of[0] > entry.ramp.stale_after


NOTHING = Snapshot(version=None, entries={}, ramps={}, as_of=[float("-inf")])
"""What a client has before its first contact: every lookup gives the app's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Makes snapshots for one client: with its clock, and with its counters in the lookups of rollout flags.

    ``counts`` is ``None`` where exposures are not wanted.
    """

    clock: Clock
    counts: Counts | None

    def from_document(self, document: object, as_of: float, last: Snapshot) -> Snapshot:
        """A snapshot from the server's. A flag that cannot be read keeps the version it had in ``last``."""
        body = _mapping(document, "the snapshot")
        if body.get("bucketing", BUCKETING) != BUCKETING:
            raise UnreadableSnapshotError(f"bucketing {body.get('bucketing')!r}, this client knows {BUCKETING}")
        flags = _mapping(body.get("flags"), "flags")
        evaluators, metadata = body.get("$evaluators"), body.get("metadata")
        read_flags, set_metadata = self._flags(flags, evaluators, metadata, last)
        return self._snapshot(_version(body), read_flags, _ramps(body), as_of, set_metadata, evaluators)

    def from_change(self, change: Mapping[str, object], as_of: float, last: Snapshot) -> Snapshot:
        """The snapshot after a ``changed`` event that follows on ``last``."""
        changed = _mapping(change.get("flags", {}), "flags")
        removed = change.get("removed", [])
        if not isinstance(removed, list):
            raise UnreadableSnapshotError("removed is no list")
        document = {"flags": changed, "$evaluators": last.evaluators, "metadata": dict(last.metadata)}
        fresh, _ = self._flags(changed, document["$evaluators"], document["metadata"], last)
        entries = {**last.entries, **fresh}
        for key in removed:
            entries.pop(key, None)
        return self._snapshot(_version(change), entries, _ramps(change), as_of, last.metadata, last.evaluators)

    def again(self, last: Snapshot) -> Snapshot:
        """The same snapshot with this workshop's counters in its lookups: for the child after a fork."""
        made = self._snapshot("", last.entries, last.ramps, last.as_of[0], last.metadata, last.evaluators)
        return replace(made, version=last.version)

    def _flags(
        self, flags: Mapping[str, object], evaluators: object, metadata: object, last: Snapshot
    ) -> tuple[dict[str, Entry], Mapping[str, MetadataValue]]:
        document: dict[str, object] = {"flags": flags}
        if evaluators:
            document["$evaluators"] = evaluators
        if metadata:
            document["metadata"] = metadata
        flagset = read(document)
        for problem in flagset.problems:
            log.warning("rampgate: a flag keeps its last good version: %s", problem)
        entries: dict[str, Entry] = {}
        for key in flags:
            kept = last.entries.get(key)
            flag = flagset.flags.get(key)
            if flag is None:
                if kept is not None:
                    entries[key] = kept
            elif kept is not None and kept.flag == flag and last.metadata == flagset.metadata:
                entries[key] = kept
            else:
                entries[key] = Entry(flag, compile_flag(flag, flagset.metadata))
        return entries, flagset.metadata

    def _snapshot(
        self,
        version: str,
        entries: Mapping[str, Entry],
        ramps: Mapping[str, Ramp],
        as_of: float,
        metadata: Mapping[str, MetadataValue],
        evaluators: object,
    ) -> Snapshot:
        cell = [as_of]
        tables: dict[ValueType, dict[str, Lookup]] = {kind: {} for kind in ValueType}
        joined: dict[str, Entry] = {}
        for key, entry in entries.items():
            ramp = ramps.get(key)
            joined[key] = entry if entry.ramp == ramp else Entry(entry.flag, entry.compiled, ramp)
            lookup = entry.compiled.value_for if ramp is None else self._ramping(entry.compiled, ramp, cell)
            if entry.compiled.type is not None:
                tables[entry.compiled.type][key] = lookup
        return Snapshot(
            version=version,
            entries=MappingProxyType(joined),
            ramps=MappingProxyType(dict(ramps)),
            as_of=cell,
            booleans=tables[ValueType.BOOLEAN],
            strings=tables[ValueType.STRING],
            numbers=tables[ValueType.NUMBER],
            objects=tables[ValueType.OBJECT],
            metadata=metadata,
            evaluators=evaluators,
        )

    def _ramping(self, compiled: CompiledFlag, ramp: Ramp, as_of: list[float]) -> Lookup:
        """The lookup of a flag in a rollout. Closures over plain names: each attribute would be felt."""
        clock, stale_after, pins_of = self.clock, ramp.stale_after, PINS.get
        key, variant_for, value_for = compiled.key, compiled.variant_for, compiled.value_for
        stable = copied(compiled.variants.get(ramp.stable))

        def uncounted(user: str) -> object:
            pins = pins_of()
            if pins is not None and (pinned := pins.get((key, user))) is not None:
                return pinned.value
            return value_for(user) if clock() - as_of[0] <= stale_after else stable

        if self.counts is None:
            return uncounted
        arms: dict[str | None, tuple[object, Callable[[], int]]] = {
            variant: (copied(value), self.counts.arm(arm_key(key, ramp, variant)).exposures.add)
            for variant, value in compiled.variants.items()
        }

        def counted(user: str) -> object:
            pins = pins_of()
            if pins is not None and (pinned := pins.get((key, user))) is not None:
                return pinned.value
            if clock() - as_of[0] > stale_after:
                return stable
            value, expose = arms[variant_for(user)]
            expose()
            return value

        return counted


def arm_key(flag: str, ramp: Ramp | None, variant: str) -> ArmKey:
    """What a variant of this flag is counted under."""
    if ramp is None:
        return ArmKey(flag, None, None, variant)
    return ArmKey(flag, ramp.rollout, ramp.attempt, variant)


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise UnreadableSnapshotError(f"{name} is no object")
    return value


def _version(body: Mapping[str, object]) -> str:
    version = body.get("version")
    if not isinstance(version, str):
        raise UnreadableSnapshotError("the version is no text")
    return version


def _ramps(body: Mapping[str, object]) -> dict[str, Ramp]:
    return {key: Ramp.read(ramp) for key, ramp in _mapping(body.get("rollouts", {}), "rollouts").items()}
