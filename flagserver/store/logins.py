"""Logins at the dashboard as kept: the hash of what a browser has, and whose key began it."""

from dataclasses import dataclass

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import logins


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRecord:
    """One login: ``verifier`` is the SHA-256 of the cookie's secret, ``name`` what the person goes by."""

    verifier: str
    identity: str
    name: str
    began_at: float
    ends_at: float


def insert(tx: Tx, record: LoginRecord) -> None:
    """Keep a login, and forget those that are over."""
    tx.run(sa.delete(logins).where(logins.c.ends_at <= tx.now))
    tx.run(
        sa.insert(logins).values(
            verifier=record.verifier, identity=record.identity, name=record.name, began_at=record.began_at,
            ends_at=record.ends_at,
        )
    )  # fmt: skip


def load(tx: Tx, verifier: str) -> LoginRecord | None:
    row = tx.one(sa.select(logins).where(logins.c.verifier == verifier))
    return None if row is None else LoginRecord(**row._mapping)


def delete(tx: Tx, verifier: str) -> bool:
    """End a login; false where there was none."""
    return tx.run(sa.delete(logins).where(logins.c.verifier == verifier)).rowcount == 1
