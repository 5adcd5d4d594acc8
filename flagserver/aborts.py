"""Aborts do not wait for the database: where it does not answer, users go to stable from memory, at once, and the abort
is recorded as soon as the database is back, before anything else. Every other event needs the database.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context

import structlog

from flagserver.errors import FlagServerError, StoreGoneError
from flagserver.journal import Journal, Unrecorded
from flagserver.live import Live
from flagserver.rollouts import Beside, Rollouts
from flagserver.store import Store
from flagserver.store.rollouts import RolloutRecord
from rampgate.machine import handle
from rampgate.machine.events import Event, Told
from rampgate.machine.state import Because, Deadline, Order, Reason, Transition
from rampgate.rollout import Answer, Posted

AT_ONCE = 2.0
"""Seconds that the database has to record an abort before users are taken back without it."""

log = structlog.get_logger("flagserver.aborts")


def is_abort(event: Event) -> bool:
    return isinstance(event, Told) and event.order is Order.REVERT


class Aborts:
    """The aborts of this replica, and those of them that are not recorded yet."""

    def __init__(self, store: Store, live: Live, rollouts: Rollouts, journal: Journal) -> None:
        self._store = store
        self._live = live
        self._rollouts = rollouts
        self._journal = journal
        self._lock = threading.Lock()
        self._attempts = ThreadPoolExecutor(4, thread_name_prefix="abort")
        self._waiting = {one.posted.id: one for one in journal.read()}
        self._journalled = set(self._waiting)

    @property
    def waiting(self) -> int:
        """How many are not recorded yet."""
        return len(self._waiting)

    def say(self, rollout_id: str, posted: Posted, actor: str, beside: Beside | None) -> tuple[Answer, bool]:
        """Apply an abort.

        Returns:
            The answer, and whether it is recorded.

        Raises:
            NotFoundError: there is no such rollout.
            StoreGoneError: the database cannot be used, and from memory nobody can tell whether the old version is up.
        """
        # A database that hangs must not keep users on the canary until the hanging call is given up.
        attempt = self._attempts.submit(copy_context().run, self._rollouts.apply, rollout_id, posted, actor, beside)
        with suppress(StoreGoneError, TimeoutError):
            return attempt.result(AT_ONCE), True
        held = self._live.held(rollout_id)
        if held is None:
            raise StoreGoneError("The database cannot be used now, and this server holds no such rollout in memory.")
        return self._from_memory(held, posted, actor)

    def record(self) -> None:
        """Record what waits, oldest first.

        Raises:
            StoreGoneError: the database cannot be used yet.
        """
        with self._lock:
            waiting = sorted(self._waiting.values(), key=lambda each: each.at)
        for one in waiting:
            try:
                answer = self._rollouts.apply(one.rollout, one.posted, one.actor, at=one.at)
            except StoreGoneError:
                raise
            except FlagServerError as error:
                log.error("abort_dropped", rollout=one.rollout, why=error.message)
            else:
                refused = answer.refusal.text if answer.refusal else None
                log.info("abort_recorded", rollout=one.rollout, actor=one.actor, at=one.at, refused=refused)
            with self._lock:
                self._waiting.pop(one.posted.id, None)
                if one.posted.id in self._journalled:
                    self._journalled.remove(one.posted.id)
                    self._journal.strike_out(frozenset({one.posted.id}))
                if all(other.rollout != one.rollout for other in self._waiting.values()):
                    self._live.forget_taken_back(one.rollout)

    def end(self, patience: float, pause: Callable[[float], object] = time.sleep) -> None:
        """The process ends: record what waits, and try for up to ``patience`` seconds where no file keeps it."""
        self._attempts.shutdown(wait=False, cancel_futures=True)
        ends = time.monotonic() + patience
        while self._waiting:
            try:
                self.record()
            except StoreGoneError:
                lost = [one.rollout for one in self._waiting.values() if one.posted.id not in self._journalled]
                if not lost:
                    log.warning("aborts_left_in_journal", waiting=self.waiting)
                    return
                if time.monotonic() > ends:
                    log.error("aborts_lost", rollouts=lost, why="the database is gone and FLAGSERVER_STATE_DIR not set")
                    return
                pause(0.5)

    def _from_memory(self, held: RolloutRecord, posted: Posted, actor: str) -> tuple[Answer, bool]:
        at = max(self._store.now(), held.updated_at)
        retires = held.state.deadlines.get(Deadline.RETIRE)
        if retires is not None and retires.at <= at and not held.state.retirement_begun:
            raise StoreGoneError("The database cannot be used now, and the old version may be being retired meanwhile.")
        transition = handle(held.plan, held.state, posted.event, at)[-1][1]
        if transition.refusal is not None:
            return self._answer(held, transition, at, ()), True
        one = Unrecorded(rollout=held.id, posted=posted, actor=actor, at=at)
        with self._lock:
            if posted.id not in self._waiting:
                self._waiting[posted.id] = one
                if self._journal.add(one):
                    self._journalled.add(posted.id)
            kept = posted.id in self._journalled
        self._live.take_back(held.id, transition.state)
        log.error("abort_not_recorded_yet", rollout=held.id, actor=actor, journalled=kept)
        text = "Users of this server are on stable. Not recorded yet: the database cannot be used; it will be as soon "
        text += "as it is back." if kept else "as it is back, if this server lives until then."
        return self._answer(held, transition, at, (Because(reason=Reason.ABORTED, text=text),)), False

    @staticmethod
    def _answer(held: RolloutRecord, transition: Transition, at: float, more: tuple[Because, ...]) -> Answer:
        return Answer(
            verb=transition.verb, rollout=held.rollout(at, transition.state), because=(*transition.because, *more),
            refusal=transition.refusal,
        )  # fmt: skip
