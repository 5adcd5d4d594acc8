"""The editors' schema says what the gate reads: no more, no less."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

import gate.config
from gate.config import load
from gate.config.schema import schema
from gate.errors import ConfigError

ROOT = Path(__file__).parents[3]
MINIMUM = "flag: shop\nenvironment: production\ndeploy: {none: true}\nmetrics: [{errors: flagserver}]\n"

GOOD = [
    "",
    "steps: [10, 12.5, '50%', {share: 100, bake: 5m, confirm: {timeout: 1h, then: hold}}]",
    "verify: [{url: 'https://{{slot}}.x'}, {command: [a, b]}, {url: {blue: 'http://b'}}]",
    "policies: {no_traffic: {after: 1m, then: ask}}",
    "timeouts: {deploy: 1h30m}",
    "notify: [{to: SLACK_URL}, {to: PAGER_URL, 'on': [failed, needs_hands]}]",
    "hooks: [{when: rollout, command: ./x, failureLimit: 0}, {when: event, url: 'https://x', secretEnv: KEY}]",
    "holdBack: 0\nmargin: 1.5\nminPolls: 3",
    "limits: [{max: 2%, failureLimit: 3}, {success: result < 1, failure: 'result > 2 && requests > 9'}]\nstrict: true",
]
BAD = [
    "stps: [10]",
    "poll: 15",
    "steps: [ten]",
    "steps: []",
    "onGateLost: maybe",
    "timeouts: {deploy: soon}",
    "policies: {no_traffic: {then: promote}}",
    "verify: [{urls: x}]",
    "notify: [{to: 'https://x'}]",
    "notify: [{to: X, on: []}]",
    "hooks: [{when: some-day, command: ./x}]",
    "hooks: [{command: ./x}]",
    "margin: 0.5",
    "strategy: roling",
    "batches: [0]",
    "batches: [half]",
]


def test_the_printed_schema_is_current() -> None:
    printed = json.loads(Path(gate.config.__file__).with_name("schema.json").read_text())
    assert printed == schema(), "print it anew: rampgate config-schema > gate/config/schema.json"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("text", GOOD)
def test_what_the_gate_reads_the_schema_admits(text: str) -> None:
    load(MINIMUM + text, where="x")
    assert list(Draft202012Validator(schema()).iter_errors(yaml.safe_load(MINIMUM + text))) == []


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_refuses_the_gate_refuses_too(text: str) -> None:
    with pytest.raises(ConfigError):
        load(MINIMUM + text, where="x")
    assert list(Draft202012Validator(schema()).iter_errors(yaml.safe_load(MINIMUM + text)))
