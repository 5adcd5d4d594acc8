"""Who waits for a flag, as kept. Decides nothing; a gate that no longer asks is no longer among them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import queue
from rampgate.rollout import Waiting

KEPT = 60.0
"""Seconds for which a place is kept for a gate that does not ask: several times longer than between two asks."""

REMEMBERED = 600.0
"""Seconds for which a gate that was replaced is told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One row: ``since`` orders them, ``asked_at`` is when its gate last asked."""

    environment: str
    flag: str
    key: str
    version: str
    by: str
    since: float
    asked_at: float
    repository: str | None = None
    pull_request: int | None = None
    ref: str | None = None
    run_url: str | None = None
    replaced_by: str | None = None
    repository_id: str | None = None


def waiting(tx: Tx, environment: str | None, flag: str | None = None) -> tuple[Place, ...]:
    """Those who wait now, each flag's in the order in which they will come."""
    statement = sa.select(queue).where(queue.c.asked_at > tx.now - KEPT, queue.c.replaced_by.is_(None))
    for column, value in ((queue.c.environment, environment), (queue.c.flag, flag)):
        if value is not None:
            statement = statement.where(column == value)
    order = (queue.c.environment, queue.c.flag, queue.c.since, queue.c.key)
    return tuple(Place(**row._mapping) for row in tx.all(statement.order_by(*order)))


def load(tx: Tx, environment: str, flag: str, key: str) -> Place | None:
    row = tx.one(sa.select(queue).where(*_is(environment, flag, key)))
    return None if row is None or row.asked_at <= tx.now - REMEMBERED else Place(**row._mapping)


def save(tx: Tx, place: Place) -> None:
    """Insert or replace the place; what nobody has asked about for long makes room."""
    tx.run(sa.delete(queue).where(queue.c.asked_at <= tx.now - REMEMBERED))
    leave(tx, place.environment, place.flag, place.key)
    tx.run(sa.insert(queue).values({name: getattr(place, name) for name in Place.__slots__}))


def leave(tx: Tx, environment: str, flag: str, key: str) -> None:
    tx.run(sa.delete(queue).where(*_is(environment, flag, key)))


def shown(places: tuple[Place, ...]) -> Iterator[Waiting]:
    """The places as the wire shows them, with each one's position among its flag's, from 1."""
    position: dict[tuple[str, str], int] = {}
    for one in places:
        number = position[one.environment, one.flag] = position.get((one.environment, one.flag), 0) + 1
        yield Waiting(
            environment=one.environment, flag=one.flag, key=one.key, position=number, version=one.version, by=one.by,
            since=one.since, until=one.asked_at + KEPT, repository=one.repository, pull_request=one.pull_request,
            ref=one.ref, run_url=one.run_url,
        )  # fmt: skip


def _is(environment: str, flag: str, key: str) -> Iterator[Any]:
    return iter((queue.c.environment == environment, queue.c.flag == flag, queue.c.key == key))
