"""How GitHub calls where a rollout stands: its words for a deployment and for a commit. Pure."""

from typing import NamedTuple

from gate.github.port import CommitState, DeploymentState
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout

_OURS = frozenset(
    {
        *(Reason.GATE_LOST, Reason.CANCELLED, Reason.SOURCE_DOWN, Reason.NO_TRAFFIC),
        *(Reason.DEPLOY_FAILED, Reason.DEPLOY_EXPIRED, Reason.VERIFY_EXPIRED, Reason.HOOK_FAILED),
    }
)
"""Ends that say nothing about the version: the machinery around it failed."""


class Standing(NamedTuple):
    deployment: DeploymentState
    commit: CommitState


def standing(rollout: Rollout) -> Standing:
    """A rollout in GitHub's words. One that is taken back counts from the moment users are."""
    state = rollout.state
    phase = (state.ends_as or state.phase) if state.phase is Phase.REVERTING else state.phase
    match phase:
        case Phase.DEPLOYING | Phase.VERIFYING | Phase.DARK:
            return Standing(DeploymentState.QUEUED, CommitState.PENDING)
        case Phase.PROGRESSING | Phase.WAITING | Phase.PAUSED | Phase.COMPLETING:
            return Standing(DeploymentState.IN_PROGRESS, CommitState.PENDING)
        case Phase.PROMOTED:
            return Standing(DeploymentState.SUCCESS, CommitState.SUCCESS)
        case Phase.SUPERSEDED:
            return Standing(DeploymentState.INACTIVE, CommitState.ERROR)
        case _ if state.reason in _OURS:
            return Standing(DeploymentState.ERROR, CommitState.ERROR)
        case _:
            return Standing(DeploymentState.FAILURE, CommitState.FAILURE)
