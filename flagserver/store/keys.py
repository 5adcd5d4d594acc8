"""Keys as kept. Secrets never come here, only their hashes."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx, bump
from flagserver.store.tables import keys
from flagserver.wire import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One key: ``verifier`` is the SHA-256 of its secret, ``environment`` empty where it serves all.

    ``replaces`` is the selector of the key whose successor it is. ``last_used_at`` is as good as a minute.
    """

    selector: str
    verifier: str
    role: str
    environment: str | None
    name: str
    created_at: float
    created_by: str
    revoked_at: float | None = None
    expires_at: float | None = None
    last_used_at: float | None = None
    replaces: str | None = None
    origins: tuple[str, ...] = ()

    def is_good(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def every(tx: Tx) -> tuple[KeyRecord, ...]:
    rows = tx.all(sa.select(keys).order_by(keys.c.created_at, keys.c.selector))
    return tuple(_record(row) for row in rows)


def load(tx: Tx, selector: str) -> KeyRecord | None:
    row = tx.one(sa.select(keys).where(keys.c.selector == selector))
    return None if row is None else _record(row)


def insert(tx: Tx, record: KeyRecord) -> None:
    tx.run(
        sa.insert(keys).values(
            selector=record.selector, verifier=record.verifier, role=record.role, environment=record.environment,
            name=record.name, created_at=record.created_at, created_by=record.created_by,
            expires_at=record.expires_at, replaces=record.replaces,
            origins=encode(record.origins).decode() if record.origins else None,
        )
    )  # fmt: skip
    bump(tx, "keys")


def revoke(tx: Tx, selector: str) -> bool:
    """Revoke the key; false where no such key is in use."""
    found = sa.update(keys).where(keys.c.selector == selector, keys.c.revoked_at.is_(None))
    done = tx.run(found.values(revoked_at=tx.now)).rowcount == 1
    bump(tx, "keys")
    return done


def expire(tx: Tx, selector: str, at: float) -> None:
    """Let the key end at this moment."""
    tx.run(sa.update(keys).where(keys.c.selector == selector).values(expires_at=at))
    bump(tx, "keys")


def used(tx: Tx, selectors: Collection[str]) -> None:
    """Write down that these keys were used. No version rises: nobody has to read the keys again."""
    tx.run(sa.update(keys).where(keys.c.selector.in_(selectors)).values(last_used_at=tx.now))


def _record(row: sa.Row[Any]) -> KeyRecord:
    values = dict(row._mapping)
    origins = values.pop("origins")
    return KeyRecord(**values, origins=tuple(decode(origins.encode())) if origins else ())
