"""Locks as kept. Decides nothing: what holds for a rollout says `flagserver.freeze`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import locks
from rampgate.locks import HeldLock


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRecord:
    """One lock's row. ``environment`` and ``flag`` are ``None`` where it covers all of them."""

    id: str
    reason: str
    by: str
    since: float
    until: float | None
    created_at: float
    environment: str | None = None
    flag: str | None = None
    name: str | None = None
    key: str | None = None

    @property
    def scope(self) -> str:
        if self.environment is None:
            return self.flag or "everything"
        return f"{self.flag} in {self.environment}" if self.flag else self.environment

    def holds(self, now: float) -> bool:
        return self.since <= now and (self.until is None or now < self.until)

    def shown(self, now: float) -> HeldLock:
        """The lock as the wire shows it."""
        return HeldLock(
            id=self.id, reason=self.reason, by=self.by, scope=self.scope, holds=self.holds(now), since=self.since,
            until=self.until, created_at=self.created_at, environment=self.environment, flag=self.flag,
            name=self.name, key=self.key,
        )  # fmt: skip


def load(tx: Tx, lock_id: str) -> LockRecord | None:
    return _first(tx, locks.c.id == lock_id)


def by_key(tx: Tx, key: str) -> LockRecord | None:
    return _first(tx, locks.c.key == key)


def named(tx: Tx, environment: str | None, name: str, now: float) -> LockRecord | None:
    """The lock of this name that has not ended."""
    return _first(tx, locks.c.environment.is_not_distinct_from(environment), locks.c.name == name, _lasts(now))


def that_last(tx: Tx, now: float) -> tuple[LockRecord, ...]:
    """All locks that hold or will hold, oldest first."""
    rows = tx.all(sa.select(locks).where(_lasts(now)).order_by(locks.c.created_at, locks.c.id))
    return tuple(_record(row) for row in rows)


def over(tx: Tx, environment: str, flag: str, now: float) -> tuple[LockRecord, ...]:
    """The locks that cover this flag there and have not ended, oldest first."""
    where = (
        sa.or_(locks.c.environment.is_(None), locks.c.environment == environment),
        sa.or_(locks.c.flag.is_(None), locks.c.flag == flag),
    )
    rows = tx.all(sa.select(locks).where(*where, _lasts(now)).order_by(locks.c.created_at, locks.c.id))
    return tuple(_record(row) for row in rows)


def insert(tx: Tx, record: LockRecord) -> None:
    """Keep the lock; those that have ended make room."""
    tx.run(sa.delete(locks).where(locks.c.until <= tx.now))
    tx.run(sa.insert(locks).values(dict(_values(record))))


def update(tx: Tx, record: LockRecord) -> None:
    tx.run(sa.update(locks).where(locks.c.id == record.id).values(dict(_values(record))))


def delete(tx: Tx, lock_id: str) -> None:
    tx.run(sa.delete(locks).where(locks.c.id == lock_id))


def _lasts(now: float) -> sa.ColumnElement[bool]:
    return sa.or_(locks.c.until.is_(None), locks.c.until > now)


def _first(tx: Tx, *where: sa.ColumnElement[bool]) -> LockRecord | None:
    row = tx.one(sa.select(locks).where(*where))
    return None if row is None else _record(row)


def _values(record: LockRecord) -> Iterator[tuple[str, Any]]:
    for name in LockRecord.__slots__:
        yield name, getattr(record, name)


def _record(row: sa.Row[Any]) -> LockRecord:
    return LockRecord(**row._mapping)
