"""How often the judge reverts a healthy release, and how fast it sees a bad one, in seeded simulations.

Prints Markdown tables, those of docs/judge.md. `python bench/judge_bench.py [--rollouts N]`; minutes on two cores.
"""

import argparse
import math
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from gate.judge import Situation, begin, judge
from gate.judge.simulate import binomial, poisson
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Counters, Reading, VerdictWord
from rampgate.plan import WHOLE

SETTINGS = JudgeSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Traffic that a rollout meets: ``ratio`` is the canary's error rate over stable's, from ``onset`` on.

    ``geometric`` is the mean size of bursts of errors, ``storms`` (chance, size) of rare ones; ``noise`` (cv, memory)
    of the arms' own rates from poll to poll; ``jitter`` (cv), ``shared`` (from, to, factor) and ``drift`` of both arms'
    rates; ``wobble`` of the time between polls; from ``crash`` on the canary has no requests.
    """

    base: float = 0.01
    rps: float = 100.0
    ratio: float = 1.0
    onset: float = 0.0
    poll: float = 60.0
    polls: tuple[int, ...] = (20, 20, 20)
    shares: tuple[int, ...] = (10_000, 50_000, 95_000)
    geometric: float = 1.0
    storms: tuple[float, int] | None = None
    noise: tuple[float, float] = (0.0, 0.0)
    jitter: float = 0.0
    wobble: float = 0.0
    shared: tuple[tuple[float, float, float], ...] = ()
    drift: float = 1.0
    crash: float | None = None

    @property
    def length(self) -> float:
        return sum(self.polls) * self.poll


@dataclass(frozen=True, slots=True)
class Fate:
    """When a rollout was reverted, and how long after its start each step was first found well."""

    reverted: float | None
    healthy: dict[int, float]


def errors(rng: random.Random, world: World, requests: int, chance: float) -> int:
    """Errors among ``requests``, with the mean that ``chance`` gives, however they cluster."""
    if world.storms is not None:
        often, size = world.storms
        bursts = poisson(rng, requests * chance / (1 + often * (size - 1)))
        return min(requests, bursts + (size - 1) * binomial(rng, bursts, often))
    if world.geometric > 1.0:
        count = poisson(rng, requests * chance / world.geometric)
        extra = poisson(rng, rng.gammavariate(count, world.geometric - 1.0)) if count else 0
        return min(requests, count + extra)
    return binomial(rng, requests, chance)


def lognormal(rng: random.Random, cv: float, memory: float, before: float) -> tuple[float, float]:
    """A factor of mean 1 and this coefficient of variation, and the Gaussian it was made of."""
    sigma = math.sqrt(math.log1p(cv * cv))
    normal = memory * before + math.sqrt(1 - memory * memory) * rng.gauss(0.0, 1.0)
    return math.exp(sigma * normal - sigma * sigma / 2), normal


def polls(world: World, rng: random.Random) -> Iterator[tuple[Situation, Reading]]:
    """The readings of a rollout that widens by the clock alone, whatever the judge says."""
    stable, canary, now, gauss = [0, 0], [0, 0], 0.0, [0.0, 0.0]
    for number, (share, count) in enumerate(zip(world.shares, world.polls, strict=True), start=1):
        situation = Situation(step=number, share=share, last=number == len(world.shares), settled_at=now)
        yield situation, _reading(now, stable, canary)
        for _ in range(count):
            length = world.poll * (1 + world.wobble * rng.uniform(-1, 1))
            now += length
            weather = world.drift ** (now / world.length)
            weather *= math.prod(factor for start, end, factor in world.shared if start < now <= end)
            if world.jitter:
                weather *= lognormal(rng, world.jitter, 0.0, 0.0)[0]
            for arm, part in ((stable, 1 - share / WHOLE), (canary, share / WHOLE)):
                own, gauss[arm is canary] = lognormal(rng, *world.noise, gauss[arm is canary])
                worse = world.ratio if arm is canary and now > world.onset else 1.0
                gone = arm is canary and world.crash is not None and now > world.crash
                requests = 0 if gone else poisson(rng, world.rps * length * part)
                arm[0] += requests
                arm[1] += errors(rng, world, requests, min(1.0, world.base * weather * own * worse))
            yield situation, _reading(now, stable, canary)


def _reading(now: float, stable: list[int], canary: list[int]) -> Reading:
    return Reading(
        at=now,
        stable=Counters(requests=stable[0], errors=stable[1]),
        canary=Counters(requests=canary[0], errors=canary[1]),
    )


def run(world: World, settings: JudgeSettings, seed: int) -> Fate:
    """One rollout, to its end or its revert."""
    rng = random.Random(f"rollout {seed}")
    state = begin(settings, steps=len(world.shares), planned_polls=sum(world.polls))
    healthy: dict[int, float] = {}
    for situation, reading in polls(world, rng):
        state, look = judge(state, situation, reading)
        if look.verdict.word is VerdictWord.REGRESSED:
            return Fate(reading.at, healthy)
        if look.verdict.word is VerdictWord.HEALTHY:
            healthy.setdefault(situation.step, reading.at - situation.settled_at)
    return Fate(None, healthy)


def fates(pool: ProcessPoolExecutor, world: World, rollouts: int, settings: JudgeSettings = SETTINGS) -> list[Fate]:
    """Many rollouts, each with its own seed."""
    return list(pool.map(partial(run, world, settings), range(rollouts), chunksize=max(1, rollouts // 16)))


def bound(world: World, settings: JudgeSettings = SETTINGS) -> float:
    """Seconds of this ramp that any test at this alpha and margin needs on average, if it knew both rates.

    ln(1/alpha) over the information of a request, min over q of w kl(pc, margin q) + (1 - w) kl(ps, q).
    """
    bad, good, missing, seconds = world.base * world.ratio, world.base, -math.log(settings.alpha), 0.0
    for share, count in zip(world.shares, world.polls, strict=True):
        w = share / WHOLE
        grid = [good * (bad / good) ** (number / 400) for number in range(401)]
        least = min(w * _kl(bad, min(0.999, settings.margin * q)) + (1 - w) * _kl(good, q) for q in grid)
        here = missing / (least * world.rps)
        if here <= count * world.poll:
            return seconds + here
        missing, seconds = missing - least * world.rps * count * world.poll, seconds + count * world.poll
    return math.inf


def _kl(p: float, q: float) -> float:
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def caught(results: list[Fate], onset: float = 0.0) -> list[float]:
    """Seconds from the onset to each revert that came after it."""
    return sorted(fate.reverted - onset for fate in results if fate.reverted is not None and fate.reverted > onset)


HEALTHY = {
    "0.1 %, 1000 rps": World(base=0.001, rps=1000),
    "1 %, 100 rps": World(),
    "5 %, 10 rps": World(base=0.05, rps=10),
    "1 %, 1 rps": World(rps=1),
    "1 %, 100 rps, 240 polls of 15 s": World(poll=15, polls=(80, 80, 80)),
    "incident ×10, 6 min inside the 50 % step": World(shared=((1500, 1860, 10),)),
    "incident ×10 across the change from 10 to 50 %": World(shared=((1020, 1380, 10),)),
    "incident ×3, the whole 50 % step": World(shared=((1200, 2400, 3),)),
    "incident ×10 in the hold-back step": World(shared=((2700, 3060, 10),)),
    "drift ×2 over the ramp": World(drift=2),
    "shared jitter, cv 0.5": World(jitter=0.5),
    "irregular polls, ±80 %": World(wobble=0.8),
    "bursts of 3 (D 5)": World(geometric=3),
    "bursts of 10 (D 19)": World(geometric=10),
    "storms, 1 % of 100 (D 51)": World(storms=(0.01, 100)),
    "storms, 0.1 % of 1000 (D 501)": World(storms=(0.001, 1000)),
    "noise of each arm, cv 0.3": World(noise=(0.3, 0.0)),
    "persistent noise of each arm, cv 0.1, AR 0.9": World(noise=(0.1, 0.9)),
    "persistent noise of each arm, cv 0.3, AR 0.9 (a real difference)": World(noise=(0.3, 0.9)),
}

SICK = {
    "1 %, 100 rps, ×1.5": World(ratio=1.5),
    "1 %, 100 rps, ×2": World(ratio=2),
    "1 %, 100 rps, ×2, 15 s polls": World(ratio=2, poll=15, polls=(80, 80, 80)),
    "1 %, 100 rps, ×5": World(ratio=5),
    "1 %, 100 rps, ×5, 15 s polls": World(ratio=5, poll=15, polls=(80, 80, 80)),
    "1 %, 100 rps, ×20, 15 s polls": World(ratio=20, poll=15, polls=(80, 80, 80)),
    "1 %, 10 rps, ×5": World(ratio=5, rps=10),
    "0.1 %, 100 rps, ×5": World(base=0.001, ratio=5),
    "0.1 %, 1000 rps, ×2": World(base=0.001, ratio=2, rps=1000),
    "5 %, 10 rps, ×2": World(base=0.05, ratio=2, rps=10),
    "1 %, 1000 rps, ×2 from minute 15": World(ratio=2, rps=1000, onset=900),
    "1 %, 1000 rps, ×2 from minute 25": World(ratio=2, rps=1000, onset=1500),
    "1 %, 100 rps, ×5 from minute 25": World(ratio=5, onset=1500),
    "1 %, 100 rps, ×5 from minute 45": World(ratio=5, onset=2700),
    "1 %, 100 rps, ×2, bursts of 3": World(ratio=2, geometric=3),
    "1 %, 100 rps, ×2, storms of 1000": World(ratio=2, storms=(0.001, 1000)),
    "canary silent from minute 10, 10 rps, 15 s polls": World(
        rps=10, crash=600, onset=600, poll=15, polls=(80, 80, 80)
    ),
    "canary silent from minute 25, 10 rps, 15 s polls": World(
        rps=10, crash=1500, onset=1500, poll=15, polls=(80, 80, 80)
    ),
}

LIMIT = {
    "healthy, 10 % step": World(),
    "healthy, 50 % step": World(shares=(10_000, 50_000), polls=(1, 59)),
    "at the limit: ×3 in the 10 % step, margin 4": World(ratio=3, polls=(60,), shares=(10_000,)),
    "at the limit: ×1.5 in the 50 % step, margin 4": World(ratio=1.5, shares=(10_000, 50_000), polls=(1, 59)),
}


def false_reverts(pool: ProcessPoolExecutor, rollouts: int) -> None:
    print(f"\n### Healthy releases reverted, of {rollouts}\n\n| condition | reverted |\n|---|---|")
    for label, world in HEALTHY.items():
        results = fates(pool, world, rollouts)
        print(f"| {label} | {sum(fate.reverted is not None for fate in results) / rollouts:.3f} |", flush=True)


def detection(pool: ProcessPoolExecutor, rollouts: int) -> None:
    print(f"\n### Regressions found, of {rollouts}; seconds after the onset\n")
    print("| regression | found | mean | median | 90 % | information bound | 3 polls |\n|---|---|---|---|---|---|---|")
    for label, world in SICK.items():
        times = caught(fates(pool, world, rollouts), world.onset)
        least = f"{bound(world):.0f}" if world.ratio > 1 and not world.onset else ""
        late = f"{times[int(0.9 * len(times))]:.0f}" if len(times) > rollouts * 0.9 else "–"
        middle = f"{statistics.mean(times):.0f} | {statistics.median(times):.0f}"
        row = f"{len(times) / rollouts:.3f} | {middle} | {late} | {least} | {3 * world.poll:.0f}"
        print(f"| {label} | {row} |", flush=True)


def promotion(pool: ProcessPoolExecutor, rollouts: int) -> None:
    print(f"\n### Steps found well, of {rollouts}; seconds from the start of the step\n")
    print("| canary | found well | median | 90 % |\n|---|---|---|---|")
    for label, world in LIMIT.items():
        # With the usual margin a canary at the limit would be reverted before it could be called well.
        settings = replace(SETTINGS, margin=4.0) if world.ratio > 1 else SETTINGS
        number = len(world.shares) - 1 if len(world.shares) < 3 else 0
        shares, counts = (*world.shares[: number + 1], 95_000), (*world.polls[: number + 1], 1)
        results = fates(pool, replace(world, shares=shares, polls=counts), rollouts, settings)
        times = sorted(fate.healthy[number + 1] for fate in results if number + 1 in fate.healthy)
        late = f"{times[int(0.9 * len(times))]:.0f}" if len(times) > rollouts * 0.9 else "–"
        middle = f"{statistics.median(times):.0f}" if len(times) * 2 > rollouts else "–"
        print(f"| {label} | {len(times) / rollouts:.3f} | {middle} | {late} |", flush=True)


def speed() -> None:
    state = begin(SETTINGS, steps=3, planned_polls=500)
    readings = list(polls(World(polls=(500,), shares=(10_000,)), random.Random(0)))
    start = time.process_time()
    for situation, reading in readings:
        state, _ = judge(state, situation, reading)
    each = (time.process_time() - start) / len(readings)
    print(f"\n### Speed\n\nOne look of one metric: {1e3 * each:.2f} ms of CPU.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=300, help="rollouts a row")
    rollouts = parser.parse_args().rollouts
    with ProcessPoolExecutor() as pool:
        false_reverts(pool, rollouts)
        detection(pool, rollouts)
        promotion(pool, rollouts)
    speed()


if __name__ == "__main__":
    main()
