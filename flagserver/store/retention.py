"""Deletes what is old, a few hundred rows at a time, so that no writer waits; nothing of an unfinished rollout."""

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import latencies, rollout_events, rollouts, telemetry, telemetry_batches, telemetry_users

PROGRESS = '%"type":"hook_progressed"}'
LOOKS = '%"type":"judged"}'
"""How the JSON of such events ends."""

_OVER = (rollouts.c.active.is_(False), rollouts.c.needs_hands.is_(False), rollouts.c.next_deadline.is_(None))


def counts(tx: Tx, before: float, limit: int) -> int:
    """Delete minutes of telemetry that are over before this moment; returns how many rows at most of one table."""
    going_on = sa.select(rollouts.c.id).where(sa.not_(sa.and_(*_OVER)))
    return max(
        _delete(tx, table, limit, table.c.bucket < before, table.c.rollout.not_in(going_on))
        for table in (telemetry, latencies, telemetry_users)
    )


def batches(tx: Tx, before: float, dropped_before: float, limit: int) -> int:
    """Delete the marks of batches from before the one moment, and from before the other where counts were dropped."""
    at, dropped = telemetry_batches.c.at, telemetry_batches.c.dropped
    return _delete(tx, telemetry_batches, limit, at < before, sa.or_(dropped == 0, at < dropped_before))


def ended(tx: Tx, after: tuple[float, str], before: float, limit: int) -> list[tuple[float, str]]:
    """When rollouts ended with nothing left to do, and their ids: those that follow ``after``, in that order."""
    moment = sa.tuple_(rollouts.c.updated_at, rollouts.c.id)
    found = sa.select(rollouts.c.updated_at, rollouts.c.id).where(*_OVER, rollouts.c.updated_at < before)
    rows = tx.all(found.where(moment > after).order_by(rollouts.c.updated_at, rollouts.c.id).limit(limit))
    return [(row.updated_at, row.id) for row in rows]


def progress(tx: Tx, rollout_id: str, limit: int) -> int:
    """Delete what hooks said while they were at work, and the answers kept for repeats."""
    mine = rollout_events.c.rollout == rollout_id
    tx.run(sa.update(rollout_events).where(mine, rollout_events.c.state.is_not(None)).values(state=None))
    return _delete(tx, rollout_events, limit, mine, rollout_events.c.event.like(PROGRESS))


def looks(tx: Tx, rollout_id: str, limit: int) -> int:
    """Delete the looks that changed nothing; those that decided stay."""
    unmoved = (rollout_events.c.verb == "hold", rollout_events.c.refusal.is_(None))
    mine = rollout_events.c.rollout == rollout_id
    return _delete(tx, rollout_events, limit, mine, rollout_events.c.event.like(LOOKS), *unmoved)


def _delete(tx: Tx, table: sa.Table, limit: int, *where: sa.ColumnElement[bool]) -> int:
    key = tuple(table.primary_key.columns)
    some = sa.select(*key).where(*where).limit(limit)
    return tx.run(sa.delete(table).where(sa.tuple_(*key).in_(some))).rowcount
