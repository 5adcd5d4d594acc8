"""Is the canary known to be well? Which regressions the data of one step exclude.

Health is not the absence of evidence of harm: it is evidence against harm, and each step has to bring its own, since
what was well at 10 % of the users may not be at 50 %. The bets are those of `harm`, placed on the other side.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log

from gate.judge.counters import Batch
from gate.judge.eprocess import add_logs, effects, mean_of_logs, sum_of_logs

SPACING = 0.05
"""Of the ratios looked at, in nats: each is 5 % above the one before."""

BELOW, ABOVE = 85, 70
"""How many ratios lie below and above the step's limit."""

RELATIVE, ABSOLUTE = 0.8, 0.2
"""How the capital is divided between the two ways to be well."""

EFFECTS = effects(0.12, 3.0, 16)
"""How far under the floor the bets of the absolute way lie, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The log-likelihood of each ratio of error rates, given the errors' total, in one step.

    ``curve`` lies on ratios around ``limit``, the ratio that has to be excluded, so that each test is made of
    its points. ``errors`` and ``requests`` are the canary's, tempered, for the absolute way.
    """

    limit: float
    curve: tuple[float, ...] = (0.0,) * (BELOW + 1 + ABOVE)
    errors: float = 0.0
    requests: float = 0.0


def seen(promotion: Promotion, batch: Batch, factor: float) -> Promotion:
    """With one more batch of the step; ``factor`` is the dispersion to temper by."""
    x, n, m = batch.canary.errors, batch.canary.requests, batch.stable.requests
    errors = x + batch.stable.errors
    lowest = log(promotion.limit) - BELOW * SPACING
    curve = []
    for number, height in enumerate(promotion.curve):
        nats = lowest + number * SPACING
        curve.append(height + (x * nats - errors * log((n * exp(nats) + m) / (n + m))) / factor)
    return Promotion(
        limit=promotion.limit,
        curve=tuple(curve),
        errors=promotion.errors + x / factor,
        requests=promotion.requests + n / factor,
    )


def log_e(promotion: Promotion, floor: float) -> float:
    """Evidence, in nats, that the canary is not worse than the limit allows.

    Either its ratio is under the limit, or its rate is proved under the floor, where nothing counts as harm: the
    weighted mean of the two e-values is one against "the ratio is at least the limit, and the rate at least the floor".
    """
    absolute = [promotion.requests * floor * (1.0 - exp(-d)) - promotion.errors * d for d in EFFECTS]
    return add_logs(log(RELATIVE) + _against(promotion, BELOW), log(ABSOLUTE) + mean_of_logs(absolute))


def is_well(promotion: Promotion, floor: float, beta: float) -> bool:
    """Whether the canary is known, at 1 - beta, not to be worse than the limit allows."""
    return log_e(promotion, floor) >= -log(beta)


def excluded(promotion: Promotion, beta: float) -> float | None:
    """The smallest tested ratio >= 1 that is excluded at 1 - beta, every larger one with it; ``None``: not one."""
    lowest = max(1, BELOW - int(log(promotion.limit) / SPACING))
    highest = BELOW + ABOVE
    if _against(promotion, highest) < -log(beta):
        return None
    # The curve is concave and what is left of a ratio only grows, so the evidence rises with the ratio: halve.
    while lowest < highest:
        middle = (lowest + highest) // 2
        if _against(promotion, middle) >= -log(beta):
            highest = middle
        else:
            lowest = middle + 1
    return promotion.limit * exp((lowest - BELOW) * SPACING)


def _against(promotion: Promotion, number: int) -> float:
    """Evidence, in nats, against the ratio at this place of the curve, and so against every larger one."""
    here, bets = promotion.curve[number], _bets(promotion.limit)
    return sum_of_logs([bets[lower] + promotion.curve[lower] - here for lower in range(number)])


@lru_cache(maxsize=16)
def _bets(limit: float) -> tuple[float, ...]:
    """Per ratio, ln of the share of capital that is bet on it; all together 1.

    A healthy canary is about as good as stable, so most lies within a fifth of 1; the rest is spread evenly, for
    canaries that mend something. Any division that is fixed beforehand is as honest.
    """
    nats = [log(limit) + (number - BELOW) * SPACING for number in range(BELOW + 1 + ABOVE)]
    near = [exp(-12.5 * z * z) for z in nats]
    spread = [float(-3.0 <= z <= 1.0) for z in nats]
    shares = [0.8 * one / sum(near) + 0.2 * other / sum(spread) for one, other in zip(near, spread, strict=True)]
    return tuple(log(max(share, 1e-300)) for share in shares)
