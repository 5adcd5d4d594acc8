"""What apps counted, by minute. A batch and the mark that it was applied are one transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import flags, latencies, rollouts, telemetry, telemetry_batches
from rampgate.evidence import Counters

BUCKET = 60
"""Seconds in one row."""

MOST_IN_ROW = 10**13
"""Where a minute's count stops: the sums over all minutes that are kept stay far below the 2^63 of a column."""

NO_BOUND = 1e12
"""Stands for "no upper bound" among latency bounds, in ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One line of a batch. ``within_ms`` has the requests that ended within each bound and not within a lower one."""

    flag: str
    rollout: str
    attempt: int
    variant: str
    requests: int
    errors: int
    exposures: int
    within_ms: Mapping[float, int] = field(default_factory=dict)


def mark(tx: Tx, environment: str, batch: str, client: str, dropped: int) -> bool:
    """Remember the batch; false when it was applied before."""
    row = {"environment": environment, "batch": batch, "client": client, "at": tx.now, "dropped": dropped}
    statement = tx.upsert(telemetry_batches).values(row).on_conflict_do_nothing()
    return tx.run(statement.returning(telemetry_batches.c.batch)).first() is not None


def known_flags(tx: Tx, environment: str, keys: Iterable[str]) -> frozenset[str]:
    """Those of the keys that are flags of the environment."""
    found = sa.select(flags.c.key).where(flags.c.environment == environment, flags.c.key.in_(sorted(set(keys))))
    return frozenset(row[0] for row in tx.all(found))


def known_rollouts(tx: Tx, environment: str, ids: Iterable[str]) -> Mapping[str, str]:
    """Those of the ids that are rollouts of the environment, each with its flag."""
    wanted = sorted({one for one in ids if one})
    if not wanted:
        return {}
    found = sa.select(rollouts.c.id, rollouts.c.flag)
    rows = tx.all(found.where(rollouts.c.environment == environment, rollouts.c.id.in_(wanted)))
    return {row.id: row.flag for row in rows}


def add(tx: Tx, environment: str, counts: Iterable[Count]) -> None:
    """Add increments to the minute of ``tx.now``."""
    bucket = int(tx.now // BUCKET) * BUCKET
    for one in sorted(counts, key=lambda count: (count.flag, count.rollout, count.attempt, count.variant)):
        where = {
            "environment": environment, "flag": one.flag, "rollout": one.rollout, "attempt": one.attempt,
            "variant": one.variant, "bucket": bucket,
        }  # fmt: skip
        _add_up(tx, telemetry, where, {"requests": one.requests, "errors": one.errors, "exposures": one.exposures})
        for below, requests in sorted(one.within_ms.items()):
            if requests:
                _add_up(tx, latencies, {**where, "below_ms": below}, {"requests": requests})


def totals(tx: Tx, rollout_id: str, attempt: int) -> Mapping[str, Counters]:
    """Each variant's counts since the attempt began."""
    sums = [sa.func.coalesce(sa.func.sum(telemetry.c[name]), 0).label(name) for name in ("requests", "errors")]
    statement = sa.select(telemetry.c.variant, *sums).group_by(telemetry.c.variant)
    rows = tx.all(statement.where(telemetry.c.rollout == rollout_id, telemetry.c.attempt == attempt))
    return {row.variant: Counters(requests=int(row.requests), errors=int(row.errors)) for row in rows}


def timed(tx: Tx, environment: str, flag: str, rollout_id: str, attempt: int) -> Mapping[str, Mapping[float, int]]:
    """Per variant, the requests that ended within each bound (in ms) and not within a lower one."""
    total = sa.func.coalesce(sa.func.sum(latencies.c.requests), 0).label("requests")
    grouped = sa.select(latencies.c.variant, latencies.c.below_ms, total)
    # All four, in the order of the key, which is the only index that helps.
    where = {"environment": environment, "flag": flag, "rollout": rollout_id, "attempt": attempt}
    statement = grouped.where(*(latencies.c[name] == value for name, value in where.items()))
    found: dict[str, dict[float, int]] = {}
    for row in tx.all(statement.group_by(latencies.c.variant, latencies.c.below_ms)):
        found.setdefault(row.variant, {})[float(row.below_ms)] = int(row.requests)
    return found


def dropped_since(tx: Tx, environment: str, moment: float) -> int:
    """Counts that clients had to drop since then, whatever flag they were of."""
    total = sa.func.coalesce(sa.func.sum(telemetry_batches.c.dropped), 0)
    where = (telemetry_batches.c.environment == environment, telemetry_batches.c.at >= moment)
    return int(tx.run(sa.select(total).where(*where)).scalar_one())


def _add_up(tx: Tx, table: sa.Table, where: Mapping[str, Any], more: Mapping[str, int]) -> None:
    statement = tx.upsert(table).values({**where, **more})
    sums = {name: table.c[name] + statement.excluded[name] for name in more}
    summed = {name: sa.case((one > MOST_IN_ROW, MOST_IN_ROW), else_=one) for name, one in sums.items()}
    tx.run(statement.on_conflict_do_update(index_elements=list(where), set_=summed))
