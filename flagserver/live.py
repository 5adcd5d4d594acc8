"""What is served right now, in memory: the snapshots last published, and how long ago the store was read.

Lookups never wait for the database; `refresh` does, on the thread of whoever changed something.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from flagserver import hub
from flagserver.errors import StoreGoneError
from flagserver.publish import Held, Published, publish, served_share
from flagserver.store import Store, Tx, cohorts, flags, rollouts
from flagserver.store.engine import current_versions
from flagserver.store.rollouts import RolloutRecord
from flagserver.store.schema import is_understood
from rampgate.machine import State

CUT_OFF = 3.0
"""Seconds without a word from the store after which what is held counts as outdated."""

_PREFIX = "env:"


class Live:
    """The published snapshots by environment. Reads are lock-free; each snapshot is swapped in whole.

    Args:
        store: where flags and rollouts are kept.
        listeners: who is woken when a snapshot changes.
        steady: a clock for ages that no one can step.
    """

    def __init__(self, store: Store, listeners: hub.Hub, *, steady: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._hub = listeners
        self._steady = steady
        # Apart, so that whoever serves from memory never waits for a read of the database.
        self._reading = threading.Lock()
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._taken_back: Mapping[str, State] = {}
        self._published: dict[str, Published] = {}
        self._read_at = float("-inf")
        self._changed_at: dict[str, float] = {}

    @property
    def environments(self) -> Mapping[str, Published]:
        return self._published

    def age(self) -> float:
        """Seconds since the store was last read."""
        return max(0.0, self._steady() - self._read_at)

    def changed_ago(self, environment: str) -> float:
        """Seconds since the environment's snapshot changed."""
        return max(0.0, self._steady() - self._changed_at.get(environment, float("-inf")))

    @property
    def cut_off(self) -> bool:
        return self.age() > CUT_OFF

    def current(self, environment: str) -> Published:
        """The snapshot to serve at this moment; an environment that nobody has written to is empty."""
        published = self._published.get(environment)
        if published is None:
            return publish(Held(environment=environment, revision=0), self._store.now())
        if self._outdated(published):
            return self._again(environment)
        return published

    def ramping(self) -> list[tuple[RolloutRecord, int]]:
        """The unfinished rollouts, each with the canary's share that is served now."""
        now, cut_off = self._store.now(), self.cut_off
        return [
            (record, served_share(record, now, cut_off=cut_off))
            for held in map(self._as_served, list(self._held.values()))
            for record in held.rollouts
        ]

    def held(self, rollout_id: str) -> RolloutRecord | None:
        """The unfinished rollout as it was last read."""
        every = (record for held in list(self._held.values()) for record in held.rollouts)
        return next((record for record in every if record.id == rollout_id), None)

    def take_back(self, rollout_id: str, state: State) -> None:
        """Serve a rollout as if it were in this state, which takes its users back, until that is recorded."""
        with self._lock:
            self._taken_back = {**self._taken_back, rollout_id: state}
            for held in list(self._held.values()):
                if any(record.id == rollout_id for record in held.rollouts):
                    self._publish(held)

    def forget_taken_back(self, rollout_id: str) -> None:
        """It is recorded: from now on the store says how to serve it."""
        with self._lock:
            self._taken_back = {key: state for key, state in self._taken_back.items() if key != rollout_id}

    def refresh(self) -> None:
        """Read what has changed in the store since it was last read, and publish it.

        Raises:
            StoreGoneError: the store cannot be read; what is in memory is still served.
        """
        with self._reading:
            asked_at = self._steady()
            with self._store.read() as tx:
                self._store.keep_time(tx)
                seen = current_versions(tx)
                if not is_understood(seen):
                    raise StoreGoneError("The database was brought to a form that this version cannot use: update it.")
                changed = [
                    self._load(tx, name.removeprefix(_PREFIX), revision, seen)
                    for name, revision in seen.items()
                    if name.startswith(_PREFIX) and self._revision(name.removeprefix(_PREFIX)) != revision
                ]
            # Counted from before the read: an age may be too high, never too low.
            self._read_at = asked_at
            before = self._revisions()
            with self._lock:
                for held in changed:
                    self._held[held.environment] = held
                    self._publish(held)
            if changed:
                self._tell_waiting(before)
            for held in changed:
                self._hub.tell(hub.rollouts(held.environment))

    def narrow(self) -> None:
        """Publish what passed deadlines have narrowed, though the store has not recorded it yet."""
        for environment, published in list(self._published.items()):
            if self._outdated(published):
                self._again(environment)

    def _outdated(self, published: Published) -> bool:
        if self._store.now() >= published.valid_until:
            return True
        return bool(published.rollouts) and published.cut_off != self.cut_off

    def _again(self, environment: str) -> Published:
        with self._lock:
            return self._publish(self._held[environment])

    def _publish(self, held: Held) -> Published:
        before = self._published.get(held.environment)
        new = publish(self._as_served(held), self._store.now(), cut_off=self.cut_off, before=before)
        if before is not None and before.version == new.version:
            # Nothing that a client could see: it has missed nothing.
            new = replace(before, revision=new.revision, valid_until=new.valid_until, cut_off=new.cut_off)
        self._published[held.environment] = new
        if before is None or before.version != new.version:
            self._changed_at[held.environment] = self._steady()
            self._hub.tell(hub.environment(held.environment))
        return new

    def _as_served(self, held: Held) -> Held:
        """With the aborts that are not recorded yet; one that came too late changes nothing."""
        taken = self._taken_back
        if not taken:
            return held
        served = (
            replace(one, state=taken[one.id]) if one.id in taken and not one.state.retirement_begun else one
            for one in held.rollouts
        )
        return replace(held, rollouts=tuple(served))

    def _revisions(self) -> Mapping[str, int]:
        return {record.id: record.state.revision for held in self._held.values() for record in held.rollouts}

    def _tell_waiting(self, before: Mapping[str, int]) -> None:
        """Wake who waits for a rollout that has changed, or that has ended: of those nothing is held."""
        now = self._revisions()
        for topic in self._hub.topics(hub.rollout("")):
            rollout_id = topic.removeprefix(hub.rollout(""))
            if rollout_id not in now or before.get(rollout_id) != now[rollout_id]:
                self._hub.tell(topic)

    def _load(self, tx: Tx, environment: str, revision: int, seen: Mapping[str, int]) -> Held:
        flags_revision = seen.get(f"flags:{environment}", 0)
        before = self._held.get(environment)
        same = before is not None and before.flags_revision == flags_revision
        return Held(
            environment=environment,
            revision=revision,
            flags_revision=flags_revision,
            flags=before.flags if before is not None and same else flags.all_of(tx, environment),
            cohorting=before.cohorting if before is not None and same else cohorts.load(tx, environment),
            rollouts=rollouts.readable(tx, environment),
        )

    def _revision(self, environment: str) -> int:
        held = self._held.get(environment)
        return -1 if held is None else held.revision
