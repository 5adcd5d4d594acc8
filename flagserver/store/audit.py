"""The audit log: who did what to what, before and after, and why. Lines are added, never changed.

Each line's hash covers the line before it, so that a line changed or taken out by hand is found. Secrets never
come here: what looks like a key is masked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from flagserver.store.engine import Tx
from flagserver.store.tables import audit, versions
from flagserver.wire import decode, encode

FLOOR = "audit:floor"
"""The version whose number is the first line that may not be deleted; only `forget` raises it."""

_LOCK = 7_267_002

_AT_ONCE = 1000

_KEY = re.compile(r"(rg_[a-z]+_[0-9a-f]{12}_)[A-Za-z0-9_-]{43}")

_HASHED = (
    "at", "actor", "key", "request", "run", "via", "action", "environment", "flag", "rollout", "subject", "before",
    "after", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a change came from: the request's id, the selector of the key that it carried, the CI run behind it."""

    request: str | None = None
    key: str | None = None
    run: str | None = None


origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen
"""The request under way: set by the door, so that every write in it is recorded with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which lines are asked for; ``None`` asks for any. ``since`` and ``until`` are seconds since the epoch.

    ``actor`` is a part of the actor's name, or a key's selector; ``action`` an action or its family (``flag``).
    """

    environment: str | None = None
    flag: str | None = None
    rollout: str | None = None
    actor: str | None = None
    action: str | None = None
    since: float | None = None
    until: float | None = None


def record(
    tx: Tx,
    *,
    actor: str,
    action: str,
    subject: str,
    environment: str | None = None,
    flag: str | None = None,
    rollout: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    why: str | None = None,
    via: str | None = None,
) -> None:
    """Add a line, in this transaction: what is rolled back was never done.

    Args:
        actor: whose doing it is, in words that people know.
        action: what was done, as ``family.verb`` (``flag.written``).
        subject: what it was done to: a flag's key, a rollout's or a lock's id, a key's selector.
        environment: where; ``None``: everywhere.
        flag: the flag it is about, where it is about one.
        rollout: the rollout it is about, where it is about one.
        before: what was there, as plain values.
        after: what is there now, as plain values.
        why: the reason that was given.
        via: the id of the event or the comment that asked for it.
    """
    came = origin.get()
    line = {
        "at": tx.now, "actor": _masked(actor), "key": came.key, "request": came.request, "run": came.run, "via": via,
        "action": action, "environment": environment, "flag": flag, "rollout": rollout, "subject": subject,
        "before": _text(before), "after": _text(after), "why": _masked(why) if why else None,
    }  # fmt: skip
    tx.lines.append(line)
    if len(tx.lines) == 1:
        # The chain has one end, so its lock is taken last of all: whoever held it and then waited for a flag would
        # wait for somebody who waits for the chain.
        tx.at_the_end(lambda: _append(tx))


def find(
    tx: Tx, wanted: Filter, *, after: int = 0, before: int | None = None, newest: bool = False, limit: int = 100
) -> list[Mapping[str, Any]]:
    """Lines as they are shown, between two numbers (neither included): oldest first, or newest first."""
    number = audit.c.number
    statement = sa.select(audit).where(number > after, *_where(wanted)).limit(limit)
    if before is not None:
        statement = statement.where(number < before)
    rows = tx.all(statement.order_by(number.desc() if newest else number))
    return [_shown(row) for row in rows]


def first_broken(tx: Tx) -> tuple[int | None, int, str | None]:
    """Follow the chain from the oldest line that is kept.

    Returns:
        The number of the first line that does not follow from the one before it (``None``: none), how many lines
        there are, and the newest line's hash, to be kept elsewhere: lines cut off at the end break no chain.
    """
    count = int(tx.run(sa.select(sa.func.count()).select_from(audit)).scalar_one())
    head: str | None = None
    broken: int | None = None
    for row in _sealed(tx):
        if head is not None and broken is None and _hash(head, row._mapping) != row.hash:
            broken = row.number
        head = row.hash
    return broken, count, head


def forget(tx: Tx, before: float, limit: int = 10_000) -> int:
    """Delete the oldest lines from before this moment, in seconds since the epoch; the only way in which lines go.

    Returns:
        How many there were.
    """
    oldest_kept = tx.run(sa.select(sa.func.min(audit.c.number)).where(audit.c.at >= before)).scalar_one()
    newest = tx.run(sa.select(sa.func.max(audit.c.number))).scalar_one()
    floor = oldest_kept if oldest_kept is not None else (newest or 0) + 1
    oldest = tx.run(sa.select(sa.func.min(audit.c.number))).scalar_one()
    if oldest is None or floor <= oldest:
        return 0
    floor = min(floor, oldest + limit)
    raised = tx.upsert(versions).values(name=FLOOR, version=floor)
    tx.run(raised.on_conflict_do_update(index_elements=["name"], set_={"version": floor}))
    return tx.run(sa.delete(audit).where(audit.c.number < floor)).rowcount


def _append(tx: Tx) -> None:
    """Add the transaction's lines to the chain."""
    if tx.is_postgres:
        tx.run(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    newest = sa.select(audit.c.hash).where(audit.c.hash.is_not(None)).order_by(audit.c.number.desc()).limit(1)
    last = tx.one(newest)
    head = last.hash if last else ""
    chained = [{**line, "hash": (head := _hash(head, line))} for line in tx.lines]
    tx.connection.execute(sa.insert(audit), chained)


def _sealed(tx: Tx) -> Iterator[sa.Row[Any]]:
    """Every line that has a hash, oldest first; a log of years is never in memory as a whole."""
    after = 0
    while rows := tx.all(sa.select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(_AT_ONCE)):
        yield from (row for row in rows if row.hash is not None)
        after = rows[-1].number


def _hash(previous: str, line: Mapping[Any, Any]) -> str:
    return sha256(encode([previous, *(line[name] for name in _HASHED)])).hexdigest()


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else _masked(encode(value).decode())


def _masked(text: str) -> str:
    return _KEY.sub(r"\1***", text)


def _where(wanted: Filter) -> Iterable[sa.ColumnElement[bool]]:
    for name in ("environment", "flag", "rollout"):
        value = getattr(wanted, name)
        if value is not None:
            yield audit.c[name] == value
    if wanted.actor is not None:
        yield sa.or_(audit.c.actor.icontains(wanted.actor, autoescape=True), audit.c.key == wanted.actor)
    if wanted.action is not None:
        yield sa.or_(audit.c.action == wanted.action, audit.c.action.startswith(f"{wanted.action}.", autoescape=True))
    if wanted.since is not None:
        yield audit.c.at >= wanted.since
    if wanted.until is not None:
        yield audit.c.at < wanted.until


def _shown(row: sa.Row[Any]) -> Mapping[str, Any]:
    return dict(_fields(row))


def _fields(row: sa.Row[Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row._mapping.items():
        yield str(name), decode(value.encode()) if name in ("before", "after") and value is not None else value
