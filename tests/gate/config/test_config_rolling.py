"""A rolling rollout in the configuration: targets, batches, and what must fit together."""

from typing import Any

import pytest
import yaml

from gate.config import load
from gate.config.values import Config
from gate.errors import ConfigError
from rampgate.plan import Strategy, UsersFollow
from rampgate.problem import Problem

ROLLING = """
flag: shop
environment: production
strategy: rolling
usersFollow: deployment
targets: [web-1, web-2, web-3, web-4, web-5, web-6]
deploy: {command: ./deploy.sh}
metrics:
  - errors: prometheus
    url: https://prometheus.example
    queries: {requests: 'r{slot="{{slot}}"}', errors: 'e{slot="{{slot}}"}'}
"""


def reading(**changes: Any) -> Config:
    kept = {key: value for key, value in {**yaml.safe_load(ROLLING), **changes}.items() if value is not None}
    return load(yaml.safe_dump(kept, sort_keys=False), where="rampgate.yml")


def refused(**changes: Any) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        reading(**changes)
    return {problem.path: problem for problem in caught.value.problems}


def test_without_batches_a_tenth_is_replaced_then_half_then_all() -> None:
    plan = reading().plan
    assert (plan.strategy, plan.users_follow, plan.max_unavailable) == (Strategy.ROLLING, UsersFollow.DEPLOYMENT, 1)
    assert [step.share for step in plan.steps] == [16_666, 50_000, 100_000]
    assert plan.hold_back == 0


def test_where_targets_are_few_no_batch_is_there_twice() -> None:
    assert [step.share for step in reading(targets=["a", "b"]).plan.steps] == [50_000, 100_000]


def test_batches_are_parts_counts_or_all_with_bakes_and_confirmations() -> None:
    batches = [1, {"targets": "50%", "bake": "2h", "confirm": {"timeout": "1h"}}, "all"]
    first, second, last = reading(batches=batches).plan.steps
    assert (first.share, second.share, last.share) == (16_666, 50_000, 100_000)
    assert (second.bake, second.confirm is not None) == (7200.0, True)


def test_many_targets_in_a_row_get_the_time_that_they_need() -> None:
    names = [f"web-{number}" for number in range(100)]
    plan = reading(targets=names, maxUnavailable=5).plan
    assert (plan.deploy, plan.retire) == (50 / 5 * 300, 100 / 5 * 300)
    assert reading(targets=names, timeouts={"deploy": "20m"}).plan.deploy == 1200.0


@pytest.mark.parametrize(
    ("changes", "path", "allowed"),
    [
        ({"usersFollow": None}, "usersFollow", "meet what their machine runs"),
        ({"usersFollow": "flag"}, "usersFollow", "could send users to one that is not there"),
        ({"targets": None}, "targets", "2 to 1000 names"),
        ({"targets": ["a", "a"]}, "targets[1]", "each name once"),
        ({"batches": [1, "10%", "all"]}, "batches[1]", "more than 1 targets, and 10% of 6 is 1"),
        ({"batches": [1, 7]}, "batches[1]", "at most 6"),
        ({"batches": [1, 5]}, "batches[1]", "all: the last batch is every target"),
        ({"batches": [{"targets": "all", "bake": "800h"}]}, "batches[0].bake", "less than timeouts.step"),
        ({"batches": ["half"]}, "batches[0]", "a part such as 10%, a count"),
        ({"maxUnavailable": 6}, "maxUnavailable", "1 to 5"),
        ({"steps": [10, 100]}, "steps", "batches: "),
        ({"holdBack": 5}, "holdBack", "no machine may keep the old version"),
        ({"kind": "release"}, "kind", "rollout"),
        ({"deploy": {"none": True}}, "deploy", "can be asked what a target runs"),
        ({"verify": [{"url": "https://{{slot}}.shop.example"}]}, "verify[0].url", "an address with {{target}}"),
        (
            {"verify": [{"url": "https://{{target}}.example", "forced": True, "contains": "{{version}}"}]},
            "verify[0].forced",
            "false: users follow the machines",
        ),
        ({"verify": [{"url": {"web-1": "https://a.example"}}]}, "verify[0].url", "an address for each target"),
    ],
)
def test_what_does_not_fit_is_told_with_why(changes: dict[str, Any], path: str, allowed: str) -> None:
    found = refused(**changes)
    assert set(found) == {path}
    assert allowed in found[path].allowed


def test_targets_and_batches_are_for_rolling_alone() -> None:
    found = refused(strategy="canary", usersFollow=None, batches=["all"], verify=[{"url": "https://{{target}}"}])
    assert set(found) == {"targets", "batches", "verify[0].url"}


def test_each_target_is_looked_at_by_its_own_address() -> None:
    reading(verify=[{"url": "https://{{target}}.shop.example/healthz"}, {"command": "./smoke.sh"}])
    reading(verify=[{"url": {f"web-{number}": f"http://10.0.0.{number}:8080/" for number in range(1, 7)}}])


def test_where_everybody_goes_over_at_once_stable_is_looked_at_before() -> None:
    blue_green: dict[str, Any] = {"strategy": "blue-green", "usersFollow": None, "targets": None}
    assert reading(**blue_green).plan.dark.bake == 300.0
    assert reading(**blue_green, dark={"bake": "1m"}).plan.dark.bake == 60.0
    assert reading(**blue_green, holdBack=5).plan.dark.bake == 0.0
    assert reading(batches=["all"]).plan.dark.bake == 300.0
    found = refused(**blue_green, dark={"bake": "30s"})
    assert set(found) == {"dark.bake"}
    assert "at least 3 × poll (45s)" in found["dark.bake"].allowed


def test_what_the_flag_counted_says_nothing_of_machines() -> None:
    good = yaml.safe_load(ROLLING)["metrics"]
    found = refused(metrics=[{"errors": "flagserver"}])
    assert found.keys() == {"metrics[0]"}
    assert "what their machine runs" in found["metrics[0]"].allowed
    assert refused(metrics=[*good, {"latency": "flagserver"}]).keys() == {"metrics[1]"}
    assert refused(metrics=None).keys() == {"metrics"}
