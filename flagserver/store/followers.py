"""Followers, as kept. One that no longer says so is no longer there."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import followers
from rampgate.followers import Follower

KEPT = 10.0
"""Seconds for which a follower counts as there: five times what passes between two of its words."""

REMEMBERED = 60 * KEPT
"""Seconds for which one that is silent is still known of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerRecord:
    """One row."""

    environment: str
    name: str
    instance: str
    flags: tuple[str, ...]
    since: float
    seen_at: float

    def is_there(self, now: float) -> bool:
        return self.seen_at > now - KEPT

    def shown(self) -> Follower:
        return Follower(
            name=self.name, environment=self.environment, flags=self.flags, since=self.since,
            until=self.seen_at + KEPT,
        )  # fmt: skip


def there(tx: Tx, environment: str | None, flag: str | None = None) -> tuple[FollowerRecord, ...]:
    """Those who are there now, by name; with a flag, those who have its hooks."""
    found = heard_of(tx, environment, KEPT)
    return tuple(one for one in found if flag is None or flag in one.flags)


def heard_of(tx: Tx, environment: str | None, within: float = REMEMBERED) -> tuple[FollowerRecord, ...]:
    """Those that said something within the last seconds, by name: who is there, and who has been silent since."""
    statement = sa.select(followers).where(followers.c.seen_at > tx.now - within)
    if environment is not None:
        statement = statement.where(followers.c.environment == environment)
    return tuple(map(_record, tx.all(statement.order_by(followers.c.environment, followers.c.name))))


def load(tx: Tx, environment: str, name: str) -> FollowerRecord | None:
    """The follower of this name, if it is there."""
    row = tx.one(sa.select(followers).where(*_is(environment, name)))
    found = None if row is None else _record(row)
    return found if found is not None and found.is_there(tx.now) else None


def save(tx: Tx, record: FollowerRecord) -> None:
    """Insert or replace; those who have long been gone make room."""
    tx.run(sa.delete(followers).where(followers.c.seen_at <= tx.now - REMEMBERED))
    leave(tx, record.environment, record.name)
    values = {name: getattr(record, name) for name in FollowerRecord.__slots__}
    tx.run(sa.insert(followers).values({**values, "flags": json.dumps(record.flags)}))


def leave(tx: Tx, environment: str, name: str) -> None:
    tx.run(sa.delete(followers).where(*_is(environment, name)))


def _record(row: sa.Row[Any]) -> FollowerRecord:
    return FollowerRecord(**{**row._mapping, "flags": tuple(json.loads(row.flags))})


def _is(environment: str, name: str) -> Iterator[Any]:
    return iter((followers.c.environment == environment, followers.c.name == name))
