# ruff: noqa: ARG002 - the arguments are the port's
"""Where there is no GitHub: a run from the command line, or without a token. Does nothing, and says so once."""

from collections.abc import Callable

from gate.errors import GitHubError
from gate.github.port import (
    CommitState,
    DeploymentPayload,
    DeploymentState,
    FollowUp,
    GitHub,
    PermissionUnknown,
    PullRequest,
    Reaction,
    Seen,
    Thread,
    WorkflowRun,
)


class NoGitHub(GitHub):
    """Keeps the port `GitHub` without one. ``say`` is called with one sentence, the first time it is asked to write."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said = False

    def pull_request(self, number: int) -> PullRequest:
        raise GitHubError(f"Pull request {number} cannot be read: there is no GitHub here.")

    def pull_request_of(self, sha: str) -> int | None:
        return None

    def tell(self, pull_request: int, environment: str, body: str, known_id: int | None = None) -> int:
        self._nothing()
        return 0

    def seen(self, pull_request: int, environment: str, at: float) -> Seen | None:
        return None

    def reply(self, thread: Thread, body: str, in_reply_to: int, *, stands: bool = False) -> None:
        self._nothing()

    def answered(self, thread: Thread, comment_id: int) -> str | None:
        return None

    def react(self, comment_id: int, reaction: Reaction, *, on_commit: bool = False) -> None:
        self._nothing()

    def permission(self, login: str) -> PermissionUnknown:
        return PermissionUnknown(login=login, text="there is no GitHub here")

    def in_team(self, team: str, login: str) -> PermissionUnknown:
        return self.permission(login)

    def run(self, run_id: int) -> WorkflowRun:
        raise GitHubError(f"Run {run_id} cannot be read: there is no GitHub here.")

    def run_again(self, run: WorkflowRun) -> None:
        raise GitHubError(f"Run {run.id} cannot be started: there is no GitHub here.")

    def deployment(self, sha: str, environment: str, payload: DeploymentPayload) -> int:
        self._nothing()
        return 0

    def deployment_status(
        self,
        deployment: int,
        state: DeploymentState,
        description: str,
        log_url: str | None = None,
        environment_url: str | None = None,
    ) -> None:
        self._nothing()

    def end_earlier_deployments(self, deployment: int, environment: str, flag: str) -> None:
        self._nothing()

    def commit_status(
        self,
        sha: str,
        environment: str,
        state: CommitState,
        description: str,
        target_url: str | None = None,
    ) -> None:
        self._nothing()

    def follow_up(self, wanted: FollowUp) -> int:
        error = GitHubError("There is no GitHub here to open anything on.")
        error.lasting = True
        raise error

    def file(self, path: str) -> str | None:
        return None

    def _nothing(self) -> None:
        if not self._said:
            self._said = True
            self._say("No GitHub here: comments, deployments and statuses are left out.")
