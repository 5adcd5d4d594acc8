"""Locks made, changed and lifted, and told at once to every rollout that they cover."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from flagserver.errors import ConflictError, InvalidError, NotAllowedError, NotFoundError
from flagserver.names import name_problems
from flagserver.rollouts import Rollouts
from flagserver.store import Store, Tx, audit, flags, locks
from flagserver.store.locks import LockRecord
from rampgate.locks import HeldLock, NewLock
from rampgate.problem import Problem

_FARTHEST = 10 * 366 * 86_400.0


class Locks:
    """The locks of all environments.

    ``within`` is the environment that the caller's key belongs to; ``None``: all of them.
    """

    def __init__(self, store: Store, rollouts: Rollouts) -> None:
        self._store = store
        self._rollouts = rollouts

    def find(self, *, within: str | None, environment: str | None, flag: str | None) -> tuple[HeldLock, ...]:
        """The locks that hold or will, oldest first: all, or those that cover the environment, the flag."""
        wanted = environment or within
        with self._store.read() as tx:
            found = locks.that_last(tx, self._store.now())
        return tuple(
            one.shown(self._store.now())
            for one in found
            if (wanted is None or one.environment in (None, wanted)) and (flag is None or one.flag in (None, flag))
        )

    def read(self, lock_id: str, *, within: str | None) -> HeldLock:
        """The lock.

        Raises:
            NotFoundError: there is no such lock, or it has ended and was cleared away.
            NotAllowedError: it covers another environment.
        """
        with self._store.read() as tx:
            return _load(tx, lock_id, within, to_change=False).shown(self._store.now())

    def make(self, new: NewLock, *, within: str | None, actor: str) -> tuple[HeldLock, bool]:
        """Make a lock; when this returns, every rollout that it covers has heard of it.

        Returns:
            The lock, and whether it is new: the same key gives the same one.

        Raises:
            InvalidError: everything that is wrong with it, at once.
            ConflictError: one of its name is there.
            NotAllowedError: it would cover more than the caller's environment.
        """
        new = replace(new, environment=new.environment or within)
        _own(new.environment, within)
        with self._store.write() as tx:
            there = locks.by_key(tx, new.key) if new.key is not None else None
            if there is not None:
                _own(there.environment, within)
                return there.shown(tx.now), False
            record = _record(tx, new, f"lk_{secrets.token_hex(8)}", tx.now)
            if record.name and (other := locks.named(tx, record.environment, record.name, tx.now)) is not None:
                text = f"The lock {record.name} is there already: {other.id}, by {other.by}: {other.reason}"
                raise ConflictError(text, code="lock_exists")
            locks.insert(tx, record)
            _note(tx, actor, "lock.made", None, record, record.reason, new.by)
        self._rollouts.heed_locks(new.by)
        return record.shown(self._store.now()), True

    def change(self, lock_id: str, new: NewLock, *, within: str | None, actor: str) -> HeldLock:
        """Replace what the lock says; when this returns, every rollout that it covers has heard of it.

        Raises:
            InvalidError: everything that is wrong with it, at once.
            NotFoundError: there is no such lock.
            ConflictError: another one has its name.
            NotAllowedError: it covers, or would cover, more than the caller's environment.
        """
        new = replace(new, environment=new.environment or within)
        _own(new.environment, within)
        with self._store.write() as tx:
            before = _load(tx, lock_id, within)
            after = replace(_record(tx, new, lock_id, before.since), created_at=before.created_at, key=before.key)
            other = locks.named(tx, after.environment, after.name, tx.now) if after.name else None
            if other is not None and other.id != lock_id:
                raise ConflictError(f"The lock {after.name} is there already: {other.id}.", code="lock_exists")
            locks.update(tx, after)
            _note(tx, actor, "lock.changed", before, after, after.reason, new.by)
        self._rollouts.heed_locks(new.by)
        return after.shown(self._store.now())

    def lift(self, lock_id: str, *, within: str | None, actor: str, by: str, why: str | None) -> None:
        """Lift the lock; when this returns, every rollout that it covered has heard of it.

        Raises:
            NotFoundError: there is no such lock.
            NotAllowedError: it covers more than the caller's environment.
        """
        with self._store.write() as tx:
            before = _load(tx, lock_id, within)
            locks.delete(tx, lock_id)
            _note(tx, actor, "lock.lifted", before, None, why, by)
        self._rollouts.heed_locks(by)


def _load(tx: Tx, lock_id: str, within: str | None, *, to_change: bool = True) -> LockRecord:
    record = locks.load(tx, lock_id)
    if record is None:
        raise NotFoundError(f"There is no lock {lock_id[:80]}.", code="lock_not_found")
    if to_change or record.environment is not None:
        _own(record.environment, within)
    return record


def _own(environment: str | None, within: str | None) -> None:
    if within is not None and environment != within:
        covers = environment or "every environment"
        raise NotAllowedError(f"The key belongs to {within}; this lock covers {covers}.", code="environment")


def _record(tx: Tx, new: NewLock, lock_id: str, since: float) -> LockRecord:
    if wrong := tuple(_problems(tx, new)):
        raise InvalidError(problems=wrong)
    return LockRecord(
        id=lock_id, reason=new.reason, by=new.by, since=since if new.since is None else new.since, until=new.until,
        created_at=tx.now, environment=new.environment, flag=new.flag, name=new.name, key=new.key,
    )  # fmt: skip


def _problems(tx: Tx, new: NewLock) -> Iterator[Problem]:
    for path, text, most in (("reason", new.reason, 1000), ("by", new.by, 300), ("key", new.key, 200)):
        if text is not None and not (0 < len(text) <= most and text.isprintable() and text.strip()):
            yield Problem(path, repr(text[:80]), f"1 to {most} printable characters")
    if new.name is not None:
        yield from name_problems("name", new.name)
    if new.until is None and new.name is None:
        yield Problem("until", "nothing", "when it ends; only a lock with a `name` may be without an end")
    begins = max(tx.now, new.since or 0.0)
    if new.until is not None and not begins < new.until < tx.now + _FARTHEST:
        yield Problem("until", f"{new.until:.0f}", f"after {begins:.0f}, and within ten years")
    if new.since is not None and not 0 <= new.since < tx.now + _FARTHEST:
        yield Problem("since", f"{new.since:.0f}", "a moment within ten years")
    yield from _unknown(tx, new)


def _unknown(tx: Tx, new: NewLock) -> Iterator[Problem]:
    """What the lock would cover does not exist: it would stop nothing, and nobody would notice."""
    environments = flags.environments(tx)
    if new.environment is not None and new.environment not in environments:
        yield _missing("environment", new.environment, environments)
        return
    covered = environments if new.environment is None else (new.environment,)
    keys = sorted({one.key for name in covered for one in flags.all_of(tx, name)}) if new.flag is not None else []
    if new.flag is not None and new.flag not in keys:
        yield _missing("flag", new.flag, keys)


def _missing(path: str, value: str, known: tuple[str, ...] | list[str]) -> Problem:
    near = get_close_matches(value, known, n=1)
    allowed = f"one that is here: {', '.join(known[:20])}" if known else "one that is here, and none is yet"
    return Problem(path, repr(value[:80]), allowed, near[0] if near else None)


def _note(
    tx: Tx, actor: str, action: str, before: LockRecord | None, after: LockRecord | None, why: str | None, by: str
) -> None:
    one = after or before
    assert one is not None
    audit.record(
        tx, actor=f"{actor} for {by}", action=action, subject=one.id, environment=one.environment, flag=one.flag,
        before=_said(before), after=_said(after), why=why,
    )  # fmt: skip


def _said(record: LockRecord | None) -> dict[str, object] | None:
    if record is None:
        return None
    return {name: getattr(record, name) for name in ("name", "scope", "reason", "by", "since", "until")}
