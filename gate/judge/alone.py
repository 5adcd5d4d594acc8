"""All users are on the canary: is it worse than stable was before? Only for rollouts without a hold-back.

A weaker question than that of `harm`, because time and version cannot be told apart: an incident looks like a
regression. So twice stable's earlier rate is allowed, and the verdict says what it compares.
"""

from dataclasses import dataclass, field
from math import log

from gate.judge.eprocess import EProcess, Stakes, bet
from gate.judge.harm import EFFECTS, floor_gains
from rampgate.evidence import Sample

DRIFT = 2.0
"""How far stable's rate might have risen by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """The capital, and stable's requests and errors of the time when it had users."""

    capital: EProcess = field(default_factory=EProcess)
    batches: int = 0
    requests: int = 0
    errors: int = 0


def remember(alone: Alone, stable: Sample) -> Alone:
    """With one more sample of stable, from before the switch."""
    return Alone(
        capital=alone.capital,
        batches=alone.batches,
        requests=alone.requests + stable.requests,
        errors=alone.errors + stable.errors,
    )


def weigh(alone: Alone, canary: Sample, *, floor: float, delta: float, stakes: Stakes, cap: float) -> Alone:
    """With one more batch of the canary; ``delta`` is the chance of having taken stable's earlier rate for too low.

    Without an earlier rate nothing can be said, and nothing is bet.
    """
    if alone.requests == 0:
        return alone
    limit = max(floor, DRIFT * highest_mean(alone.errors, delta) / alone.requests)
    stake = stakes.at(alone.batches, reserve=alone.capital.reserve, new_step=False)
    gains = floor_gains(canary.requests, canary.errors, limit, EFFECTS)
    return Alone(
        capital=bet(alone.capital, gains, stake=stake, cap=cap),
        batches=alone.batches + 1,
        requests=alone.requests,
        errors=alone.errors,
    )


def highest_mean(count: int, delta: float) -> float:
    """The mean at which ``count`` errors, or fewer, had a chance of at most ``delta``, by Chernoff's bound."""
    low, high = float(count), count + 10.0 - 4.0 * log(delta) + 4.0 * count
    for _ in range(60):
        mean = (low + high) / 2
        surprise = mean - count + (count * log(count / mean) if count else 0.0)
        low, high = (mean, high) if surprise < -log(delta) else (low, mean)
    return high
