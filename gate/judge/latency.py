"""Is the canary slower? "Took longer than this bound" is a failure like any other, and judged by the same game.

Which bounds are bet on is decided from stable's past alone. No quantile is ever interpolated, and what slows both
arms alike cancels. (The idea of betting on the arm of each event: `harm`.)
"""

from collections.abc import Sequence
from itertools import pairwise

from rampgate.evidence import Histogram

ENOUGH = 500
"""Stable's requests from which its spread can be read."""

RARE, COMMON = 0.0005, 0.2
"""Bounds that fewer, or more, of stable's requests exceed say little about a slower tail."""

MOST = 5
"""Bounds bet on, of those that qualify: neighbours say much the same."""


def is_sound(histogram: Histogram) -> bool:
    """Whether bounds rise and counts do, and none exceeds the total."""
    bounds, counts = histogram.bounds, (0, *histogram.counts, histogram.total)
    return (
        len(bounds) == len(histogram.counts) > 0
        and all(low < high for low, high in pairwise(bounds))
        and all(low <= high for low, high in pairwise(counts))
    )


def choose(total: int, counts: Sequence[int]) -> tuple[int, ...]:
    """Which bounds to bet on, by number; none before stable's spread is known.

    Of those that a suitable part of stable's requests exceeds, evenly; and the first that none exceeds, where a new
    slow tail would show.
    """
    if total < ENOUGH:
        return ()
    beyond = [(total - count) / total for count in counts]
    suitable = [number for number, part in enumerate(beyond) if RARE <= part <= COMMON]
    if len(suitable) > MOST - 1:
        last = len(suitable) - 1
        suitable = [suitable[round(number * last / (MOST - 2))] for number in range(MOST - 1)]
    never = [number for number, part in enumerate(beyond) if part < RARE][:1]
    return tuple(sorted({*suitable, *never}))


def quantile(bounds: Sequence[float], counts: Sequence[int], total: int, part: float) -> float | None:
    """The bound that this part of the requests stays within: at most so much, never less. ``None``: beyond them all."""
    if total <= 0:
        return None
    return next((bound for bound, count in zip(bounds, counts, strict=True) if count >= part * total), None)
