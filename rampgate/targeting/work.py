"""How much work one evaluation may be: a rule that repeats itself over a long array, or makes text double at each step,
must not hold up everybody else. Counted only where a rule repeats; all other rules pay nothing.
"""

import threading
from collections.abc import Callable, Sequence

MOST_WORK = 100_000
"""Units of one evaluation: operators run, members of arrays read, and every 64 characters of text made. About 20 ms."""

_CHARACTERS = 64


class TooMuchWorkError(Exception):
    """A rule repeats more than an evaluation may."""


class _Left(threading.local):
    units: int | None = None
    """What the evaluation of this thread has left; ``None``: it is not counted."""


_left = _Left()


def spend(units: int) -> None:
    """Count work, where this evaluation is counted.

    Raises:
        TooMuchWorkError: it was more than an evaluation may be.
    """
    if _left.units is None:
        return
    _left.units -= units
    if _left.units < 0:
        raise TooMuchWorkError(f"The targeting repeats too much: more than {MOST_WORK} steps for one answer.")


def counted(rule: Callable[[object, float], object]) -> Callable[[object, float], object]:
    """The rule, each of whose evaluations may be so much work and no more."""

    def run(data: object, now: float) -> object:
        _left.units = MOST_WORK
        try:
            return rule(data, now)
        finally:
            _left.units = None

    return run


def weighed(operator: Callable[..., object]) -> Callable[..., object]:
    """The operator, whose arguments and result count by their length."""

    def run(*values: object) -> object:
        found = operator(*values)
        spend(sum(map(_weight, values)) + _weight(found))
        return found

    return run


def _weight(value: object) -> int:
    if isinstance(value, str):
        return len(value) // _CHARACTERS
    return len(value) if isinstance(value, Sequence) else 0
