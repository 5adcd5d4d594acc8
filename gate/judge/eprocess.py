"""Evidence against a claim, as a capital that is bet batch by batch and stays honest however often it is looked at.

A gambler who starts with 1 and bets against a true claim seldom gets rich: P(capital ever reaches 1/alpha) <= alpha
(Ville 1939). The bets are spread over effect sizes (a mixture, after Robbins 1970) and over time (restarts). Values
and pure functions only; what the bets are about is in `harm`, `traffic` and `promotion`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, log1p
from operator import add


def effects(smallest: float, largest: float, count: int) -> tuple[float, ...]:
    """``count`` effect sizes, geometric from smallest to largest, in nats (logarithms of ratios).

    Geometric, because what is still undecided when a decision falls is a constant fraction of the effect itself.
    """
    return tuple(smallest * (largest / smallest) ** (j / (count - 1)) for j in range(count))


def bell(nats: Sequence[float], *, middle: float, width: float, least: float) -> tuple[float, ...]:
    """The logarithms of parts that make 1: a bell around ``middle``, on the logarithmic scale, on a floor of ``least``.

    Any division that is fixed beforehand is as honest; this one spends little on effects that are found at once.
    """
    heights = [exp(-0.5 * (log(one / middle) / width) ** 2) + least for one in nats]
    return tuple(log(one / sum(heights)) for one in heights)


@dataclass(frozen=True, slots=True, kw_only=True)
class EProcess:
    """One capital: what each effect's bets have become, what is not yet bet, and the whole.

    ``logs`` are ln M_j (empty until the first stake), ``reserve`` is cash. ``raw`` is the logarithm of the capital;
    ``log_e`` is the same with every batch's gain capped (the burst guard), and the one to decide by.
    """

    logs: tuple[float, ...] = ()
    reserve: float = 1.0
    raw: float = 0.0
    log_e: float = 0.0


def bet(
    process: EProcess, gains: Sequence[float], *, stake: float, cap: float, parts: Sequence[float] | None = None
) -> EProcess:
    """The capital after one batch.

    ``gains`` holds, per effect, the logarithm of an e-value: a number whose expectation, before the batch, is at most
    1 if the claim is true. ``stake`` is the cash that enters the bets first; it may depend on the past alone.
    ``cap`` is the most that one batch may add to ``log_e``, in nats. ``parts`` are the logarithms of the effects'
    parts of each stake, which make 1 (equal unless given).

    A capital that has fallen below 1 may return to 1 in one batch, whatever the cap: else a canary that
    has long been well would be given more looks than a new one. min(e, c) of an e-value is one again, for every c
    that is known before the batch; so the cap costs speed and never validity.
    """
    stake = min(stake, process.reserve)
    before = process.logs or (-inf,) * len(gains)
    fresh = log(stake) if stake > 0 else -inf
    logs = tuple(add_logs(old, fresh) + gain for old, gain in zip(before, gains, strict=True))
    reserve = process.reserve - stake
    cash = log(reserve) if reserve > 0 else -inf
    mean = mean_of_logs(logs) if parts is None else sum_of_logs(map(add, logs, parts))
    raw = add_logs(cash, mean)
    allowed = max(cap, -process.log_e)
    log_e = process.log_e + min(raw - process.raw, allowed)
    return replace(process, logs=logs, reserve=reserve, raw=raw, log_e=log_e)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stakes:
    """When cash enters the bets: much at the start, some at each later step, some spread over the plan and after it.

    Bets that were made while all was well are worth next to nothing when harm begins late; cash kept back and bet
    anew catches it as fast as harm that begins early. A convex mix of e-processes that start late is one again.
    """

    steps: int
    planned: int
    start: float = 0.74
    steps_part: float = 0.1

    def at(self, batches: int, *, reserve: float, new_step: bool) -> float:
        """What to stake on the batch that follows ``batches`` earlier ones, the first of its step or not."""
        ahead = max(0, self.steps - 1)
        if batches == 0:
            return self.start if ahead else self.start + self.steps_part
        stake = min(self.steps_part / ahead, reserve / 2) if new_step and ahead else 0.0
        overdue = batches - max(1, self.planned)
        if overdue < 0:
            return stake + (0.9 - self.steps_part - self.start) / max(1, self.planned)
        # Past the plan what is left is spent as 1/2, 1/6, 1/12 ... of it: for ever, and never all.
        return stake + (reserve - stake) / (overdue + 2)


FURTHEST = 60.0
"""The most that one batch may say about scatter, in squared standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """How much more the counts scatter than independent requests would, learned from the batches so far.

    Errors come in bursts (retries, one user's bad minute). Logarithms of e-values are divided by ``factor``; by
    Jensen's inequality e^(1/factor) is an e-value still, as long as the factor is known before the batch.
    """

    squares: float = 0.0
    batches: int = 0
    prior: float = 10.0

    @property
    def factor(self) -> float:
        """At least 1; the prior, as so many batches, says 1."""
        return max(1.0, (self.squares + self.prior) / (self.batches + self.prior))

    def seen(self, count: float, *, of: float, probability: float, unsure: float = 1.0) -> "Dispersion":
        """With one more batch, in which ``count`` of ``of`` fell where each falls with ``probability``.

        ``unsure`` is by how much the variance is larger because the probability is itself an estimate.
        """
        variance = of * probability * (1.0 - probability)
        if variance <= 0.5:
            return self
        # One batch is no measure of scatter: what is further out than this may as well be harm that begins.
        squares = self.squares + min(FURTHEST, (count - of * probability) ** 2 / (variance * unsure))
        return replace(self, squares=squares, batches=self.batches + 1)


def add_logs(first: float, second: float) -> float:
    """ln(e^first + e^second), for logarithms of any size."""
    if first < second:
        first, second = second, first
    return first if second == -inf else first + log1p(exp(second - first))


def mean_of_logs(logs: Sequence[float]) -> float:
    """ln of the mean of the e^log."""
    return sum_of_logs(logs) - log(len(logs))


def sum_of_logs(logs: Iterable[float]) -> float:
    """ln of the sum of the e^log."""
    values = tuple(logs)
    top = max(values)
    return top if top == -inf else top + log(sum(exp(value - top) for value in values))
