"""What GitHub answers: only the fields in use, so that new ones, or odd ones elsewhere, break nothing."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Account(_Answer):
    login: str


class Identified(_Answer):
    id: int


class Comment(_Answer):
    id: int
    body: str = ""
    user: Account | None
    created_at: datetime
    updated_at: datetime


class Place(_Answer):
    full_name: str


class Branch(_Answer):
    sha: str
    repo: Place | None = None


class Pull(_Answer):
    number: int
    state: str
    user: Account | None
    head: Branch
    base: Branch
    merged_at: datetime | None
    merge_commit_sha: str | None


class Opened(_Answer):
    """An issue or a pull request, as the list of issues has both."""

    number: int
    body: str | None = None
    user: Account | None = None


class Node(_Answer):
    """The name of a thing in the GraphQL API."""

    node_id: str


class Rights(_Answer):
    """GitHub's booleans. All five are needed: a missing one is no answer."""

    pull: bool
    triage: bool
    push: bool
    maintain: bool
    admin: bool


class Collaborator(_Answer):
    login: str
    permissions: Rights


class Collaboration(_Answer):
    role_name: str
    user: Collaborator


class Membership(_Answer):
    """Somebody invited to a team is ``pending`` until they accept."""

    state: str


class Run(_Answer):
    id: int
    html_url: str
    status: str | None
    conclusion: str | None


class Deployment(_Answer):
    """``payload`` comes back as an object, or as its JSON in a string, or in a string twice."""

    id: int
    payload: Mapping[str, Any]

    @field_validator("payload", mode="before")
    @classmethod
    def _decoded(cls, value: object) -> object:
        for _ in range(2):
            if isinstance(value, str):
                try:
                    value = json.loads(value)
                except ValueError:
                    return {}
        return value if isinstance(value, dict) else {}


class DeploymentStatus(_Answer):
    id: int
    state: str
    description: str | None = None
    log_url: str | None = None
    environment_url: str | None = None


class CommitStatus(_Answer):
    id: int
    context: str
    state: str
    description: str | None
    target_url: str | None


class File(_Answer):
    type: str
    encoding: str
    content: str


class _Reverting(_Answer):
    revertPullRequest: Opened | None  # noqa: N815 - GitHub's name


class _Reverted(_Answer):
    revertPullRequest: _Reverting | None  # noqa: N815 - GitHub's name


class _Fault(_Answer):
    message: str = ""


class GraphQL(_Answer):
    """An answer of the GraphQL API to `revertPullRequest`, which tells of faults with status 200."""

    data: _Reverted | None = None
    errors: tuple[_Fault, ...] = ()

    @property
    def opened(self) -> Opened | None:
        outer = self.data.revertPullRequest if self.data else None
        return outer.revertPullRequest if outer else None
