"""Is the canary worse? The evidence that its error rate is above the margin, and above the floor.

The claim bet against: at every moment, canary rate <= margin x stable rate, or canary rate <= floor. The stable rate
may be anything and may change: only the split of each batch's errors between the arms counts, given the requests.
So what hits both arms alike cancels, and no baseline has to be estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import expm1, log1p

from gate.judge.counters import Batch
from gate.judge.eprocess import Dispersion, EProcess, Stakes, bell, bet, effects

EFFECTS = effects(0.12, 4.0, 16)
"""From x1.13 to x55 above the margin."""

PARTS = bell(EFFECTS, middle=0.48, width=0.5, least=0.02)
"""Most is bet on x1.3 to x2.5 above the margin: less takes hours anyway, and more is found at once."""

MEMORY = 0.9
"""What is kept from batch to batch of the usual ratio: some ten batches' worth."""

PRIOR = 10.0
"""Batches' worth of belief that errors are independent. Less slows every detection, more lets bursts pass for harm."""


def split_gains(n: float, x: float, m: float, y: float, limit: float, nats: Sequence[float]) -> list[float]:
    """Per effect d, ln of the e-value of the ratio ``limit`` x e^d against ``limit``; d < 0 bets on a better canary.

    With ``n``, ``x`` requests and errors of the canary, ``m``, ``y`` of stable, r the limit:
    x d - (x + y) ln((n r e^d + m) / (n r + m)). An e-value for Poisson errors and, by 1 + z <= e^z, for
    independent requests of any error rate, alike or not. It is conditional on the requests, which must not react to
    errors (the idea: Lindon & Malek 2020, arXiv 2011.03567; Lindon & Kallus 2024, arXiv 2410.09282).
    """
    if n <= 0 or m <= 0:
        return [0.0] * len(nats)
    weight = n * limit / (n * limit + m)
    return [x * d - (x + y) * log1p(weight * expm1(d)) for d in nats]


def floor_gains(n: float, x: float, floor: float, nats: Sequence[float]) -> list[float]:
    """Per effect d, ln of the e-value of the canary's rate ``floor`` x e^d against ``floor``, stable left aside."""
    return [x * d - n * floor * expm1(d) for d in nats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The canary's error rate over stable's, batch by batch (Mantel & Haenszel 1959): no mix of steps can bend it.

    It fades: harm that begins late is soon the usual ratio, and no longer taken for scatter.
    """

    canary: float = 0.0
    stable: float = 0.0

    def seen(self, batch: Batch) -> "Ratio":
        """With one more batch."""
        n, m = batch.canary.requests, batch.stable.requests
        return Ratio(
            canary=MEMORY * self.canary + batch.canary.errors * m / (n + m),
            stable=MEMORY * self.stable + batch.stable.errors * n / (n + m),
        )

    @property
    def value(self) -> float:
        """1 before anything was seen; never 0 and never infinite."""
        return (self.canary + 0.1) / (self.stable + 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """The two capitals, relative and absolute; how the errors scatter; and how many batches went in.

    ``tempered`` is the factor that the last batch's evidence was divided by.
    """

    relative: EProcess = field(default_factory=EProcess)
    absolute: EProcess = field(default_factory=EProcess)
    dispersion: Dispersion = field(default_factory=lambda: Dispersion(prior=PRIOR))
    tempered: float = 1.0
    ratio: Ratio = field(default_factory=Ratio)
    batches: int = 0
    step: int = 0

    @property
    def log_e(self) -> float:
        """Harm is above the margin *and* above the floor; so it has no more evidence than the weaker of the two.

        What the last batch has taught about the scatter came too late for its own bet; it still counts against a
        revert. (What is never more than an e-process keeps its guarantee.)
        """
        found = min(self.relative.log_e, self.absolute.log_e)
        return found * min(1.0, self.tempered / self.dispersion.factor) if found > 0.0 else found

    @property
    def raw(self) -> float:
        """The same without the burst guard."""
        return min(self.relative.raw, self.absolute.raw)


def weigh(harm: Harm, batch: Batch, *, margin: float, floor: float, stakes: Stakes, step: int, cap: float) -> Harm:
    """With one more batch, closed in ``step``; ``cap`` in nats a batch (the burst guard)."""
    n, x, m, y = batch.canary.requests, batch.canary.errors, batch.stable.requests, batch.stable.errors
    stake = stakes.at(harm.batches, reserve=harm.relative.reserve, new_step=step > harm.step)
    factor = harm.dispersion.factor
    relative = [gain / factor for gain in split_gains(n, x, m, y, margin, EFFECTS)]
    absolute = [gain / factor for gain in floor_gains(n, x, floor, EFFECTS)]
    usual = harm.ratio.value
    dispersion = harm.dispersion
    if harm.batches:
        share = n * usual / (n * usual + m)
        dispersion = dispersion.seen(x, of=x + y, probability=share, unsure=1.0 + 1.0 / min(harm.batches, 10))
    return Harm(
        relative=bet(harm.relative, relative, stake=stake, cap=cap, parts=PARTS),
        absolute=bet(harm.absolute, absolute, stake=stake, cap=cap, parts=PARTS),
        dispersion=dispersion,
        tempered=factor,
        ratio=harm.ratio.seen(batch),
        batches=harm.batches + 1,
        step=max(step, harm.step),
    )
