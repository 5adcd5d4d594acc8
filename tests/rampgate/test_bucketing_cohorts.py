"""The cohort contract of docs/cohorts.md, over a million users."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from rampgate.bucketing import first_share
from rampgate.evaluation import compile_flag
from rampgate.flags import Flag
from rampgate.plan import WHOLE

USERS = [f"user-{number}" for number in range(1_000_000)]


def rollout(salt: str, share: int, whole: int = WHOLE) -> Callable[[str], object]:
    """Who is served what at this share, as the flag server publishes a rollout: the canary's entry first."""
    entries = [["green", share], ["blue", whole - share]]
    by_user = {"cat": [salt, {"var": "targetingKey"}]}
    targeting = {"fractional": [by_user, *entries]}
    flag = Flag(key="shop", variants={"blue": "blue", "green": "green"}, default_variant="blue", targeting=targeting)
    return compile_flag(flag).value_for


def cohort_of(salt: str, share: int, whole: int = WHOLE) -> bytes:
    """One byte a user: 1 for those whom the canary serves."""
    served = rollout(salt, share, whole)
    return bytes(served(user) == "green" for user in USERS)


@pytest.fixture(scope="module")
def steps() -> dict[int, bytes]:
    return {share: cohort_of("rollout-1:", share) for share in (0, 10_000, 50_000, 95_000, WHOLE)}


def test_no_user_leaves_while_a_rollout_widens(steps: dict[int, bytes]) -> None:
    for before, after in pairwise(steps.values()):
        assert all(then <= now for then, now in zip(before, after, strict=True))


def test_each_step_has_its_share_of_all_users(steps: dict[int, bytes]) -> None:
    for share, served in steps.items():
        expected = share / WHOLE
        four_sigma = 4 * math.sqrt(expected * (1 - expected) / len(USERS))
        assert abs(sum(served) / len(USERS) - expected) <= four_sigma


def test_nobody_is_in_at_nothing_and_everybody_at_the_whole(steps: dict[int, bytes]) -> None:
    assert sum(steps[0]) == 0
    assert sum(steps[WHOLE]) == len(USERS)


def test_the_cohort_is_the_same_whatever_the_weights_are_counted_in(steps: dict[int, bytes]) -> None:
    assert cohort_of("rollout-1:", 10, 100) == steps[10_000]
    assert cohort_of("rollout-1:", 1, 2) == steps[50_000]


def test_another_rollout_starts_with_other_users(steps: dict[int, bytes]) -> None:
    other = cohort_of("rollout-2:", 10_000)
    both = sum(one & two for one, two in zip(steps[10_000], other, strict=True))
    assert both / len(USERS) == pytest.approx(0.01, abs=0.0005)


def test_the_hold_back_is_the_last_to_go(steps: dict[int, bytes]) -> None:
    held = [user for user, served in zip(USERS, steps[95_000], strict=True) if not served]
    assert all(first_share("rollout-1:", user) > 95_000 for user in held)


def test_the_preview_agrees_with_what_is_served(steps: dict[int, bytes]) -> None:
    for share in (10_000, 50_000):
        assert all(
            (first_share("rollout-1:", user) <= share) is bool(served)
            for user, served in zip(USERS[:50_000], steps[share], strict=False)
        )


def test_a_split_within_a_split_is_fair_with_a_salt_of_its_own_and_only_then(steps: dict[int, bytes]) -> None:
    inside = [user for user, served in zip(USERS, steps[10_000], strict=True) if served]
    fair, same = rollout("inner:", 50_000), rollout("rollout-1:", 50_000)
    four_sigma = 4 * math.sqrt(0.25 / len(inside))
    assert abs(sum(fair(user) == "green" for user in inside) / len(inside) - 0.5) <= four_sigma
    assert all(same(user) == "green" for user in inside)


def test_one_salt_sends_the_same_users_in_the_same_order_whatever_the_ramps(steps: dict[int, bytes]) -> None:
    # Another flag, whose plan has other steps, under the same salt: whoever is in at less is in at more.
    other = cohort_of("rollout-1:", 25_000)
    assert all(ten <= quarter <= half for ten, quarter, half in zip(steps[10_000], other, steps[50_000], strict=True))
