"""The looks of a rollout as they were accepted: what was counted, the evidence and the verdict."""

import sqlalchemy as sa

from flagserver import wire
from flagserver.store.engine import Tx
from flagserver.store.tables import rollout_events
from rampgate.machine.events import Judged
from rampgate.rollout import RecordedLook

_JUDGED = '%"type":"judged"}'
"""How an event that is a look ends as text: `type` is the last of its fields."""


def of_rollout(tx: Tx, rollout_id: str, after: int, limit: int) -> tuple[RecordedLook, ...]:
    """The looks after this entry of the history, oldest first."""
    table = rollout_events
    statement = sa.select(table.c.number, table.c.at, table.c.actor, table.c.event).where(
        table.c.rollout == rollout_id, table.c.number > after, table.c.refusal.is_(None), table.c.event.like(_JUDGED)
    )
    found = []
    for row in tx.all(statement.order_by(table.c.number).limit(limit)):
        event = wire.EVENT.validate_json(row.event)
        assert isinstance(event, Judged)
        found.append(
            RecordedLook(number=row.number, at=row.at, actor=row.actor, attempt=event.attempt,
                         revision=event.revision, look=event.look)
        )  # fmt: skip
    return tuple(found)
