"""What GitHub's answers look like, whole: every field that its description requires. Values only, no server."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

ROLES = {
    "none": (),
    "read": ("pull",),
    "triage": ("pull", "triage"),
    "write": ("pull", "triage", "push"),
    "maintain": ("pull", "triage", "push", "maintain"),
    "admin": ("pull", "triage", "push", "maintain", "admin"),
}
LEGACY = {"maintain": "write", "triage": "read"}
"""What the legacy `permission` word says for the roles that it does not know."""

_USER_URLS = (
    "followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url", "organizations_url",
    "repos_url", "events_url", "received_events_url",
)  # fmt: skip
_REPOSITORY_URLS = (
    "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents",
    "contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks",
    "issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones",
    "notifications", "pulls", "releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams",
    "trees",
)  # fmt: skip
_REPOSITORY_COUNTS = (
    "forks", "forks_count", "open_issues", "open_issues_count", "size", "stargazers_count", "watchers",
    "watchers_count", "network_count", "subscribers_count",
)  # fmt: skip


def when(seconds: float) -> str:
    """GitHub's way to write a moment: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def user(api: str, login: str, number: int) -> Json:
    url = f"{api}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "avatar_url": f"{api}/avatars/{number}",
        "gravatar_id": "",
        "url": url,
        "html_url": url,
        **{name: f"{url}/{name.removesuffix('_url')}" for name in _USER_URLS},
        "type": "Bot" if login.endswith("[bot]") else "User",
        "site_admin": False,
        "user_view_type": "public",
    }


def myself(api: str, login: str, number: int) -> Json:
    """What `GET /user` says of the token's owner."""
    texts = dict.fromkeys(("bio", "blog", "company", "email", "hireable", "location", "name"))
    counts = dict.fromkeys(("followers", "following", "public_gists", "public_repos"), 0)
    return user(api, login, number) | texts | counts | {"created_at": when(0), "updated_at": when(0)}


def collaborator(api: str, login: str, number: int, role: str, role_name: str | None = None) -> Json:
    granted = ROLES[role]
    permissions = {name: name in granted for name in ROLES["admin"]}
    shown = role_name or role
    there = user(api, login, number) | {"permissions": permissions, "role_name": shown}
    return {"permission": LEGACY.get(role, role), "role_name": shown, "user": there}


def repository(api: str, full_name: str, number: int, owner: Json, default_branch: str = "main") -> Json:
    url = f"{api}/repos/{full_name}"
    flags = ("has_issues", "has_projects", "has_wiki", "has_pages", "has_discussions", "has_downloads")
    return {
        "id": number,
        "node_id": f"R_{number}",
        "name": full_name.split("/")[1],
        "full_name": full_name,
        "owner": owner,
        "private": True,
        "html_url": url,
        "description": None,
        "fork": False,
        "url": url,
        **{f"{name}_url": f"{url}/{name}" for name in _REPOSITORY_URLS},
        **dict.fromkeys(("clone_url", "git_url", "ssh_url", "svn_url"), url),
        **dict.fromkeys(flags, True),
        **dict.fromkeys(_REPOSITORY_COUNTS, 0),
        **dict.fromkeys(("homepage", "language", "license", "mirror_url")),
        **dict.fromkeys(("created_at", "updated_at", "pushed_at"), when(0)),
        "default_branch": default_branch,
        "archived": False,
        "disabled": False,
    }


def pull(repo: Json, author: Json, facts: Json) -> Json:
    """A pull request. ``facts``: number, head_sha, head_repo, merge_commit_sha, merged_at, state, base_sha, at."""
    url = f"{repo['url']}/pulls/{facts['number']}"
    issue = f"{repo['url']}/issues/{facts['number']}"
    links = ["html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses"]
    head = {"label": "o:b", "ref": "b", "repo": facts["head_repo"], "sha": facts["head_sha"], "user": author}
    base = {"label": "o:main", "ref": "main", "repo": repo, "sha": facts["base_sha"], "user": repo["owner"]}
    return {
        "url": url,
        "id": 9_000 + facts["number"],
        "node_id": f"PR_{facts['number']}",
        **dict.fromkeys(("html_url", "diff_url", "patch_url", "commits_url", "review_comments_url"), url),
        **dict.fromkeys(("review_comment_url", "statuses_url"), url),
        "issue_url": issue,
        "comments_url": f"{issue}/comments",
        "number": facts["number"],
        "state": facts["state"],
        "locked": False,
        "title": "A change",
        "user": author,
        **dict.fromkeys(("body", "milestone", "assignee", "auto_merge")),
        "labels": [],
        **dict.fromkeys(("created_at", "updated_at"), when(facts["at"])),
        "closed_at": facts["merged_at"],
        "merged_at": facts["merged_at"],
        "merge_commit_sha": facts["merge_commit_sha"],
        "head": head,
        "base": base,
        "_links": {name: {"href": url} for name in ("self", *links)},
        "author_association": "MEMBER",
    }


def whole_pull(simple: Json) -> Json:
    """The longer form of a pull request, as it is answered alone."""
    counts = dict.fromkeys(("additions", "changed_files", "comments", "commits", "deletions", "review_comments"), 1)
    merged = simple["merged_at"] is not None
    return simple | counts | {
        "mergeable": None,
        "mergeable_state": "unknown",
        "merged": merged,
        "maintainer_can_modify": False,
        "merged_by": simple["user"] if merged else None,
    }  # fmt: skip


def issue(repo: Json, author: Json, number: int, asked: Json, at: float) -> Json:
    """An issue; ``asked`` is the request that opens it."""
    url = f"{repo['url']}/issues/{number}"
    return {
        "id": 7_000 + number,
        "node_id": f"I_{number}",
        "number": number,
        "state": "open",
        "title": asked["title"],
        "body": asked.get("body"),
        "user": author,
        "labels": asked.get("labels", []),
        "assignees": [],
        **dict.fromkeys(("assignee", "closed_at", "milestone")),
        "comments": 0,
        "locked": False,
        **dict.fromkeys(("url", "html_url", "comments_url", "events_url", "labels_url"), url),
        "repository_url": repo["url"],
        **dict.fromkeys(("created_at", "updated_at"), when(at)),
        "author_association": "NONE",
    }


def comment(repo: Json, author: Json, issue: int, number: int, body: str, at: float) -> Json:
    url = f"{repo['url']}/issues/comments/{number}"
    return {
        "id": number,
        "node_id": f"IC_{number}",
        "url": url,
        "html_url": url,
        "issue_url": f"{repo['url']}/issues/{issue}",
        "user": author,
        "created_at": when(at),
        "updated_at": when(at),
        "author_association": "NONE",
        "body": body,
        "performed_via_github_app": None,
    }


def reaction(author: Json, number: int, content: str, at: float) -> Json:
    return {"id": number, "node_id": f"RE_{number}", "user": author, "content": content, "created_at": when(at)}


def deployment(repo: Json, author: Json, number: int, asked: Json, at: float) -> Json:
    url = f"{repo['url']}/deployments/{number}"
    environment = asked.get("environment", "production")
    return {
        "url": url,
        "id": number,
        "node_id": f"DE_{number}",
        "sha": asked["ref"],
        "ref": asked["ref"],
        "task": asked.get("task", "deploy"),
        "payload": asked.get("payload", ""),
        "original_environment": environment,
        "environment": environment,
        "description": asked.get("description", ""),
        "creator": author,
        "created_at": when(at),
        "updated_at": when(at),
        "statuses_url": f"{url}/statuses",
        "repository_url": repo["url"],
        "transient_environment": asked.get("transient_environment", False),
        "production_environment": asked.get("production_environment", environment == "production"),
    }


def deployment_status(parent: Json, author: Json, number: int, asked: Json, at: float) -> Json:
    log_url = asked.get("log_url") or asked.get("target_url", "")
    return {
        "url": f"{parent['statuses_url']}/{number}",
        "id": number,
        "node_id": f"DS_{number}",
        "state": asked["state"],
        "creator": author,
        "description": asked.get("description", ""),
        "environment": asked.get("environment", parent["environment"]),
        "target_url": log_url,
        "log_url": log_url,
        "environment_url": asked.get("environment_url", ""),
        "created_at": when(at),
        "updated_at": when(at),
        "deployment_url": parent["url"],
        "repository_url": parent["repository_url"],
    }


def commit_status(repo: Json, author: Json, sha: str, number: int, asked: Json, at: float) -> Json:
    return {
        "url": f"{repo['url']}/statuses/{sha}",
        "avatar_url": author["avatar_url"],
        "id": number,
        "node_id": f"ST_{number}",
        "state": asked["state"],
        "description": asked.get("description"),
        "target_url": asked.get("target_url"),
        "context": asked.get("context", "default"),
        "created_at": when(at),
        "updated_at": when(at),
        "creator": author,
    }


def content(repo: Json, path: str, sha: str, base64_text: str, size: int) -> Json:
    url = f"{repo['url']}/contents/{path}"
    return {
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "sha": sha,
        "size": size,
        "url": url,
        "html_url": url,
        "git_url": url,
        "download_url": url,
        "type": "file",
        "encoding": "base64",
        "content": base64_text,
        "_links": {"self": url, "git": url, "html": url},
    }


def workflow_run(repo: Json, number: int, file: str, title: str, ref: str, at: float) -> Json:
    """A run that was just dispatched."""
    url = f"{repo['url']}/actions/runs/{number}"
    links = ("jobs", "logs", "check_suite", "cancel", "rerun", "artifacts", "workflow")
    return {
        "id": number,
        "name": title,
        "node_id": f"WFR_{number}",
        "head_branch": ref,
        "head_sha": "0" * 40,
        "path": f".github/workflows/{file}",
        "display_title": title,
        "run_number": number,
        "run_attempt": 1,
        "event": "workflow_dispatch",
        "status": "queued",
        "conclusion": None,
        "workflow_id": 1,
        "url": url,
        "html_url": f"{repo['html_url']}/actions/runs/{number}",
        "pull_requests": [],
        "created_at": when(at),
        "updated_at": when(at),
        "head_commit": None,
        "repository": repo,
        "head_repository": repo,
        **{f"{link}_url": f"{url}/{link}" for link in links},
    }


def job(run: Json, steps: Json) -> Json:
    """The run's one job; ``steps``: each with its conclusion."""
    moments = {"started_at": run["created_at"], "completed_at": run["updated_at"]}
    return {
        "id": run["id"] + 1,
        "node_id": f"CR_{run['id']}",
        "run_id": run["id"],
        "name": "deploy",
        "workflow_name": "Deploy",
        **dict.fromkeys(("run_url", "url", "html_url", "check_run_url"), run["url"]),
        **{key: run[key] for key in ("head_sha", "head_branch", "status", "conclusion", "created_at")},
        **moments,
        **dict.fromkeys(("runner_id", "runner_name", "runner_group_id", "runner_group_name")),
        "labels": [],
        "steps": [
            {"name": name, "status": "completed", "conclusion": conclusion, "number": number, **moments}
            for number, (name, conclusion) in enumerate(steps.items(), 1)
        ],
    }


def commit_comment(repo: Json, author: Json, sha: str, number: int, body: str, at: float) -> Json:
    url = f"{repo['url']}/comments/{number}"
    return {
        "id": number,
        "node_id": f"CC_{number}",
        "url": url,
        "html_url": url,
        "user": author,
        **dict.fromkeys(("position", "line", "path")),
        "commit_id": sha,
        "created_at": when(at),
        "updated_at": when(at),
        "author_association": "NONE",
        "body": body,
    }


def team(api: str, organisation: str, slug: str) -> Json:
    url = f"{api}/orgs/{organisation}"
    urls = ("url", "repos_url", "events_url", "hooks_url", "issues_url", "html_url", "avatar_url")
    counts = ("public_repos", "public_gists", "followers", "following")
    return {
        "id": 1,
        "node_id": "T_1",
        **dict.fromkeys(("url", "members_url", "html_url", "repositories_url"), f"{url}/teams/{slug}"),
        "name": slug,
        "slug": slug,
        "description": None,
        "permission": "pull",
        "type": "organization",
        **dict.fromkeys(("created_at", "updated_at"), when(0)),
        **dict.fromkeys(("members_count", "repos_count"), 1),
        "organization": {
            "login": organisation,
            "id": 2,
            "node_id": "O_2",
            **dict.fromkeys(urls, url),
            **dict.fromkeys(("members_url", "public_members_url"), f"{url}/members"),
            **dict.fromkeys(("description", "archived_at")),
            **dict.fromkeys(("has_organization_projects", "has_repository_projects"), True),
            **dict.fromkeys(counts, 0),
            "type": "Organization",
            **dict.fromkeys(("created_at", "updated_at"), when(0)),
        },
    }
