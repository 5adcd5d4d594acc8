"""What is done on events as GitHub sent them. `webhooks/LICENSE` says where they are from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.activity import NO_COMMAND, Notice, NoticeReason, ObeyComment, RunRollout, Validate, choose, event_of
from gate.inputs import Inputs, Mode
from tests.gate.test_gate_activity import RUNNER, SHA

RECORDED = {path.stem: path for path in (Path(__file__).parent / "webhooks").glob("*.json")}
ON_A_COMMIT = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
HEAD = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"


def sent(name: str, *, body: str | None = None, on_pull_request: bool = False) -> dict[str, Any]:
    """The recorded event. The recorded comments hold no command and are on an issue: the arguments change that."""
    event = dict(event_of(RECORDED[name].read_text()))
    if body is not None:
        event["comment"] = {**event["comment"], "body": body}
    if on_pull_request:
        event["issue"] = {**event["issue"], "pull_request": {"url": "https://api.github.com/repos/acme/shop/pulls/1"}}
    return event


def on(name: str, event: dict[str, Any], mode: Mode = Mode.AUTO) -> object:
    inputs = replace(Inputs.from_environ({}), mode=mode)
    return choose(replace(RUNNER, event_name=name.partition("-")[0]), inputs, event)


def reason(activity: object) -> NoticeReason:
    assert isinstance(activity, Notice)
    return activity.reason


@pytest.mark.parametrize("name", ["push", "release-published", "workflow_dispatch"])
def test_a_recorded_release_releases_the_runners_commit(name: str) -> None:
    assert on(name, sent(name)) == RunRollout(version=SHA, sha=SHA)


def test_a_recorded_push_that_deletes_releases_nothing() -> None:
    assert reason(on("push-deleted", sent("push-deleted"))) is NoticeReason.BRANCH_DELETED


def test_a_recorded_pull_request_is_looked_at_and_released_by_its_head_where_that_is_asked_for() -> None:
    event = sent("pull_request-synchronize")
    number = event["number"]
    assert on("pull_request", event) == Validate(pull_request=number)
    assert on("pull_request", event, Mode.RUN) == RunRollout(version=HEAD, sha=HEAD, pull_request=number)
    elsewhere = {**event, "repository": {**event["repository"], "id": 1}}
    assert reason(on("pull_request", elsewhere, Mode.RUN)) is NoticeReason.FORK_READ_ONLY


def test_a_recorded_comment_on_a_pull_request_is_obeyed() -> None:
    name = "issue_comment-created"
    assert on(name, sent(name, body="/rollback v1", on_pull_request=True)) == ObeyComment(
        body="/rollback v1",
        comment_id=492700400,
        author="Codertocat",
        author_is_user=True,
        sender="Codertocat",
        created_at=1_557_933_621.0,
        edited=False,
        pull_request=1,
        url="https://github.com/Codertocat/Hello-World/issues/1#issuecomment-492700400",
    )


def test_a_recorded_comment_that_is_talk_or_on_an_issue_is_let_be() -> None:
    name = "issue_comment-created"
    assert on(name, sent(name, on_pull_request=True)) == NO_COMMAND
    assert reason(on(name, sent(name, body="/abort"))) is NoticeReason.NOT_A_PULL_REQUEST


@pytest.mark.parametrize("name", ["issue_comment-edited", "issue_comment-deleted"])
def test_a_recorded_change_of_a_comment_is_never_an_order(name: str) -> None:
    event = sent(name, body="/promote full", on_pull_request=True)
    assert reason(on(name, event)) is NoticeReason.COMMENT_EDITED


def test_a_recorded_comment_on_a_commit_is_obeyed_for_that_commit() -> None:
    name = "commit_comment-created"
    assert on(name, sent(name, body="/abort errors")) == ObeyComment(
        body="/abort errors",
        comment_id=33548674,
        author="Codertocat",
        author_is_user=True,
        sender="Codertocat",
        created_at=1_557_933_639.0,
        edited=False,
        pull_request=None,
        url=f"https://github.com/Codertocat/Hello-World/commit/{ON_A_COMMIT}#commitcomment-33548674",
        commit=ON_A_COMMIT,
    )
    assert on(name, sent(name)) == NO_COMMAND


def test_every_recorded_event_is_asked_about() -> None:
    here = Path(__file__).read_text()
    assert RECORDED
    assert [name for name in RECORDED if f'"{name}"' not in here] == []
