"""Makes a client's snapshots: out of the server's documents, its changes, a file, and what is forced for local work.

A flag that cannot be read keeps its last good version; one that did not change keeps its lookups.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from rampgate.bucketing import BUCKETING
from rampgate.client.counts import Counts
from rampgate.client.lookups import Lookups
from rampgate.client.snapshot import (
    NOTHING,
    Clock,
    Entry,
    Ramp,
    Shared,
    Snapshot,
    Table,
    UnreadableSnapshotError,
    same,
)
from rampgate.flags import ValueType, read

log = logging.getLogger("rampgate.client")

REMEMBERED = 600.0
"""Seconds for which what a flag was before is kept, and how many of those."""

MOST_FORMER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Makes snapshots for one client: with its clock, and with its counters in the lookups of rollout flags.

    ``counts`` is ``None`` where exposures are not wanted. ``overrides`` are values, or names of variants, by flag.
    """

    clock: Clock
    counts: Counts | None
    overrides: Mapping[str, object] = field(default_factory=dict)

    def from_document(self, document: object, as_of: float, last: Snapshot) -> Snapshot:
        """A snapshot from the server's. A flag that cannot be read keeps the version it had in ``last``."""
        body = _mapping(document, "the snapshot")
        if body.get("bucketing", BUCKETING) != BUCKETING:
            raise UnreadableSnapshotError(f"bucketing {body.get('bucketing')!r}, this client knows {BUCKETING}")
        flags = _mapping(body.get("flags"), "flags")
        shared = Shared(body.get("$evaluators"), read({"flags": {}, "metadata": body.get("metadata")}).metadata)
        made = self._snapshot(_version(body), self._flags(flags, shared, last), _ramps(body), as_of, shared, last)
        return replace(made, environment=str(body.get("environment", "")))

    def from_change(self, change: Mapping[str, object], as_of: float, last: Snapshot) -> Snapshot:
        """The snapshot after a ``changed`` event that follows on ``last``."""
        changed = _mapping(change.get("flags", {}), "flags")
        removed = change.get("removed", [])
        if not isinstance(removed, list):
            raise UnreadableSnapshotError("removed is no list")
        entries = {**last.entries, **self._flags(changed, last.shared, last)}
        for key in removed:
            entries.pop(key, None)
        return self._snapshot(_version(change), entries, _ramps(change), as_of, last.shared, last)

    def again(self, last: Snapshot) -> Snapshot:
        """The same snapshot with this workshop's counters in its lookups: for the child after a fork."""
        made = self._snapshot("", dict(last.entries), last.ramps, last.as_of[0], last.shared, last)
        return replace(made, version=last.version)

    def empty(self) -> Snapshot:
        """Before anything is known: nothing but the overrides."""
        if not self.overrides:
            return NOTHING
        return replace(self._snapshot("", {}, {}, float("-inf"), NOTHING.shared, NOTHING), version=None)

    def _flags(self, flags: Mapping[str, object], shared: Shared, last: Snapshot) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        fresh: dict[str, str] = {}
        for key, body in flags.items():
            raw = _raw(body)
            kept = last.entries.get(key)
            if kept is not None and kept.says(raw, shared):
                entries[key] = kept
            else:
                fresh[key] = raw
        flagset = read(shared.document({key: flags[key] for key in fresh}))
        for problem in flagset.problems:
            log.warning("rampgate: a flag keeps its last good version: %s", problem)
        for key, raw in fresh.items():
            if key in flagset.flags:
                entries[key] = Entry(key, raw, shared)
            elif key in last.entries:
                entries[key] = last.entries[key]
        return entries

    def _snapshot(
        self,
        version: str,
        entries: dict[str, Entry],
        ramps: Mapping[str, Ramp],
        as_of: float,
        shared: Shared,
        last: Snapshot,
    ) -> Snapshot:
        for key in {*last.ramps, *ramps}:
            if key in entries:
                entries[key] = entries[key].within(ramps.get(key))
        for key, wanted in self.overrides.items():
            entries[key] = _forced(key, wanted, entries.get(key))
        now = self.clock()
        cell = [as_of, last.stale_until(now)]
        lookups = Lookups(self.clock, self.counts, entries, cell)
        details = lookups.details()
        made = Snapshot(
            version=version,
            entries=MappingProxyType(entries),
            ramps=MappingProxyType({key: ramp for key, ramp in ramps.items() if key not in self.overrides}),
            as_of=cell,
            shared=shared,
            environment=last.environment,
            former=_former(last, entries, ramps, now),
            booleans=lookups.values(ValueType.BOOLEAN),
            strings=lookups.values(ValueType.STRING),
            numbers=lookups.values(ValueType.NUMBER),
            details=details,
        )
        _carry_over(last, made)
        return made


def _former(
    last: Snapshot, entries: Mapping[str, Entry], ramps: Mapping[str, Ramp], now: float
) -> dict[str, tuple[tuple[float, Entry], ...]]:
    """What flags in a rollout were before this snapshot, for outcomes of requests that began under it."""
    former = {}
    for key in {*last.former, *last.ramps, *ramps}:
        kept = tuple(one for one in last.former.get(key, ()) if now - one[0] < REMEMBERED)
        before = last.entries.get(key)
        if before is not None and not same(before, entries.get(key)):
            kept = (*kept[1 - MOST_FORMER :], (now, before))
        if kept:
            former[key] = kept
    return former


def _carry_over(last: Snapshot, made: Snapshot) -> None:
    """What was asked of the last snapshot will be asked of this one: have it ready, so that no lookup has to wait."""
    pairs = [(last.booleans, made.booleans), (last.strings, made.strings), (last.numbers, made.numbers)]
    pairs += {id(table): (last.details[kind], table) for kind, table in made.details.items() if last.details}.values()
    for before, after in pairs:
        for flag, lookup in list(before.items()):
            entry = made.entries.get(flag)
            if entry is not None and entry is last.entries[flag] and entry.ramp is None:
                after[flag] = lookup
            else:
                _make_ready(after, flag)
    made.keyed.update(flag for flag in tuple(last.keyed) if made.entries.get(flag) is last.entries[flag])


def _make_ready(table: Table, flag: str) -> None:
    with suppress(KeyError):  # it is gone, or of another type now
        table[flag]


def _forced(key: str, wanted: object, entry: Entry | None) -> Entry:
    """The flag with one value for everybody: the variant of this name, or this very value."""
    variants: object = {} if entry is None else json.loads(entry.raw).get("variants")
    name = "override"
    if isinstance(variants, dict) and isinstance(wanted, str) and wanted in variants:
        name = wanted
    else:
        variants = {name: wanted}
    body = {"state": "ENABLED", "variants": variants, "defaultVariant": name, "metadata": {"forced": True}}
    return Entry(key, _raw(body), forced=True)


def _raw(body: object) -> str:
    try:
        return json.dumps(body, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableSnapshotError("a flag is no JSON") from error


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
