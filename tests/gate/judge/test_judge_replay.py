"""Recorded looks replay to the same verdicts, and a record that was touched is found out."""

from dataclasses import replace
from math import inf

import pytest

from gate.judge import judge
from gate.judge.forecast import TrafficSeen, detection_time
from gate.judge.replay import begun, replay, situation_of
from gate.judge.simulate import World, of_looks, ramp, rows
from rampgate.evidence import Look, Reading, Sample, VerdictWord
from rampgate.plan import RolloutPlan, Step

PLAN = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000, bake=60.0), Step(share=50_000, bake=60.0), Step(share=100_000, bake=60.0)),
)


@pytest.fixture
def looks(ramp):
    """Looks of the plan's first step, with a gap in them."""
    for number in range(12):
        ramp.add(stable=(900, 9 + number), canary=(100, 2))
        if number == 5:
            ramp.down()
    state, found = begun(PLAN), []
    for look in ramp.looks:
        state, again = judge(state, situation_of(PLAN, replace(look, settled_at=1020.0)), look.reading)
        found.append(again)
    return found


def test_the_same_readings_give_the_same_verdicts(looks):
    assert replay(PLAN, looks) == (len(looks), None)


def test_a_look_keeps_the_moment_from_which_its_step_counted(looks):
    assert {look.settled_at for look in looks} == {1020.0}
    assert replay(PLAN, [replace(look, settled_at=0.0) for look in looks])[1] is not None


def test_a_verdict_that_was_touched_is_found_with_its_place(looks):
    touched = replace(looks[7], verdict=replace(looks[7].verdict, word=VerdictWord.HEALTHY))
    count, found = replay(PLAN, [*looks[:7], touched, *looks[8:]])

    assert (count, found.number, found.what) == (8, 8, "verdict.word")
    assert (found.recorded, found.replayed) == (VerdictWord.HEALTHY, looks[7].verdict.word)


def test_a_reading_that_was_touched_is_found(looks):
    reading = looks[9].reading
    assert isinstance(reading, Reading)
    fewer = replace(reading, canary=replace(reading.canary, errors=reading.canary.errors - 1))

    assert replay(PLAN, [*looks[:9], replace(looks[9], reading=fewer)])[1].what == "canary"


def test_looks_after_the_ramp_have_nothing_to_replay(looks):
    assert replay(PLAN, [*looks, replace(looks[-1], reading=None)])[1] is None


def test_a_simulated_release_goes_through_and_a_bad_one_does_not():
    healthy, bad = (ramp(PLAN, World(per_second=400.0, ratio=ratio), seed=3) for ratio in (1.0, 10.0))

    assert (healthy.reverted, healthy.promoted is not None) == (None, True)
    assert healthy.promoted >= 180.0
    assert (bad.promoted, bad.reverted) == (None, pytest.approx(45.0, abs=30.0))
    assert ramp(PLAN, World(per_second=400.0, ratio=10.0), seed=3) == bad


def test_where_everybody_switches_at_once_a_simulated_release_is_compared_with_the_time_before():
    plan = replace(PLAN, steps=PLAN.steps[-1:], hold_back=0, dark=Step(share=0, bake=120.0))
    healthy, bad = (ramp(plan, World(per_second=50.0, ratio=ratio), seed=3) for ratio in (1.0, 5.0))

    assert (healthy.reverted, healthy.promoted is not None) == (None, True)
    assert bad.promoted is None
    expected = detection_time(plan, TrafficSeen(per_second=50.0, error_rate=0.01), 100_000, 5.0)
    assert bad.reverted == pytest.approx(expected, abs=3 * plan.poll)
    assert detection_time(plan, TrafficSeen(per_second=50.0, error_rate=0.01), 100_000, 2.0) == inf


def test_rows_say_what_became_of_how_many():
    found = list(rows(PLAN, World(per_second=400.0), (1.0, 10.0), 5))

    assert [(row.reverted, row.promoted) for row in found] == [(0, 5), (5, 0)]
    assert found[1].median_revert <= found[1].late_revert


def test_recorded_traffic_is_the_pooled_requests_at_stables_rate(looks):
    def look(at, stable, canary) -> Look:
        return replace(looks[0], at=at, stable=stable, canary=canary)

    two = Sample(requests=900, errors=9), Sample(requests=100, errors=50)
    assert of_looks([look(0.0, None, None), look(10.0, *two), look(20.0, None, None), look(30.0, *two)]) == (
        (10.0, 1000, 10),
        (10.0, 1000, 10),
    )
    world = World(recorded=((10.0, 1000, 10), (10.0, 0, 0)))
    assert [world.weather(number) for number in range(3)] == [(100.0, 0.01), (0.0, 0.0), (100.0, 0.01)]
