"""What the gate asks of GitHub, as a port and its values. Knows nothing of HTTP.

Every call raises `gate.errors.GitHubError` and nothing else; the caller may log it and go on, for GitHub decides
nothing about a rollout. The calls that never raise are `react`, `permission` and `in_team`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Thread = int | str
"""Where people talk: a pull request, by its number, or a commit, by its SHA."""


class Reaction(StrEnum):
    """How a comment is answered at a glance: seen, done, something begins, refused, not understood."""

    SEEN = "eyes"
    DONE = "+1"
    BEGUN = "rocket"
    REFUSED = "-1"
    CONFUSED = "confused"


class DeploymentState(StrEnum):
    QUEUED = "queued"
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    INACTIVE = "inactive"


class CommitState(StrEnum):
    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What somebody may do in the repository, by GitHub's booleans.

    ``role_name`` is for display only: organisations name roles as they like.
    """

    login: str
    role_name: str
    pull: bool = False
    triage: bool = False
    push: bool = False
    maintain: bool = False
    admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionUnknown:
    """GitHub did not say what somebody may do; whoever asks must refuse."""

    login: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request. ``merge_sha`` is the commit that merged it, or ``None`` before that."""

    number: int
    author: str | None
    head_sha: str
    merge_sha: str | None
    open: bool
    from_fork: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the sticky comment showed at some moment: which rollout, and its revision then."""

    rollout: str | None
    revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """A run of a workflow. ``failed``: it is over, and at least one of its jobs has to be run again."""

    id: int
    url: str
    is_over: bool
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPayload:
    """What tells our deployments from others'. One rollout has one deployment, whichever run creates it."""

    rollout: str
    version: str
    flag: str | None = None
    run_url: str | None = None


class FollowUpKind(StrEnum):
    """What may be opened after a revert."""

    ISSUE = "issue"
    REVERT = "revert"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """Something to open once for a rollout that was taken back.

    ``since``: when the rollout was asked for, in seconds since the epoch. ``pull_request`` is the one that brought the
    version, and for ``REVERT`` what is reverted. ``labels`` and ``assignee`` are for issues.
    """

    kind: FollowUpKind
    rollout: str
    since: float
    title: str
    body: str
    pull_request: int | None = None
    labels: tuple[str, ...] = ()
    assignee: str | None = None


class GitHub(Protocol):
    """One repository on GitHub, as the gate needs it."""

    def pull_request(self, number: int) -> PullRequest:
        """The pull request with this number."""

    def pull_request_of(self, sha: str) -> int | None:
        """The pull request that brought a commit: the one it merged, else one of our own branches that has it as head;
        else ``None``.
        """

    def tell(self, pull_request: int, environment: str, body: str, known_id: int | None = None) -> int:
        """Write the one sticky comment of a pull request and environment, and return its id.

        It is found by ``known_id``, else by own author and the marker on its last line, over all pages. A body that
        says nothing new is not sent. A comment that a person deleted is written anew once; deleted again, it stays
        away. A marker at the end of ``body`` (see `marker.py`) is completed, a missing one is added.
        """

    def seen(self, pull_request: int, environment: str, at: float) -> Seen | None:
        """What the sticky comment showed at the moment ``at`` (GitHub's clock, seconds); ``None``: there was none."""

    def reply(self, thread: Thread, body: str, in_reply_to: int, *, stands: bool = False) -> None:
        """Answer a comment. A second answer to the same comment edits the first. ``stands``: see `answered`."""

    def answered(self, thread: Thread, comment_id: int) -> str | None:
        """The answer that a comment has, where it is one that stands: what was asked is done, and not done again."""

    def react(self, comment_id: int, reaction: Reaction, *, on_commit: bool = False) -> None:
        """Put a reaction on a comment, or not: nothing depends on it, and no failure is raised."""

    def permission(self, login: str) -> Permission | PermissionUnknown:
        """What somebody may do. Whatever goes wrong is ``PermissionUnknown``, never a raise and never a yes."""

    def in_team(self, team: str, login: str) -> bool | PermissionUnknown:
        """Whether somebody is in a team, `organisation/slug`. Never a raise; a team that the token may not see is
        unknown.
        """

    def run(self, run_id: int) -> WorkflowRun:
        """A run of a workflow of this repository."""

    def run_again(self, run: WorkflowRun) -> None:
        """Run a run again that is over: its failed jobs, or all where none failed. Needs `actions: write`."""

    def deployment(self, sha: str, environment: str, payload: DeploymentPayload) -> int:
        """The id of the rollout's deployment, created where there is none; never two, whatever fails."""

    def deployment_status(
        self,
        deployment: int,
        state: DeploymentState,
        description: str,
        log_url: str | None = None,
        environment_url: str | None = None,
    ) -> None:
        """Say how a deployment stands; ``description`` is cut at 140 characters."""

    def end_earlier_deployments(self, deployment: int, environment: str, flag: str) -> None:
        """Set what a flag's deployment has taken the place of inactive: our earlier ones that have not failed."""

    def commit_status(
        self, sha: str, environment: str, state: CommitState, description: str, target_url: str | None = None
    ) -> None:
        """Set the commit status `rampgate/<environment>`; ``description`` is cut at 140 characters."""

    def follow_up(self, wanted: FollowUp) -> int:
        """The number of the issue or pull request, opened where there is none yet; never two, whatever fails."""

    def file(self, path: str) -> str | None:
        """A text file as the default branch has it, which no pull request can change; ``None``: there is none."""
