"""Which event makes the gate do what, and what an event must say for it."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.activity import NO_COMMAND, Notice, NoticeReason, ObeyComment, RunRollout, Sweep, Validate, choose, event_of
from gate.errors import EventError
from gate.inputs import Inputs, Mode, Runner

SHA, HEAD = "a" * 40, "b" * 40
INPUTS = Inputs.from_environ({})
RUNNER = Runner(
    event_name="push",
    event_path=Path("event.json"),
    repository="octo/shop",
    repository_id="99",
    sha=SHA,
    ref="refs/heads/main",
    run_id=1,
    run_attempt=1,
    actor="ada",
    triggering_actor="ada",
    api_url="https://api.github.com",
    server_url="https://github.com",
    workspace=Path(),
    output_path=None,
    summary_path=None,
    state_path=None,
)
COMMENT: dict[str, Any] = {
    "action": "created",
    "issue": {"number": 42, "pull_request": {"url": "…"}, "title": "/abort"},
    "comment": {
        "id": 7,
        "body": "/promote full\nmore",
        "user": {"login": "ada", "type": "User"},
        "created_at": "2026-11-22T12:00:00Z",
        "updated_at": "2026-11-22T12:00:00Z",
        "html_url": "https://github.com/octo/shop/pull/42#issuecomment-7",
    },
    "sender": {"login": "ada"},
}
PULL: dict[str, Any] = {
    "repository": {"id": 99},
    "pull_request": {"number": 42, "head": {"sha": HEAD, "repo": {"id": 99}}},
}


def on(event_name: str, event: dict[str, Any] | None = None, mode: Mode = Mode.AUTO, **inputs: Any) -> object:
    return choose(replace(RUNNER, event_name=event_name), replace(INPUTS, mode=mode, **inputs), event or {})


def with_comment(**changes: Any) -> dict[str, Any]:
    return {**COMMENT, "comment": {**COMMENT["comment"], **changes}}


@pytest.mark.parametrize("event_name", ["push", "workflow_dispatch", "release"])
def test_what_changes_the_code_releases_its_commit(event_name: str) -> None:
    assert on(event_name) == RunRollout(version=SHA, sha=SHA)
    assert on(event_name, version="v3") == RunRollout(version="v3", sha=SHA)


def test_other_events_choose_what_they_are_for() -> None:
    assert on("schedule") == Sweep()
    assert on("pull_request", PULL) == Validate(pull_request=42)
    assert on("pull_request_target", PULL) == Validate(pull_request=42)
    forked = {**PULL, "pull_request": {"number": 42, "head": {"sha": HEAD, "repo": {"id": 98}}}}
    assert on("pull_request_target", forked) == Validate(pull_request=42, foreign=True)
    assert on("merge_group") == Validate()
    run = {"repository": {"id": 99}, "workflow_run": {"head_sha": HEAD, "head_repository": {"id": 100}}}
    assert on("workflow_run", run, mode=Mode.VALIDATE) == Validate(foreign=True)
    assert on("issue_comment", COMMENT, mode=Mode.VALIDATE) == Validate(foreign=True)
    assert on("push", mode=Mode.SWEEP) == Sweep()
    assert on("push", mode=Mode.VALIDATE) == Validate()


def test_an_event_that_says_nothing_needs_a_mode() -> None:
    with pytest.raises(EventError, match="Set the input `mode`"):
        on("repository_dispatch")
    assert on("repository_dispatch", mode=Mode.RUN) == RunRollout(version=SHA, sha=SHA)


def test_a_pull_request_is_released_by_its_own_head_and_never_from_a_fork() -> None:
    assert on("pull_request", PULL, mode=Mode.RUN) == RunRollout(version=HEAD, sha=HEAD, pull_request=42)
    assert on("pull_request", PULL, mode=Mode.RUN, version=SHA) == RunRollout(version=HEAD, sha=HEAD, pull_request=42)
    for repo in ({"id": 100}, None, {}):
        forked = {**PULL, "pull_request": {**PULL["pull_request"], "head": {"sha": HEAD, "repo": repo}}}
        for event_name in ("pull_request_target", "pull_request_review"):
            found = on(event_name, forked, mode=Mode.RUN)
            assert isinstance(found, Notice)
            assert found.reason is NoticeReason.FORK_READ_ONLY


def test_a_workflow_run_is_released_by_the_commit_it_ran_on() -> None:
    run = {"head_sha": HEAD, "head_repository": {"id": 99}}
    event = {"repository": {"id": 99}, "workflow_run": run}
    assert on("workflow_run", event, mode=Mode.RUN) == RunRollout(version=HEAD, sha=HEAD)
    forked = {**event, "workflow_run": {**run, "head_repository": {"id": 100}}}
    assert isinstance(on("workflow_run", forked, mode=Mode.RUN), Notice)


def test_a_deleted_branch_releases_nothing() -> None:
    found = on("push", {"deleted": True})
    assert isinstance(found, Notice)
    assert found.reason is NoticeReason.BRANCH_DELETED


@pytest.mark.parametrize("event_name", ["schedule", "issue_comment", "commit_comment", "merge_group"])
def test_a_clock_a_comment_and_a_candidate_never_release(event_name: str) -> None:
    with pytest.raises(EventError, match="releases nothing"):
        on(event_name, mode=Mode.RUN)


def test_a_comment_on_a_pull_request_is_handed_on_as_it_is() -> None:
    assert on("issue_comment", COMMENT) == ObeyComment(
        body="/promote full\nmore",
        comment_id=7,
        author="ada",
        author_is_user=True,
        sender="ada",
        created_at=1_795_348_800.0,
        edited=False,
        pull_request=42,
        url="https://github.com/octo/shop/pull/42#issuecomment-7",
    )
    assert on("issue_comment", COMMENT, mode=Mode.COMMENT) == on("issue_comment", COMMENT)


def test_a_comment_on_a_commit_names_the_commit_and_no_pull_request() -> None:
    event = with_comment(commit_id=HEAD)
    del event["issue"]
    found = on("commit_comment", event)
    assert isinstance(found, ObeyComment)
    assert (found.commit, found.pull_request, found.body) == (HEAD, None, "/promote full\nmore")
    assert on("commit_comment", {**event, "comment": {**event["comment"], "body": "LGTM"}}) == NO_COMMAND
    with pytest.raises(EventError, match="commit_id is missing"):
        on("commit_comment", COMMENT)


def test_who_wrote_a_comment_and_whether_it_was_changed_is_told() -> None:
    user = {"login": "renovate[bot]", "type": "Bot"}
    found = on("issue_comment", with_comment(user=user, updated_at="2026-11-22T12:00:01Z"))
    assert isinstance(found, ObeyComment)
    assert (found.author, found.author_is_user, found.sender, found.edited) == ("renovate[bot]", False, "ada", True)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**COMMENT, "action": "edited"}, NoticeReason.COMMENT_EDITED),
        ({**COMMENT, "action": "deleted"}, NoticeReason.COMMENT_EDITED),
        ({**COMMENT, "issue": {"number": 1}}, NoticeReason.NOT_A_PULL_REQUEST),
        (with_comment(body="looks good\n/promote"), NoticeReason.NO_COMMAND),
        (with_comment(body=None), NoticeReason.NO_COMMAND),
    ],
)
def test_a_comment_that_is_no_order_is_no_failure(event: dict[str, Any], reason: NoticeReason) -> None:
    found = on("issue_comment", event)
    assert isinstance(found, Notice)
    assert found.reason is reason


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({}, "action is missing"),
        ({"action": "created"}, "issue is missing"),
        (with_comment(id="7"), "comment.id is no number"),
        (with_comment(id=True), "comment.id is no number"),
        (with_comment(user={"login": "ada"}), "comment.user.type is missing"),
        (with_comment(created_at="yesterday"), "comment.created_at is no moment"),
        ({**COMMENT, "sender": None}, "sender is missing"),
    ],
)
def test_an_event_that_lacks_what_it_must_have_is_refused_by_name(event: dict[str, Any], said: str) -> None:
    with pytest.raises(EventError, match=said):
        on("issue_comment", event)


def test_a_comment_mode_needs_a_comment() -> None:
    with pytest.raises(EventError, match="holds no comment"):
        on("push", COMMENT, mode=Mode.COMMENT)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_an_event_file_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(EventError):
        event_of(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*COMMENT, "pull_request", "head", "sha", "id", "user", "login"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["push", "issue_comment", "commit_comment", "pull_request", "workflow_run", "release"]),
    st.sampled_from(list(Mode)),
    st.dictionaries(st.sampled_from([*COMMENT, "repository", "workflow_run", "deleted", "pull_request"]), _JSON),
)
def test_any_payload_gives_an_activity_or_one_clear_error(name: str, mode: Mode, event: dict[str, Any]) -> None:
    with suppress(EventError):
        assert on(name, event_of(json.dumps(event)), mode=mode) is not None
