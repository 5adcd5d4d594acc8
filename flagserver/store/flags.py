"""Flags as kept: one row for each environment and key. Decides nothing."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from flagserver.store.engine import Tx, bump
from flagserver.store.tables import flags, rollouts
from flagserver.wire import decode, encode
from rampgate.rollout import Slot, Slots
from rampgate.wire import STRICT


class Kind(StrEnum):
    """``rollout``: two slots that trade places. ``release``: off, then on. ``plain``: whatever its document says."""

    ROLLOUT = "rollout"
    RELEASE = "release"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserList:
    """Users by key, and segments by name."""

    __pydantic_config__ = STRICT

    users: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Who meets the canary as soon as anybody does, and who stays on stable for as long as it is there."""

    __pydantic_config__ = STRICT

    canary: UserList = UserList()
    stable: UserList = UserList()


NOBODY_LISTED = Lists()
LISTS: TypeAdapter[Lists] = TypeAdapter(Lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRecord:
    """A flag of one environment. ``document`` is what its people wrote; shares and defaults of a ramp are not in it.

    ``lists`` are written by ``store.cohorts`` alone.
    """

    environment: str
    key: str
    kind: Kind
    document: dict[str, Any]
    slots: Slots | None
    updated_at: float
    lists: Lists = NOBODY_LISTED


def lock(tx: Tx, environment: str, key: str) -> FlagRecord | None:
    """The flag, with every other writer of it made to wait until this transaction ends, if it exists or not."""
    if tx.is_postgres:
        tx.run(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"{environment}/{key}", 0))))
    return _first(tx, _where(sa.select(flags), environment, key))


def load(tx: Tx, environment: str, key: str) -> FlagRecord | None:
    return _first(tx, _where(sa.select(flags), environment, key))


def all_of(tx: Tx, environment: str) -> tuple[FlagRecord, ...]:
    rows = tx.all(sa.select(flags).where(flags.c.environment == environment).order_by(flags.c.key))
    return tuple(_record(row) for row in rows)


def environments(tx: Tx) -> tuple[str, ...]:
    """Every environment that has a flag."""
    return tuple(row[0] for row in tx.all(sa.select(flags.c.environment).distinct().order_by(flags.c.environment)))


def save(tx: Tx, record: FlagRecord) -> None:
    """Insert or replace the flag; its environment's version rises."""
    slots = record.slots
    values = {
        "kind": record.kind.value,
        "document": encode(record.document).decode(),
        "stable_name": slots.stable.name if slots else None,
        "stable_version": slots.stable.version if slots else None,
        "idle_name": slots.idle.name if slots else None,
        "idle_version": slots.idle.version if slots else None,
        "updated_at": tx.now,
    }
    found = sa.update(flags).where(flags.c.environment == record.environment, flags.c.key == record.key)
    if tx.run(found.values(values)).rowcount == 0:
        tx.run(sa.insert(flags).values(environment=record.environment, key=record.key, **values))
    changed(tx, record.environment)


def delete(tx: Tx, environment: str, key: str) -> None:
    """Delete the flag with its finished rollouts and their history."""
    tx.run(sa.delete(rollouts).where(rollouts.c.environment == environment, rollouts.c.flag == key))
    tx.run(sa.delete(flags).where(flags.c.environment == environment, flags.c.key == key))
    changed(tx, environment)


def touch(tx: Tx, environment: str) -> None:
    """Something that the environment serves may have changed: its version rises with this transaction."""
    _raise(tx, f"env:{environment}")


def changed(tx: Tx, environment: str) -> None:
    """A flag, or what flags share, may be another: the versions of flags and environment rise."""
    # Always in this order: two transactions that take the rows in different orders would wait for each other.
    touch(tx, environment)
    # Apart from the environment's, so that a renewed lease does not make everybody read all flags again.
    _raise(tx, f"flags:{environment}")


def _raise(tx: Tx, version: str) -> None:
    # Nobody sees a version before the commit, so one rise is enough for all that a transaction changes.
    if tx.first_time(version):
        bump(tx, version)


def _where(statement: sa.Select[Any], environment: str, key: str) -> sa.Select[Any]:
    return statement.where(flags.c.environment == environment, flags.c.key == key)


def _first(tx: Tx, statement: sa.Select[Any]) -> FlagRecord | None:
    row = tx.one(statement)
    return None if row is None else _record(row)


def _record(row: sa.Row[Any]) -> FlagRecord:
    slots = None
    if row.stable_name is not None:
        slots = Slots(
            stable=Slot(name=row.stable_name, version=row.stable_version),
            idle=Slot(name=row.idle_name, version=row.idle_version),
        )
    return FlagRecord(
        environment=row.environment,
        key=row.key,
        kind=Kind(row.kind),
        document=decode(row.document.encode()),
        slots=slots,
        updated_at=row.updated_at,
        lists=NOBODY_LISTED if row.lists is None else LISTS.validate_json(row.lists, extra="ignore"),
    )
