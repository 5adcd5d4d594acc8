"""What an app counted on each arm, exact under threads and without a lock where requests run.

Counters only rise; ``drain`` says what was added since the last time. Nothing here sends anything.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rampgate.wire import LATENCY_BOUNDS_MS

if TYPE_CHECKING:
    from rampgate.client.users import Users

MAX_ARMS = 4096
"""More arms than any environment has. Past it nothing more is counted, and ``dropped`` says so."""

IDLE_DRAINS = 100
"""An arm without a count in so many drains is forgotten."""


@dataclass(frozen=True, slots=True)
class ArmKey:
    """What is counted together. ``rollout`` and ``attempt`` are ``None`` for a flag that is in no rollout.

    ``hash_key`` is the rollout's, which hides its users; ``None``: users are not told apart.
    """

    flag: str
    rollout: str | None
    attempt: int | None
    variant: str
    hash_key: str | None = field(default=None, compare=False, repr=False)


class Count:
    """A number that many threads raise and one thread reads.

    ``next`` of an ``itertools.count`` is one step of the interpreter, so no increment is lost and none waits.
    Reading raises it too, which ``_reads`` takes back.
    """

    __slots__ = ("_reads", "_seen", "add")

    def __init__(self) -> None:
        counter = itertools.count()
        self.add: Callable[[], int] = partial(next, counter)
        self._reads = 0
        self._seen = 0

    def drain(self) -> int:
        """What was added since the last drain. For one thread at a time."""
        total = self.add() - self._reads
        self._reads += 1
        added, self._seen = total - self._seen, total
        return added


class Arm:
    """The counters of one arm. A request is counted before its error, and an error drained before its request:
    a batch never holds more errors than requests."""

    __slots__ = ("_errors", "_latency", "_requests", "_users", "exposures", "idle", "key")

    def __init__(self, key: ArmKey) -> None:
        self.key = key
        self.exposures = Count()
        self.idle = 0
        self._requests = Count()
        self._errors = Count()
        self._latency = tuple(Count() for _ in range(len(LATENCY_BOUNDS_MS) + 1))
        self._users = None if key.hash_key is None else _users(key.hash_key)

    def record(self, ok: bool, ms: float | None, user: str) -> None:
        """One request of this user ended; ``ms`` is how long it took, where that is known."""
        if self._users is not None:
            # Before the request is counted: a report must never have a request without its user.
            self._users.add(user, ok)
        self._requests.add()
        if not ok:
            self._errors.add()
        if ms is not None:
            self._latency[bisect_left(LATENCY_BOUNDS_MS, ms)].add()

    def drain(self) -> dict[str, object] | None:
        """The increments as they go over the wire; ``None`` when there are none."""
        errors, exposures = self._errors.drain(), self.exposures.drain()
        latency = [count.drain() for count in self._latency]
        requests = self._requests.drain()
        users = None if self._users is None else self._users.drain()
        if not (requests or errors or exposures or any(latency) or users):
            self.idle += 1
            return None
        self.idle = 0
        timed = {"bounds": list(LATENCY_BOUNDS_MS), "counts": latency} if any(latency) else None
        return {
            "flag": self.key.flag,
            "rollout": self.key.rollout,
            "attempt": self.key.attempt,
            "variant": self.key.variant,
            "requests": requests,
            "errors": errors,
            "exposures": exposures,
            "latency_ms": timed,
            **({} if users is None else {"users": users}),
        }


def _users(key: str) -> "Users":
    # Loaded with the contact to the server: hashing costs an import some milliseconds.
    from rampgate.client.users import Users  # noqa: PLC0415

    return Users(key)


class Counts:
    """Every arm of this process. ``drain`` and ``forget`` are for one thread at a time; the rest for any."""

    def __init__(self) -> None:
        self._arms: dict[ArmKey, Arm] = {}
        self._leaving: list[Arm] = []
        self._refused = Arm(ArmKey("", None, None, ""))

    def arm(self, key: ArmKey) -> Arm:
        """The counters of this arm: the same object for the same key, as long as anybody counts."""
        found = self._arms.get(key)
        if found is not None:
            return found
        if len(self._arms) >= MAX_ARMS:
            return self._refused
        return self._arms.setdefault(key, Arm(key))

    def drain(self) -> tuple[list[dict[str, object]], int]:
        """The increments of every arm since the last drain, and how many counts found no place."""
        arms = [*self._leaving, *self._arms.values()]
        self._leaving = []
        entries = [entry for arm in arms if (entry := arm.drain()) is not None]
        refused = self._refused.drain()
        return entries, 0 if refused is None else _weight(refused)

    def forget(self, in_use: frozenset[ArmKey]) -> None:
        """Let go of arms that nobody has counted on for long, and that no lookup holds. They are drained once more,
        for whoever counts on one at this very moment."""
        for key, arm in list(self._arms.items()):
            if arm.idle >= IDLE_DRAINS and key not in in_use:
                self._leaving.append(self._arms.pop(key))


def _weight(entry: Mapping[str, object]) -> int:
    """How much an entry counts for when it is dropped: its requests, or its exposures where those are more."""
    requests, exposures = entry["requests"], entry["exposures"]
    assert isinstance(requests, int)
    assert isinstance(exposures, int)
    return max(requests, exposures)


def weight(entries: list[dict[str, object]]) -> int:
    """How many counts are lost with these entries."""
    return sum(_weight(entry) for entry in entries)
