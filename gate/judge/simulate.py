"""Rollouts that never happened: a plan over traffic that is made up, or that was recorded, under a seed.

Traffic is Poisson, errors fall by the rates of a `World`. The plan's ramp is walked by the judge's own words and the
bakes; what people, leases and deployers do to a rollout is not simulated. Further metrics are made up, alike in both
arms, and fixed limits on them are left out.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from gate.judge.replay import begun
from gate.judge.state import JudgeState, Situation
from gate.judge.verdict import judge
from rampgate.criteria import ERRORS, MetricKind
from rampgate.evidence import (
    Counters,
    Histogram,
    Look,
    Measure,
    Measured,
    Moments,
    Reading,
    Value,
    VerdictWord,
)
from rampgate.plan import WHOLE, RolloutPlan

USUAL = ((0.05, 0.5), (0.1, 0.8), (0.25, 0.95), (0.5, 0.99), (1.0, 1.0))
"""Seconds, and the part of the requests that takes at most so long."""

_Beside = Mapping[str, "tuple[_Made, _Made]"]
"""Both arms' figures of each further metric."""

LONGEST = 20_000
"""Polls after which a simulated rollout is left where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Traffic that a rollout meets: ``ratio`` is the canary's error rate over stable's, from ``onset`` on.

    ``per_second`` are requests of all users, ``rate`` the part that fails on stable. ``recorded`` takes their place
    where it is given: (seconds, requests, errors) of both arms together, poll by poll, over and over again.
    """

    per_second: float = 100.0
    rate: float = 0.01
    ratio: float = 1.0
    onset: float = 0.0
    recorded: tuple[tuple[float, int, int], ...] = ()

    def weather(self, number: int) -> tuple[float, float]:
        """Requests per second and stable's error rate at this poll."""
        if not self.recorded:
            return self.per_second, self.rate
        length, requests, errors = self.recorded[number % len(self.recorded)]
        return requests / length, errors / max(1, requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How one rollout ended: when it was reverted or through (both ``None``: neither), and what the canary cost."""

    reverted: float | None = None
    promoted: float | None = None
    bad: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Many rollouts of one ratio: how many were reverted and how many got through; times in seconds."""

    ratio: float
    rollouts: int
    reverted: int
    promoted: int
    median_revert: float | None
    late_revert: float | None
    median_promote: float | None
    bad: float
    times: tuple[float, ...]


def poisson(rng: random.Random, mean: float) -> int:
    """Exact, in logarithmic time, by splitting at a gamma variate (Ahrens & Dieter 1974)."""
    count = 0
    while mean > 12.0:
        part = int(mean * 7 / 8)
        at = rng.gammavariate(part, 1.0)
        if at > mean:
            return count + binomial(rng, part - 1, mean / at)
        count, mean = count + part, mean - at
    limit, product = math.exp(-mean), rng.random()
    while product > limit:
        count, product = count + 1, product * rng.random()
    return count


def binomial(rng: random.Random, tries: int, chance: float) -> int:
    """Exact, in logarithmic time, by splitting at a beta variate."""
    count = 0
    while tries > 40:
        middle = tries // 2 + 1
        at = rng.betavariate(middle, tries + 1 - middle)
        if at <= chance:
            count, tries, chance = count + middle, tries - middle, (chance - at) / (1.0 - at)
        else:
            tries, chance = middle - 1, chance / at
    return count + sum(rng.random() < chance for _ in range(tries))


def of_looks(looks: Sequence[Look]) -> tuple[tuple[float, int, int], ...]:
    """The traffic of recorded looks, for ``World.recorded``: stable's error rate, and the requests of both arms."""
    found: list[tuple[float, int, int]] = []
    for before, look in pairwise(looks):
        length = look.at - before.at
        if look.stable is None or look.canary is None or length <= 0:
            continue
        requests = look.stable.requests + look.canary.requests
        if look.stable.requests and requests:
            found.append((length, requests, round(requests * look.stable.errors / look.stable.requests)))
    return tuple(found)


def ramp(plan: RolloutPlan, world: World, seed: int) -> Fate:
    """One rollout, from its first step to its revert or its last bake."""
    plan = _with_limits_on_errors(plan)
    rng, state = random.Random(f"ramp {seed}"), begun(plan)
    beside = {one.name: (_Made(one.kind), _Made(one.kind)) for one in plan.judge.metrics}
    now, step, entered, bad = 0.0, 1, 0.0, 0
    counts = [[0, 0], [0, 0]]
    state = _seen_before(plan, world, rng, state, counts, beside)
    for number in range(LONGEST):
        last = step == plan.last
        share = min(plan.step(step).share, WHOLE - plan.hold_back) if last else plan.step(step).share
        if number:
            now += plan.poll
            bad += _pass_by(rng, world, plan.poll, now, share, number, counts, beside)
        situation = Situation(step=step, share=share, last=last, settled_at=entered)
        state, look = judge(state, situation, _reading(now, counts, beside))
        word = look.verdict.word
        if word is VerdictWord.REGRESSED:
            return Fate(reverted=now, bad=bad)
        if word is VerdictWord.HEALTHY and now >= entered + plan.step(step).bake:
            if last:
                return Fate(promoted=now, bad=bad)
            step, entered = step + 1, now
        if now - entered > plan.timeout(step):
            break
    return Fate(bad=bad)


def _seen_before(
    plan: RolloutPlan, world: World, rng: random.Random, state: JudgeState, counts: list[list[int]], beside: _Beside
) -> JudgeState:
    """Where everybody leaves stable at once, it is looked at in the dark: up to 0, the first user's moment."""
    polls = math.ceil(plan.dark.bake / plan.poll) if len(plan.steps) == 1 and not plan.hold_back else 0
    for number in range(-polls, 0):
        now = number * plan.poll
        _pass_by(rng, world, plan.poll, now, 0, -number, counts, beside)
        situation = Situation(step=0, share=0, last=False, settled_at=-polls * plan.poll)
        state, _ = judge(state, situation, _reading(now, counts, beside))
    return state


def _pass_by(
    rng: random.Random,
    world: World,
    length: float,
    now: float,
    share: int,
    number: int,
    counts: list[list[int]],
    beside: _Beside,
) -> int:
    """One poll's traffic, and what further metrics make of it; how many requests failed on the canary."""
    before = [one[0] for one in counts]
    bad = _poll(rng, world, length, now, share, number, counts)
    for both in beside.values():
        for made, had, has in zip(both, before, counts, strict=True):
            made.add(rng, has[0] - had)
    return bad


def _poll(
    rng: random.Random, world: World, length: float, now: float, share: int, number: int, counts: list[list[int]]
) -> int:
    """Let one poll's traffic come in; the answer is how many requests failed on the canary."""
    per_second, rate = world.weather(number)
    ratio = world.ratio if now > world.onset else 1.0
    for arm, part, own in ((0, 1 - share / WHOLE, rate), (1, share / WHOLE, min(1.0, rate * ratio))):
        requests = poisson(rng, per_second * length * part)
        failed = binomial(rng, requests, own)
        counts[arm][0] += requests
        counts[arm][1] += failed
    return failed


class _Made:
    """One arm's figures of a further metric: a usual spread, 1 % of failures, values around 1."""

    def __init__(self, kind: MetricKind) -> None:
        self._kind = kind
        self._figures = [0.0] * (1 + len(USUAL))

    def add(self, rng: random.Random, requests: int) -> None:
        """The figures of so many more requests."""
        more: list[float] = [requests]
        if self._kind is MetricKind.LATENCY:
            left, before = requests, 0.0
            for _, within in USUAL:
                here = binomial(rng, left, (within - before) / (1.0 - before)) if before < 1.0 else left
                left, before = left - here, within
                more.append(requests - left)
        elif self._kind is MetricKind.MEAN:
            values = [rng.expovariate(1.0) for _ in range(min(requests, 500))]
            more = [len(values), sum(values), sum(one * one for one in values)]
        else:
            more.append(binomial(rng, requests, 0.01))
        for place, one in enumerate(more):
            self._figures[place] += one

    def measure(self) -> Measure:
        """What a source would say."""
        first, *rest = self._figures
        match self._kind:
            case MetricKind.LATENCY:
                counts = tuple(int(one) for one in rest)
                return Histogram(bounds=tuple(bound for bound, _ in USUAL), counts=counts, total=int(first))
            case MetricKind.MEAN:
                return Moments(count=int(first), sum=rest[0], squares=rest[1])
            case MetricKind.VALUE:
                return Value(value=0.0)
            case _:
                return Counters(requests=int(first), errors=int(rest[0]))


def _with_limits_on_errors(plan: RolloutPlan) -> RolloutPlan:
    kept = tuple(one for one in plan.judge.limits if one.metric == ERRORS)
    return replace(plan, judge=replace(plan.judge, limits=kept))


def _reading(now: float, counts: Sequence[Sequence[int]], beside: _Beside | None = None) -> Reading:
    stable, canary = (Counters(requests=one[0], errors=one[1]) for one in counts)
    metrics = {
        name: Measured(stable=one.measure(), canary=other.measure()) for name, (one, other) in (beside or {}).items()
    }
    return Reading(at=now, stable=stable, canary=canary, metrics=metrics)


def rows(plan: RolloutPlan, world: World, ratios: Sequence[float], rollouts: int) -> Iterator[Row]:
    """For each ratio, what became of so many rollouts."""
    for ratio in ratios:
        fates = [ramp(plan, replace(world, ratio=ratio), seed) for seed in range(rollouts)]
        times = sorted(fate.reverted - world.onset for fate in fates if fate.reverted is not None)
        through = sorted(fate.promoted for fate in fates if fate.promoted is not None)
        yield Row(
            ratio=ratio,
            rollouts=rollouts,
            reverted=len(times),
            promoted=len(through),
            median_revert=median(times) if times else None,
            late_revert=times[int(0.9 * len(times))] if times else None,
            median_promote=median(through) if through else None,
            bad=sum(fate.bad for fate in fates) / rollouts,
            times=tuple(times),
        )
