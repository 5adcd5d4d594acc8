"""The port `GitHub`, kept over GitHub's REST API. What it promises is written in `port.py`."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from gate.errors import GitHubError
from gate.foreign import cut
from gate.github import answers, marker
from gate.github.calls import CallError, Calls, Manners, Trouble, connect, path
from gate.github.follow_ups import opened
from gate.github.port import (
    CommitState,
    DeploymentPayload,
    DeploymentState,
    FollowUp,
    GitHub,
    Permission,
    PermissionUnknown,
    PullRequest,
    Reaction,
    Seen,
    Thread,
    WorkflowRun,
)

ACTIONS_BOT = "github-actions[bot]"
"""Who writes with a workflow's own token, which may not ask for its name."""

LONGEST_DESCRIPTION = 140
PAYLOAD_TYPE = "rampgate"

MOST_EARLIER = 20
"""How many earlier deployments are looked at, newest first."""

_OVER = frozenset({DeploymentState.INACTIVE, DeploymentState.FAILURE, DeploymentState.ERROR})
"""States that end a deployment: they say how, and stay."""


class GitHubApi(GitHub):
    """One repository on GitHub. Not to be shared between threads.

    Args:
        calls: how requests are sent.
        repository: `owner/name`.
        say: told in one line what failed without being raised.
    """

    def __init__(self, calls: Calls, repository: str, say: Callable[[str], None]) -> None:
        owner, _, name = repository.partition("/")
        self._repository = path("repos", owner, name)
        self._full_name = repository
        self._calls = calls
        self._say = say
        self._login: str | None = None
        self._sticky: dict[tuple[int, str], int] = {}
        self._mourned: set[tuple[int, str]] = set()

    @classmethod
    def at(
        cls, *, api_url: str, token: str, repository: str, say: Callable[[str], None], manners: Manners | None = None
    ) -> "GitHubApi":
        """Connect: ``api_url`` is `GITHUB_API_URL`. Sends nothing yet."""
        manners = manners or Manners()
        return cls(Calls(connect(api_url=api_url, token=token, manners=manners), manners), repository, say)

    def pull_request(self, number: int) -> PullRequest:
        with self._calls.patiently():
            pull = self._calls.get(answers.Pull, self._at("pulls", number))
        return self._pull_request(pull)

    def pull_request_of(self, sha: str) -> int | None:
        with self._calls.patiently():
            try:
                pulls = list(self._calls.pages(answers.Pull, self._at("commits", sha, "pulls")))
            except CallError as error:
                # 422 is "no commit found for this SHA".
                if error.trouble in (Trouble.NOT_FOUND, Trouble.REFUSED):
                    return None
                raise
        here = [self._pull_request(pull) for pull in pulls]
        rules: tuple[Callable[[PullRequest], bool], ...] = (
            lambda one: one.merge_sha == sha,
            lambda one: one.merge_sha is not None,
            # A fork's can have any commit of ours as its head: nobody's comment moves there by that.
            lambda one: one.open and one.head_sha == sha and not one.from_fork,
        )
        for fits in rules:
            if numbers := [one.number for one in here if fits(one)]:
                return max(numbers)
        return None

    def tell(self, pull_request: int, environment: str, body: str, known_id: int | None = None) -> int:
        key = (pull_request, environment)
        text, given = marker.split(body)
        new = marker.Marker(environment=environment, facts=given.facts if given else {})
        with self._calls.reporting():
            known = self._sticky.get(key, known_id)
            old = self._comment(known, environment) if known else None
            deleted = bool(known) and old is None
            old = old or self._find(pull_request, environment)
            if old is None and deleted and known is not None:
                if key in self._mourned:
                    return known
                self._mourned.add(key)
            written = self._write(pull_request, environment, text, new, old)
        self._sticky[key] = written
        return written

    def seen(self, pull_request: int, environment: str, at: float) -> Seen | None:
        with self._calls.patiently():
            comment = self._find(pull_request, environment)
        if comment is None or comment.created_at.timestamp() > at:
            return None
        _, there = marker.split(comment.body)
        return there.seen(at, int(comment.updated_at.timestamp())) if there else None

    def reply(self, thread: Thread, body: str, in_reply_to: int, *, stands: bool = False) -> None:
        whole = marker.reply(body, in_reply_to, stands=stands)
        with self._calls.patiently():
            there = self._reply(thread, in_reply_to)
            if there is None:
                self._calls.post(
                    answers.Comment,
                    self._comments(thread),
                    {"body": whole},
                    found=lambda: self._reply(thread, in_reply_to),
                )
            elif there.body != whole:
                self._calls.patch(answers.Comment, self._one_comment(there.id, thread), {"body": whole})

    def answered(self, thread: Thread, comment_id: int) -> str | None:
        with self._calls.patiently():
            there = self._reply(thread, comment_id)
        return marker.standing(there.body) if there else None

    def react(self, comment_id: int, reaction: Reaction, *, on_commit: bool = False) -> None:
        where = self._one_comment(comment_id, "" if on_commit else 0) + path("reactions")
        try:
            with self._calls.patiently(tries=1):
                self._calls.post(answers.Identified, where, {"content": str(reaction)}, found=lambda: None)
        except GitHubError as error:
            self._say(f"No reaction on the comment: {error}")

    def permission(self, login: str) -> Permission | PermissionUnknown:
        try:
            with self._calls.patiently():
                there = self._calls.get(answers.Collaboration, self._at("collaborators", login, "permission"))
        except GitHubError as error:
            return PermissionUnknown(login=login, text=str(error))
        if there.user.login.casefold() != login.casefold():
            return PermissionUnknown(login=login, text=f"GitHub answered for {there.user.login}")
        return Permission(login=there.user.login, role_name=there.role_name, **there.user.permissions.model_dump())

    def in_team(self, team: str, login: str) -> bool | PermissionUnknown:
        organisation, _, slug = team.partition("/")
        where = path("orgs", organisation, "teams", slug)
        try:
            with self._calls.patiently():
                try:
                    there = self._calls.get(answers.Membership, where + path("memberships", login))
                except CallError as error:
                    if error.trouble is not Trouble.NOT_FOUND:
                        raise
                    # The same answer for a stranger and for a team that the token may not see.
                    self._calls.get(answers.Identified, where)
                    return False
        except GitHubError as error:
            return PermissionUnknown(login=login, text=f"the team {team}: {error.what}")
        return there.state == "active"

    def run(self, run_id: int) -> WorkflowRun:
        with self._calls.patiently():
            return self._run(run_id)

    def run_again(self, run: WorkflowRun) -> None:
        where = self._at("actions", "runs", run.id, "rerun-failed-jobs" if run.failed else "rerun")

        def found() -> dict[str, Any] | None:
            return None if self._run(run.id).is_over else {}

        with self._calls.patiently():
            self._calls.post(dict[str, Any], where, {}, found=found)

    def _run(self, run_id: int) -> WorkflowRun:
        there = self._calls.get(answers.Run, self._at("actions", "runs", run_id))
        over = there.status == "completed"
        return WorkflowRun(id=there.id, url=there.html_url, is_over=over, failed=over and there.conclusion != "success")

    def deployment(self, sha: str, environment: str, payload: DeploymentPayload) -> int:
        where = self._at("deployments")
        body: dict[str, Any] = {
            "ref": sha,
            "task": "deploy",
            # Without these GitHub may merge instead of deploying, or wait for the very check that waits for us.
            "auto_merge": False,
            "required_contexts": [],
            "environment": environment,
            "description": cut(f"Rampgate: {payload.version}", LONGEST_DESCRIPTION),
            "payload": _payload(payload),
        }

        def found() -> answers.Identified | None:
            for one in self._calls.pages(answers.Deployment, where, sha=sha, environment=environment, task="deploy"):
                if one.payload.get("type") == PAYLOAD_TYPE and one.payload.get("rollout") == payload.rollout:
                    return answers.Identified(id=one.id)
            return None

        with self._calls.reporting():
            there = found() or self._calls.post(answers.Identified, where, body, found=found)
        return there.id

    def deployment_status(
        self,
        deployment: int,
        state: DeploymentState,
        description: str,
        log_url: str | None = None,
        environment_url: str | None = None,
    ) -> None:
        body = {"state": str(state), "description": cut(description, LONGEST_DESCRIPTION)}
        body |= {"log_url": log_url} if log_url else {}
        body |= {"environment_url": environment_url} if environment_url else {}
        with self._calls.reporting():
            self._set_deployment(deployment, body)

    def end_earlier_deployments(self, deployment: int, environment: str, flag: str) -> None:
        with self._calls.reporting():
            listed = self._calls.pages(
                answers.Deployment, self._at("deployments"), environment=environment, task="deploy"
            )
            ours = (one for one in listed if one.id < deployment and one.payload.get("type") == PAYLOAD_TYPE)
            earlier = sorted((one.id for one in ours if one.payload.get("flag") == flag), reverse=True)
            for number in earlier[:MOST_EARLIER]:
                newest = self._newest_status(number)
                if newest is None or newest.state not in _OVER:
                    self._set_deployment(number, {"state": str(DeploymentState.INACTIVE)})
                if newest is not None and newest.state == DeploymentState.SUCCESS:
                    # When this one became the stable version, it ended all before it.
                    return

    def _set_deployment(self, deployment: int, said: Mapping[str, str]) -> None:
        def found() -> answers.DeploymentStatus | None:
            newest = self._newest_status(deployment)
            return newest if newest is not None and _says(newest.model_dump(), said) else None

        # GitHub by itself would end other flags' deployments too, and in production none at all.
        body = {**said, "auto_inactive": False}
        self._calls.post(answers.DeploymentStatus, self._at("deployments", deployment, "statuses"), body, found=found)

    def _newest_status(self, deployment: int) -> answers.DeploymentStatus | None:
        listed = self._calls.pages(answers.DeploymentStatus, self._at("deployments", deployment, "statuses"))
        return max(listed, key=lambda one: one.id, default=None)

    def commit_status(
        self, sha: str, environment: str, state: CommitState, description: str, target_url: str | None = None
    ) -> None:
        body = {
            "state": str(state),
            "context": f"rampgate/{environment}",
            "description": cut(description, LONGEST_DESCRIPTION),
        }
        body |= {"target_url": target_url} if target_url else {}

        def found() -> answers.CommitStatus | None:
            listed = self._calls.pages(answers.CommitStatus, self._at("commits", sha, "statuses"))
            ours = (one for one in listed if one.context == body["context"])
            newest = max(ours, key=lambda one: one.id, default=None)
            return newest if newest is not None and _says(newest.model_dump(), body) else None

        with self._calls.reporting():
            self._calls.post(answers.CommitStatus, self._at("statuses", sha), body, found=found)

    def follow_up(self, wanted: FollowUp) -> int:
        with self._calls.reporting():
            return opened(self._calls, self._repository, self._me(), wanted)

    def file(self, path: str) -> str | None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise GitHubError(f"{path} is not a path inside the repository.")
        with self._calls.patiently():
            try:
                there = self._calls.get(answers.File, self._at("contents", *parts))
            except CallError as error:
                if error.trouble is Trouble.NOT_FOUND:
                    return None
                raise
        try:
            return base64.b64decode(there.content).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise GitHubError(f"{path} on the default branch is not a text file.") from error

    def _at(self, *parts: str | int) -> str:
        return self._repository + path(*parts)

    def _comments(self, thread: Thread) -> str:
        kind = "commits" if isinstance(thread, str) else "issues"
        return self._at(kind, thread, "comments")

    def _one_comment(self, comment_id: int, thread: Thread = 0) -> str:
        return (
            self._at("comments", comment_id) if isinstance(thread, str) else self._at("issues", "comments", comment_id)
        )

    def _reply(self, thread: Thread, comment_id: int) -> answers.Comment | None:
        return self._own(thread, lambda text: marker.answers(text, comment_id))

    def _pull_request(self, pull: answers.Pull) -> PullRequest:
        home = pull.head.repo.full_name if pull.head.repo else None
        return PullRequest(
            number=pull.number,
            author=pull.user.login if pull.user else None,
            head_sha=pull.head.sha,
            # Before a merge this field names GitHub's own trial merge, which nobody deploys.
            merge_sha=pull.merge_commit_sha if pull.merged_at else None,
            open=pull.state == "open",
            from_fork=home is None or home.casefold() != self._full_name.casefold(),
        )

    def _me(self) -> str:
        """Who our token writes as. A failure that may pass is raised: a wrong guess would make a second comment."""
        if self._login is None:
            try:
                self._login = self._calls.get(answers.Account, "/user").login
            except CallError as error:
                if error.trouble is not Trouble.FORBIDDEN:
                    raise
                self._login = ACTIONS_BOT
        return self._login

    def _own(self, thread: Thread, fits: Callable[[str], bool]) -> answers.Comment | None:
        """The oldest of our own comments whose body fits."""
        me = self._me()
        for comment in self._calls.pages(answers.Comment, self._comments(thread)):
            if comment.user is not None and comment.user.login == me and fits(comment.body):
                return comment
        return None

    def _find(self, pull_request: int, environment: str) -> answers.Comment | None:
        return self._own(pull_request, lambda body: _is_for(body, environment))

    def _comment(self, comment_id: int, environment: str) -> answers.Comment | None:
        """Our sticky comment by its id, or ``None`` where it is gone, or is not that."""
        try:
            comment = self._calls.get(answers.Comment, self._one_comment(comment_id))
        except CallError as error:
            if error.trouble is Trouble.NOT_FOUND:
                return None
            raise
        ours = comment.user is not None and comment.user.login == self._me()
        return comment if ours and _is_for(comment.body, environment) else None

    def _write(
        self, pull_request: int, environment: str, text: str, new: marker.Marker, old: answers.Comment | None
    ) -> int:
        if old is not None:
            before, there = marker.split(old.body)
            if there is not None and before == text.rstrip() and there.facts == new.facts:
                return old.id
            whole = marker.joined(text, new.after(there, int(old.updated_at.timestamp())))
            try:
                edited = self._calls.patch(answers.Comment, self._one_comment(old.id), {"body": whole})
                return edited.id
            except CallError as error:
                if error.trouble is not Trouble.NOT_FOUND:
                    raise
        whole = marker.joined(text, new)

        def found() -> answers.Comment | None:
            return self._find(pull_request, environment)

        return self._calls.post(answers.Comment, self._comments(pull_request), {"body": whole}, found=found).id


def _is_for(body: str, environment: str) -> bool:
    _, there = marker.split(body)
    return there is not None and there.environment == environment


def _says(there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    return all(there.get(key) == value for key, value in body.items())


def _payload(payload: DeploymentPayload) -> dict[str, Any]:
    return {
        "type": PAYLOAD_TYPE,
        "schema": 1,
        "rollout": payload.rollout,
        "version": payload.version,
        "flag": payload.flag,
        "run_url": payload.run_url,
    }
