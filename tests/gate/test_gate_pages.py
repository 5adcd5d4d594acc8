"""The pages for users say what the code says: every key, reason, exit code and result."""

import json
import re
from enum import StrEnum
from pathlib import Path

import pytest
from pydantic import BaseModel

from gate.activity import NoticeReason
from gate.commands.permissions import Denial
from gate.config.models import File, HttpCheckKeys, PolicyKeys, StepKeys, TimeoutKeys
from gate.config.rules import CommandsKeys
from gate.errors import ErrorReason, Exit
from gate.report import Decision
from rampgate.evidence import VerdictReason
from rampgate.machine.state import Reason, Refused

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()


def first_cells(page: str, heading: str) -> list[str]:
    """The code in the first cell of each row under a heading."""
    body = page.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    return re.findall(r"^\| `([^`]+)`", body, re.MULTILINE)


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    return [prefix + (field.alias or name) for name, field in model.model_fields.items()]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Keys", keys(File)),
        ("Steps", keys(StepKeys)),
        ("Verification", [*keys(HttpCheckKeys), "command"]),
        ("Time-outs", keys(TimeoutKeys, "timeouts.")),
        ("Policies", keys(PolicyKeys, "policies.")),
        ("Commands", keys(CommandsKeys)),
    ],
)
def test_every_key_of_the_configuration_has_a_row_and_no_other_has(heading: str, expected: list[str]) -> None:
    assert sorted(first_cells(CONFIGURATION, heading)) == sorted(expected)


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Where a rollout stands, and why", Reason),
        ("What the judge found", VerdictReason),
        ("Why an order or a report changed nothing", Refused),
        ("Why there was nothing to do", NoticeReason),
        ("Why a comment was not obeyed", Denial),
        ("Why a run ended in an error", ErrorReason),
    ],
)
def test_every_reason_has_a_row_and_no_other_has(heading: str, words: type[StrEnum]) -> None:
    assert sorted(first_cells((DOCS / "reasons.md").read_text(), heading)) == sorted(words)


def test_every_exit_code_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {exit_.name: exit_.value for exit_ in Exit}


def test_every_key_of_the_result_has_a_row_and_every_decision_its_word() -> None:
    page = (DOCS / "inputs.md").read_text()
    golden = json.loads((DOCS.parent / "tests/golden/outputs-reverted.json").read_text())
    assert first_cells(page, "The result") == [f"result.{key}" for key in golden["result"]]
    assert all(decision in page for decision in Decision)
