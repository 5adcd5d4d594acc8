"""What the configuration says is what the gate's hands do."""

from dataclasses import asdict, fields
from pathlib import Path

from gate.config import HttpCheck, load
from gate.notify import Messenger
from gate.verify import DarkVerification, Probe
from gate.world import Surroundings, hands
from tests.gate.metrics.contract import means

CONFIG = """
flag: shop
environment: production
deploy: {none: true}
metrics:
  - errors: prometheus
    url: http://p
    tokenEnv: MAIN
    queries: {requests: "n{a='{{slot}}'}", errors: "x{a='{{slot}}'}"}
  - {mean: command, command: ./x, secretEnv: SIDE}
verify:
  - url: https://{{slot}}.x
    status: 204
    within: 1s
    contains: "{{version}}"
    headers: {A: b}
    answers: {C: d}
    patience: 7s
    forced: true
"""


def test_every_key_of_a_verification_reaches_the_probe_and_every_credential_is_kept_from_hooks() -> None:
    config = load(CONFIG, where="rampgate.yml")
    around = Surroundings(folder=Path(), environ={"MAIN": "one", "SIDE": "two"}, secrets=(), say=lambda _: None)
    made = hands(config, around, means().telemetry)
    assert isinstance(made.verify, DarkVerification)
    (probe,) = made.verify.checks
    assert isinstance(probe, Probe)
    (check,) = config.verify
    assert isinstance(check, HttpCheck)
    assert {one.name: getattr(probe, one.name) for one in fields(probe)} == asdict(check)
    assert set(made.verify.workplace.hidden) == {"MAIN", "SIDE"}
    assert {"one", "two"} <= set(made.verify.workplace.secrets)


def test_hooks_work_in_the_folder_and_their_signing_secrets_are_kept_from_commands_and_logs() -> None:
    hooks = "hooks: [{when: event, url: 'https://x', secretEnv: SIGN}, {when: rollout, command: ./x}]\n"
    config = load(f"{CONFIG}{hooks}notify: [{{to: CHAT}}]", where="rampgate.yml")
    environ = {"MAIN": "one", "SIDE": "two", "SIGN": "three", "CHAT": "json://four"}
    around = Surroundings(folder=Path(), environ=environ, secrets=(), say=lambda _: None)
    made = hands(config, around, means().telemetry)
    assert made.hooks.hooks == config.hooks
    assert set(made.hooks.workplace.hidden) == {"MAIN", "SIDE", "SIGN", "CHAT"}
    assert {"three", "json://four"} <= set(made.hooks.workplace.secrets)
    assert made.listeners[0] == made.hooks.tell
    assert isinstance(made.listeners[1], Messenger)
