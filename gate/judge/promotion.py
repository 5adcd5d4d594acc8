"""Is the canary known to be well? Which regressions the data of one step exclude.

Health is not the absence of evidence of harm: it is evidence against harm, and each step has to bring its own, since
what was well at 10 % of the users may not be at 50 %. The bets are those of `harm`, placed on the other side.
"""

from dataclasses import dataclass
from math import exp, log

from gate.judge.counters import Batch
from gate.judge.eprocess import add_logs, mean_of_logs

SPACING = 0.05
"""Of the ratios looked at, in nats: each is 5 % above the one before."""

ABOVE, BELOW = 70, 25
"""How many ratios above and below the step's limit are tested."""

BETS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60)
"""How far under a tested ratio the bets lie, in spacings: from 0.1 to 3 nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The log-likelihood of each ratio of error rates, given the errors' total, in one step.

    ``curve`` lies on ratios around ``limit``, the ratio that has to be excluded, so that every test is a
    difference of two of its points. ``errors`` and ``requests`` are the canary's, tempered, for the absolute route.
    """

    limit: float
    curve: tuple[float, ...] = (0.0,) * (BETS[-1] + BELOW + 1 + ABOVE)
    errors: float = 0.0
    requests: float = 0.0


def seen(promotion: Promotion, batch: Batch, factor: float) -> Promotion:
    """With one more batch of the step; ``factor`` is the dispersion to temper by."""
    x, n, m = batch.canary.errors, batch.canary.requests, batch.stable.requests
    errors = x + batch.stable.errors
    lowest = log(promotion.limit) - (BETS[-1] + BELOW) * SPACING
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

    Either its ratio is under the limit, or its rate is proved under the floor, where nothing counts as harm: the mean
    of the two e-values is one against "the ratio is at least the limit, and the rate at least the floor".
    """
    nats = [offset * SPACING for offset in BETS]
    absolute = [promotion.requests * floor * (1.0 - exp(-d)) - promotion.errors * d for d in nats]
    relative = _at(promotion, BETS[-1] + BELOW)
    return add_logs(relative, mean_of_logs(absolute)) - log(2.0)


def excluded(promotion: Promotion, beta: float) -> float | None:
    """The smallest tested ratio >= 1 that is excluded at 1 - beta, every larger one with it; ``None``: not one."""
    lowest = BETS[-1] + max(0, BELOW - int(log(promotion.limit) / SPACING))
    highest = len(promotion.curve) - 1
    if _at(promotion, highest) < -log(beta):
        return None
    # The curve is concave, so the evidence rises with the ratio: halve.
    while lowest < highest:
        middle = (lowest + highest) // 2
        if _at(promotion, middle) >= -log(beta):
            highest = middle
        else:
            lowest = middle + 1
    return promotion.limit * exp((lowest - BETS[-1] - BELOW) * SPACING)


def _at(promotion: Promotion, number: int) -> float:
    """Evidence, in nats, against the ratio at this place of the curve, and so against every larger one."""
    here = promotion.curve[number]
    return mean_of_logs([promotion.curve[number - offset] - here for offset in BETS])
