"""What may be compared: restarts, repeats, gaps and nonsense in raw counters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.judge.counters import Batch, Gap, Tally, take
from rampgate.evidence import Counters, Reading, Sample

Pair = tuple[int, int] | None


def reading(at: float, stable: Pair, canary: Pair) -> Reading:
    arms = [None if arm is None else Counters(requests=arm[0], errors=arm[1]) for arm in (stable, canary)]
    return Reading(at=at, stable=arms[0], canary=arms[1])


def after(*readings: Reading, absent_is_none: bool = True):
    tally, interval = Tally(), None
    for one in readings:
        tally, interval = take(tally, one, anew=False, absent_is_none=absent_is_none)
    return interval


def test_the_first_reading_is_where_counting_starts():
    assert after(reading(0, (500, 5), (50, 1))).gap is Gap.FIRST


def test_what_rose_between_two_readings_is_a_sample():
    interval = after(reading(0, (500, 5), (50, 1)), reading(15, (590, 6), (60, 3)))

    assert interval.stable == Sample(requests=90, errors=1)
    assert interval.canary == Sample(requests=10, errors=2)
    assert interval.requests == (90, 10)


def test_a_repeated_reading_adds_nothing():
    interval = after(reading(0, (500, 5), (50, 1)), reading(0, (590, 6), (60, 3)))

    assert (interval.gap, interval.stable) == (Gap.LATE, None)


def test_a_counter_that_began_again_counts_from_nothing():
    interval = after(
        reading(0, (5000, 50), (500, 5)), reading(15, (5090, 51), (510, 6)), reading(30, (5180, 52), (8, 1))
    )

    assert interval.canary == Sample(requests=8, errors=1)


def test_a_sum_of_which_only_a_part_began_again_is_not_taken_for_an_interval():
    interval = after(
        reading(0, (5000, 50), (500, 5)), reading(15, (5090, 51), (510, 6)), reading(30, (4600, 45), (470, 5))
    )

    assert (interval.gap, interval.stable, interval.canary) == (Gap.RESET, None, None)


@pytest.mark.parametrize(
    ("stable", "canary"),
    [((5090, 51), (505, 20)), ((5090, 49), (510, 6)), ((5090, 51), (500, 6)), ((-1, 0), (510, 6))],
)
def test_nonsense_in_one_arm_drops_the_interval_of_both(stable, canary):
    interval = after(reading(0, (5000, 50), (500, 5)), reading(15, stable, canary))

    assert (interval.gap, interval.stable, interval.canary, interval.requests) == (Gap.NONSENSE, None, None, None)


def test_after_nonsense_counting_starts_anew():
    interval = after(
        reading(0, (5000, 50), (500, 5)), reading(15, (5090, 51), (505, 20)), reading(30, (5180, 52), (515, 21))
    )

    assert interval.canary == Sample(requests=10, errors=1)


def test_an_arm_that_was_away_for_a_while_is_compared_over_the_whole_gap():
    interval = after(
        reading(0, (5000, 50), (500, 5)),
        reading(15, (5090, 51), None),
        reading(30, (5180, 53), None),
        reading(45, (5270, 54), (530, 6)),
    )

    assert interval.stable == Sample(requests=270, errors=4)
    assert interval.canary == Sample(requests=30, errors=1)


def test_requests_are_compared_while_the_canary_is_away_and_put_right_when_it_is_back():
    tally, _ = take(Tally(), reading(0, (5000, 50), (500, 5)), anew=False, absent_is_none=True)
    tally, gone = take(tally, reading(15, (5090, 51), None), anew=False, absent_is_none=True)
    tally, back = take(tally, reading(30, (5180, 52), (520, 5)), anew=False, absent_is_none=True)

    assert (gone.requests, back.requests) == ((90, 0), (90, 20))


def test_a_canary_that_is_waited_for_is_not_yet_missing():
    interval = after(reading(0, (5000, 50), None), reading(15, (5090, 51), None), absent_is_none=False)

    assert (interval.gap, interval.requests) == (Gap.ABSENT, None)


def test_a_series_that_was_absent_and_appears_counts_from_nothing():
    interval = after(reading(0, (5000, 50), None), reading(15, (5000, 50), (9, 1)))

    assert interval.canary == Sample(requests=9, errors=1)


@given(rises=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.booleans(), st.booleans()), max_size=20))
def test_nothing_is_counted_twice_and_nothing_is_lost_whatever_is_away(rises):
    stable = canary = counted_stable = counted_canary = shown_stable = shown_canary = 0
    tally, _ = take(Tally(), reading(0, (0, 0), (0, 0)), anew=False, absent_is_none=True)
    for number, (up, down, there, here) in enumerate([*rises, (1, 1, True, True)], start=1):
        stable, canary = stable + up, canary + down
        seen = reading(number * 15.0, (stable, 0) if there else None, (canary, 0) if here else None)
        tally, interval = take(tally, seen, anew=False, absent_is_none=True)
        if interval.stable is not None and interval.canary is not None:
            counted_stable += interval.stable.requests
            counted_canary += interval.canary.requests
        if interval.requests is not None:
            shown_stable += interval.requests[0]
            shown_canary += interval.requests[1]

    assert (counted_stable, counted_canary) == (shown_stable, shown_canary) == (stable, canary)


def test_users_are_differenced_where_the_source_counts_them():
    def users(at: float, requests: int, affected: int) -> Reading:
        arm = Counters(requests=requests, errors=0, active_users=requests // 2, affected_users=affected)
        return Reading(at=at, stable=arm, canary=arm)

    interval = after(users(0, 100, 3), users(15, 160, 5))

    assert interval.canary == Sample(requests=60, errors=0, active_users=30, affected_users=2)


@pytest.mark.parametrize(
    ("n", "m", "full"), [(1, 29, True), (29, 1, True), (0, 500, False), (500, 0, False), (10, 19, False)]
)
def test_a_batch_is_full_by_its_requests_alone(n, m, full):
    for errors in (0, 1):
        batch = Batch().plus(Sample(requests=m, errors=min(m, errors)), Sample(requests=n, errors=min(n, errors)))
        assert batch.is_full is full
