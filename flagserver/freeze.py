"""Which lock holds for a rollout now, and what of it the rollout has not heard yet."""

from flagserver.store import Tx, locks
from flagserver.store.locks import LockRecord
from flagserver.store.rollouts import RolloutRecord
from rampgate.machine import decide
from rampgate.machine.events import Event, Locked, Unlocked
from rampgate.machine.state import Lock, Transition


def lock_over(tx: Tx, environment: str, flag: str, now: float) -> Lock | None:
    """Of the locks that hold there, the one that holds longest."""
    return longest([one for one in locks.over(tx, environment, flag, now) if one.holds(now)])


def longest(held: list[LockRecord]) -> Lock | None:
    """Of these locks the one that ends last; one without an end before all others, the oldest of equals."""
    if not held:
        return None
    one = max(held, key=lambda lock: (lock.until is None, lock.until or 0.0))
    return Lock(reason=one.reason, by=one.by, until=one.until, id=one.id, scope=one.scope)


def unheard(
    record: RolloutRecord, lock: Lock | None, now: float, unlocked_by: str
) -> tuple[tuple[Event, Transition], ...]:
    """What the rollout is told first, before all else: that it is locked, otherwise or no longer.

    A lock that has run out is not lifted here: its end is a deadline, which the machine applies in its turn.
    """
    state = record.state
    if state.phase.is_final or state.lock == lock:
        return ()
    if lock is not None:
        locked = Locked(lock=lock)
        return ((locked, decide(record.plan, state, locked, now)),)
    if not state.is_locked(now):
        return ()
    unlocked = Unlocked(by=unlocked_by)
    return ((unlocked, decide(record.plan, state, unlocked, now)),)
