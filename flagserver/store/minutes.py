"""What apps counted, minute by minute: the history that forecasts and simulations are made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import telemetry, telemetry_users
from rampgate.rollout import Minute

_SAME = ("environment", "flag", "rollout", "attempt", "variant", "bucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A flag's minutes that begin at ``since`` or later and before ``until``, in seconds since the epoch; those of one
    rollout, or all."""

    environment: str
    flag: str
    since: float
    until: float
    rollout: str | None = None


def of_span(tx: Tx, span: Span, limit: int) -> tuple[tuple[Minute, ...], float | None]:
    """The first ``limit`` minutes in which anything was counted, oldest first, and where the next one begins."""
    where = tuple(_where(span))
    buckets = sa.select(telemetry.c.bucket).where(*where).distinct().order_by(telemetry.c.bucket).limit(limit + 1)
    found = [int(row.bucket) for row in tx.all(buckets)]
    following = float(found[limit]) if len(found) > limit else None
    same = sa.and_(*(telemetry.c[name] == telemetry_users.c[name] for name in _SAME))
    users = (telemetry_users.c.active_users, telemetry_users.c.affected_users, telemetry_users.c.whole)
    statement = sa.select(telemetry, *users).outerjoin(telemetry_users, same).where(*where)
    if following is not None:
        statement = statement.where(telemetry.c.bucket < following)
    order = (telemetry.c.bucket, telemetry.c.rollout, telemetry.c.attempt, telemetry.c.variant)
    return tuple(_minute(row) for row in tx.all(statement.order_by(*order))), following


def _where(span: Span) -> Iterator[sa.ColumnElement[bool]]:
    yield telemetry.c.environment == span.environment
    yield telemetry.c.flag == span.flag
    yield telemetry.c.bucket >= span.since
    yield telemetry.c.bucket < span.until
    if span.rollout is not None:
        yield telemetry.c.rollout == span.rollout


def _minute(row: sa.Row[Any]) -> Minute:
    return Minute(
        at=float(row.bucket), variant=row.variant, requests=int(row.requests), errors=int(row.errors),
        exposures=int(row.exposures), rollout=row.rollout or None, attempt=row.attempt or None,
        active_users=int(row.active_users) if row.whole else None,
        affected_users=int(row.affected_users) if row.whole else None,
    )  # fmt: skip
