"""A plan says everything that is wrong with it at once, and writes shares and durations as people do."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.criteria import JudgeSettings, MetricKind, MetricSettings
from rampgate.evidence import VerdictWord
from rampgate.plan import (
    ALLOWED_POLICIES,
    WHOLE,
    Budget,
    Confirm,
    Policy,
    Problem,
    RolloutPlan,
    Step,
    Strategy,
    UsersFollow,
    percent,
    problems,
    seconds,
    share_of,
    targets_of,
)

STEPS = (Step(share=10_000), Step(share=50_000), Step(share=WHOLE))
PLAN = RolloutPlan(flag="shop", environment="production", steps=STEPS)
BLUE_GREEN = replace(PLAN, strategy=Strategy.BLUE_GREEN, steps=(Step(share=WHOLE),), hold_back=0)
ROLLING = replace(
    PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("web-1", "web-2", "web-3")
)
NAN = float("nan")


def paths(**changes: object) -> list[str]:
    return [problem.path for problem in problems(replace(PLAN, **changes))]  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", [PLAN, BLUE_GREEN, ROLLING])
def test_the_defaults_have_no_problem(plan: RolloutPlan):
    assert list(problems(plan)) == []


def test_everything_that_is_wrong_is_told_at_once():
    budgets = {
        VerdictWord.NO_TRAFFIC: Budget(seconds=0, then=Policy.PROMOTE),
        VerdictWord.HEALTHY: Budget(seconds=1, then=Policy.HOLD),
    }
    found = paths(
        steps=(Step(share=50_000, bake=-1), Step(share=10_000, confirm=Confirm(timeout=0, then=Policy.ASK))),
        dark=Step(share=5),
        poll=20.0,
        stale_after=30.0,
        scale_down_delay=10.0,
        users_follow=UsersFollow.DEPLOYMENT,
        first_deploy=Policy.HOLD,
        budgets=budgets,
    )
    assert sorted(found) == sorted(
        [
            "steps[1]",
            "dark.share",
            "usersFollow",
            "lease",
            "staleAfter",
            "heartbeat",
            "scaleDownDelay",
            "steps[0].bake",
            "policies.inconclusive",
            "policies.no_traffic",
            "policies.no_traffic.budget",
            "policies.source_down",
            "policies.healthy",
            "steps[1].confirm.then",
            "steps[1].confirm.timeout",
            "firstDeploy",
        ]
    )


def test_a_problem_says_where_what_and_what_is_allowed():
    (problem,) = problems(replace(PLAN, steps=(Step(share=10_000), Step(share=50_000))))
    assert str(problem) == "steps[1]: 50 % is not allowed: 100: the last step is everybody."


def test_a_last_step_that_falls_is_told_both():
    (problem,) = problems(replace(PLAN, steps=(Step(share=50_000), Step(share=10_000))))
    assert str(problem) == "steps[1]: 10 % is not allowed: 100: the last step is everybody, and steps rise."


def test_what_only_follows_from_a_step_is_not_told():
    assert paths(steps=(Step(share=WHOLE), Step(share=WHOLE)), hold_back=0) == ["steps[1]"]


def test_a_problem_names_the_nearest_where_there_is_one():
    problem = Problem("strategy", "canari", "one of canary, blue-green, rolling", "canary")
    assert str(problem).endswith("Did you mean canary?")


def test_three_polls_of_400_milliseconds_fit_into_1200():
    lasting = {"lease": 1.2, "heartbeat": 0.4, "stale_after": 1.2, "scale_down_delay": 2.4}
    assert 3 * 0.4 > 1.2, "floats say otherwise"
    assert paths(poll=0.4, **lasting) == []
    assert paths(poll=0.401, **lasting) == ["lease"]


def test_a_plan_without_steps_is_refused():
    assert paths(steps=()) == ["steps"]


@pytest.mark.parametrize("shares", [(0, WHOLE), (10_000, 10_000, WHOLE), (50_000, 10_000, WHOLE)])
def test_steps_rise(shares: tuple[int, ...]):
    steps = tuple(Step(share=share) for share in shares)
    assert any(path.startswith("steps[") for path in paths(steps=steps, hold_back=0))


def test_a_plan_has_a_sane_number_of_steps():
    steps = [Step(share=share) for share in range(1, 51)]
    assert paths(steps=(*steps[:49], Step(share=WHOLE))) == []
    assert paths(steps=(*steps, Step(share=WHOLE))) == ["steps"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": 0.0}, "alpha"),
        ({"beta": -0.1}, "beta"),
        ({"margin": -1.0}, "margin"),
        ({"margin": NAN}, "margin"),
        ({"floor": 1.0}, "floor"),
        ({"min_polls": 0}, "minPolls"),
        ({"min_intervals": 10**12}, "minIntervals"),
        ({"exclude": (3.0, 1.0)}, "exclude[1]"),
        ({"metrics": (MetricSettings(name="slow", kind=MetricKind.LATENCY, weight=-1.0),)}, "metrics[0].weight"),
    ],
)
def test_a_judge_that_could_not_judge_is_refused(changes: dict[str, Any], path: str):
    assert paths(judge=replace(JudgeSettings(), **changes)) == [path]


def test_nobody_meets_a_dark_version():
    assert paths(dark=Step(share=1)) == ["dark.share"]


@pytest.mark.parametrize("hold_back", [-1, 50_000, WHOLE])
def test_the_hold_back_leaves_the_last_step_something_to_widen(hold_back: int):
    assert paths(hold_back=hold_back) == ["holdBack"]


def test_three_polls_fit_into_a_lease():
    assert paths(poll=15.0, lease=45.0) == []
    assert paths(poll=15.1, lease=45.0) == ["lease"]


def test_the_lease_lapses_before_clients_are_stale():
    assert paths(lease=60.0, poll=15.0, stale_after=60.0) == []
    assert paths(lease=60.1, poll=15.0, stale_after=60.0) == ["staleAfter"]


def test_three_heartbeats_fit_into_stale_after():
    assert paths(heartbeat=20.0) == []
    assert paths(heartbeat=20.1) == ["heartbeat"]


def test_the_old_version_stays_for_twice_stale_after():
    assert paths(scale_down_delay=120.0) == []
    assert paths(scale_down_delay=119.0) == ["scaleDownDelay"]


@pytest.mark.parametrize("name", ["poll", "lease", "stale_after", "heartbeat", "deploy", "verify", "retire", "pause"])
@pytest.mark.parametrize("value", [0.0, -1.0, NAN, float("inf"), 1e308, 31 * 86_400.0])
def test_a_timing_that_is_no_sane_duration_is_refused(name: str, value: float):
    assert paths(**{name: value})


@pytest.mark.parametrize("name", ["hold", "step_timeout", "scale_down_delay"])
@pytest.mark.parametrize("value", [0.0, NAN, float("inf")])
def test_no_phase_can_be_made_endless(name: str, value: float):
    assert paths(**{name: value})


def test_a_bake_ends_before_its_step_does():
    assert paths(dark=Step(share=0, bake=86_400.0)) == ["dark.bake"]
    assert paths(steps=(Step(share=10_000, bake=NAN), STEPS[-1])) == ["steps[0].bake"]


def test_a_question_has_its_time_within_the_step():
    step = Step(share=10_000, bake=300.0, confirm=Confirm(timeout=600.0))
    assert paths(steps=(step, STEPS[-1]), step_timeout=901.0) == []
    assert paths(steps=(step, STEPS[-1]), step_timeout=900.0) == ["steps[0].confirm.timeout"]


@pytest.mark.parametrize("word", [VerdictWord.NO_TRAFFIC, VerdictWord.SOURCE_DOWN])
@pytest.mark.parametrize("policy", [Policy.PROMOTE, Policy.COMPLETE, Policy.PROMOTE_IF_NO_EVIDENCE])
def test_no_silence_admits_a_widening_policy(word: VerdictWord, policy: Policy):
    budgets = {**PLAN.budgets, word: Budget(seconds=60.0, then=policy)}
    assert paths(budgets=budgets) == [f"policies.{word}"]


def test_the_table_of_policies_gives_no_silence_a_widening_one():
    widening = {Policy.PROMOTE, Policy.COMPLETE, Policy.PROMOTE_IF_NO_EVIDENCE}
    for place in ("policies.no_traffic", "policies.source_down"):
        assert not widening & set(ALLOWED_POLICIES[place])


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.BLUE_GREEN])
def test_users_follow_the_machines_only_where_machines_are_replaced(strategy: Strategy):
    plan = PLAN if strategy is Strategy.CANARY else BLUE_GREEN
    found = problems(replace(plan, users_follow=UsersFollow.DEPLOYMENT))
    assert [problem.path for problem in found] == ["usersFollow"]
    assert [problem.path for problem in problems(replace(plan, targets=("web-1", "web-2")))] == ["targets"]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"users_follow": UsersFollow.FLAG}, ["usersFollow"]),
        ({"targets": ()}, ["targets"]),
        ({"targets": ("web-1",)}, ["targets"]),
        ({"targets": ("web-1", "web-1", "web 3")}, ["targets[1]", "targets[2]"]),
        ({"max_unavailable": 0}, ["maxUnavailable"]),
        ({"max_unavailable": 3}, ["maxUnavailable"]),
    ],
)
def test_a_rolling_rollout_needs_targets_of_which_one_stays_up(changes: dict[str, object], wrong: list[str]):
    assert [problem.path for problem in problems(replace(ROLLING, **changes))] == wrong  # type: ignore[arg-type]


def test_what_is_still_under_way_must_be_over_before_the_old_version_may_go():
    assert paths(drain=540.0) == []
    assert paths(drain=541.0) == ["drainTimeout"]
    assert paths(drain=-1.0) == ["drainTimeout"]
    assert paths(drain=300.0, retire=200.0) == ["drainTimeout"]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 97, 1000])
def test_a_count_of_targets_as_a_share_is_the_same_count_again(count: int):
    assert [targets_of(share_of(number, count), count) for number in range(count + 1)] == list(range(count + 1))


@pytest.mark.parametrize(("share", "count", "number"), [(10_000, 6, 1), (50_000, 6, 3), (50_000, 7, 4), (WHOLE, 6, 6)])
def test_part_of_the_targets_is_rounded_up(share: int, count: int, number: int):
    assert targets_of(share, count) == number


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "0.001 %"), (12_500, "12.5 %"), (10_000, "10 %"), (WHOLE, "100 %")]
)
def test_shares_are_written_as_people_write_them(share: int, text: str):
    assert percent(share) == text


@given(st.integers(0, WHOLE))
def test_no_share_loses_anything_when_written(share: int):
    assert round(float(percent(share).removesuffix(" %")) * 1000) == share


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0, "0s"), (0.5, "500ms"), (45, "45s"), (600, "10m"), (5400, "1h30m"), (90_061, "25h1m1s"), (-30, "-30s")],
)
def test_durations_are_written_in_the_grammar_that_plans_read(duration: float, text: str):
    assert seconds(duration) == text


@pytest.mark.parametrize("duration", [NAN, float("inf"), 1e308])
def test_what_is_no_duration_is_still_written(duration: float):
    assert seconds(duration) == str(duration)


@pytest.mark.parametrize(
    ("salt", "found"), [(None, []), ("spring-2027", []), ("", ["salt"]), ("a b", ["salt"]), ("x" * 101, ["salt"])]
)
def test_a_salt_is_a_word(salt: str | None, found: list[str]) -> None:
    assert paths(salt=salt) == found
