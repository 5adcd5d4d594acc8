"""Cuts GitHub's own API description down to the calls in use: `python trim_github_description.py FULL.json > OUT.json`.

FULL.json is `generated/api.github.com.json` of the npm package `@octokit/openapi` (MIT, see the LICENSE file beside
the output). Nothing is changed but left out: other paths, prose, examples and vendor extensions.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

REPOSITORY = "/repos/{owner}/{repo}"
CALLS = {
    "/user": ("get",),
    REPOSITORY: ("get",),
    f"{REPOSITORY}/commits/{{commit_sha}}/pulls": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}": ("get",),
    f"{REPOSITORY}/issues": ("get", "post"),
    f"{REPOSITORY}/issues/{{issue_number}}/comments": ("get", "post"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}": ("get", "patch", "delete"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}/reactions": ("get", "post"),
    f"{REPOSITORY}/collaborators/{{username}}/permission": ("get",),
    f"{REPOSITORY}/deployments": ("get", "post"),
    f"{REPOSITORY}/deployments/{{deployment_id}}": ("get",),
    f"{REPOSITORY}/deployments/{{deployment_id}}/statuses": ("get", "post"),
    f"{REPOSITORY}/statuses/{{sha}}": ("post",),
    f"{REPOSITORY}/commits/{{ref}}/statuses": ("get",),
    f"{REPOSITORY}/contents/{{path}}": ("get",),
    f"{REPOSITORY}/actions/workflows/{{workflow_id}}/dispatches": ("post",),
    f"{REPOSITORY}/actions/workflows/{{workflow_id}}/runs": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/cancel": ("post",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/jobs": ("get",),
    f"{REPOSITORY}/commits/{{commit_sha}}/comments": ("get", "post"),
    f"{REPOSITORY}/comments/{{comment_id}}": ("get", "patch"),
    f"{REPOSITORY}/comments/{{comment_id}}/reactions": ("get", "post"),
    f"{REPOSITORY}/actions/runs/{{run_id}}/rerun": ("post",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/rerun-failed-jobs": ("post",),
    "/orgs/{org}/teams/{team_slug}": ("get",),
    "/orgs/{org}/teams/{team_slug}/memberships/{username}": ("get",),
}
PROSE = frozenset({"description", "summary", "example", "examples", "externalDocs", "tags", "operationId", "title"})


def trimmed(node: Any, *, names: bool = False) -> Any:
    """The node without prose and extensions; ``names``: its keys are names of properties, and all stay."""
    if isinstance(node, list):
        return [trimmed(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: trimmed(value, names=key == "properties" and not names)
        for key, value in node.items()
        if names or not (key in PROSE or key.startswith("x-"))
    }


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def main(source: str) -> None:
    with open(source, encoding="utf-8") as file:
        full = json.load(file)
    paths: dict[str, Any] = {}
    for path, verbs in CALLS.items():
        here = full["paths"][path]
        shared = {"parameters": trimmed(here["parameters"])} if "parameters" in here else {}
        paths[path] = shared | {verb: trimmed(here[verb]) for verb in verbs}
    components: dict[str, dict[str, Any]] = {}
    waiting = set(references(paths))
    while waiting:
        _, _, kind, name = waiting.pop().split("/")
        if name in components.setdefault(kind, {}):
            continue
        components[kind][name] = trimmed(full["components"][kind][name])
        waiting |= set(references(components[kind][name]))
    info = {"title": full["info"]["title"], "version": full["info"]["version"], "license": full["info"]["license"]}
    info["description"] = "Trimmed by trim_github_description.py from npm @octokit/openapi; MIT, notice beside it."
    out = {"openapi": full["openapi"], "info": info, "paths": paths, "components": components}
    json.dump(out, sys.stdout, indent=None, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
