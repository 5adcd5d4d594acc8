"""When a driver leaves a rollout that has not ended, so that a follower goes on with it. Decides; posts nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gate.errors import MisuseError, RampgateError
from gate.flagserver_api import FlagServer
from gate.report.prose import order
from rampgate.followers import Follower
from rampgate.machine.state import Phase
from rampgate.plan import RolloutPlan, seconds
from rampgate.rollout import Rollout

NOTICE = 1800.0
"""Seconds before the job's end from which on the rollout is handed over, or its end is announced."""

AGAIN = 60.0
"""Seconds between two looks for a follower."""

_BEFORE_DARK = frozenset({Phase.DEPLOYING, Phase.VERIFYING})


class Parting(StrEnum):
    """``stay``; ``offer``: let go if the flag server admits it, else stay; ``go``: leave, whatever it says."""

    STAY = "stay"
    OFFER = "offer"
    GO = "go"


Asked = Callable[[Rollout, bool], Parting]
"""Asked by a driver, often: the rollout, and whether it holds the lease."""


def never(rollout: Rollout, holds: bool) -> Parting:  # noqa: ARG001
    """For a driver that stays to the end."""
    return Parting.STAY


def least(plan: RolloutPlan) -> float:
    """Seconds that the plan takes at the very least, with no time for deploying: every bake, then the warm time."""
    polls = plan.judge.min_polls * plan.poll
    return plan.dark.bake + sum(max(step.bake, polls) for step in plan.steps) + plan.scale_down_delay


@dataclass(slots=True)
class JobEnd:
    """A job of limited time: it hands over half an hour before its end, or once dark where that is asked for.

    ``limit`` is the job's whole time in seconds, ``began`` its beginning on the ``monotonic`` clock; ``at_once``: hand
    over as soon as the new version is verified dark. ``then`` says what the job's cancelling does to the rollout.
    """

    server: FlagServer
    monotonic: Callable[[], float]
    warn: Callable[[str], None]
    began: float
    limit: float
    at_once: bool
    then: str
    look_at: float = field(default=0.0, init=False)
    warned: bool = field(default=False, init=False)

    def __call__(self, rollout: Rollout, holds: bool) -> Parting:
        """Whether this job's driver leaves now."""
        now, phase = self.monotonic(), rollout.state.phase
        left = self.began + self.limit - now
        ends = left <= self.notice
        dark = self.at_once and phase not in _BEFORE_DARK
        if not (ends or dark) or not holds or phase.is_final or phase is Phase.REVERTING or now < self.look_at:
            return Parting.STAY
        self.look_at = now + AGAIN
        if self.follower(rollout.plan) is not None:
            return Parting.OFFER
        if ends and not self.warned:
            self.warned = True
            self.warn(f"This job ends in about {seconds(60 * round(left / 60))}: {self._then(rollout)}")
        return Parting.STAY

    @property
    def notice(self) -> float:
        return min(NOTICE, self.limit / 4)

    def follower(self, plan: RolloutPlan) -> Follower | None:
        """One that would go on with the plan's rollout; ``None`` where none is there or nobody can tell."""
        try:
            return next(iter(self.server.followers(plan.environment, plan.flag)), None)
        except RampgateError:
            return None

    def foretell(self, plan: RolloutPlan) -> None:
        """Say at the start what can be foreseen of the end.

        Raises:
            MisuseError: the job is to hand over once dark, and nobody is there to go on.
        """
        if not self.at_once and least(plan) <= self.limit - self.notice:
            return
        follower = self.follower(plan)
        if self.at_once:
            if follower is None:
                raise MisuseError(
                    f"`detach: true`, but no follower is there for {plan.flag} in {plan.environment}.",
                    why="Nothing was deployed: nobody would ramp it.",
                    do="Start one beside the flag server: docs/operating.md.",
                )
            return
        text = f"The plan takes at least {seconds(round(least(plan)))}, and this job may take {seconds(self.limit)}. "
        if follower is not None:
            self.warn(f"{text}The follower {follower.name} goes on with the rollout before the job ends.")
            return
        self.warn(
            f"{text}No follower is there to go on with the rollout. Shorten the plan, or start one: docs/operating.md."
        )

    def _then(self, rollout: Rollout) -> str:
        if rollout.plan.in_place:
            return (
                "GitHub then cancels it, and every target keeps what it runs until somebody comes: this job, run "
                "again, a follower, or `rampgate sweep`, which puts targets back."
            )
        whole = order(rollout, "promote full")
        return (
            f"GitHub then cancels it, and {self.then}. {whole} sends everybody to {rollout.version} before; a "
            "follower that is started now goes on by itself; and this job, run again, takes the same rollout up."
        )
