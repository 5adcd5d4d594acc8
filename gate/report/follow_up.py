"""What stands in the issue and the pull request that a revert opens: title and text, from the comment's own lines."""

from collections.abc import Sequence
from typing import NamedTuple

from gate.report.page import Links, evidence
from gate.report.prose import code, plain
from rampgate.evidence import Look
from rampgate.rollout import Entry, Rollout
from rampgate.wording import one_line


class Words(NamedTuple):
    title: str
    body: str


def issue(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], links: Links) -> Words:
    """The issue that asks for a fix."""
    title = f"{rollout.plan.environment}: {one_line(rollout.version, 60)} was taken back"
    brought = f" (#{rollout.pull_request})" if rollout.pull_request is not None else ""
    steps = [
        f"{code(rollout.version, 60)}{brought} was taken back in {plain(rollout.plan.environment, 60)}: "
        f"{_where(rollout)}.",
        evidence(rollout, looks, entries, rollout.now, links),
        "#### What to do\n\n"
        "1. Find the cause: the run's log and the rollout's page have every look.\n"
        "2. Fix it in a new commit, or take the change out of the branch; either is a new rollout.\n"
        "3. Close this issue. Nothing waits for it.",
    ]
    return Words(title, "\n\n".join(steps))


def _where(rollout: Rollout) -> str:
    return "its targets are put back" if rollout.plan.in_place else "users are where they were before it"


def revert(rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], links: Links) -> Words:
    """The pull request that takes the change out of the branch."""
    title = (
        f"Revert #{rollout.pull_request}: {one_line(rollout.version, 60)} was taken back in {rollout.plan.environment}"
    )
    steps = [
        f"Reverts #{rollout.pull_request}. {_where(rollout).capitalize()}; this takes the change out of the branch "
        "too, so that the next release does not bring it again. Close it where a fix is on its way.",
        evidence(rollout, looks, entries, rollout.now, links),
    ]
    return Words(title, "\n\n".join(steps))
