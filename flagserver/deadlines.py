"""The keeper of the clock: wakes at the earliest deadline, has it applied, and keeps memory and store together.

Starts with the process, so that what lapsed while no server ran is acted on at once. Any number of keepers may
run on one database: a deadline is applied by the transaction that finds it due, once.
"""

import threading
import time
from collections.abc import Callable

import structlog

from flagserver import hub
from flagserver.errors import StoreGoneError
from flagserver.live import Live
from flagserver.rollouts import Rollouts
from flagserver.store import Store

PULSE = 1.0
"""Seconds between looks at the store where no deadline is nearer: how fresh an idle server's memory is."""

SPARE = 3.0
"""Seconds by which a deadline may be late before a replica acts that does not lead: the one that does may hang."""

log = structlog.get_logger("flagserver.deadlines")


class Steward:
    """A thread that never lets a deadline pass unheard.

    Args:
        store: whose clock is kept.
        live: what is served; every look brings it up to date.
        rollouts: what has deadlines.
        listeners: who may say that a deadline has come nearer.
        first: done at every look before any deadline is acted on.
        also: done at every look.
        chores: done at every look by the replica that leads.
        leads: whether this replica is the one that acts on deadlines as they pass.
        steady: a clock for ages that no one can step.
    """

    def __init__(
        self,
        store: Store,
        live: Live,
        rollouts: Rollouts,
        listeners: hub.Hub,
        *,
        first: tuple[Callable[[], None], ...] = (),
        also: tuple[Callable[[], None], ...] = (),
        chores: tuple[Callable[[], None], ...] = (),
        leads: Callable[[], bool] = lambda: True,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._also = also
        self._chores = chores
        self._leads = leads
        self._steady = steady
        self._looked_at: float | None = None
        self._store = store
        self._live = live
        self._rollouts = rollouts
        self._hub = listeners
        self._wake = threading.Event()
        self._ending = False
        self._gone = False
        self._thread = threading.Thread(target=self._run, name="steward", daemon=True)

    def start(self) -> None:
        self._stop_listening = self._hub.listen(hub.DEADLINES, self._wake.set)
        self._looked_at = self._steady()
        self._thread.start()

    @property
    def silence(self) -> float:
        """Seconds since the thread last ended a look: many, once it has died or hangs. 0 where it was not started."""
        return 0.0 if self._looked_at is None else max(0.0, self._steady() - self._looked_at)

    def stop(self) -> None:
        """End the thread; returns when it has ended, or hangs."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout=3)
        self._stop_listening()

    def turn(self) -> float:
        """One look: apply what is due, publish what changed. Never raises for a database that is gone.

        Returns:
            Seconds until the next look is needed.
        """
        # At the start nobody leads yet: what lapsed while no server ran is acted on at once.
        leads = self._looked_at is None or self._leads()
        try:
            self._live.refresh()
            for one in self._first:
                one()
            following = self._rollouts.settle(0.0 if leads else SPARE)
            for one in (*self._also, *(self._chores if leads else ())):
                one()
        except StoreGoneError as error:
            if not self._gone:
                log.error("store_gone", why=error.message)
            self._gone = True
            self._live.narrow()
            return PULSE / 2
        if self._gone:
            log.info("store_back")
            self._gone = False
        if following is None:
            return PULSE
        return min(PULSE, max(0.0, following - self._store.now()))

    def _run(self) -> None:
        while not self._ending:
            self._wake.clear()
            try:
                pause = self.turn()
                self._looked_at = self._steady()
            except Exception:
                # Nobody else applies deadlines: whatever went wrong, look again, and serve no share that is over.
                log.exception("turn_failed")
                self._live.narrow()
                pause = PULSE
            if not self._ending:
                self._wake.wait(pause)
