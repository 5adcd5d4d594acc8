"""PostgreSQL as the store speaks to it: no call waits for longer than its patience, and a dead peer is noticed.

Imported only where PostgreSQL is served: its driver is an extra.
"""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.abc import PQGen

PATIENCE = 4.0
"""Seconds that one statement may take. The server's own time-out does not help where the server itself hangs."""

CONNECTING: Mapping[str, Any] = {
    "connect_timeout": 2,
    "application_name": "flagserver",
    # A host that vanished without a word is given up after ten seconds.
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How a session is begun."""

SESSION: Mapping[str, str] = {
    "statement_timeout": f"{PATIENCE:g}s",
    "lock_timeout": f"{PATIENCE - 1:g}s",
    # A replica that was stopped in the middle of a transaction must not keep the others from a flag.
    "idle_in_transaction_session_timeout": "5s",
    # The server's own look at whether a replica is still there: it frees what a lost one holds.
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""What is set in each session; by SET, because poolers refuse start-up options."""


class Session(psycopg.Connection[Any]):
    """A connection whose every wait ends, by an error and closed, once ``patience`` seconds are over."""

    patience: float = PATIENCE

    def wait(self, gen: PQGen[Any], *args: Any, **named: Any) -> Any:
        return super().wait(self._in_time(gen), *args, **named)

    def _in_time(self, gen: PQGen[Any]) -> PQGen[Any]:
        # The driver comes back to its generator ten times a second, whether anything has arrived or not.
        ends = time.monotonic() + self.patience
        try:
            wish = next(gen)
            while True:
                ready = yield wish
                if not ready and time.monotonic() > ends:
                    self.close()
                    raise psycopg.OperationalError(f"the database has not answered for {self.patience:g} s")
                wish = gen.send(ready)
        except StopIteration as ended:
            return ended.value


def prepare(session: "psycopg.Connection[Any]") -> None:
    """Set what holds for the whole session."""
    before = session.autocommit
    session.autocommit = True
    session.execute("; ".join(f"SET {name} = '{value}'" for name, value in SESSION.items()))
    session.autocommit = before
