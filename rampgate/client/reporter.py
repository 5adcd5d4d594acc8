"""Hands in what was counted, in batches that are applied once. Runs in a thread of its own.

While the server is away the counters simply go on rising; only one batch is ever held. A batch that has become too
late is dropped for both arms alike, and the next one says how much was lost.
"""

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from rampgate.client.assignment import Owed
from rampgate.client.counts import ArmKey, Counts, weight
from rampgate.client.server import RefusedError, Server, UnreachableError
from rampgate.client.snapshot import Snapshot, arm_key

log = logging.getLogger("rampgate.client")

PERIOD = 5.0
"""Seconds between batches when no gate reads them."""

LATE = 30.0
"""A batch is dropped once it is older than this, in seconds, or than two polls of the gate, whichever is longer."""

LAST_CALL = 0.8
"""The part of the time left that the last answer may take when the client is closed: the thread has to end, too."""

HOPELESS = (400, 404, 405, 409, 413, 415, 422)
"""Answers that another attempt would not change."""


@dataclass(frozen=True, slots=True)
class Batch:
    body: bytes
    weight: int
    made: float


class Reporter:
    """One client's reports. ``flush`` may be called from any thread."""

    def __init__(self, server: Server, counts: Counts, owed: Owed, current: Callable[[], Snapshot]) -> None:
        self._server = server
        self._counts = counts
        self._owed = owed
        self._current = current
        self._clock = owed.clock
        self._client = str(uuid.uuid4())
        self._batch: Batch | None = None
        self._dropped = 0
        self._turn = threading.Lock()
        self._until: float | None = None
        self._stirred = threading.Event()
        self.last_call = self.done = False

    def run(self) -> None:
        """Until closed, and then once more with what time is left."""
        last = time.monotonic() - self.period * random.random()  # so that a fleet does not report in step
        while self._until is None:
            left = last + self.period - time.monotonic()
            if left > 0:
                self._stirred.wait(left)
                self._stirred.clear()
            else:
                self._try()
                last = time.monotonic()
        self._server.hurry(max(0.01, LAST_CALL * (self._until - time.monotonic())))
        self.last_call = True
        self.done = self._try()

    def stir(self) -> None:
        """The period may have changed: look again."""
        self._stirred.set()

    def close(self, until: float) -> None:
        """Hand in the rest, before this moment of the monotonic clock, and end; does not wait for it."""
        self._until = until
        self._stirred.set()

    @property
    def unsent(self) -> int:
        """How many counts, at least, were handed over and not taken."""
        batch = self._batch
        return 0 if batch is None else batch.weight

    def _try(self) -> bool:
        try:
            return self.flush()
        except Exception:
            log.exception("rampgate: the reporter met something unexpected and goes on")
            return False

    @property
    def period(self) -> float:
        """Seconds between batches: three to one poll of the gate."""
        poll = self._current().poll
        return PERIOD if poll is None else min(PERIOD, poll / 3)

    def flush(self) -> bool:
        """Hand in everything counted so far. Returns whether the server has it all."""
        with self._turn:
            self._owed.expire()
            if self._batch is not None and not self._send(self._batch):
                return False
            self._batch = self._next()
            return self._batch is None or self._send(self._batch)

    def _next(self) -> Batch | None:
        """What was counted since the last batch; ``None``: nothing."""
        entries, lost = self._counts.drain()
        self._counts.forget(_in_use(self._current()))
        lost += self._dropped + self._owed.take_refused()
        if not entries and not lost:
            return None
        self._dropped = 0
        body = {
            "batch": str(uuid.uuid4()),
            "client": self._client,
            "sent_at": time.time(),
            "counts": entries,
            "dropped": lost,
        }
        return Batch(json.dumps(body).encode(), weight(entries) + lost, self._clock())

    def _send(self, batch: Batch) -> bool:
        """Whether the way is free for the next batch: this one was applied, or is hopeless or too late."""
        try:
            self._server.tell(batch.body)
        except (RefusedError, UnreachableError) as error:
            late = max(LATE, 2 * (self._current().poll or 0.0))
            hopeless = isinstance(error, RefusedError) and error.status in HOPELESS
            if not hopeless and self._clock() - batch.made <= late:
                return False
            log.warning("rampgate: %d counts are lost: %s", batch.weight, error)
            self._dropped += batch.weight
        self._batch = None
        return True


def _in_use(snapshot: Snapshot) -> frozenset[ArmKey]:
    """What lookups and requests of this snapshot count on."""
    return frozenset(
        arm_key(key, entry.ramp, variant)
        for key, entry in snapshot.entries.items()
        if entry.ramp is not None
        for variant in entry.compiled.variants
    )
