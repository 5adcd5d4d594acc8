"""Fixed limits: what a condition may say, how measurements are counted, and that no limit replaces the test."""

from dataclasses import replace

import pytest

from gate.judge.limits import Held, Measurement, at_most, condition, counted, measure
from rampgate.criteria import JudgeSettings, Limit, MetricKind, MetricSettings
from rampgate.evidence import Measured, Reading, Value, VerdictReason, VerdictWord

QUEUE = MetricSettings(name="queue", kind=MetricKind.VALUE)


@pytest.mark.parametrize(
    ("text", "figures", "met"),
    [
        ("result <= 0.02", {"result": 0.02}, True),
        ("result <= 2%", {"result": 0.021}, False),
        ("result[0] < 0.95", {"result": 0.9}, True),
        ("result > 2 * stable && requests >= 100", {"result": 0.5, "stable": 0.2, "requests": 100}, True),
        ("!(result > 1 || p99 > 0.5)", {"result": 0.0, "p99": 0.4}, True),
        ("0 <= result <= 1", {"result": 3.0}, False),
        ("result != -1", {"result": 0.0}, True),
    ],
)
def test_a_condition_means_what_it_says(text, figures, met):
    assert (measure(Limit(success=text), figures) is Measurement.SUCCESSFUL) is met


NO_CONDITIONS = (
    *("", " ", "result", "result < ", "__import__('os').system('true') < 1", "result.real < 1", "[1][0] < 2"),
    *("latency < 1", "result ** 9 < 1", "True < 2", "'a' < 'b'", "result in (1, 2)", "lambda: 1 < 2", "(" * 200),
    "result < 1" + "0" * 400,
)


@pytest.mark.parametrize("text", NO_CONDITIONS)
def test_what_is_no_condition_is_refused_and_never_run(text):
    with pytest.raises(ValueError, match="condition"):
        condition(text)


@pytest.mark.parametrize(
    ("success", "failure", "value", "found"),
    [
        (None, None, 9.0, Measurement.SUCCESSFUL),
        ("result < 1", None, 2.0, Measurement.FAILED),
        (None, "result > 1", 0.5, Measurement.SUCCESSFUL),
        (None, at_most(0.02), 0.03, Measurement.FAILED),
        ("result < 1", "result > 2", 1.5, Measurement.INCONCLUSIVE),
        ("result < 3", "result > 2", 2.5, Measurement.INCONCLUSIVE),
        ("result < 1", "result > 2", 3.0, Measurement.FAILED),
        ("result < 1", None, float("nan"), Measurement.ERROR),
        ("result / 0 < 1", None, 1.0, Measurement.ERROR),
        ("stable < 1", None, 1.0, Measurement.ERROR),
    ],
)
def test_with_one_condition_the_other_is_its_opposite(success, failure, value, found):
    assert measure(Limit(success=success, failure=failure), {"result": value}) is found


def test_errors_are_counted_in_a_row_and_the_rest_in_all():
    held = Held()
    for one in (Measurement.ERROR, Measurement.ERROR, Measurement.FAILED, Measurement.ERROR, Measurement.INCONCLUSIVE):
        held = counted(held, one)

    assert (held.failures, held.inconclusive, held.errors) == (1, 1, 0)


def limited(ramp_of, **limit):
    ramp = ramp_of(settings=JudgeSettings(limits=(Limit(**limit),)))
    ramp.look()
    return ramp


def test_a_limit_that_is_broken_more_often_than_it_allows_reverts(ramp_of):
    ramp = limited(ramp_of, failure="result > 5%", failure_limit=2)
    words = [ramp.add(stable=(900, 90), canary=(100, 10)).verdict for _ in range(3)]

    assert [one.word for one in words[:2]] == [VerdictWord.INCONCLUSIVE] * 2
    assert {one.reason for one in words[:2]} == {VerdictReason.LIMIT_UNCLEAR}
    assert (words[2].word, words[2].reason) == (VerdictWord.REGRESSED, VerdictReason.LIMIT_EXCEEDED)
    assert words[2].culprit == "errors"
    assert "No guarantee covers it" in words[2].text


def test_a_limit_that_is_kept_neither_calls_a_canary_well_nor_shields_it_from_the_test(ramp_of):
    ramp = limited(ramp_of, failure="result > 50%")
    assert ramp.add(stable=(90, 0), canary=(10, 0)).verdict.word is VerdictWord.INCONCLUSIVE
    words = [ramp.add(stable=(9000, 90), canary=(1000, 100)).verdict for _ in range(3)]

    assert (words[-1].word, words[-1].reason) == (VerdictWord.REGRESSED, VerdictReason.ERRORS_HIGHER)


def test_an_interval_without_requests_of_the_canary_measures_nothing(ramp_of):
    ramp = limited(ramp_of, success="result < 1%")
    for _ in range(3):
        ramp.add(stable=(3, 0))

    assert ramp.state.held == (Held(),)


def test_inconclusive_measurements_beyond_their_limit_keep_the_step(ramp_of):
    ramp = limited(ramp_of, success="result < 1%", failure="result > 90%", inconclusive_limit=3)
    for _ in range(40):
        ramp.add(stable=(900, 27), canary=(100, 3))
    assert (ramp.word, ramp.looks[-1].verdict.reason) == (VerdictWord.INCONCLUSIVE, VerdictReason.LIMIT_UNCLEAR)


def test_values_that_are_missing_too_often_in_a_row_mean_that_the_source_is_down(ramp_of):
    limit = Limit(metric="queue", failure="result > 100", consecutive_error_limit=2)
    ramp = ramp_of(settings=JudgeSettings(metrics=(QUEUE,), limits=(limit,)))
    valued = {"queue": Measured(stable=Value(value=3.0), canary=Value(value=4.0))}

    def poll(metrics):
        ramp.now, ramp.stable[0], ramp.canary[0] = ramp.now + 15.0, ramp.stable[0] + 900, ramp.canary[0] + 100
        reading: Reading = replace(ramp.reading(), metrics=metrics)
        return ramp.look(reading).verdict

    poll(valued)
    assert poll(valued).word is VerdictWord.INCONCLUSIVE
    words = [poll({}).word for _ in range(3)]
    assert words == [VerdictWord.INCONCLUSIVE] * 2 + [VerdictWord.SOURCE_DOWN]
    assert poll(valued).word is VerdictWord.INCONCLUSIVE
