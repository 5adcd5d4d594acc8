"""The pages on deployers and sources: what they tell people to copy is run."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gate.config import load
from gate.deploy import CommandOptions, Done, Failed, NotUp, Workplace
from gate.deploy.workflow import NOT_UP, OWN_INPUTS
from gate.metrics import PrometheusOptions
from gate.signing import signed
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, always

DOCS = Path(__file__).parents[3] / "docs"
BASE = {"flag": "flag: shop\n", "deploy": "deploy: {none: true}\n", "metrics": "metrics: [{errors: flagserver}]\n"}

DOCKER = """#!/bin/sh
# Containers are files: what docker.sh is asked for by the example, and nothing more.
cd "$(dirname "$0")"
case $1 in
  inspect) [ -e "$4.up" ] && echo "true $(cat "$4.up")" ;;
  rm) rm -f "$3.up" ;;
  run) echo "${6#version=}" >"$4.up"; echo started >>starts ;;
esac
"""


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", sorted(str(path.relative_to(DOCS)) for path in (*DOCS.glob("sources/*.md"), *DOCS.glob("deployers/*.md")))
)
def test_every_configuration_on_a_page_is_accepted(page: str) -> None:
    blocks = _blocks(page, "yaml")
    assert blocks
    for block in blocks:
        rest = "".join(line for key, line in BASE.items() if f"{key}:" not in re.findall(r"^\w+:", block, re.MULTILINE))
        load(rest + block, where=page, environment="production")


def test_the_queries_on_the_page_have_no_problems() -> None:
    block, _ = _blocks("sources/prometheus.md", "yaml")
    queries = dict(re.findall(r"^ +(requests|errors): (sum.*)$", block, re.MULTILINE))
    options = PrometheusOptions(url="https://prometheus.example.com", **queries)
    assert list(options.problems("metrics[0]")) == []


def test_the_example_receiver_knows_who_asks() -> None:
    (source,) = _blocks("deployers/webhook.md", "python")
    page: dict[str, Any] = {}
    exec(source, page)
    for at, body, genuine in ((0, b"{}", True), (-3_600, b"{}", False), (0, b"{ }", False)):
        headers = signed("hunter22", b"{}", message="ensure_1", at=time.time() + at)
        assert page["is_genuine"](b"hunter22", headers, body) is genuine


def test_the_example_workflow_can_be_dispatched_and_found() -> None:
    (source,) = _blocks("deployers/workflow.md", "yml")
    workflow = yaml.load(source, Loader=yaml.BaseLoader)
    inputs = workflow["on"]["workflow_dispatch"]["inputs"]
    assert [*inputs, "target", "share", "drain"] == list(OWN_INPUTS)
    assert "${{ inputs.correlation }}" in workflow["run-name"]
    assert NOT_UP in [step.get("name") for step in workflow["jobs"]["deploy"]["steps"]]


def test_the_example_hook_does_what_the_page_says(tmp_path: Path) -> None:
    (script,) = _blocks("deployers/command.md", "sh")
    for name, text in (("deploy.sh", script), ("docker", DOCKER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FENCE_FILE": str(tmp_path / "fence")}
    deployer = CommandOptions(command="./deploy.sh").deployer(Workplace(folder=tmp_path, environ=environ))

    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(RETIRE, always), Done)
    for _ in range(2):
        assert isinstance(deployer.run(WORK, always), Done)
    assert (tmp_path / "starts").read_text() == "started\n"
    assert deployer.run(STATUS, always) == Done(text="slot green is up and runs v2", version="v2")

    late = deployer.run(replace(RETIRE, fence=WORK.fence - 1), always)
    assert isinstance(late, Failed)
    assert "exit code 75" in late.text
    assert isinstance(deployer.run(STATUS, always), Done)

    assert isinstance(deployer.run(replace(RETIRE, fence=WORK.fence + 1), always), Done)
    assert isinstance(deployer.run(STATUS, always), NotUp)
