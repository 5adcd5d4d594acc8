"""Trust policies, the sessions that they admitted, and the tokens that were spent on them, as kept.

Secrets never come here, only their hashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx, bump
from flagserver.store.tables import sessions, spent_tokens, trust_policies
from flagserver.wire import decode, encode

FORGET_AFTER = 7 * 86_400.0
"""Seconds for which a session that is over is still listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """One policy; ``document`` is all that it says."""

    id: str
    environment: str
    document: Mapping[str, Any]
    created_at: float
    created_by: str
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One session: good until ``until``, which its rollout's work moves on, and never after ``ends_at``.

    ``grant`` is what it may, without ``rollout``, which it is bound to once it steers one.
    """

    selector: str
    verifier: str
    policy: str
    environment: str
    role: str
    grant: Mapping[str, Any]
    created_at: float
    until: float
    ends_at: float
    rollout: str | None = None
    revoked_at: float | None = None

    def is_good(self, now: float) -> bool:
        return self.revoked_at is None and now < min(self.until, self.ends_at)


def policies(tx: Tx) -> tuple[PolicyRecord, ...]:
    rows = tx.all(sa.select(trust_policies).order_by(trust_policies.c.created_at, trust_policies.c.id))
    return tuple(_policy(row) for row in rows)


def policy(tx: Tx, policy_id: str) -> PolicyRecord | None:
    row = tx.one(sa.select(trust_policies).where(trust_policies.c.id == policy_id))
    return None if row is None else _policy(row)


def save_policy(tx: Tx, record: PolicyRecord) -> None:
    """Keep a policy, in the place of the one of its id; its sessions are over."""
    values = {
        "environment": record.environment, "document": encode(record.document).decode(),
        "created_at": record.created_at, "created_by": record.created_by, "updated_at": record.updated_at,
    }  # fmt: skip
    made = tx.upsert(trust_policies).values(id=record.id, **values)
    tx.run(made.on_conflict_do_update(index_elements=["id"], set_=values))
    _end_sessions_of(tx, record.id)


def delete_policy(tx: Tx, policy_id: str) -> None:
    """Forget a policy; its sessions are over."""
    tx.run(sa.delete(trust_policies).where(trust_policies.c.id == policy_id))
    _end_sessions_of(tx, policy_id)


def spend(tx: Tx, issuer: str, jti: str, until: float) -> bool:
    """Note that a token was used, for as long as it could be used again; false: it was, before."""
    tx.run(sa.delete(spent_tokens).where(spent_tokens.c.until < tx.now))
    name = sha256(encode([issuer, jti])).hexdigest()
    spent = tx.upsert(spent_tokens).values(id=name, until=until).on_conflict_do_nothing()
    return tx.run(spent.returning(spent_tokens.c.id)).first() is not None


def insert_session(tx: Tx, record: SessionRecord) -> None:
    tx.run(sa.delete(sessions).where(sessions.c.until < tx.now - FORGET_AFTER))
    tx.run(
        sa.insert(sessions).values(
            selector=record.selector, verifier=record.verifier, policy=record.policy, environment=record.environment,
            role=record.role, grant=encode(record.grant).decode(), created_at=record.created_at, until=record.until,
            ends_at=record.ends_at,
        )
    )  # fmt: skip
    bump(tx, "sessions")


def session(tx: Tx, selector: str) -> SessionRecord | None:
    """The session, which nobody else changes until this transaction ends."""
    row = tx.one(sa.select(sessions).where(sessions.c.selector == selector).with_for_update())
    return None if row is None else _session(row)


def every_session(tx: Tx) -> tuple[SessionRecord, ...]:
    """All that are listed, newest first."""
    rows = tx.all(sa.select(sessions).order_by(sessions.c.created_at.desc(), sessions.c.selector))
    return tuple(_session(row) for row in rows)


def good_sessions(tx: Tx) -> tuple[SessionRecord, ...]:
    """Those that may still be used."""
    alive = (sessions.c.revoked_at.is_(None), sessions.c.until > tx.now, sessions.c.ends_at > tx.now)
    return tuple(_session(row) for row in tx.all(sa.select(sessions).where(*alive)))


def renew(tx: Tx, selector: str, rollout: str, until: float) -> None:
    """Bind the session to this rollout, and let it be good until then."""
    tx.run(sa.update(sessions).where(sessions.c.selector == selector).values(rollout=rollout, until=until))
    bump(tx, "sessions")


def revoke_session(tx: Tx, selector: str) -> bool:
    """End a session; false where no such session is good."""
    found = sa.update(sessions).where(
        sessions.c.selector == selector, sessions.c.revoked_at.is_(None), sessions.c.until > tx.now
    )
    done = tx.run(found.values(revoked_at=tx.now)).rowcount == 1
    bump(tx, "sessions")
    return done


def _end_sessions_of(tx: Tx, policy_id: str) -> None:
    found = sa.update(sessions).where(sessions.c.policy == policy_id, sessions.c.revoked_at.is_(None))
    tx.run(found.values(revoked_at=tx.now))
    bump(tx, "sessions")


def _policy(row: sa.Row[Any]) -> PolicyRecord:
    return PolicyRecord(**{**row._mapping, "document": decode(row.document.encode())})


def _session(row: sa.Row[Any]) -> SessionRecord:
    return SessionRecord(**{**row._mapping, "grant": decode(row.grant.encode())})
