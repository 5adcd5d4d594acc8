"""What the fake GitHub remembers, and what each call does to it. No HTTP, no weather: `github.py` has both."""

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from tests.fakes import github_shapes as shapes
from tests.fakes.github_runs import RUN_CALLS, Refusal, WorkflowRuns
from tests.fakes.github_shapes import Json


@dataclass(frozen=True, slots=True)
class _Token:
    login: str
    reads_user: bool
    may: frozenset[str] | None


class GitHubMemory(WorkflowRuns):
    """One repository. Public attributes are its state; change them freely under `with github.lock`."""

    url: str

    def __init__(self, repository: str, clock: Callable[[], float]) -> None:
        super().__init__()
        self.repository = repository
        self.clock = clock
        self.lock = threading.RLock()
        self.comments: dict[int, Json] = {}
        self.reactions: dict[int, list[Json]] = {}
        self.pulls: dict[int, Json] = {}
        self.commits: dict[str, list[int]] = {}
        self.deployments: dict[int, Json] = {}
        self.deployment_statuses: dict[int, list[Json]] = {}
        self.statuses: dict[str, list[Json]] = {}
        self.files: dict[str, bytes] = {}
        self.issues: dict[int, Json] = {}
        self.assignable: set[str] = set()
        self.conflicting: set[int] = set()
        self.roles: dict[str, tuple[str, str | None]] = {}
        self.teams: dict[str, set[str]] = {}
        self.shows_teams = True
        self._thread_of: dict[int, int | str] = {}
        self._tokens: dict[str, _Token] = {}
        self._ids = iter(range(101, 10**9))

    # What a test or the demo arranges.

    def token(self, login: str, *, reads_user: bool = True, may: frozenset[str] | None = None) -> str:
        """A new token of somebody. ``may``: the words of paths that it may write to (`None`: all)."""
        value = f"ghs_{hashlib.sha256(f'{login}{len(self._tokens)}'.encode()).hexdigest()[:36]}"
        self._tokens[value] = _Token(login, reads_user, may)
        return value

    def pull(
        self,
        number: int,
        *,
        author: str = "ann",
        head_sha: str,
        merge_sha: str | None = None,
        merged: bool = False,
        state: str | None = None,
        from_fork: bool = False,
    ) -> None:
        """A pull request, and its commits."""
        home = self._repository() if not from_fork else self._repository(f"{author}/fork")
        facts = {
            "number": number,
            "head_sha": head_sha,
            "head_repo": home,
            "base_sha": "0" * 40,
            "merge_commit_sha": merge_sha,
            "merged_at": shapes.when(self.clock()) if merged else None,
            "state": state or ("closed" if merged else "open"),
            "at": self.clock(),
        }
        with self.lock:
            self.pulls[number] = shapes.pull(self._repository(), self._user(author), facts)
            for sha in {head_sha, merge_sha} - {None}:
                self.commits.setdefault(str(sha), []).append(number)

    def role(self, login: str, role: str, *, role_name: str | None = None) -> None:
        """What somebody may do: none, read, triage, write, maintain or admin; ``role_name`` for a custom role."""
        self.roles[login] = (role, role_name)

    def team(self, name: str, *logins: str) -> None:
        """A team, `organisation/slug`, and who is in it."""
        self.teams[name] = set(logins)

    def comment(self, thread: int | str, body: str, *, by: str) -> int:
        """Somebody comments on an issue, by its number, or on a commit, by its SHA; the comment's id."""
        with self.lock:
            number = next(self._ids)
            shape = shapes.commit_comment if isinstance(thread, str) else shapes.comment
            made = shape(self._repository(), self._user(by), thread, number, body, self.clock())  # type: ignore[arg-type]
            self.comments[number] = made
            self._thread_of[number] = thread
            return number

    def delete_comment(self, number: int) -> None:
        with self.lock:
            del self.comments[number]

    def bodies(self, thread: int | str) -> list[str]:
        """The comments on an issue or a commit, oldest first."""
        with self.lock:
            return [one["body"] for one in self._said_in(thread)]

    def _said_in(self, thread: int | str) -> list[Json]:
        return [one for number, one in self.comments.items() if self._thread_of[number] == thread]

    # What a request does.

    def obey(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        try:
            token = self._tokens.get(headers.get("Authorization", "").removeprefix("token ").removeprefix("Bearer "))
            if token is None:
                raise Refusal(401, "Bad credentials")
            if path == "/user" and method == "GET":
                if not token.reads_user:
                    raise Refusal(403, "Resource not accessible by integration")
                return 200, shapes.myself(self.url, token.login, self._number(token.login)), {}
            if path == "/graphql" and method == "POST":
                return 200, self._revert(token.login, body["variables"]["input"]), {}
            where = unquote(path).removeprefix(f"/repos/{self.repository}")
            if where == unquote(path) and not where.startswith("/orgs/"):
                raise Refusal(404, "Not Found")
            if method != "GET" and token.may is not None and not any(word in where for word in token.may):
                raise Refusal(403, "Resource not accessible by integration")
            for verb, pattern, call in _CALLS:
                if verb == method and (match := re.fullmatch(pattern, where)):
                    status, answer = call(self, token.login, *match.groups(), query=query, body=body)
                    if isinstance(answer, list):
                        return self._page(path, query, answer)
                    return status, answer, {}
            raise Refusal(404, "Not Found")
        except Refusal as said:
            if not said.message:
                return said.status, None, {}
            return said.status, {"message": said.message, "documentation_url": "", "status": str(said.status)}, {}

    def _page(self, path: str, query: Mapping[str, str], items: list[Json]) -> tuple[int, Any, dict[str, str]]:
        size = min(max(int(query.get("per_page", 30)), 1), 100)
        number = max(int(query.get("page", 1)), 1)
        last = max(1, -(-len(items) // size))

        def link(page: int, rel: str) -> str:
            return f'<{self.url}{path}?{urlencode({**query, "page": page})}>; rel="{rel}"'

        links = [link(number - 1, "prev"), link(1, "first")] if number > 1 else []
        links += [link(number + 1, "next"), link(last, "last")] if number < last else []
        return 200, items[(number - 1) * size : number * size], {"Link": ", ".join(links)} if links else {}

    def _number(self, login: str) -> int:
        return int(hashlib.sha256(login.encode()).hexdigest()[:6], 16)

    def _user(self, login: str) -> Json:
        return shapes.user(self.url, login, self._number(login))

    def _repository(self, full_name: str | None = None) -> Json:
        name = full_name or self.repository
        owner = self._user(name.split("/", maxsplit=1)[0])
        return shapes.repository(self.url, name, self._number(name), owner)

    def _known(self, things: Mapping[Any, Any], key: Any) -> Any:
        if key not in things:
            raise Refusal(404, "Not Found")
        return things[key]

    def _read_repository(self, _login: str, **_: Any) -> tuple[int, Any]:
        return 200, self._repository()

    def _read_pull(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        return 200, shapes.whole_pull(self._known(self.pulls, int(number)))

    def _pulls_of(self, _login: str, sha: str, **_: Any) -> tuple[int, Any]:
        if sha not in self.commits:
            raise Refusal(422, f"No commit found for SHA: {sha}")
        return 200, [self.pulls[number] for number in self.commits[sha]]

    def _list_issues(self, _login: str, *, query: Mapping[str, str], **_: Any) -> tuple[int, Any]:
        newest_first = sorted(self.issues.values(), key=lambda one: -one["number"])
        return 200, [one for one in newest_first if one["updated_at"] >= query.get("since", "")]

    def _add_issue(self, login: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        if set(body.get("assignees", ())) - self.assignable:
            raise Refusal(422, "Validation Failed")
        number = next(self._ids)
        made = shapes.issue(self._repository(), self._user(login), number, body, self.clock())
        self.issues[number] = made | {"assignees": [self._user(one) for one in body.get("assignees", ())]}
        return 201, self.issues[number]

    def _revert(self, login: str, asked: Json) -> Json:
        """GraphQL's `revertPullRequest`: whatever is wrong, the status is 200."""
        reverted = next((one for one in self.pulls.values() if one["node_id"] == asked["pullRequestId"]), None)
        if reverted is None or not reverted["merged_at"] or reverted["number"] in self.conflicting:
            errors = [{"type": "UNPROCESSABLE", "message": "This pull request could not be reverted automatically."}]
            return {"data": {"revertPullRequest": None}, "errors": errors}
        number = next(self._ids)
        made = shapes.issue(self._repository(), self._user(login), number, asked, self.clock())
        url = made["url"]
        self.issues[number] = made | {"pull_request": dict.fromkeys(("url", "html_url", "diff_url", "patch_url"), url)}
        return {"data": {"revertPullRequest": {"revertPullRequest": {"number": number}}}}

    def _list_comments(self, _login: str, issue: str, **_: Any) -> tuple[int, Any]:
        self._known(self.pulls, int(issue))
        return 200, self._said_in(int(issue))

    def _list_commit_comments(self, _login: str, sha: str, **_: Any) -> tuple[int, Any]:
        self._known(self.commits, sha)
        return 200, self._said_in(sha)

    def _add_comment(self, login: str, issue: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        self._known(self.pulls, int(issue))
        return 201, self.comments[self.comment(int(issue), _comment_body(body), by=login)]

    def _add_commit_comment(self, login: str, sha: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        self._known(self.commits, sha)
        return 201, self.comments[self.comment(sha, _comment_body(body), by=login)]

    def _comment(self, kind: str, number: str) -> Json:
        """A comment, looked for where its kind is kept: those of issues and of commits have paths of their own."""
        there: Json = self._known(self.comments, int(number))
        if isinstance(self._thread_of[int(number)], str) != (kind == "comments"):
            raise Refusal(404, "Not Found")
        return there

    def _read_comment(self, _login: str, kind: str, number: str, **_: Any) -> tuple[int, Any]:
        return 200, self._comment(kind, number)

    def _edit_comment(self, login: str, kind: str, number: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        there = self._comment(kind, number)
        if there["user"]["login"] != login:
            raise Refusal(403, "Resource not accessible by integration")
        edited = there | {"body": _comment_body(body), "updated_at": shapes.when(self.clock())}
        self.comments[int(number)] = edited
        return 200, edited

    def _remove_comment(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        self._known(self.comments, int(number))
        self.delete_comment(int(number))
        return 204, None

    def _list_reactions(self, _login: str, kind: str, number: str, **_: Any) -> tuple[int, Any]:
        self._comment(kind, number)
        return 200, self.reactions.get(int(number), [])

    def _react(self, login: str, kind: str, number: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        self._comment(kind, number)
        content = body.get("content")
        if content not in ("+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"):
            raise Refusal(422, "Validation Failed")
        there = self.reactions.setdefault(int(number), [])
        for one in there:
            if one["content"] == content and one["user"]["login"] == login:
                return 200, one
        there.append(shapes.reaction(self._user(login), next(self._ids), content, self.clock()))
        return 201, there[-1]

    def _permission(self, _login: str, login: str, **_: Any) -> tuple[int, Any]:
        role, role_name = self._known(self.roles, login)
        return 200, shapes.collaborator(self.url, login, self._number(login), role, role_name)

    def _read_team(self, _login: str, organisation: str, slug: str, **_: Any) -> tuple[int, Any]:
        if not self.shows_teams or f"{organisation}/{slug}" not in self.teams:
            raise Refusal(404, "Not Found")
        return 200, shapes.team(self.url, organisation, slug)

    def _membership(self, _login: str, organisation: str, slug: str, login: str, **_: Any) -> tuple[int, Any]:
        if not self.shows_teams or login not in self.teams.get(f"{organisation}/{slug}", ()):
            raise Refusal(404, "")
        return 200, {"url": f"{self.url}/orgs/{organisation}", "role": "member", "state": "active"}

    def _list_deployments(self, _login: str, *, query: Mapping[str, str], **_: Any) -> tuple[int, Any]:
        wanted = {key: query[key] for key in ("sha", "ref", "task", "environment") if key in query}
        newest_first = sorted(self.deployments.values(), key=lambda one: -one["id"])
        return 200, [one for one in newest_first if all(one[key] == value for key, value in wanted.items())]

    def _add_deployment(self, login: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        if body.get("auto_merge", True):
            return 202, {"message": "Auto-merged main into the branch on deployment."}
        if body["ref"] not in self.commits:
            raise Refusal(422, f"No ref found for: {body['ref']}")
        if body.get("required_contexts") != []:
            raise Refusal(409, "Conflict: Commit status checks failed.")
        number = next(self._ids)
        made = shapes.deployment(self._repository(), self._user(login), number, body, self.clock())
        self.deployments[number] = made
        return 201, made

    def _read_deployment(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        return 200, self._known(self.deployments, int(number))

    def _list_deployment_statuses(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        self._known(self.deployments, int(number))
        return 200, self.deployment_statuses.get(int(number), [])[::-1]

    def _add_deployment_status(self, login: str, number: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        parent = self._known(self.deployments, int(number))
        _short(body)
        made = shapes.deployment_status(parent, self._user(login), next(self._ids), body, self.clock())
        self.deployment_statuses.setdefault(int(number), []).append(made)
        return 201, made

    def _list_statuses(self, _login: str, sha: str, **_: Any) -> tuple[int, Any]:
        return 200, self.statuses.get(sha, [])[::-1]

    def _add_status(self, login: str, sha: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        if sha not in self.commits:
            raise Refusal(422, f"No commit found for SHA: {sha}")
        _short(body)
        made = shapes.commit_status(self._repository(), self._user(login), sha, next(self._ids), body, self.clock())
        self.statuses.setdefault(sha, []).append(made)
        return 201, made

    def _read_file(self, _login: str, path: str, **_: Any) -> tuple[int, Any]:
        raw = self._known(self.files, path)
        text = base64.encodebytes(raw).decode()
        return 200, shapes.content(self._repository(), path, hashlib.sha256(raw).hexdigest()[:40], text, len(raw))


def _comment_body(body: Any) -> str:
    text = body.get("body") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise Refusal(422, "Validation Failed")
    if len(text) > 65_536:
        raise Refusal(422, "Validation Failed: Body is too long (maximum is 65536 characters)")
    return text


def _short(body: Any) -> None:
    if len(body.get("description") or "") > 140:
        raise Refusal(422, "Validation Failed: description is too long (maximum is 140 characters)")


_CALLS: tuple[tuple[str, str, Callable[..., tuple[int, Any]]], ...] = (
    *RUN_CALLS,
    ("GET", r"", GitHubMemory._read_repository),
    ("GET", r"/pulls/(\d+)", GitHubMemory._read_pull),
    ("GET", r"/commits/([^/]+)/pulls", GitHubMemory._pulls_of),
    ("GET", r"/issues", GitHubMemory._list_issues),
    ("POST", r"/issues", GitHubMemory._add_issue),
    ("GET", r"/issues/(\d+)/comments", GitHubMemory._list_comments),
    ("POST", r"/issues/(\d+)/comments", GitHubMemory._add_comment),
    ("GET", r"/commits/([^/]+)/comments", GitHubMemory._list_commit_comments),
    ("POST", r"/commits/([^/]+)/comments", GitHubMemory._add_commit_comment),
    ("GET", r"/(issues/comments)/(\d+)", GitHubMemory._read_comment),
    ("GET", r"/(comments)/(\d+)", GitHubMemory._read_comment),
    ("PATCH", r"/(issues/comments)/(\d+)", GitHubMemory._edit_comment),
    ("PATCH", r"/(comments)/(\d+)", GitHubMemory._edit_comment),
    ("DELETE", r"/issues/comments/(\d+)", GitHubMemory._remove_comment),
    ("GET", r"/(issues/comments)/(\d+)/reactions", GitHubMemory._list_reactions),
    ("GET", r"/(comments)/(\d+)/reactions", GitHubMemory._list_reactions),
    ("POST", r"/(issues/comments)/(\d+)/reactions", GitHubMemory._react),
    ("POST", r"/(comments)/(\d+)/reactions", GitHubMemory._react),
    ("GET", r"/orgs/([^/]+)/teams/([^/]+)", GitHubMemory._read_team),
    ("GET", r"/orgs/([^/]+)/teams/([^/]+)/memberships/([^/]+)", GitHubMemory._membership),
    ("GET", r"/collaborators/([^/]+)/permission", GitHubMemory._permission),
    ("GET", r"/deployments", GitHubMemory._list_deployments),
    ("POST", r"/deployments", GitHubMemory._add_deployment),
    ("GET", r"/deployments/(\d+)", GitHubMemory._read_deployment),
    ("GET", r"/deployments/(\d+)/statuses", GitHubMemory._list_deployment_statuses),
    ("POST", r"/deployments/(\d+)/statuses", GitHubMemory._add_deployment_status),
    ("GET", r"/commits/([^/]+)/statuses", GitHubMemory._list_statuses),
    ("POST", r"/statuses/([^/]+)", GitHubMemory._add_status),
    ("GET", r"/contents/(.+)", GitHubMemory._read_file),
)
