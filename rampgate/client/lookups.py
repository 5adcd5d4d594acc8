"""Lookups: functions from a user's key to a flag's value, or to all about it, as short as the flag allows.

A flag in a rollout compares the clock with the snapshot's age in the call itself, so nothing that dies beside it can
hide that contact is lost. Written as closures over plain names: each attribute or call in here would be felt.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rampgate.client.answers import Details, evidence
from rampgate.client.counts import Counts
from rampgate.client.snapshot import PINS, Clock, Entry, Lookup, Ramp, Table, arm_key
from rampgate.evaluation import CompiledFlag, Reason, Resolution
from rampgate.flags import ValueType

Make = Callable[[Resolution], Any]

_WANTED: Mapping[type, ValueType | None] = {
    bool: ValueType.BOOLEAN, str: ValueType.STRING, int: ValueType.NUMBER, float: ValueType.NUMBER, type(None): None,
}  # fmt: skip
"""What a default's type asks for. Objects go the longer way: each caller gets a copy."""


class Lookups:
    """Makes the lookups of one snapshot.

    Args:
        clock: the monotonic clock, in seconds.
        counts: where exposures are counted; ``None``: nowhere.
        entries: the snapshot's flags.
        as_of: its moment, in a list of one.
    """

    def __init__(self, clock: Clock, counts: Counts | None, entries: Mapping[str, Entry], as_of: list[float]) -> None:
        self._clock = clock
        self._counts = counts
        self._entries = entries
        self._as_of = as_of

    def values(self, kind: ValueType) -> Table:
        """Values of the flags of this type."""

        def make(flag: str) -> Lookup:
            entry = self._entries[flag]
            compiled = entry.compile()
            if compiled.type is not kind:
                raise KeyError(flag)
            return self._lookup(entry, compiled, _value)

        return Table(make)

    def details(self) -> dict[type, Table]:
        """Details of flags by the type of the app's default."""

        def table(wanted: ValueType | None) -> Table:
            def make(flag: str) -> Lookup:
                entry = self._entries[flag]
                compiled = entry.compile()
                if compiled.type is ValueType.OBJECT or (wanted is not None and compiled.type is not wanted):
                    raise KeyError(flag)
                forced, ramp = entry.forced, entry.ramp

                def told(found: Resolution) -> Details[Any] | None:
                    if found.value is None:
                        return None
                    counted = found.variant is not None and not forced and evidence(found, ramp)
                    return Details(flag, found.value, found.variant, found.reason, None, None, found.metadata, counted)

                return self._lookup(entry, compiled, told)

            return Table(make)

        tables = {wanted: table(wanted) for wanted in dict.fromkeys(_WANTED.values())}
        return {kind: tables[wanted] for kind, wanted in _WANTED.items()}

    def _lookup(self, entry: Entry, compiled: CompiledFlag, make: Make) -> Lookup:
        if entry.ramp is not None:
            return self._ramping(entry.key, compiled, entry.ramp, make)
        if compiled.cut is not None:
            return compiled.cut.pick(make)
        evaluate = compiled.evaluate
        return lambda user: make(evaluate({"targetingKey": user}))

    def _ramping(self, key: str, compiled: CompiledFlag, ramp: Ramp, make: Make) -> Lookup:
        clock, as_of, stale_after, pins_of = self._clock, self._as_of, ramp.stale_after, PINS.get
        stable = compiled.variants.get(ramp.stable)
        stale = make(
            Resolution(stable, None if stable is None else ramp.stable, Reason.STALE, metadata=compiled.metadata)
        )
        weigh = self._weighed(key, ramp, make)
        evaluate = compiled.evaluate
        outcome_for: Callable[[str], Any] = (
            compiled.cut.pick(weigh) if compiled.cut else lambda user: weigh(evaluate({"targetingKey": user}))
        )

        def lookup(user: str) -> Any:
            pins = pins_of()
            if pins is not None and ((key, user) in pins or (key, None) in pins):
                return None
            if clock() - as_of[0] > stale_after:
                return stale
            found, expose = outcome_for(user)
            if user:
                expose()
            return found

        return lookup

    def _weighed(self, key: str, ramp: Ramp, make: Make) -> Callable[[Resolution], tuple[Any, Callable[[], object]]]:
        """What ``make`` makes of an answer, and what counts its exposure."""

        def weighed(found: Resolution) -> tuple[Any, Callable[[], object]]:
            made, variant = make(found), found.variant
            if self._counts is None or made is None or variant is None or not evidence(found, ramp):
                return made, _nothing
            return made, self._counts.arm(arm_key(key, ramp, variant)).exposures.add

        return weighed


def _value(found: Resolution) -> object:
    return found.value


def _nothing() -> None:
    pass
