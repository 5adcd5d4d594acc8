"""The keys about GitHub: what it is told beside the comment, and what a revert opens there."""

from pydantic import Field

from gate.config.keys import Keys
from gate.config.values import GitHubWishes, RevertWishes
from gate.config.words import Line, Page


class GitHubKeys(Keys):
    """What GitHub is told beside the comment."""

    deployments: bool = Field(default=GitHubWishes().deployments, description="A deployment with its statuses.")
    status: bool = Field(
        default=GitHubWishes().status, description="The commit status `rampgate/` and the environment's name."
    )
    environment_url: Page | None = Field(
        default=GitHubWishes().environment_url,
        description="Where users meet it, shown beside the deployment; {{slot}} and {{version}} may stand in it.",
    )


class RevertKeys(Keys):
    """What is opened when a version regressed, was aborted, or failed its verification."""

    issue: bool = Field(default=RevertWishes().issue, description="An issue, assigned to the pull request's author.")
    pull_request: bool = Field(
        default=RevertWishes().pull_request, description="A pull request that reverts the one that brought it."
    )
    labels: list[Line] = Field(default=[], description="The issue's labels.", max_length=20)


def wishes_of(github: GitHubKeys, on_revert: RevertKeys) -> GitHubWishes:
    """Both mappings as one value."""
    return GitHubWishes(
        deployments=github.deployments,
        status=github.status,
        environment_url=github.environment_url,
        on_revert=RevertWishes(
            issue=on_revert.issue, pull_request=on_revert.pull_request, labels=tuple(on_revert.labels)
        ),
    )
