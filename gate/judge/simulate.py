"""Rollouts that never happened: a plan over traffic that is made up, or that was recorded, under a seed.

Traffic is Poisson, errors fall by the rates of a `World`. The plan's ramp is walked by the judge's own words and the
bakes; what people, leases and deployers do to a rollout is not simulated.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from gate.judge.replay import begun
from gate.judge.state import Situation
from gate.judge.verdict import judge
from rampgate.evidence import Counters, Look, Reading, VerdictWord
from rampgate.plan import WHOLE, RolloutPlan

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
    rng, state = random.Random(f"ramp {seed}"), begun(plan)
    now, step, entered, bad = 0.0, 1, 0.0, 0
    counts = [[0, 0], [0, 0]]
    for number in range(LONGEST):
        last = step == plan.last
        share = min(plan.step(step).share, WHOLE - plan.hold_back) if last else plan.step(step).share
        if number:
            now += plan.poll
            bad += _poll(rng, world, plan.poll, now, share, number, counts)
        situation = Situation(step=step, share=share, last=last, settled_at=entered)
        state, look = judge(state, situation, _reading(now, counts))
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


def _reading(now: float, counts: Sequence[Sequence[int]]) -> Reading:
    stable, canary = (Counters(requests=one[0], errors=one[1]) for one in counts)
    return Reading(at=now, stable=stable, canary=canary)


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
