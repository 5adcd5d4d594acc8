"""Each word of the judge, what leads to it, and what must never lead to it."""

import json
import random
from math import log

import pytest

from gate.judge import Situation, from_json, judge, to_json
from gate.judge.evidence import log_e
from gate.judge.words import exclusion
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Reading, VerdictReason, VerdictWord

HEALTHY, REGRESSED, INCONCLUSIVE = VerdictWord.HEALTHY, VerdictWord.REGRESSED, VerdictWord.INCONCLUSIVE


def verdict(ramp):
    return ramp.looks[-1].verdict


def test_equal_arms_are_found_well_once_the_ratio_of_this_step_is_excluded(ramp):
    while ramp.word is not HEALTHY:
        assert (verdict(ramp).word, verdict(ramp).reason) == (INCONCLUSIVE, VerdictReason.COLLECTING)
        ramp.add(stable=(900, 27), canary=(100, 3))

    assert 5 < len(ramp.looks) < 40
    assert verdict(ramp).reason is VerdictReason.NOT_WORSE
    assert verdict(ramp).excluded <= 3.0
    assert verdict(ramp).no_harm


def test_later_steps_exclude_a_smaller_ratio_and_bring_their_own_evidence(ramp):
    while ramp.word is not HEALTHY:
        ramp.add(stable=(900, 27), canary=(100, 3))
    first = ramp.go_to(2)
    assert (first.verdict.word, first.verdict.excluded) == (INCONCLUSIVE, None)

    while ramp.word is not HEALTHY:
        ramp.add(stable=(500, 15), canary=(500, 15))

    assert verdict(ramp).excluded <= 1.5


def test_a_step_is_not_left_on_a_poll_that_says_nothing_of_the_canary(ramp):
    while ramp.word is not HEALTHY:
        ramp.add(stable=(900, 27), canary=(100, 3))
    look = ramp.add(stable=(9, 0))

    assert (look.verdict.word, look.verdict.reason) == (INCONCLUSIVE, VerdictReason.COLLECTING)
    assert ramp.add(stable=(9, 0), canary=(1, 0)).verdict.word is HEALTHY


def test_no_step_is_left_before_its_fewest_polls(ramp):
    words = [ramp.add(stable=(90_000, 900), canary=(10_000, 100)).verdict.word for _ in range(6)]

    assert words == [INCONCLUSIVE] * 4 + [HEALTHY] * 2


def test_the_last_step_needs_no_proof_but_clean_polls(ramp):
    ramp.go_to(3)
    words = [ramp.add(stable=(5, 0), canary=(95, 1)).verdict.word for _ in range(5)]

    assert words == [INCONCLUSIVE] * 4 + [HEALTHY]
    assert verdict(ramp).reason is VerdictReason.BAKED


def test_a_reading_that_comes_twice_is_no_gap_and_no_poll(ramp):
    ramp.go_to(3)
    for _ in range(4):
        ramp.add(stable=(5, 0), canary=(95, 1))
    assert ramp.look().verdict.word is INCONCLUSIVE
    assert ramp.add(stable=(5, 0), canary=(95, 1)).verdict.word is HEALTHY


@pytest.mark.parametrize("gap", ["down", "absent", "nonsense"])
def test_in_the_last_step_a_gap_begins_the_clean_polls_anew(ramp, gap):
    ramp.go_to(3)
    for _ in range(4):
        ramp.add(stable=(5, 0), canary=(95, 1))
    if gap == "down":
        ramp.down()
    elif gap == "absent":
        ramp.without(canary=False)
    else:
        ramp.add(stable=(5, 0), canary=(0, 1))
    words = [ramp.add(stable=(5, 0), canary=(95, 1)).verdict.word for _ in range(5)]

    assert words == [INCONCLUSIVE] * 4 + [HEALTHY]


def test_harm_that_builds_up_in_the_last_step_begins_the_clean_polls_anew(ramp):
    ramp.go_to(3)
    for _ in range(5):
        ramp.add(stable=(100, 3), canary=(1900, 57))
    assert ramp.word is HEALTHY

    ramp.add(stable=(100, 0), canary=(1900, 400))
    assert verdict(ramp).reason is VerdictReason.HARM_BUILDING
    assert not verdict(ramp).no_harm
    while verdict(ramp).reason is VerdictReason.HARM_BUILDING:
        ramp.add(stable=(100, 9), canary=(1900, 20))

    assert ramp.word is INCONCLUSIVE
    assert ramp.state.clean == 1


def test_a_bad_canary_is_reverted_within_three_polls(ramp):
    words = [ramp.add(stable=(900, 27), canary=(100, 30)).verdict.word for _ in range(3)]

    assert REGRESSED in words
    assert (verdict(ramp).reason, verdict(ramp).culprit) == (VerdictReason.ERRORS_HIGHER, "errors")
    assert verdict(ramp).log_e >= verdict(ramp).threshold == pytest.approx(log(20.0))


@pytest.mark.parametrize("before", [1, 30, 100, 300])
def test_harm_that_begins_late_is_found_as_soon(ramp, before):
    for _ in range(before):
        ramp.add(stable=(900, 27), canary=(100, 3))
    words = [ramp.add(stable=(900, 27), canary=(100, 30)).verdict.word for _ in range(3)]

    assert words[-1] is REGRESSED


@pytest.mark.parametrize("before", [0, 20])
def test_no_single_poll_reverts_however_bad(ramp, before):
    for _ in range(before):
        ramp.add(stable=(900, 27), canary=(100, 3))
    assert ramp.add(stable=(90_000, 900), canary=(10_000, 10_000)).verdict.word is INCONCLUSIVE


def test_a_single_poll_reverts_where_the_plan_asks_for_it(ramp_of):
    ramp = ramp_of(settings=JudgeSettings(min_intervals=1))
    ramp.look()
    ramp.add(stable=(90_000, 900), canary=(10_000, 10_000))

    assert ramp.word is REGRESSED


def test_harm_found_is_not_taken_back(ramp):
    for _ in range(3):
        ramp.add(stable=(900, 27), canary=(100, 60))
    text = verdict(ramp).text
    for look in (ramp.add(stable=(9000, 270), canary=(1000, 0)), ramp.down(), ramp.without(), ramp.go_to(2)):
        assert (look.verdict.word, look.verdict.text, look.verdict.no_harm) == (REGRESSED, text, False)


def test_what_is_worse_but_under_the_floor_is_left_alone(ramp):
    for _ in range(60):
        ramp.add(stable=(90_000, 1), canary=(10_000, 5))

    assert ramp.word is HEALTHY


def test_nothing_is_counted_before_traffic_has_settled(ramp):
    ramp.go_to(2, settles=40.0)
    for _ in range(3):
        look = ramp.add(stable=(500, 5), canary=(500, 500))
        assert (look.verdict.word, look.canary) == (INCONCLUSIVE, None)
    look = ramp.add(stable=(500, 5), canary=(500, 5))

    assert look.canary is not None
    assert look.canary.errors == 5


def test_no_interval_spans_two_steps(ramp):
    for _ in range(5):
        ramp.add(stable=(900, 27), canary=(100, 3))
    ramp.now += 15.0
    ramp.canary[0] += 1000
    ramp.canary[1] += 1000
    look = ramp.go_to(2)

    assert (look.stable, look.canary) == (None, None)
    assert ramp.add(stable=(500, 15), canary=(500, 15)).canary.errors == 15


def test_no_interval_spans_two_steps_even_where_nobody_says_when_traffic_settled(ramp):
    ramp.add(stable=(900, 27), canary=(100, 3))
    ramp.step, ramp.share, ramp.settled_at = 2, 50_000, 0.0
    look = ramp.add(stable=(500, 15), canary=(500, 500))

    assert (look.stable, look.canary) == (None, None)


def test_evidence_of_harm_goes_with_the_rollout_from_step_to_step(ramp):
    ramp.add(stable=(900, 27), canary=(100, 40))
    before = log_e(ramp.state)
    ramp.go_to(2)

    assert log_e(ramp.state) == before > 1.0


def test_the_judge_takes_no_part_of_a_reading_twice(ramp):
    ramp.add(stable=(900, 27), canary=(100, 40))
    before = ramp.state
    for _ in range(5):
        ramp.look()

    assert ramp.state == before
    assert ramp.word is INCONCLUSIVE


def test_every_verdict_carries_its_figures_and_one_sentence(ramp):
    for _ in range(20):
        ramp.add(stable=(900, 27), canary=(100, 3))
    text = verdict(ramp).text

    assert text.startswith("3 % of requests fail on the canary (60 of 2000) against 3 % on stable (540 of 18000)")
    assert "more than ×" in text
    assert text.endswith("excluded at 95 %.")
    for look in ramp.looks:
        assert look.verdict.threshold == pytest.approx(log(20.0))
        assert look.verdict.text.endswith(".")
        assert "\n" not in look.verdict.text


def test_what_is_said_to_be_excluded_is_never_less_than_what_is():
    assert exclusion(1.7431, 0.05) == "more than ×1.8 excluded at 95 %"
    assert exclusion(2.0, 0.05) == "more than ×2 excluded at 95 %"
    assert exclusion(12.3, 0.01) == "more than ×13 excluded at 99 %"


def test_the_looks_of_a_rollout_replay_to_the_same_verdicts_through_json(ramp, traffic):
    rng = random.Random("replay")
    for step, share in ((1, 10_000), (2, 50_000), (3, 95_000)):
        ramp.go_to(step, settles=20.0)
        for number in range(12):
            stable, canary = traffic(rng, 300, share, 0.03, 1.6)
            ramp.add(stable=stable, canary=canary)
            if number == 4:
                ramp.down()
            if number == 6:
                ramp.without(canary=False)
    fresh = type(ramp)().state
    for look, situation in zip(ramp.looks, ramp.situations, strict=True):
        fresh = from_json(json.loads(json.dumps(to_json(fresh), allow_nan=False)))
        fresh, again = judge(fresh, situation, look.reading)
        assert again == look

    assert fresh == ramp.state


def test_how_regularly_it_is_asked_makes_no_difference(ramp, traffic):
    rng = random.Random("clock")
    for _ in range(30):
        stable, canary = traffic(rng, 300, 10_000, 0.03, 1.5)
        ramp.add(stable=stable, canary=canary)
    other, now = type(ramp)().state, 1000.0
    for look in ramp.looks:
        situation = Situation(step=1, share=10_000, last=False, settled_at=0.0)
        moved = Reading(at=now, stable=look.reading.stable, canary=look.reading.canary)
        other, again = judge(other, situation, moved)
        now += rng.choice([0.01, 1.0, 600.0])
        assert again.verdict == look.verdict


@pytest.mark.parametrize(
    ("place", "value"),
    [("step", "one"), ("harm", None), ("polls", True), ("planned_polls", 1.5), ("extra", 1), ("alarm", {"text": ""})],
)
def test_a_state_that_is_none_is_refused_by_name(ramp, place, value):
    with pytest.raises(ValueError, match=place):
        from_json({**to_json(ramp.state), place: value})
