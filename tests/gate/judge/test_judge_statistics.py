"""Seeded rollouts: whom the judge reverts, and how soon. Each would fail by chance less than once in a million."""

import random

import pytest

from rampgate.evidence import VerdictWord

SHARES = {1: 10_000, 2: 50_000, 3: 95_000}


@pytest.fixture
def rollout(ramp_of, traffic):
    """Run a rollout of 20 polls a step, whatever the judge says; gives the poll at which it reverted, or ``None``."""

    def run(seed, *, requests=400, rate=0.03, ratio=1.0, onset=0, weather=lambda _: 1.0):
        rng, ramp, poll = random.Random(f"statistics {seed}"), ramp_of(), 0
        for step, share in SHARES.items():
            ramp.go_to(step)
            for _ in range(20):
                poll += 1
                base = rate * weather(poll)
                stable, canary = traffic(rng, requests, share, base, ratio if poll > onset else 1.0)
                if ramp.add(stable=stable, canary=canary).verdict.word is VerdictWord.REGRESSED:
                    return poll
        return None

    return run


def test_healthy_releases_are_left_alone(rollout):
    reverted = [seed for seed in range(40) if rollout(seed) is not None]

    assert len(reverted) <= 4


def test_an_incident_in_mid_ramp_reverts_nobody(rollout):
    """Ten times the errors, in both arms, across the change from 10 to 50 %: what pooled rates always fall for."""
    reverted = [seed for seed in range(40) if rollout(seed, weather=lambda poll: 10.0 if 18 <= poll <= 26 else 1.0)]

    assert len(reverted) <= 4


def test_a_drift_over_the_ramp_reverts_nobody(rollout):
    reverted = [seed for seed in range(25) if rollout(seed, weather=lambda poll: 1.0 + poll / 20) is not None]

    assert len(reverted) <= 4


@pytest.mark.parametrize("onset", [0, 15, 30])
def test_ten_times_the_errors_are_found_in_a_few_polls(rollout, onset):
    polls = [rollout(seed, ratio=10.0, onset=onset) for seed in range(12)]

    assert all(poll is not None and onset < poll <= onset + 8 for poll in polls)
