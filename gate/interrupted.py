"""The runner cancels the job: its signal becomes an exception in the main thread, raised until it is heard."""

import signal
from types import FrameType

from gate.errors import Exit

AGAIN = 4.0
"""Seconds after which it is raised again where nobody has heard it: Python drops what a signal's handler raises inside
a finalizer, and connections have some. The runner kills ten seconds after its first signal."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_kept: list[int] = []


class Interrupted(BaseException):
    """The runner cancels the job: it kills this process within ten seconds."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit = Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


def keep() -> None:
    """From now on the runner's signals are kept for ``catch_up``, until ``listen``."""
    for number in _SIGNALS:
        signal.signal(number, lambda number, _frame: _kept.append(number))


def listen() -> None:
    """From now on the runner's signals raise ``Interrupted`` in the main thread."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def catch_up() -> None:
    """Raise ``Interrupted`` for a signal that came before ``listen``."""
    if _kept:
        _interrupt(_kept[0], None)


def heard() -> None:
    """It has arrived. Whoever catches it says so first."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Once: what follows has a few seconds, and a second signal must not cut it short.
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)

    def repeat(_alarm: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    signal.signal(signal.SIGALRM, repeat)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise Interrupted(number)
