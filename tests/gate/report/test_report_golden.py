"""What people read, word for word. `RAMPGATE_UPDATE_GOLDEN=1 pytest tests/gate/report` makes the files anew."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from gate.errors import ConfigError
from gate.report import (
    Decision,
    Links,
    comment,
    decided,
    outputs,
    outputs_of_error,
    outputs_without,
    replies,
    summary,
    tick,
)
from rampgate.evidence import VerdictWord
from rampgate.machine.state import Phase, WidenedBy
from rampgate.plan import Problem, Strategy
from rampgate.rollout import Answer
from tests.agreed import hold_to
from tests.gate.report.story import STORIES, Story

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parents[3] / "docs/result.schema.json").read_text()))
SERVER = "https://flags.example.com"


def told(story: Story) -> str:
    rollout = story.rollout()
    return comment(rollout, story.looks, story.entries, story.now, Links(run=rollout.run_url))


@pytest.mark.parametrize("name", STORIES)
def test_the_comment_reads_as_agreed(name: str) -> None:
    hold_to(f"comment-{name}.md", told(STORIES[name]()) + "\n")


@pytest.mark.parametrize("name", ["ramping", "promoted", "reverted"])
def test_the_result_reads_as_agreed(name: str) -> None:
    story = STORIES[name]()
    values = outputs(story.rollout(), story.looks, story.entries, server=SERVER)
    shown = {**values, "result": json.loads(values["result"])}
    hold_to(f"outputs-{name}.json", json.dumps(shown, indent=2) + "\n")


@pytest.mark.parametrize("name", STORIES)
def test_every_result_has_the_form_that_is_published(name: str) -> None:
    story = STORIES[name]()
    values = json.loads(outputs(story.rollout(), story.looks, story.entries, server=SERVER)["result"])
    SCHEMA.validate(values)
    assert list(values) == list(SCHEMA.schema["properties"]) == SCHEMA.schema["required"]


def test_the_published_form_knows_every_decision_phase_and_verdict() -> None:
    known = SCHEMA.schema["properties"]
    assert known["decision"]["enum"] == list(Decision)
    assert known["phase"]["enum"] == [*Phase, None]
    assert known["strategy"]["enum"] == [*Strategy, None]
    assert known["widened_by"]["enum"] == [*WidenedBy, None]
    assert known["verdict"]["properties"]["word"]["enum"] == list(VerdictWord)


def test_the_outputs_without_a_rollout_read_as_agreed() -> None:
    error = ConfigError("rampgate.yml", (Problem("steps", "[]", "at least one step"),))
    both = (outputs_of_error(error), outputs_without(Decision.NOTHING, "no_command", "The comment holds no command."))
    shown = [{**values, "result": json.loads(values["result"])} for values in both]
    for values in shown:
        SCHEMA.validate(values["result"])
    hold_to("outputs-without-rollout.json", json.dumps(shown, indent=2) + "\n")


@pytest.mark.parametrize("name", ["aborted", "promoted", "reverted", "paused", "batch-reverted", "switched-back"])
def test_the_log_and_the_annotations_read_as_agreed(name: str) -> None:
    story = STORIES[name]()
    rollout = story.rollout()
    befores = [None, *story.entries]
    found = [decided(entry, before, rollout) for entry, before in zip(story.entries, befores, strict=False)]
    lines = [tick(rollout, look) for look in (None, *story.looks[-1:])]
    hold_to(f"log-{name}.txt", "\n".join([*lines, *(line for line in found if line)]) + "\n")


def test_the_replies_read_as_agreed() -> None:
    texts = [replies.status([]), replies.which("/promote", ["production", "staging"]), replies.no_rollout("production")]
    for name in ("ramping", "paused", "completing", "aborted", "batch", "batch-reverting", "batch-left", "switched"):
        story = STORIES[name]()
        rollout, last = story.rollout(), story.entries[-1]
        texts.append(replies.status([(rollout, story.looks)]))
        answer = Answer(verb=last.verb, rollout=rollout, because=last.because, refusal=last.refusal)
        texts.append(replies.obeyed(answer))
    hold_to("replies.md", "\n\n---\n\n".join(texts) + "\n")


@pytest.mark.parametrize("name", STORIES)
def test_the_summary_says_what_the_comment_says(name: str) -> None:
    story = STORIES[name]()
    rollout = story.rollout()
    page = summary(rollout, story.looks, story.entries, story.now, Links(run=rollout.run_url))
    assert page.strip() == told(story).rpartition("\n\n<!--")[0].strip()
