"""How much work one evaluation may be: a rule that repeats itself over a long array, or makes text double at each step,
must not hold up everybody else. Counted only where a rule repeats; all other rules pay nothing.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

MOST_WORK = 100_000
"""Units of one evaluation: operators run, members of arrays read, and every 64 characters of text made. About 20 ms."""

_CHARACTERS = 64


class TooMuchWorkError(Exception):
    """A rule repeats more than an evaluation may."""


@dataclass(slots=True)
class _Left:
    units: int = MOST_WORK


_left: ContextVar[_Left | None] = ContextVar("left", default=None)
"""What the evaluation under way has left; ``None``: it is not counted."""


def spend(units: int) -> None:
    """Count work, where this evaluation is counted.

    Raises:
        TooMuchWorkError: it was more than an evaluation may be.
    """
    left = _left.get()
    if left is None:
        return
    left.units -= units
    if left.units < 0:
        raise TooMuchWorkError(f"The targeting repeats too much: more than {MOST_WORK} steps for one answer.")


def counted(rule: Callable[[object, float], object]) -> Callable[[object, float], object]:
    """The rule, each of whose evaluations may be so much work and no more."""

    def run(data: object, now: float) -> object:
        before = _left.set(_Left())
        try:
            return rule(data, now)
        finally:
            _left.reset(before)

    return run


def weighed(operator: Callable[..., object]) -> Callable[..., object]:
    """The operator, whose arguments and result count by their length."""

    def run(*values: object) -> object:
        found = operator(*values)
        spend(sum(map(weight, values)) + weight(found))
        return found

    return run


def weight(value: object) -> int:
    """What a text or an array counts by its length."""
    if isinstance(value, str):
        return len(value) // _CHARACTERS
    return len(value) if isinstance(value, Sequence) else 0
