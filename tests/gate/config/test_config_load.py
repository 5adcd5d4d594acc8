"""The configuration: short for the common case, strict about everything else, all problems at once."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gate.config import (
    CommandCheck,
    Config,
    HttpCheck,
    from_document,
    load,
    read,
)
from gate.deploy import CommandOptions, NoneOptions
from gate.errors import ConfigError, Exit, MisuseError
from gate.metrics import FlagServerOptions, PrometheusOptions
from rampgate.evidence import VerdictWord
from rampgate.plan import Budget, Confirm, OnGateLost, Policy, Problem, RolloutPlan, Step, Strategy, problems

SHORT = """
flag: shop
environment: production
deploy: {command: ./deploy.sh}
steps: [10, 50, 100]
metrics: [{errors: flagserver}]
"""
REQUESTS = "metrics[0].queries.requests"
BASE: dict[str, Any] = yaml.safe_load(SHORT)


def reading(**changes: Any) -> Config:
    kept = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    return load(yaml.safe_dump(kept, sort_keys=False), where="rampgate.yml")


def refused(**changes: Any) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        reading(**changes)
    return {problem.path: problem for problem in caught.value.problems}


def test_the_common_case_is_short_and_has_the_products_defaults() -> None:
    found = load(SHORT, where="rampgate.yml")
    steps = tuple(Step(share=share) for share in (10_000, 50_000, 100_000))
    assert found.plan == RolloutPlan(flag="shop", environment="production", steps=steps)
    assert (found.deploy, found.metrics, found.verify) == (
        CommandOptions(command="./deploy.sh"), (FlagServerOptions(),), (),
    )  # fmt: skip


def test_everything_that_can_be_written_is_read() -> None:
    found = reading(
        steps=[{"share": "5%", "bake": "1m30s", "confirm": {"timeout": "30m", "then": "hold"}}, 12.5, {"share": 100}],
        dark={"bake": "10s", "confirm": {}},
        kind="release",
        holdBack="2.5%",
        poll="5s",
        lease="20s",
        staleAfter="30s",
        heartbeat="10s",
        scaleDownDelay="2m",
        margin=1.5,
        floor=0.01,
        alpha=0.01,
        beta=0.1,
        minPolls=3,
        onGateLost="hold",
        supersede="refuse",
        firstDeploy="ask",
        salt="spring-2027",
        timeouts={"deploy": "20m", "verify": "1m", "retire": "5m", "step": "2h", "pause": "3h", "hold": "4h"},
        policies={"inconclusive": {"after": "30m", "then": "promoteIfNoEvidence"}, "no_traffic": {"then": "ask"}},
        deploy={"command": ["./deploy.sh", "--now"]},
    )
    plan = found.plan
    confirm = Confirm(timeout=1800, then=Policy.HOLD)
    assert plan.steps == (Step(share=5_000, bake=90, confirm=confirm), Step(share=12_500), Step(share=100_000))
    assert plan.dark == Step(share=0, bake=10, confirm=Confirm())
    assert (plan.hold_back, plan.poll, plan.lease, plan.stale_after, plan.heartbeat) == (2_500, 5, 20, 30, 10)
    assert (plan.scale_down_delay, plan.deploy, plan.retire, plan.step_timeout) == (120, 1200, 300, 7200)
    assert (plan.pause, plan.hold, plan.on_gate_lost) == (10_800, 14_400, OnGateLost.HOLD)
    assert plan.budgets[VerdictWord.INCONCLUSIVE] == Budget(seconds=1800, then=Policy.PROMOTE_IF_NO_EVIDENCE)
    assert plan.budgets[VerdictWord.NO_TRAFFIC] == Budget(seconds=900, then=Policy.ASK)
    assert (plan.judge.margin, plan.judge.floor, plan.judge.alpha, plan.judge.min_polls) == (1.5, 0.01, 0.01, 3)
    assert plan.salt == "spring-2027"
    assert found.deploy == CommandOptions(command=("./deploy.sh", "--now"))


def test_sources_and_checks_are_read() -> None:
    found = reading(
        deploy={"none": True},
        metrics=[
            {
                "errors": "prometheus",
                "url": "http://prometheus:9090/",
                "queries": {"requests": 'n{v="{{version}}"}', "errors": 'e{v="{{ slot }}"}'},
                "userEnv": "P_USER",
                "passwordEnv": "P_PASSWORD",
                "timeout": "2s",
            }
        ],
        verify=[
            {"url": "https://{{slot}}.shop.example/health", "status": 204, "within": "1s", "contains": "ok"},
            {"url": {"blue": "http://b:1", "green": "http://g:2"}, "patience": "1m", "answers": {"X-V": "{{version}}"}},
            {"url": "https://shop.example/", "headers": {"X-Slot": "{{slot}}"}},
            {"command": "./smoke.sh"},
        ],
    )
    assert found.deploy == NoneOptions()
    assert found.metrics == (
        PrometheusOptions(
            url="http://prometheus:9090/", requests='n{v="{{version}}"}', errors='e{v="{{ slot }}"}', timeout=2,
            user_env="P_USER", password_env="P_PASSWORD",
        ),
    )  # fmt: skip
    assert found.verify == (
        HttpCheck(url="https://{{slot}}.shop.example/health", status=204, within=1, contains="ok"),
        HttpCheck(url={"blue": "http://b:1", "green": "http://g:2"}, patience=60, answers={"X-V": "{{version}}"}),
        HttpCheck(url="https://shop.example/", headers={"X-Slot": "{{slot}}"}),
        CommandCheck(command="./smoke.sh"),
    )


def test_the_input_takes_the_place_of_the_files_environment_and_one_of_them_must_be() -> None:
    assert load(SHORT, where="x", environment="staging").plan.environment == "staging"
    assert set(refused(environment=None)) == {"environment"}


def test_the_document_kept_with_a_rollout_reads_to_the_same_configuration() -> None:
    first = load(SHORT, where="x", environment="staging")
    kept = json.loads(json.dumps(first.document))
    assert from_document(kept, where="the rollout") == first


def test_blue_green_moves_everybody_at_once_and_canary_by_three_steps() -> None:
    both = reading(strategy="blue-green", steps=None).plan
    assert both.strategy is Strategy.BLUE_GREEN
    assert ([step.share for step in both.steps], both.hold_back) == ([100_000], 0)
    assert [step.share for step in reading(steps=None).plan.steps] == [10_000, 50_000, 100_000]
    assert "canary moves by steps" in refused(strategy="blue-green")["steps"].allowed


def test_hold_back_leaves_the_last_step_something_to_widen() -> None:
    assert reading(steps=[50, 97, 100]).plan.hold_back == 1_500
    assert set(refused(steps=[50, 97, 100], holdBack=3)) == {"holdBack"}


@pytest.mark.parametrize(
    ("written", "timings"),
    [
        ({}, (15, 45, 60, 15, 600)),
        ({"poll": "1m"}, (60, 180, 180, 15, 600)),
        ({"poll": "1s"}, (1, 45, 60, 15, 600)),
        ({"lease": "30s"}, (10, 30, 60, 15, 600)),
        ({"lease": "2m"}, (15, 120, 120, 15, 600)),
        ({"staleAfter": "30s"}, (10, 30, 30, 10, 600)),
        ({"staleAfter": "10m"}, (15, 45, 600, 15, 1200)),
        ({"heartbeat": "30s"}, (15, 45, 90, 30, 600)),
        ({"scaleDownDelay": "1m"}, (10, 30, 30, 10, 60)),
        ({"poll": "500ms", "lease": "2s", "staleAfter": "3s"}, (0.5, 2, 3, 1, 600)),
    ],
)
def test_timings_that_are_left_out_follow_those_that_are_written(
    written: dict[str, str], timings: tuple[float, ...]
) -> None:
    plan = reading(**written).plan
    assert (plan.poll, plan.lease, plan.stale_after, plan.heartbeat, plan.scale_down_delay) == timings
    assert list(problems(plan)) == []


@given(
    st.dictionaries(
        st.sampled_from(["poll", "lease", "staleAfter", "heartbeat", "scaleDownDelay"]), st.integers(1, 100_000)
    )
)
def test_a_timing_that_was_written_is_kept_or_refused_but_never_changed(written: dict[str, int]) -> None:
    names = {"staleAfter": "stale_after", "scaleDownDelay": "scale_down_delay"}
    try:
        plan = reading(**{key: f"{value}s" for key, value in written.items()}).plan
    except ConfigError:
        assert len(written) > 1
    else:
        assert {key: getattr(plan, names.get(key, key)) for key in written} == written


def test_timings_out_of_order_are_refused_with_the_files_own_paths() -> None:
    found = refused(
        poll="20s", lease="30s", staleAfter="10s", heartbeat="9s", scaleDownDelay="15s", timeouts={"step": "1m"}
    )
    assert set(found) >= {"lease", "staleAfter", "heartbeat", "scaleDownDelay", "steps[0].bake"}
    assert "timeouts.step (1m)" in found["steps[0].bake"].allowed
    assert set(refused(timeouts={"pause": "0s"}, policies={"source_down": {"after": "0s"}})) == {
        *("timeouts.pause", "policies.source_down.after"),
    }


@pytest.mark.parametrize(
    ("policies", "path"),
    [
        ({"source_down": {"then": "promoteIfNoEvidence"}}, "policies.source_down.then"),
        ({"no_traffic": {"then": "promote"}}, "policies.no_traffic.then"),
        ({"inconclusive": {"then": "promote"}}, "policies.inconclusive.then"),
    ],
)
def test_no_policy_may_widen_without_evidence(policies: dict[str, Any], path: str) -> None:
    assert "promote" not in refused(policies=policies)[path].allowed.replace("promoteIfNoEvidence", "")


def test_a_forced_check_says_which_version_has_to_answer_and_may_ask_at_the_door_of_users() -> None:
    (check,) = reading(verify=[{"url": "https://shop", "forced": True, "answers": {"X": "{{slot}}"}}]).verify
    assert isinstance(check, HttpCheck)
    assert check.forced
    with pytest.raises(ConfigError, match="which version answered"):
        reading(verify=[{"url": "https://{{slot}}.shop", "forced": True, "contains": "ok"}])


def test_all_problems_are_said_at_once_with_what_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        reading(
            flag=None,
            steps=[10, 5, 90],
            poll=15,
            stratgy="canary",
            margin="1.2",
            onGateLost="revret",
            metrics=[{"errors": "promtheus"}],
            timeouts={"deply": "5m"},
            verify=[{"url": "http://shop"}],
        )
    text = str(caught.value)
    assert [problem.path for problem in caught.value.problems] == [
        *("steps[1]", "steps[2]", "metrics[0].errors", "poll", "stratgy", "margin", "onGateLost"),
        *("timeouts.deply", "verify[0]", "flag"),
    ]
    for meant in ("15s", "strategy", "revert", "prometheus", "deploy"):
        assert f"Did you mean {meant}?" in text
    assert caught.value.exit is Exit.MISUSE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30s", 30), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5), ("1h2m3s4ms", 3723.004), ("90m", 5400)],
)
def test_durations_have_units(value: str, seconds: float) -> None:
    assert reading(timeouts={"deploy": value}).plan.deploy == seconds


@pytest.mark.parametrize("value", [30, 30.5, "30", "", "s", "1m1h", "1 m", "-5s", "1.5h", "30S", "٣s", True, "1d", []])
def test_a_duration_without_a_known_unit_is_refused(value: object) -> None:
    assert "a duration such as 30s" in refused(timeouts={"deploy": value})["timeouts.deploy"].allowed


@pytest.mark.parametrize(("value", "meant"), [(30, "30s"), ("5 minutes", "5m"), ("1 hour and 30 min", "1h30m")])
def test_a_duration_in_other_words_is_refused_with_ours(value: object, meant: str) -> None:
    assert refused(timeouts={"deploy": value})["timeouts.deploy"].hint == meant


@pytest.mark.parametrize("value", [101, -1, "ten", "10 percent", True, 12.34567, [10], {"share": 10, "bke": "5m"}])
def test_a_share_that_is_none_is_refused(value: object) -> None:
    assert any(path.startswith("steps[0]") for path in refused(steps=[value, 100]))


@pytest.mark.parametrize(
    ("metric", "path", "said"),
    [
        ({}, "metrics[0]", "flagserver, prometheus"),
        ({"errors": "prometheus"}, "metrics[0].url", "Where it answers"),
        (
            {"queries": {"requests": "up", "errors": "e{{slot}}"}},
            "metrics[0].queries.requests",
            "{{version}} or {{slot}}",
        ),
        ({"queries": {"requests": "a{{slto}}", "errors": "e{{slot}}"}}, "metrics[0].queries.requests", "{{slot}}"),
        (
            {"queries": {"requests": "rate(a{s='{{slot}}'}[1m])", "errors": "e{{slot}}"}},
            "metrics[0].queries.requests",
            "rate(…)",
        ),
        ({"tokenEnv": "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}, "metrics[0].tokenEnv", "of your own"),
        ({"userEnv": "A"}, "metrics[0]", "userEnv and passwordEnv together"),
        ({"userEnv": "A", "passwordEnv": "B", "tokenEnv": "C"}, "metrics[0]", "one way to log in"),
        ({"url": "prometheus:9090"}, "metrics[0].url", "an address"),
    ],
)
def test_a_source_that_cannot_be_asked_is_refused(metric: dict[str, Any], path: str, said: str) -> None:
    whole = {
        "errors": "prometheus",
        "url": "http://p:9090",
        "queries": {"requests": "n{{slot}}", "errors": "e{{slot}}"},
    }
    given_ = metric if not metric or set(metric) == {"errors"} else {**whole, **metric}
    found = refused(metrics=[given_])
    assert said in str(found[path])


def test_exactly_one_source_counts_the_errors() -> None:
    assert refused(metrics=[])["metrics"].allowed == "a list of at least 1"
    assert "once" in refused(metrics=[{"errors": "flagserver"}] * 2)["metrics[1].errors"].allowed
    assert "one {errors: …}" in refused(metrics=[{"latency": "flagserver"}])["metrics"].allowed


@pytest.mark.parametrize(
    "deploy", [{}, {"none": False}, {"none": True, "command": "x"}, "./deploy.sh", {"command": []}]
)
def test_a_deployment_is_one_thing(deploy: object) -> None:
    assert set(refused(deploy=deploy)) <= {"deploy", "deploy.command"}


def test_a_misspelt_deployer_is_told_by_its_name_and_what_was_meant() -> None:
    found = refused(deploy={"comand": "./deploy.sh"}, steps=[50, 10])
    assert found["deploy.comand"].hint == "command"
    assert found.keys() == {"deploy.comand", "steps[1]"}


@pytest.mark.parametrize("key", ["<<", "Flag"])
def test_what_is_not_carried_out_is_no_key(key: str) -> None:
    assert refused(**{key: {"a": 1}})[key].value == "this key"


def test_passwords_in_addresses_and_headers_are_never_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        reading(
            metrics=[{"errors": "prometheus", "url": "https://u:hunter2@p", "queries": {}}],
            verify=[{"url": "https://{{slot}}.x", "headers": {"Authorization": 12345}}],
        )
    assert "hunter2" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_a_file_is_read_and_a_missing_one_says_how_to_begin(tmp_path: Path) -> None:
    path = tmp_path / "rampgate.yml"
    with pytest.raises(MisuseError, match=r"docs/configuration\.md"):
        read(path)
    path.write_bytes(b"\xef\xbb\xbf" + SHORT.encode())
    assert read(path, environment="staging") == replace(load(SHORT, where="x", environment="staging"))
    for data, said in ((b"\xff\xfe", "UTF-8"), (b"#" * 70_000, "64 KiB")):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=said):
            read(path)
