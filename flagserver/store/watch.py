"""Hears of what other processes change in the database, and says which of them acts for all of them.

PostgreSQL notifies; of a SQLite file the number of its data is asked for. Nothing depends on either: whoever missed
a word looks once a second, and a deadline is applied by the transaction that finds it due.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import structlog

from flagserver.store.engine import CHANNEL, Store

AGAIN = 0.5
"""Seconds until a lost session is tried anew, and between two looks at the one that is held."""

ASK_SQLITE = 0.05
"""Seconds between two questions to a SQLite file; each is some ten microseconds."""

CONFIRMED = 6.0
"""Seconds for which a place is believed to be held that was confirmed so long ago."""

_LOCK_STEWARD = 7_267_100

log = structlog.get_logger("flagserver.watch")


class Watch:
    """A thread with a session of its own.

    Args:
        store: the database that is watched.
        heard: called after every change that may be another process's, and after anything may have been missed.
        steady: a clock for ages that no one can step.
    """

    def __init__(
        self, store: Store, heard: Callable[[], None], *, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._heard = heard
        self._steady = steady
        self._confirmed_at: float | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended, and another process may lead."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * AGAIN)

    @property
    def leads(self) -> bool:
        """Whether this process acts on lapsed deadlines and does the chores. On SQLite every process may."""
        if not self._store.is_postgres:
            return True
        return self._confirmed_at is not None and self._steady() - self._confirmed_at < CONFIRMED

    def _run(self) -> None:
        look = self._listen if self._store.is_postgres else self._ask
        while not self._ending.is_set():
            try:
                look()
            except Exception as error:
                # Whatever it is: a replica that no longer hears would serve old shares for a second each time.
                log.debug("watch_lost", why=str(error))
            self._confirmed_at = None
            self._ending.wait(AGAIN)

    def _listen(self) -> None:
        """Hear PostgreSQL's notifications until the session is lost."""
        with closing(self._store.own_session()) as session:
            session.execute(f"LISTEN {CHANNEL}")
            self._heard()
            while not self._ending.is_set():
                self._hold_the_place(session)
                for _ in session.notifies(timeout=AGAIN, stop_after=1):
                    self._heard()

    def _hold_the_place(self, session: Any) -> None:
        # The lock belongs to the session: it is free again as soon as this process or its connection is gone.
        query = "SELECT 1" if self._confirmed_at is not None else f"SELECT pg_try_advisory_lock({_LOCK_STEWARD})"
        asked_at = self._steady()
        if session.execute(query).fetchone()[0]:
            if self._confirmed_at is None:
                log.info("leads", why="this replica acts on passed deadlines")
            self._confirmed_at = asked_at

    def _ask(self) -> None:
        """Ask for the number of the file's data, which every commit of another connection changes."""
        assert self._store.url.database is not None
        with closing(sqlite3.connect(self._store.url.database, isolation_level=None)) as session:
            seen = None
            while not self._ending.wait(ASK_SQLITE):
                found = session.execute("PRAGMA data_version").fetchone()[0]
                if found != seen:
                    self._heard()
                    seen = found
