"""Who is listed, as kept: each flag's lists, the segments of an environment, and the key that signs tester tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.flags import changed
from flagserver.store.tables import flags, force_keys, segments
from flagserver.wire import decode, encode
from rampgate.forcing import new_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Users of one environment under a name: those listed, and those whom the flagd rule finds true."""

    name: str
    users: tuple[str, ...] = ()
    rule: Mapping[str, Any] | None = None
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohorting:
    """What an environment's flags share: its segments by name, and the key of its tester tokens, once one was made."""

    segments: Mapping[str, Segment] = field(default_factory=dict)
    force_key: str | None = field(default=None, repr=False)


def load(tx: Tx, environment: str) -> Cohorting:
    rows = tx.all(sa.select(segments).where(segments.c.environment == environment).order_by(segments.c.name))
    return Cohorting(segments={row.name: _segment(row) for row in rows}, force_key=force_key(tx, environment))


def lock(tx: Tx, environment: str) -> None:
    """Every other writer of this environment's lists, segments and key waits until this transaction ends."""
    if tx.is_postgres:
        tx.run(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"cohorts/{environment}", 0))))


def save_lists(tx: Tx, environment: str, key: str, lists: Mapping[str, Any]) -> None:
    """Write a flag's lists; its environment's version rises."""
    found = sa.update(flags).where(flags.c.environment == environment, flags.c.key == key)
    tx.run(found.values(lists=encode(lists).decode()))
    changed(tx, environment)


def save_segment(tx: Tx, environment: str, segment: Segment) -> None:
    """Insert or replace a segment; its environment's version rises."""
    values = {
        "users": encode(segment.users).decode(),
        "rule": None if segment.rule is None else encode(segment.rule).decode(),
        "updated_at": tx.now,
    }
    found = sa.update(segments).where(segments.c.environment == environment, segments.c.name == segment.name)
    if tx.run(found.values(values)).rowcount == 0:
        tx.run(sa.insert(segments).values(environment=environment, name=segment.name, **values))
    changed(tx, environment)


def delete_segment(tx: Tx, environment: str, name: str) -> None:
    tx.run(sa.delete(segments).where(segments.c.environment == environment, segments.c.name == name))
    changed(tx, environment)


def force_key(tx: Tx, environment: str) -> str | None:
    """The key that signs this environment's tester tokens; ``None``: none was ever asked for."""
    row = tx.one(sa.select(force_keys.c.key).where(force_keys.c.environment == environment))
    return None if row is None else str(row.key)


def renew_force_key(tx: Tx, environment: str) -> str:
    """A new signing key: every token so far is worth nothing."""
    key = new_key()
    values = {"key": key, "made_at": tx.now}
    found = sa.update(force_keys).where(force_keys.c.environment == environment)
    if tx.run(found.values(values)).rowcount == 0:
        tx.run(sa.insert(force_keys).values(environment=environment, **values))
    changed(tx, environment)
    return key


def _segment(row: sa.Row[Any]) -> Segment:
    rule = None if row.rule is None else decode(row.rule.encode())
    return Segment(name=row.name, users=tuple(decode(row.users.encode())), rule=rule, updated_at=row.updated_at)
