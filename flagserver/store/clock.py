"""The clock of deadlines: steady while the process lives, and never behind what the store has recorded."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since the epoch. Tests hand in their own."""


def _elapsed() -> float:
    # Counts the time that the machine slept, too: a lease must lapse for a virtual machine that was stopped.
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SteadyClock:
    """The wall clock at the start, and steady seconds from there: stepping the system's clock moves no deadline."""

    def __init__(self, wall: Clock = time.time, elapsed: Clock = _elapsed) -> None:
        self._elapsed = elapsed
        self._offset = wall() - elapsed()

    def __call__(self) -> float:
        return self._elapsed() + self._offset

    def set(self, moment: float) -> None:
        """Follow another clock (the database's), as it stood just now."""
        self._offset = moment - self._elapsed()

    def not_before(self, moment: float) -> None:
        """Go on from ``moment`` if the wall clock was set back below it since it was recorded."""
        self._offset = max(self._offset, moment - self._elapsed())
