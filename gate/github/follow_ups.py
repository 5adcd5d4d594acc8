"""Opens what a revert leads to, once: an issue, or the pull request that takes the change out of the branch again.

The revert itself is GitHub's own (`revertPullRequest`, which only the GraphQL API has): it needs no checkout, and
GitHub says why where it cannot be done. Source: "API for reverting a pull request", GitHub changelog, 2023-01-27.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gate.foreign import cut, harmless
from gate.github import answers
from gate.github.calls import CallError, Calls, Trouble, path
from gate.github.marker import LONGEST_COMMENT
from gate.github.port import FollowUp, FollowUpKind

LONGEST_TITLE = 200
_SKEW = 3600.0
"""Seconds by which GitHub's clock may differ from the flag server's."""

Found = Callable[[], answers.Opened | None]

_REVERT = """mutation($input: RevertPullRequestInput!) {
  revertPullRequest(input: $input) { revertPullRequest { number } }
}"""


def opened(calls: Calls, repository: str, me: str, wanted: FollowUp) -> int:
    """The number of what is wanted, opened where there is none.

    Args:
        calls: how requests are sent.
        repository: the path of the repository in the API.
        me: who the token writes as.
        wanted: what to open, and for which rollout.

    Raises:
        CallError: it could not be opened, and why.
    """
    line = f"<!-- rampgate-{wanted.kind}:{quote(wanted.rollout)} -->"
    since = datetime.fromtimestamp(wanted.since - _SKEW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def found() -> answers.Opened | None:
        for one in calls.pages(answers.Opened, repository + path("issues"), state="all", since=since):
            ours = one.user is not None and one.user.login == me
            if ours and (one.body or "").rstrip().endswith("\n" + line):
                return one
        return None

    body = f"{cut(wanted.body.rstrip(), LONGEST_COMMENT - len(line) - 2)}\n\n{line}"
    there = found()
    if there is not None:
        return there.number
    if wanted.kind is FollowUpKind.REVERT:
        return _reverted(calls, repository, wanted, body, found)
    return _issue(calls, repository, wanted, body, found)


def _issue(calls: Calls, repository: str, wanted: FollowUp, body: str, found: Found) -> int:
    where = repository + path("issues")
    asked: dict[str, Any] = {"title": cut(wanted.title, LONGEST_TITLE), "body": body}
    asked |= {"labels": list(wanted.labels)} if wanted.labels else {}
    assigned = {"assignees": [wanted.assignee]} if wanted.assignee else {}
    try:
        return calls.post(answers.Opened, where, asked | assigned, found=found).number
    except CallError as error:
        # Not everybody who opens pull requests can be assigned.
        if error.trouble is not Trouble.REFUSED or not assigned:
            raise
    return calls.post(answers.Opened, where, asked, found=found).number


def _reverted(calls: Calls, repository: str, wanted: FollowUp, body: str, found: Found) -> int:
    if wanted.pull_request is None:
        raise CallError("The commit came by no pull request, so there is none to revert.", Trouble.REFUSED)
    node = calls.get(answers.Node, repository + path("pulls", wanted.pull_request)).node_id
    asked = {"pullRequestId": node, "title": cut(wanted.title, LONGEST_TITLE), "body": body}

    def by_then() -> answers.GraphQL | None:
        there = found()
        inner = {"revertPullRequest": {"revertPullRequest": {"number": there.number}}} if there else None
        return answers.GraphQL.model_validate({"data": inner}) if inner else None

    mutation = {"query": _REVERT, "variables": {"input": asked}}
    answer = calls.post(answers.GraphQL, calls.graphql, mutation, found=by_then)
    if answer.opened is None:
        why = harmless(" ".join(one.message for one in answer.errors)) or "GitHub did not say why"
        raise CallError(f"GitHub does not revert #{wanted.pull_request}: {cut(why, 300)}", Trouble.REFUSED)
    return answer.opened.number
