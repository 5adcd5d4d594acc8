"""The looks of a rollout as they were accepted: what was counted, the evidence and the verdict."""

import sqlalchemy as sa

from flagserver import wire
from flagserver.store.engine import Tx
from flagserver.store.tables import rollout_events
from rampgate.machine.events import Created, Judged, Resumed
from rampgate.rollout import Attempt, RecordedLook, Rollout

_JUDGED = '%"type":"judged"}'
"""How an event that is a look ends as text: `type` is the last of its fields."""

_BEGAN = ('%"type":"created"}', '%"type":"resumed"}')


def of_rollout(tx: Tx, rollout_id: str, after: int, limit: int) -> tuple[RecordedLook, ...]:
    """The looks after this entry of the history, oldest first."""
    table = rollout_events
    statement = sa.select(table.c.number, table.c.at, table.c.actor, table.c.event).where(
        table.c.rollout == rollout_id, table.c.number > after, table.c.refusal.is_(None), table.c.event.like(_JUDGED)
    )
    found = []
    for row in tx.all(statement.order_by(table.c.number).limit(limit)):
        event = wire.stored(wire.EVENT, row.event)
        assert isinstance(event, Judged)
        found.append(
            RecordedLook(number=row.number, at=row.at, actor=row.actor, attempt=event.attempt,
                         revision=event.revision, look=event.look)
        )  # fmt: skip
    return tuple(found)


def attempts(tx: Tx, rollout: Rollout) -> tuple[Attempt, ...]:
    """The rollout's attempts with their plans, in order; the latest one's is always known."""
    table = rollout_events
    began = sa.or_(*(table.c.event.like(one) for one in _BEGAN))
    statement = sa.select(table.c.attempt, table.c.event).where(
        table.c.rollout == rollout.id, table.c.refusal.is_(None), began
    )
    found = []
    for row in tx.all(statement.order_by(table.c.number)):
        event = wire.stored(wire.EVENT, row.event)
        assert isinstance(event, Created | Resumed)
        plan = rollout.plan if row.attempt == rollout.state.attempt else event.plan
        found.append(Attempt(attempt=row.attempt, plan=plan))
    return tuple(found)
