"""Deletes what is no longer kept: the replica that leads does, a little at every look at the clock."""

from collections.abc import Callable

from flagserver.settings import Keep
from flagserver.store import Store, Tx, audit
from flagserver.store import retention as old

Trim = Callable[[Tx, str, int], int]

DAY = 86_400.0

AT_MOST = 500
"""Rows that one transaction deletes of one table."""

EVERY = 3600.0
"""Seconds between two looks for what is old, once nothing is."""

REPEATS = 2 * DAY
"""Seconds for which a client or a gate may repeat itself: marks of batches and first answers are kept so long."""


class Retention:
    """Deletes what is older than it has to be."""

    def __init__(self, store: Store, keep: Keep) -> None:
        self._store = store
        self._keep = keep
        self._look_at = 0.0
        self._reached: dict[Trim, tuple[float, str]] = dict.fromkeys((old.progress, old.looks), (0.0, ""))

    def sweep(self) -> None:
        """Delete some of what is old, if it is time to.

        Raises:
            StoreGoneError: the database cannot be used.
        """
        now, keep = self._store.now(), self._keep
        if now < self._look_at:
            return
        counts_before = now - keep.telemetry * DAY
        left = [
            self._some(lambda tx: old.counts(tx, counts_before, AT_MOST)),
            self._some(lambda tx: old.batches(tx, now - REPEATS, counts_before, AT_MOST)),
            self._some(lambda tx: audit.forget(tx, now - keep.audit * DAY, AT_MOST)),
            self._trim(old.progress, now - REPEATS),
            self._trim(old.looks, now - keep.looks * DAY),
        ]
        if not any(left):
            self._look_at = now + EVERY

    def _some(self, delete: Callable[[Tx], int]) -> bool:
        with self._store.write() as tx:
            return delete(tx) >= AT_MOST

    def _trim(self, trim: Trim, before: float) -> bool:
        """Trim the history of the next finished rollouts; each is come to once."""
        with self._store.read() as tx:
            found = old.ended(tx, self._reached[trim], before, 20)
        for moment, rollout_id in found:
            while self._some(lambda tx, one=rollout_id: trim(tx, one, AT_MOST)):  # type: ignore[misc]
                pass
            self._reached[trim] = (moment, rollout_id)
        return bool(found)
