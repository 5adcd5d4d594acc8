"""Is the canary known to be well? Which regressions the data of one step exclude.

Health is not the absence of evidence of harm: it is evidence against harm, and each step has to bring its own, since
what was well at 10 % of the users may not be at 50 %. The bets are those of `harm`, placed on the other side.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log

from gate.judge.counters import Batch
from gate.judge.eprocess import add_logs, effects, mean_of_logs

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
    errors, total, ratios = x + batch.stable.errors, n + m, _ratios(promotion.limit)
    curve = [
        height + (x * nats - errors * log((n * ratio + m) / total)) / factor
        for height, (nats, ratio, _) in zip(promotion.curve, ratios, strict=True)
    ]
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
    return add_logs(log(RELATIVE) + _against(promotion)[BELOW], log(ABSOLUTE) + mean_of_logs(absolute))


def is_well(promotion: Promotion, floor: float, beta: float) -> bool:
    """Whether the canary is known, at 1 - beta, not to be worse than the limit allows."""
    return log_e(promotion, floor) >= -log(beta)


def excluded(promotion: Promotion, beta: float) -> float | None:
    """The smallest tested ratio >= 1 that is excluded at 1 - beta, every larger one with it; ``None``: not one."""
    tested = zip(_ratios(promotion.limit), _against(promotion), strict=True)
    return next((ratio for (nats, ratio, _), found in tested if nats >= 0.0 and found >= -log(beta)), None)


def _against(promotion: Promotion) -> list[float]:
    """Per ratio, evidence in nats against it and every larger one: what was bet on smaller ones, over its likelihood.

    The curve is concave, so from its top on this rises with the ratio; before its top it is below 0, and may be -inf.
    """
    top, capital, evidence = max(promotion.curve), 0.0, []
    for height, (_, _, stake) in zip(promotion.curve, _ratios(promotion.limit), strict=True):
        evidence.append(top - height + log(capital) if capital > 0.0 else -inf)
        capital += stake * exp(height - top)
    return evidence


@lru_cache(maxsize=16)
def _ratios(limit: float) -> tuple[tuple[float, float, float], ...]:
    """The ratios looked at: in nats, as such, and the share of capital that is bet on each; the shares make 1.

    A healthy canary is about as good as stable, so most lies within a fifth of 1; the rest is spread evenly, for
    canaries that mend something. Any division that is fixed beforehand is as honest.
    """
    nats = [log(limit) + (number - BELOW) * SPACING for number in range(BELOW + 1 + ABOVE)]
    near = [exp(-12.5 * z * z) for z in nats]
    spread = [float(-3.0 <= z <= 1.0) for z in nats]
    stakes = [0.8 * one / sum(near) + 0.2 * other / sum(spread) for one, other in zip(near, spread, strict=True)]
    return tuple((z, exp(z), stake) for z, stake in zip(nats, stakes, strict=True))
