"""The keys under `hooks:`: what they come to, and what is refused, all problems at once."""

from typing import Any

import pytest
import yaml

from gate.config import Config, HookConfig, Moment, load
from gate.errors import ConfigError
from rampgate.problem import Problem

BASE = {"flag": "shop", "environment": "production", "deploy": {"none": True}, "metrics": [{"errors": "flagserver"}]}


def reading(*hooks: dict[str, Any], **more: Any) -> Config:
    return load(yaml.safe_dump({**BASE, "hooks": list(hooks), **more}), where="rampgate.yml")


def refused(*hooks: dict[str, Any], **more: Any) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        reading(*hooks, **more)
    return {problem.path: problem for problem in caught.value.problems}


def test_a_hook_is_a_command_or_an_address_at_a_moment() -> None:
    found = reading(
        {"name": "load-test", "when": "rollout", "command": "./load.sh", "failureLimit": 0},
        {"when": "confirm-promotion", "url": "https://gate.example", "timeout": "30s", "secretEnv": "GATE_SECRET"},
    )
    assert found.hooks == (
        HookConfig(when=Moment.ROLLOUT, name="load-test", command="./load.sh", failure_limit=0),
        HookConfig(
            when=Moment.CONFIRM_PROMOTION,
            name="confirm-promotion",
            url="https://gate.example",
            timeout=30.0,
            secret_env="GATE_SECRET",
        ),
    )


def test_hooks_without_names_are_told_apart() -> None:
    found = reading(*({"when": "event", "command": "true"} for _ in range(3)))
    assert [hook.name for hook in found.hooks] == ["event", "event-2", "event-3"]


def test_the_time_that_confirm_rollout_waits_is_added_to_the_deployments() -> None:
    plain = reading().plan
    found = reading({"when": "confirm-rollout", "command": "true", "wait": "10m"}, timeouts={"deploy": "5m"})
    assert found.plan.deploy == 900.0
    assert reading({"when": "rollout", "command": "true"}).plan == plain


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    found = refused(
        {"when": "event", "command": "true", "wait": "1m", "failureLimit": 3},
        {"when": "pre-rollout", "command": "true", "timeout": "6m", "secretEnv": "KEY"},
        {"when": "rollout", "url": "https://x", "name": "event"},
        {"when": "rollback", "url": "https://x", "timeout": "0s"},
    )
    assert found.keys() == {
        "hooks[0].wait",
        "hooks[0].failureLimit",
        "hooks[1].timeout",
        "hooks[1].secretEnv",
        "hooks[2].name",
        "hooks[3].timeout",
    }
    assert "timeouts.verify" in found["hooks[1].timeout"].allowed


@pytest.mark.parametrize(
    "hook",
    [
        {"when": "rollout"},
        {"when": "rollout", "command": "a", "url": "https://x"},
        {"command": "a", "url": "https://x"},
    ],
)
def test_a_hook_is_one_thing(hook: dict[str, Any]) -> None:
    assert refused(hook).keys() == {"hooks[0]"}


def test_a_misspelt_moment_or_key_is_told_what_was_meant() -> None:
    found = refused({"when": "pre-rolout", "command": "true"}, {"when": "event", "comand": "true", "url": "https://x"})
    assert found["hooks[0].when"].hint == "pre-rollout"
    assert found["hooks[1].comand"].hint == "command"
