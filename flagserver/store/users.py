"""Which users each arm had, united over processes: distinct ones in each minute, never named and never twice.

Users with errors are kept as keyed 64-bit hashes, those who were active as a HyperLogLog sketch; both only until the
minute is over, then as two numbers. Sources: Flajolet et al., "HyperLogLog", 2007; the estimate is that of Ertl, "New
cardinality estimation algorithms for HyperLogLog sketches", 2017 (arXiv:1702.01284), algorithm 6: it has no bias to
correct, and never falls while registers rise.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import telemetry_users as table
from flagserver.store.telemetry import BUCKET

REGISTERS = 4096
HIGHEST_RANK = 15
"""What a register holds at most, as the clients' sketches have it."""

MOST_AFFECTED = 10_000
"""Users with errors in one minute of one arm. Past it the figure is absent: it would be too small."""

HASH = 8
"""Bytes of one user's hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one line of a batch says of its users. ``active`` are registers (16 bits each, ``number << 4 | rank``),
    ``affected`` hashes; ``None``: the client could not say, and so nobody can."""

    flag: str
    rollout: str
    attempt: int
    variant: str
    active: bytes | None
    affected: bytes | None


def add(tx: Tx, environment: str, seen: Iterable[Seen]) -> None:
    """Unite these users with those of the minute of ``tx.now``."""
    bucket = int(tx.now // BUCKET) * BUCKET
    for one in sorted(seen, key=lambda each: (each.flag, each.rollout, each.attempt, each.variant)):
        arm = {
            "environment": environment, "flag": one.flag, "rollout": one.rollout, "attempt": one.attempt,
            "variant": one.variant,
        }  # fmt: skip
        if _begin(tx, {**arm, "bucket": bucket}):
            # What can still be added to is this minute, and the one before for a transaction that began in it.
            before = sa.update(table).where(*_is(arm), table.c.bucket < bucket - BUCKET, table.c.sketch.is_not(None))
            tx.run(before.values(sketch=None, hashes=None))
        _unite(tx, {**arm, "bucket": bucket}, one)


def totals(tx: Tx, rollout_id: str, attempt: int) -> Mapping[str, tuple[int, int] | None]:
    """Active and affected users by variant, each minute's added up; ``None`` where any minute's are not all known."""
    known = sa.func.min(sa.case((table.c.whole.is_(True), 1), else_=0))
    sums = [sa.func.sum(table.c[name]).label(name) for name in ("active_users", "affected_users")]
    statement = sa.select(table.c.variant, known.label("known"), *sums).group_by(table.c.variant)
    rows = tx.all(statement.where(table.c.rollout == rollout_id, table.c.attempt == attempt))
    return {row.variant: (int(row.active_users), int(row.affected_users)) if row.known else None for row in rows}


def estimate(sketch: bytes) -> int:
    """About how many users raised these registers: right to 1.6 % (one standard deviation)."""
    held = [sketch.count(rank) for rank in range(HIGHEST_RANK + 1)]
    total = REGISTERS * _tau(1.0 - held[HIGHEST_RANK] / REGISTERS)
    for rank in range(HIGHEST_RANK - 1, 0, -1):
        total = 0.5 * (total + held[rank])
    total += REGISTERS * _sigma(held[0] / REGISTERS)
    return round(REGISTERS * REGISTERS / (2.0 * log(2.0)) / total)


def _begin(tx: Tx, where: Mapping[str, Any]) -> bool:
    empty = {"sketch": bytes(REGISTERS), "hashes": b"", "active_users": 0, "affected_users": 0, "whole": True}
    statement = tx.upsert(table).values({**where, **empty}).on_conflict_do_nothing()
    return tx.run(statement.returning(table.c.bucket)).first() is not None


def _unite(tx: Tx, where: Mapping[str, Any], one: Seen) -> None:
    held = tx.one(sa.select(table).where(*_is(where)).with_for_update())
    assert held is not None
    if one.active is None or one.affected is None or held.sketch is None:
        tx.run(sa.update(table).where(*_is(where)).values(whole=False))
        return
    sketch = bytearray(held.sketch)
    for word in _words("H", one.active):
        number, rank = word >> 4, word & 15
        sketch[number] = max(sketch[number], rank)
    hashes = set(_words("Q", held.hashes)) | set(_words("Q", one.affected))
    whole = held.whole and len(hashes) <= MOST_AFFECTED
    kept = array("Q", sorted(hashes) if whole else ())
    active = max(estimate(bytes(sketch)), len(hashes))
    tx.run(
        sa.update(table)
        .where(*_is(where))
        .values(sketch=bytes(sketch), hashes=_bytes(kept), active_users=active, affected_users=len(hashes), whole=whole)
    )


def _is(where: Mapping[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    return (table.c[name] == value for name, value in where.items())


def _words(kind: str, data: bytes) -> "array[int]":
    """Big-endian numbers out of bytes, as they come over the wire."""
    words: array[int] = array(kind, data)
    words.byteswap() if _LITTLE else None
    return words


def _bytes(words: "array[int]") -> bytes:
    words.byteswap() if _LITTLE else None
    return words.tobytes()


_LITTLE = array("H", [1]).tobytes() == b"\1\0"


def _sigma(x: float) -> float:
    if x == 1.0:
        return inf
    factor, total, before = 1.0, x, -1.0
    while total != before:
        x *= x
        before = total
        total += x * factor
        factor += factor
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    factor, total, before = 1.0, 1.0 - x, -1.0
    while total != before:
        x = sqrt(x)
        before = total
        factor *= 0.5
        total -= (1.0 - x) ** 2 * factor
    return total / 3.0
