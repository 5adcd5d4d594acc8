"""What is missing: readings, series, traffic, a canary, a baseline; and weather that both arms share."""

from math import log

import pytest

from gate.judge import from_json, to_json
from rampgate.evidence import VerdictReason, VerdictWord

HEALTHY, REGRESSED, INCONCLUSIVE = VerdictWord.HEALTHY, VerdictWord.REGRESSED, VerdictWord.INCONCLUSIVE
NO_TRAFFIC, SOURCE_DOWN = VerdictWord.NO_TRAFFIC, VerdictWord.SOURCE_DOWN


def verdict(ramp):
    return ramp.looks[-1].verdict


def test_in_the_dark_a_source_that_answers_is_all_that_is_asked(ramp_of):
    ramp = ramp_of()
    ramp.step, ramp.share = 0, 0
    ramp.look(ramp.reading(canary=False))

    assert (ramp.word, verdict(ramp).reason) == (HEALTHY, VerdictReason.VERIFIED)


def test_in_the_dark_a_source_without_stable_is_no_source(ramp_of):
    ramp = ramp_of()
    ramp.step, ramp.share = 0, 0
    ramp.look(ramp.reading(stable=False, canary=False))

    assert (ramp.word, verdict(ramp).reason) == (SOURCE_DOWN, VerdictReason.SOURCE_EMPTY)


def test_a_dead_source_holds_and_says_why(ramp):
    look = ramp.down()

    assert (look.verdict.word, look.verdict.reason) == (SOURCE_DOWN, VerdictReason.SOURCE_UNREACHABLE)
    assert look.verdict.text == "The source did not answer."
    assert (look.stable, look.canary) == (None, None)


def test_no_traffic_means_that_both_arms_are_silent(ramp):
    assert ramp.add().verdict.word is NO_TRAFFIC
    assert ramp.add(stable=(1, 0)).verdict.word is INCONCLUSIVE
    assert ramp.add(canary=(1, 0)).verdict.word is INCONCLUSIVE


def test_silence_proves_nothing_well(ramp):
    ramp.go_to(3)
    for _ in range(50):
        assert ramp.add().verdict.word is NO_TRAFFIC
    assert ramp.add(stable=(5, 0), canary=(95, 0)).verdict.word is INCONCLUSIVE


@pytest.mark.parametrize(("step", "stable", "canary"), [(1, 135, 15), (2, 15, 15), (3, 5, 95)])
def test_a_canary_that_falls_silent_is_reverted_within_three_polls(ramp, step, stable, canary):
    ramp.go_to(step)
    for _ in range(10):
        ramp.add(stable=(stable, 1), canary=(canary, 0))
    ordinary = stable + canary
    words = [ramp.add(stable=(ordinary, 1)).verdict.word for _ in range(3)]

    assert HEALTHY not in words
    assert words[-1] is REGRESSED
    assert (verdict(ramp).reason, verdict(ramp).culprit) == (VerdictReason.TRAFFIC_MISSING, "traffic")


def test_a_canary_whose_series_ends_while_stable_counts_is_named_and_then_reverted(ramp):
    for _ in range(10):
        ramp.add(stable=(135, 1), canary=(15, 0))
    words = []
    for _ in range(3):
        ramp.stable[0] += 150
        words.append(ramp.without(canary=False).verdict)

    assert (words[0].word, words[0].reason) == (SOURCE_DOWN, VerdictReason.SOURCE_EMPTY)
    assert "canary" in words[0].text
    assert (words[-1].word, words[-1].reason) == (REGRESSED, VerdictReason.TRAFFIC_MISSING)


def test_a_canary_that_never_had_a_series_is_waited_for_and_then_missed(ramp_of):
    ramp = ramp_of()
    words = []
    for _ in range(8):
        ramp.stable[0] += 100
        words.append(ramp.without(canary=False).verdict.word)

    assert words[:4] == [INCONCLUSIVE] * 4
    assert HEALTHY not in words
    assert words[-1] is REGRESSED


def test_a_canary_without_a_series_is_no_matter_while_hardly_anybody_is_there(ramp_of):
    ramp = ramp_of()
    for _ in range(30):
        ramp.stable[0] += 1
        assert ramp.without(canary=False).verdict.word is INCONCLUSIVE


def test_a_canary_that_gets_less_by_the_luck_of_the_hash_is_left_alone(ramp):
    """At 10 %, a few hundred people may well be 58 in a thousand requests to the canary."""
    for _ in range(200):
        ramp.add(stable=(942, 28), canary=(58, 2))

    assert ramp.word is HEALTHY


def test_a_scrape_that_comes_late_for_the_canary_reverts_nobody(ramp):
    for _ in range(30):
        ramp.add(stable=(900, 27), canary=(0, 0))
        ramp.add(stable=(900, 27), canary=(200, 6))

    assert REGRESSED not in {look.verdict.word for look in ramp.looks}


def test_stable_in_trouble_holds_both_and_blames_nobody_and_passes(ramp):
    for _ in range(20):
        ramp.add(stable=(900, 9), canary=(100, 1))
    assert ramp.word is HEALTHY

    storm = [ramp.add(stable=(900, 90), canary=(100, 10)).verdict for _ in range(10)]
    calm = [ramp.add(stable=(900, 9), canary=(100, 1)).verdict.word for _ in range(8)]

    assert {(one.word, one.reason) for one in storm[1:]} == {(INCONCLUSIVE, VerdictReason.BOTH_ARMS_BAD)}
    assert calm[-1] is HEALTHY


def test_a_canary_that_is_worse_in_a_storm_is_reverted_all_the_same(ramp):
    for _ in range(20):
        ramp.add(stable=(900, 9), canary=(100, 1))
    words = [ramp.add(stable=(900, 90), canary=(100, 60)).verdict.word for _ in range(4)]

    assert words[-1] is REGRESSED


def test_a_rate_that_stays_high_becomes_the_usual_one(ramp):
    for _ in range(20):
        ramp.add(stable=(900, 9), canary=(100, 1))
    for _ in range(60):
        ramp.add(stable=(900, 36), canary=(100, 4))

    assert ramp.word is HEALTHY


def test_a_fix_is_not_held_because_stable_was_bad_all_along(ramp):
    for _ in range(20):
        ramp.add(stable=(900, 270), canary=(100, 3))

    assert ramp.word is HEALTHY


def test_without_a_hold_back_a_much_worse_canary_is_found_and_the_verdict_says_what_it_compares(ramp_of):
    ramp = ramp_of()
    ramp.state = from_json({**to_json(ramp.state), "hold_back": False})
    ramp.go_to(0)
    for _ in range(10):
        ramp.add(stable=(1000, 10))
    ramp.go_to(3, share=100_000)
    words = [ramp.add(canary=(1000, 10)).verdict for _ in range(6)]
    assert words[-1].word is HEALTHY
    assert "time and version cannot be told apart" in words[-1].text

    words = [ramp.add(canary=(1000, 100)).verdict for _ in range(4)]

    assert (words[-1].word, words[-1].reason) == (REGRESSED, VerdictReason.ERRORS_HIGHER)
    assert words[-1].threshold == pytest.approx(log(1 / 0.049))


def test_where_everybody_switches_at_once_it_stays_dark_until_stable_was_seen(ramp_of):
    ramp = ramp_of()
    ramp.state = from_json({**to_json(ramp.state), "hold_back": False, "steps": 1})
    words = [ramp.go_to(0).verdict.word, ramp.add().verdict.word, ramp.add(stable=(10, 0)).verdict.word]
    assert words == [INCONCLUSIVE, NO_TRAFFIC, INCONCLUSIVE]
    assert "too little of stable was seen" in verdict(ramp).text
    assert ramp.add(stable=(1000, 10)).verdict.word is HEALTHY
    assert ramp.add().verdict.word is HEALTHY


def test_without_a_hold_back_a_rise_that_time_may_have_brought_is_left_alone(ramp_of):
    ramp = ramp_of()
    ramp.state = from_json({**to_json(ramp.state), "hold_back": False})
    ramp.go_to(0)
    for _ in range(10):
        ramp.add(stable=(1000, 10))
    ramp.go_to(3, share=100_000)
    for _ in range(60):
        ramp.add(canary=(1000, 18))

    assert ramp.word is HEALTHY


def test_with_nothing_to_compare_with_nothing_is_called_well(ramp_of):
    for hold_back in (True, False):
        ramp = ramp_of()
        ramp.state = from_json({**to_json(ramp.state), "hold_back": hold_back})
        ramp.go_to(3, share=100_000)
        for _ in range(20):
            assert ramp.add(canary=(1000, 10)).verdict.word is INCONCLUSIVE
