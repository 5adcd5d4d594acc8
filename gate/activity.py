"""What this run of the Action has to do: chosen from the event, the inputs and the runner's facts. Pure.

Of an event's payload only the fields in use are read, because GitHub adds and drops others. Comments and titles in
it are other people's text: data, never instructions to this module.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar, assert_never

from gate.errors import EventError
from gate.inputs import Inputs, Mode, Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRollout:
    """Release ``version``, which is commit ``sha``. ``pull_request`` is the one that the event names, if any."""

    version: str
    sha: str
    pull_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObeyComment:
    """A comment that may hold a command, on a pull request or on a commit. Nobody has looked yet who may say what.

    ``created_at`` is in seconds since the epoch on GitHub's clock; ``edited``: it was changed since. ``author`` wrote
    it and ``sender`` caused the event; the runner's two actors are in ``Runner``.
    """

    body: str
    comment_id: int
    author: str
    author_is_user: bool
    sender: str
    created_at: float
    edited: bool
    pull_request: int | None
    url: str
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Finish what other runs have left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validate:
    """Look at the configuration and say what is wrong with it; on a pull request, if the event is one's.

    ``foreign``: what is checked out comes from another repository, or may. Its sources may be programs that nobody here
    has seen.
    """

    pull_request: int | None = None
    foreign: bool = False


class NoticeReason(StrEnum):
    """Why there is nothing to do, as the output `reason` says it. docs/reasons.md has a row for each."""

    FORK_READ_ONLY = "fork_read_only"
    BRANCH_DELETED = "branch_deleted"
    COMMENT_EDITED = "comment_edited"
    NOT_A_PULL_REQUEST = "not_a_pull_request"
    NO_COMMAND = "no_command"
    VALIDATED = "validated"
    SWEPT = "swept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """There is nothing to do, and that is no failure."""

    reason: NoticeReason
    text: str


NO_COMMAND = Notice(reason=NoticeReason.NO_COMMAND, text="The comment holds no command.")

Activity = RunRollout | ObeyComment | Sweep | Validate | Notice

Event = Mapping[str, Any]

_RELEASES = frozenset({"push", "workflow_dispatch", "release"})
_PULL_REQUESTS = frozenset({"pull_request", "pull_request_target"})
_VALIDATED = _PULL_REQUESTS | {"merge_group"}
_RELEASE_NOTHING = {
    **dict.fromkeys(
        ("schedule", "issue_comment", "commit_comment"),
        "It runs the default branch's workflow at whatever commit that branch has.",
    ),
    "merge_group": "Its commit is a candidate that may never be merged.",
}
_COMMENTS = frozenset({"issue_comment", "commit_comment"})
_PREFIXES = ("/", ".", "!")
"""What a command can begin with, whatever the configuration says. The rest is told apart once that is known."""
_NO_COMMIT = "0" * 40


def event_of(text: str) -> Event:
    """The event from the runner's event file.

    Raises:
        EventError: the text is not a JSON object.
    """
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EventError("The event file is not JSON.", why="It says what this run is about.") from error
    if not isinstance(event, dict):
        raise EventError("The event file holds no JSON object.", why="It says what this run is about.")
    return event


def choose(runner: Runner, inputs: Inputs, event: Event) -> Activity:
    """What to do.

    Raises:
        EventError: the event means nothing in this mode, or lacks what it must have.
    """
    mode = inputs.mode if inputs.mode is not Mode.AUTO else mode_of(runner.event_name)
    match mode:
        case Mode.RUN:
            return _run(runner, inputs, event)
        case Mode.COMMENT:
            return _comment(runner, event)
        case Mode.SWEEP:
            return Sweep()
        case Mode.VALIDATE:
            return _validate(event)
        case Mode.AUTO:
            raise EventError(
                f"The event {runner.event_name} does not say what to do.",
                do="Set the input `mode` to run, comment, sweep or validate.",
            )
        case _:
            assert_never(mode)


def mode_of(event_name: str) -> Mode:
    """What an event asks for where the input `mode` does not say; ``AUTO`` where it asks for nothing."""
    if event_name in _RELEASES:
        return Mode.RUN
    if event_name in _VALIDATED:
        return Mode.VALIDATE
    return {**dict.fromkeys(_COMMENTS, Mode.COMMENT), "schedule": Mode.SWEEP}.get(event_name, Mode.AUTO)


def _run(runner: Runner, inputs: Inputs, event: Event) -> RunRollout | Notice:
    if (why := _RELEASE_NOTHING.get(runner.event_name)) is not None:
        raise EventError(
            f"The event {runner.event_name} releases nothing.",
            why=why,
            do="Release on push, release or workflow_dispatch.",
        )
    if runner.event_name == "push" and event.get("deleted") is True:
        return Notice(reason=NoticeReason.BRANCH_DELETED, text="The branch was deleted: there is nothing to release.")
    sha, pull_request = runner.sha, None
    if runner.event_name.startswith("pull_request"):
        # Reviews, too, are of a pull request that may be a fork's.
        head = _field(_field(event, "pull_request", dict), "head", dict, "pull_request.")
        if _is_foreign(head, event):
            return _fork()
        sha = _field(head, "sha", str, "pull_request.head.")
        pull_request = _field(_field(event, "pull_request", dict), "number", int, "pull_request.")
    elif runner.event_name == "workflow_run":
        run = _field(event, "workflow_run", dict)
        if _is_foreign({"repo": run.get("head_repository")}, event):
            return _fork()
        sha = _field(run, "head_sha", str, "workflow_run.")
    if not sha or sha == _NO_COMMIT:
        raise EventError("The event names no commit.", why="A release is bound to one.")
    version = inputs.version
    # The input's default is the runner's SHA, which for these events is not the commit that is released.
    if version is None or version == runner.sha:
        version = sha
    return RunRollout(version=version, sha=sha, pull_request=pull_request)


def _validate(event: Event) -> Validate:
    """Validate, and tell the pull request that the event is about, if it is about one."""
    found, run = event.get("pull_request"), event.get("workflow_run")
    if isinstance(run, dict):
        return Validate(foreign=_is_foreign({"repo": run.get("head_repository")}, event))
    if not isinstance(found, dict):
        # A comment does not say whose commit its job has checked out.
        return Validate(foreign="comment" in event)
    number, head = found.get("number"), found.get("head")
    return Validate(
        pull_request=number if isinstance(number, int) and not isinstance(number, bool) else None,
        foreign=not isinstance(head, dict) or _is_foreign(head, event),
    )


def _is_foreign(head: Mapping[str, Any], event: Event) -> bool:
    """Whether the commit comes from another repository, or from one that is gone."""
    there, here = head.get("repo"), event.get("repository")
    if not isinstance(there, dict) or not isinstance(here, dict):
        return True
    return there.get("id") is None or there.get("id") != here.get("id")


def _fork() -> Notice:
    text = "The commit comes from a fork, whose runs get no secrets and a read-only token: nothing is released."
    return Notice(reason=NoticeReason.FORK_READ_ONLY, text=text)


def _comment(runner: Runner, event: Event) -> ObeyComment | Notice:
    if runner.event_name not in _COMMENTS:
        raise EventError(f"The event {runner.event_name} holds no comment.", do="Obey comments on: issue_comment.")
    if _field(event, "action", str) != "created":
        return Notice(reason=NoticeReason.COMMENT_EDITED, text="Only new comments are obeyed.")
    on_commit = runner.event_name == "commit_comment"
    issue = {} if on_commit else _field(event, "issue", dict)
    comment = _field(event, "comment", dict)
    if not on_commit and not isinstance(issue.get("pull_request"), dict):
        return Notice(reason=NoticeReason.NOT_A_PULL_REQUEST, text="The comment is on an issue, not on a pull request.")
    body = comment.get("body") or ""
    if not isinstance(body, str) or not body.startswith(_PREFIXES):
        return NO_COMMAND
    user = _field(comment, "user", dict, "comment.")
    created = _field(comment, "created_at", str, "comment.")
    return ObeyComment(
        body=body,
        comment_id=_field(comment, "id", int, "comment."),
        author=_field(user, "login", str, "comment.user."),
        author_is_user=_field(user, "type", str, "comment.user.") == "User",
        sender=_field(_field(event, "sender", dict), "login", str, "sender."),
        created_at=_moment(created, "comment.created_at"),
        edited=_field(comment, "updated_at", str, "comment.") != created,
        pull_request=None if on_commit else _field(issue, "number", int, "issue."),
        url=_field(comment, "html_url", str, "comment."),
        commit=_field(comment, "commit_id", str, "comment.") if on_commit else "",
    )


def _moment(text: str, name: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise EventError(f"The event's {name} is no moment.", why="It says what the author had seen.") from error


Kind = TypeVar("Kind", dict[str, Any], str, int)


def _field(values: Mapping[str, Any], name: str, kind: type[Kind], above: str = "") -> Kind:
    value = values.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "is missing" if value is None else f"is no {_KINDS[kind]}"
        raise EventError(f"The event's {above}{name} {found}.", why="Without it nobody knows what this run is about.")
    return value


_KINDS: Mapping[type, str] = {dict: "object", str: "text", int: "number"}
