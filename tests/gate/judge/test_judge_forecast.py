"""What a forecast says: it moves as traffic does, agrees with simulations, and refuses what cannot see."""

from dataclasses import replace
from math import inf

import pytest

from gate.judge.forecast import TrafficSeen, detection_time, exclusion_time, forecast, problems, told
from gate.judge.simulate import World, ramp
from rampgate.plan import WHOLE, RolloutPlan, Step

BAKE = 900.0
PLAN = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000, bake=BAKE), Step(share=50_000, bake=BAKE), Step(share=WHOLE, bake=BAKE)),
)
BUSY = TrafficSeen(per_second=100.0, error_rate=0.01)


def test_ten_times_the_traffic_takes_a_tenth_of_the_time():
    busier = replace(BUSY, per_second=1000.0)

    for ratio in (1.5, 2.0, 5.0):
        slow, fast = (detection_time(PLAN, one, 10_000, ratio) for one in (BUSY, busier))
        assert slow == pytest.approx(10 * fast)
    assert exclusion_time(PLAN.judge, BUSY, 10_000, 3.0) == pytest.approx(
        10 * exclusion_time(PLAN.judge, busier, 10_000, 3.0)
    )


def test_larger_regressions_and_even_splits_are_seen_sooner():
    times = [detection_time(PLAN, BUSY, 10_000, ratio) for ratio in (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)]

    assert times == sorted(times, reverse=True)
    assert detection_time(PLAN, BUSY, 50_000, 2.0) < detection_time(PLAN, BUSY, 10_000, 2.0)


def test_what_is_within_the_margin_or_under_the_floor_is_never_seen():
    assert detection_time(PLAN, BUSY, 10_000, 1.1) == inf
    assert detection_time(PLAN, replace(BUSY, error_rate=0.0004), 10_000, 2.0) == inf
    assert detection_time(PLAN, replace(BUSY, per_second=0.0), 10_000, 2.0) == inf


def test_a_service_far_under_the_floor_is_found_well_by_its_rate_alone():
    calm = TrafficSeen(per_second=100.0, error_rate=0.0)

    assert exclusion_time(PLAN.judge, calm, 10_000, 3.0) < 1800.0


def test_a_forecast_agrees_with_simulations():
    """Four of five within the time foretold, give or take a half."""
    one_step = replace(
        PLAN, steps=(Step(share=10_000, bake=86_000.0), PLAN.steps[-1]), poll=15.0, step_timeout=90_000.0
    )
    times = sorted(ramp(one_step, World(per_second=100.0, ratio=3.0), seed).reverted for seed in range(25))

    assert times[19] == pytest.approx(detection_time(one_step, BUSY, 10_000, 3.0), rel=0.5)


def test_each_step_says_what_it_sees_what_it_cannot_and_how_long_would_do():
    first, second, last = forecast(PLAN, BUSY)

    assert (first.limit, second.limit, last.limit) == (3.0, 1.5, None)
    assert (first.share, last.share) == (10_000, 95_000)
    assert first.excluded <= BAKE
    assert first.blind == 1.5
    assert first.excludable is not None
    assert 1.5 < first.excludable < 3.0
    sentences = list(told((first, second, last), PLAN.poll))
    assert sentences[0].startswith("at 10 % for 15m; ×2 is seen in about ")
    assert "×3, which has to be excluded, is excluded in about" in sentences[0]
    assert "excluded, is" not in sentences[2]


def test_a_strict_plan_that_cannot_see_what_it_has_to_exclude_is_refused_by_its_step():
    assert list(problems(PLAN, BUSY)) == []
    found = list(problems(PLAN, TrafficSeen(per_second=3.0, error_rate=0.01)))

    assert [problem.path for problem in found] == ["steps[1].bake"]
    assert "×1.5 can be excluded" in found[0].allowed
    assert len(list(problems(PLAN, TrafficSeen(per_second=0.0, error_rate=0.01)))) == 2
