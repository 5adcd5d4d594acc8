"""The workflows that people copy: events the gate obeys, inputs that exist, a checkout, no queue for an abort."""

import re

import pytest
import yaml

from gate.inputs import INPUTS, Mode
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "workflows.md").read_text()
# YAML 1.1 reads the key `on` as true.
WORKFLOWS = [
    yaml.safe_load(text.replace("\non:", '\n"on":')) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda one: one["name"])
def test_a_workflow_checks_out_before_it_asks_the_gate_and_uses_inputs_that_exist(workflow):
    (job,) = workflow["jobs"].values()
    checkout, gate = job["steps"]
    assert checkout["uses"].startswith("actions/checkout@")
    assert set(gate["with"]) <= set(INPUTS)
    assert gate["with"].get("mode", "auto") in set(Mode)


def test_an_abort_never_queues_behind_its_gate():
    release, commands, _ = WORKFLOWS
    assert "concurrency" in release
    assert "concurrency" not in commands
    assert commands["on"] == {"issue_comment": {"types": ["created"]}}


def test_the_three_workflows_are_there():
    assert [set(one["on"]) for one in WORKFLOWS] == [{"push"}, {"issue_comment"}, {"schedule"}]


def test_every_job_may_tell_github_and_prove_who_it_is():
    needed = {"contents": "read"} | dict.fromkeys(("deployments", "pull-requests", "statuses", "id-token"), "write")
    for workflow in WORKFLOWS:
        assert needed.items() <= workflow["permissions"].items(), workflow["name"]
