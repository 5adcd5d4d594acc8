"""Is a quantity's mean higher on the canary? For response sizes, queue lengths, costs: whatever has no bound.

The claim bet against: canary mean <= margin x stable mean. Each batch's difference, in its own standard errors, is
nearly normal, and the bets are likelihood ratios of shifted normals: asymptotic, so batches are large and bets small.
Differences are taken batch by batch, so what moves both arms cancels (Waudby-Smith et al. 2021, arXiv 2103.06476).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp, sqrt

from gate.judge.eprocess import Dispersion, EProcess, Stakes, bet, effects

LEAST = 100
"""Values of each arm that make a batch: below it a mean is not normal enough."""

EFFECTS = effects(0.03, 2.0, 12)
"""From 3 % above the margin to seven times as much, in nats."""

SMALL = 1.0
"""The largest shift bet on, in standard errors: larger ones would bet on the skewness of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """How many values one arm had in a batch, their sum, and the sum of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(
            count=self.count + other.count, total=self.total + other.total, squares=self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def error(self) -> float:
        """The squared standard error of the mean."""
        return max(0.0, self.squares / self.count - self.mean**2) / (self.count - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The capital against "not above the margin"; and that against "above the step's limit", anew in each step."""

    harm: EProcess = field(default_factory=EProcess)
    well: EProcess = field(default_factory=EProcess)
    dispersion: Dispersion = field(default_factory=Dispersion)
    canary: float = 0.0
    stable: float = 0.0
    batches: int = 0
    step: int = 0


def entered(means: Means) -> Means:
    """At the beginning of a step: what was well before has to be shown anew."""
    return replace(means, well=EProcess())


def weigh(
    means: Means, canary: Sums, stable: Sums, *, margin: float, limit: float, stakes: Stakes, step: int, cap: float
) -> Means:
    """With one more batch, of at least `LEAST` values an arm. Nothing is bet where stable's mean is not above 0."""
    if stable.mean <= 0.0 or canary.error + stable.error <= 0.0:
        return means
    stake = stakes.at(means.batches, reserve=means.harm.reserve, new_step=step > means.step)
    factor = means.dispersion.factor
    sums = means.canary + canary.mean, means.stable + stable.mean
    usual = sums[0] / sums[1]
    scatter = (canary.mean - usual * stable.mean) / sqrt(canary.error + usual**2 * stable.error)
    return Means(
        harm=bet(means.harm, _gains(canary, stable, margin, EFFECTS, factor), stake=stake, cap=cap),
        well=bet(
            means.well,
            _gains(canary, stable, limit, [-d for d in EFFECTS], factor),
            stake=0.0 if means.well.logs else 1.0,
            cap=cap,
        ),
        dispersion=replace(
            means.dispersion,
            squares=means.dispersion.squares + scatter**2,
            batches=means.dispersion.batches + 1,
        ),
        canary=sums[0],
        stable=sums[1],
        batches=means.batches + 1,
        step=max(step, means.step),
    )


def _gains(canary: Sums, stable: Sums, limit: float, nats: Sequence[float], factor: float) -> list[float]:
    """Per effect d, ln of the likelihood ratio of a mean ``limit`` x e^d against one of ``limit`` times stable's."""
    error = sqrt(canary.error + limit**2 * stable.error)
    z = (canary.mean - limit * stable.mean) / error
    shifts = [limit * (exp(d) - 1.0) * stable.mean / error for d in nats]
    small = [max(-SMALL, min(SMALL, shift)) for shift in shifts]
    return [(shift * z - shift**2 / 2.0) / factor for shift in small]
