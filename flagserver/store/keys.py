"""Keys as kept. Secrets never come here, only their hashes."""

from dataclasses import dataclass

import sqlalchemy as sa

from flagserver.store.engine import Tx, bump
from flagserver.store.tables import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One key: ``verifier`` is the SHA-256 of its secret, ``environment`` empty where it serves all."""

    selector: str
    verifier: str
    role: str
    environment: str | None
    name: str
    created_at: float
    created_by: str
    revoked_at: float | None = None


def every(tx: Tx) -> tuple[KeyRecord, ...]:
    rows = tx.all(sa.select(keys).order_by(keys.c.created_at, keys.c.selector))
    return tuple(KeyRecord(**row._mapping) for row in rows)


def insert(tx: Tx, record: KeyRecord) -> None:
    tx.run(
        sa.insert(keys).values(
            selector=record.selector, verifier=record.verifier, role=record.role, environment=record.environment,
            name=record.name, created_at=record.created_at, created_by=record.created_by,
        )
    )  # fmt: skip
    bump(tx, "keys")


def revoke(tx: Tx, selector: str) -> bool:
    """Revoke the key; false where no such key is in use."""
    found = sa.update(keys).where(keys.c.selector == selector, keys.c.revoked_at.is_(None))
    done = tx.run(found.values(revoked_at=tx.now)).rowcount == 1
    bump(tx, "keys")
    return done
