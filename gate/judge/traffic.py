"""Does the canary get its share? A crashed or shunned canary makes no errors; it makes no requests.

The claim bet against: each request falls on the canary with at least the tolerated share. Judged at every poll on
that poll's requests alone, however few, and never on sums over steps, where a changed split would blur it.
"""

from dataclasses import dataclass, field
from math import exp, log1p, sqrt

from gate.judge.eprocess import Dispersion, EProcess, Stakes, bet, effects
from rampgate.plan import WHOLE

EFFECTS = effects(0.5, 6.0, 4)
"""From two fifths below the tolerated share to next to nothing."""

START = 0.15
"""The first stake: a canary falls silent at any time, so most of the cash is kept for later."""

MARGIN = 0.8
"""The part of its cohort's traffic below which a canary is missing traffic."""

USERS = 1000
"""Active users, where nobody has counted them."""


UNEVEN = 0.5
"""What of that is asked of machines behind a balancer: how evenly it spreads requests, nobody here knows."""


def tolerated(share: int, users: int = USERS, *, even: bool = True) -> float:
    """The least share of requests, 0 to 1, at which a canary of this share of users misses nothing.

    Cohorts are drawn by hash, so the share that ``users`` people really are scatters around the one planned, for the
    whole rollout: four standard deviations of that are allowed for, on top of `MARGIN`. For a thousand users a 10 %
    canary may get 5 % of the requests, a 50 % canary 35 %. ``even``: users are drawn by hash; they
    do not follow machines.
    """
    planned = share / WHOLE
    scatter = sqrt((1.0 - planned) / (planned * max(1, users)))
    return planned * MARGIN * (1.0 if even else UNEVEN) * max(0.3, 1.0 - 4.0 * scatter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The capital, how the split scatters from poll to poll, and this step's requests of both arms."""

    capital: EProcess = field(default_factory=EProcess)
    dispersion: Dispersion = field(default_factory=Dispersion)
    polls: int = 0
    step: int = 0
    stable: int = 0
    canary: int = 0


def weigh(
    traffic: Traffic, *, stable: int, canary: int, share: int, step: int, stakes: Stakes, cap: float, even: bool = True
) -> Traffic:
    """With one more poll's requests. Per request the bets are exact: linear in the share, 1 at the tolerated one."""
    if stable + canary == 0 or not 0 < share < WHOLE:
        return traffic
    limit = tolerated(share, even=even)
    factor = traffic.dispersion.factor
    gains = [(log1p(-limit * exp(-d)) - log1p(-limit)) * stable / factor - d * canary / factor for d in EFFECTS]
    new_step = step > traffic.step
    stake = stakes.at(traffic.polls, reserve=traffic.capital.reserve, new_step=new_step)
    all_stable, all_canary = (stable, canary) if new_step else (traffic.stable + stable, traffic.canary + canary)
    usual = (all_canary + 1.0) / (all_canary + all_stable + WHOLE / share)
    return Traffic(
        capital=bet(traffic.capital, gains, stake=stake, cap=cap),
        dispersion=traffic.dispersion.seen(canary, of=stable + canary, probability=usual),
        polls=traffic.polls + 1,
        step=step,
        stable=all_stable,
        canary=all_canary,
    )


def stakes(steps: int, planned: int) -> Stakes:
    """When this game's cash is staked."""
    return Stakes(steps=steps, planned=planned, start=START, steps_part=0.2)


def expected(stable: int, share: int) -> float:
    """The canary's requests to be expected beside this many of stable's, at this share of the users below all."""
    return stable * share / (WHOLE - share)
