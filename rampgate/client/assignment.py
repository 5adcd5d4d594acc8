"""One user's variant for one request, and the outcome owed for it. The first word counts; silence is a failure."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rampgate.client.answers import Details
from rampgate.client.counts import Arm, ArmKey, Count, Counts
from rampgate.client.snapshot import PINS, Clock, Pinned

MAX_OPEN = 100_000
"""Requests that may run at once. Past it an assignment is served, but not counted."""


@dataclass(slots=True)
class _Debt:
    key: ArmKey
    user: str
    since: float


class Owed:
    """The outcomes that running requests still owe. Whoever takes one out of it records it: so each counts once."""

    def __init__(self, clock: Clock, timeout: float, counts: Counts) -> None:
        self.clock = clock
        self.timeout = timeout
        self._refused = Count()
        self._counts = counts
        self._number = itertools.count().__next__
        self._open: dict[int, _Debt] = {}

    def add(self, key: ArmKey, user: str, now: float) -> int | None:
        """Count an exposure, and owe its outcome from ``now`` on; ``None`` when too many are open."""
        if len(self._open) >= MAX_OPEN:
            self._refused.add()
            return None
        number = self._number()
        self._open[number] = _Debt(key, user, now)
        self._counts.arm(key).exposures.add()
        return number

    def renew(self, number: int) -> None:
        """The request gave a sign of life: its time-out starts again."""
        found = self._open.get(number)
        if found is not None:
            found.since = self.clock()

    def take(self, number: int) -> Arm | None:
        """The arm whose outcome is now recorded; ``None``: it was recorded before."""
        found = self._open.pop(number, None)
        return None if found is None else self._counts.arm(found.key)

    def refuse(self) -> None:
        """An outcome is counted nowhere, and reported as dropped."""
        self._refused.add()

    def take_refused(self) -> int:
        """How many outcomes found no place since the last time. For one thread at a time."""
        return self._refused.drain()

    def expire(self) -> None:
        """Record a failure for each request that has been silent for longer than the time-out."""
        limit = self.clock() - self.timeout
        for number, debt in list(self._open.items()):
            if debt.since < limit and (arm := self.take(number)) is not None:
                arm.record(False, None, debt.user)


class Assignment:
    """A user's variant, fixed for one request. Made by ``FlagClient.assign`` and ``observe``.

    While it is ``pinned``, lookups of the same flag and user in the same thread or task give the same value and
    count no exposure of their own. ``visits`` are the flags that the request's tester tokens force, for any user.
    """

    __slots__ = ("_number", "_since", "details", "owed", "user", "visits")

    def __init__(
        self,
        details: Details[Any],
        user: str | None,
        key: ArmKey | None,
        owed: Owed,
        visits: "Mapping[str, Assignment] | None" = None,
    ) -> None:
        self.details = details
        self.visits = visits or {}
        self.user = user
        self.owed = owed
        self._since = owed.clock()
        self._number = None if key is None or user is None else owed.add(key, user, self._since)

    @property
    def flag(self) -> str:
        return self.details.flag

    @property
    def value(self) -> object:
        return self.details.value

    @property
    def variant(self) -> str | None:
        """``None`` where the app's default counts."""
        return self.details.variant

    @property
    def counted(self) -> bool:
        """Whether this request is evidence in a rollout, or at least counted for a flag in none."""
        return self._number is not None

    def finish(self, *, ok: bool, ms: float | None = None) -> None:
        """Record how the request ended. Only the first call counts, and none after the time-out.

        Args:
            ok: whether it went well.
            ms: how long it took, in milliseconds; ``None``: since the assignment.
        """
        if self._number is None:
            return
        arm = self.owed.take(self._number)
        if arm is not None:
            arm.record(ok, (self.owed.clock() - self._since) * 1000 if ms is None else ms, self.user or "")

    def renew(self) -> None:
        """Say that the request is alive: a long download is no failure as long as it moves."""
        if self._number is not None:
            self.owed.renew(self._number)

    @contextmanager
    def pinned(self) -> Iterator["Assignment"]:
        """Hold this variant for every lookup of the flag and user in this thread or task."""
        mine: dict[tuple[str, str | None], Pinned] = {(flag, None): held for flag, held in self.visits.items()}
        if self.user is not None and self.variant is not None:
            mine[self.flag, self.user] = self
        if not mine:
            yield self
            return
        token = PINS.set({**(PINS.get() or {}), **mine})
        try:
            yield self
        finally:
            PINS.reset(token)
