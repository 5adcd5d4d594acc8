"""Flags as people write them: checked at the door, frozen while a ramp runs, served at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flagserver.errors import ConflictError, InvalidError, NotFoundError, StoreGoneError
from flagserver.live import Live
from flagserver.names import NAME, NAME_ALLOWED, environment_problems, name_problems
from flagserver.publish import SERVER_WRITES, default_variants, document, problems, stands
from flagserver.store import Store, Tx, audit, cohorts, flags, rollouts
from flagserver.store.cohorts import Segment
from flagserver.store.flags import NOBODY_LISTED, FlagRecord, Kind
from flagserver.store.rollouts import RolloutRecord
from rampgate.problem import Problem
from rampgate.rollout import Slot, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A flag as it shall be; what is ``None`` stays as it is."""

    kind: Kind | None = None
    flag: Mapping[str, Any] | None = None
    slots: Slots | None = None


class Flags:
    """The flags of all environments."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live

    def all_of(self, environment: str) -> list[Mapping[str, Any]]:
        with self._store.read() as tx:
            return self.every(tx, environment)

    def every(self, tx: Tx, environment: str) -> list[Mapping[str, Any]]:
        """The flags as the wire shows them, of one moment."""
        records, unfinished = flags.all_of(tx, environment), rollouts.unfinished(tx, environment)
        segments = cohorts.load(tx, environment).segments
        return [_shown(one, _of(unfinished, one.key), self._store.now(), segments) for one in records]

    def read(self, environment: str, key: str) -> Mapping[str, Any]:
        """The flag as the wire shows it.

        Raises:
            NotFoundError: there is no such flag.
        """
        with self._store.read() as tx:
            record, unfinished = flags.load(tx, environment, key), rollouts.unfinished(tx, environment, key)
            segments = cohorts.load(tx, environment).segments
        if record is None:
            raise flag_not_found(environment, key)
        return _shown(record, _of(unfinished, key), self._store.now(), segments)

    def write(self, environment: str, key: str, change: Change, *, by: str) -> tuple[Mapping[str, Any], bool]:
        """Make or replace a flag.

        Returns:
            The flag as the wire shows it, and whether it is new.

        Raises:
            InvalidError: everything that is wrong with it, at once.
            ConflictError: a rollout holds the flag, and what shall change is frozen.
        """
        if wrong := (*environment_problems("environment", environment), *name_problems("key", key)):
            raise InvalidError(problems=wrong)
        with self._store.write() as tx:
            before = flags.lock(tx, environment, key)
            after = self.put(tx, environment, key, before, change, by)
            rollout = next(iter(rollouts.unfinished(tx, environment, key)), None)
            now, segments = tx.now, cohorts.load(tx, environment).segments
        self.refresh()
        return _shown(after, rollout, now, segments), before is None

    def put(self, tx: Tx, environment: str, key: str, before: FlagRecord | None, change: Change, by: str) -> FlagRecord:
        """Make or replace a flag that is locked, in this transaction; refuses as ``write`` does.

        One that says the same as before is neither written nor noted.
        """
        unfinished = rollouts.unfinished(tx, environment, key) if before is not None else ()
        if before is not None and unfinished:
            segments = cohorts.load(tx, environment).segments
            if _moves_users(change, _served(before, unfinished[0], tx.now, segments)):
                raise _in_rollout(key, unfinished[0])
        after = _changed(environment, key, before, change, tx.now)
        if before is not None and unfinished and _frozen_part(before) != _frozen_part(after):
            raise _in_rollout(key, unfinished[0])
        if before is not None and replace(after, updated_at=before.updated_at) == before:
            return before
        flags.save(tx, after)
        _note(tx, by, "flag.written", before, after)
        return after

    def delete(self, environment: str, key: str, *, by: str) -> None:
        """Delete the flag.

        Raises:
            NotFoundError: there is no such flag.
            ConflictError: a rollout holds it.
        """
        with self._store.write() as tx:
            before = flags.lock(tx, environment, key)
            if before is None:
                raise flag_not_found(environment, key)
            if unfinished := rollouts.unfinished(tx, environment, key):
                raise _in_rollout(key, unfinished[0])
            flags.delete(tx, environment, key)
            _note(tx, by, "flag.deleted", before, None)
        self.refresh()

    def refresh(self) -> None:
        """Serve what was written."""
        try:
            self._live.refresh()
        except StoreGoneError:
            return  # The steward publishes it as soon as the store can be read.


def inlined(rule: object, evaluators: Mapping[str, object]) -> object:
    """A rule with every reference to a shared one replaced by it: flags are kept one by one."""
    match rule:
        case {"$ref": str(name)}:
            return inlined(evaluators[name], evaluators)
        case Mapping():
            return {key: inlined(value, evaluators) for key, value in rule.items()}
        case list() | tuple():
            return [inlined(value, evaluators) for value in rule]
        case _:
            return rule


def _changed(environment: str, key: str, before: FlagRecord | None, change: Change, now: float) -> FlagRecord:
    """The flag with the change applied; refused with every problem at once."""
    kind = change.kind or (before.kind if before else None)
    if kind is None:
        kind = Kind.ROLLOUT if change.slots is not None else Kind.PLAIN
    same_kind = before is not None and before.kind is kind
    body = change.flag if change.flag is not None else (before.document if before and same_kind else None)
    slots = change.slots or (before.slots if before and same_kind else None)
    wrong: list[Problem] = []
    if kind is Kind.PLAIN:
        if change.slots is not None:
            wrong.append(Problem("slots", "given", "nothing: a plain flag has no slots"))
        slots = None
    elif slots is None:
        slots = _first_slots(kind)
    else:
        wrong += _slot_problems(kind, slots)
    if body is None and kind is Kind.PLAIN:
        wrong.append(Problem("flag", "nothing", "a flagd flag: state, variants, defaultVariant"))
    elif not wrong:
        names = (slots.stable.name, slots.idle.name) if slots is not None else None
        wrong += problems(key, kind, body or {}, names)
    if wrong:
        raise InvalidError(problems=tuple(wrong))
    return FlagRecord(
        environment=environment, key=key, kind=kind, document=dict(body or {}), slots=slots, updated_at=now,
        lists=before.lists if before else NOBODY_LISTED,
    )  # fmt: skip


def _first_slots(kind: Kind) -> Slots:
    stable, idle = ("off", "on") if kind is Kind.RELEASE else ("blue", "green")
    return Slots(stable=Slot(name=stable), idle=Slot(name=idle))


def _slot_problems(kind: Kind, slots: Slots) -> list[Problem]:
    names = {"slots.stable.name": slots.stable.name, "slots.idle.name": slots.idle.name}
    wrong = [Problem(path, repr(name[:80]), NAME_ALLOWED) for path, name in names.items() if not NAME.fullmatch(name)]
    if slots.stable.name == slots.idle.name:
        wrong.append(Problem("slots.idle.name", slots.idle.name, "another name than the stable slot's"))
    if kind is Kind.RELEASE and {slots.stable.name, slots.idle.name} != {"off", "on"}:
        wrong.append(Problem("slots", f"{slots.stable.name}, {slots.idle.name}", "off and on for a release flag"))
    return wrong


def _frozen_part(record: FlagRecord) -> object:
    """What must not change while a ramp runs: where users are sent, not what they find there."""
    state = record.document.get("state", "ENABLED")
    slots = record.slots
    implied = default_variants(record.kind, slots.stable.name, slots.idle.name) if slots is not None else {}
    return record.kind, slots, state, sorted(record.document.get("variants", implied))


def _moves_users(change: Change, served: Mapping[str, Any]) -> bool:
    """Whether a document would change what the server wrote, or rename a variant: frozen, be it sound or not."""
    flag = change.flag or {}
    variants = flag.get("variants")
    renamed = isinstance(variants, Mapping) and set(variants) != set(served["variants"])
    return renamed or any(name in flag and flag[name] != served.get(name) for name in SERVER_WRITES)


def _of(unfinished: tuple[RolloutRecord, ...], key: str) -> RolloutRecord | None:
    return next((one for one in unfinished if one.plan.flag == key), None)


def _served(
    record: FlagRecord, rollout: RolloutRecord | None, now: float, segments: Mapping[str, Segment]
) -> Mapping[str, Any]:
    return document(record, rollout, None if rollout is None else stands(rollout, now), segments)


def _shown(
    record: FlagRecord, rollout: RolloutRecord | None, now: float, segments: Mapping[str, Segment]
) -> Mapping[str, Any]:
    slots = record.slots
    return {
        "key": record.key,
        "kind": record.kind.value,
        "flag": _served(record, rollout, now, segments),
        "slots": None if slots is None else {"stable": _slot(slots.stable), "idle": _slot(slots.idle)},
        "rollout": rollout.id if rollout else None,
    }


def _slot(slot: Slot) -> Mapping[str, Any]:
    return {"name": slot.name, "version": slot.version}


def flag_not_found(environment: str, key: str) -> NotFoundError:
    """The refusal where there is no such flag."""
    return NotFoundError(f"There is no flag {key} in {environment}.", code="flag_not_found")


def _in_rollout(key: str, record: RolloutRecord) -> ConflictError:
    text = (
        f"Rollout {record.id} holds {key} ({record.state.phase}): its slots, state, names of variants, targeting and "
        "salt are frozen until it ends."
    )
    return ConflictError(text, code="flag_in_rollout", about=record.id)


def _note(tx: Tx, by: str, action: str, before: FlagRecord | None, after: FlagRecord | None) -> None:
    record = after or before
    assert record is not None
    audit.record(
        tx, actor=by, action=action, environment=record.environment, subject=record.key, flag=record.key,
        before=_audited(before), after=_audited(after),
    )  # fmt: skip


def _audited(record: FlagRecord | None) -> Mapping[str, Any] | None:
    return None if record is None else {"kind": record.kind.value, "flag": record.document, "slots": record.slots}
