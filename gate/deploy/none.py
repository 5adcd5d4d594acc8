"""The deployer of those who deploy in an earlier step: it changes nothing, and says that it knows nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Plain, Stopped, Work, Workplace
from gate.foreign import cut, harmless


class NoDeployer:
    """Takes the earlier step's word for everything."""

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        if not keep_going():
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped before it began")
        match work.action:
            case DeployAction.ENSURE:
                return Done(
                    text=f"{cut(harmless(work.version), 80)} was deployed into slot {work.slot} by an earlier step"
                )
            case DeployAction.RETIRE:
                return Done(text=f"slot {work.slot} is left as it is: whoever deployed it retires it")
            case DeployAction.STATUS:
                return Done(
                    text=f"slot {work.slot} counts as up: it was deployed by an earlier step, and nothing asks it"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneOptions(Plain):
    """``deploy: {none: true}``: there is nothing to set."""

    def deployer(self, workplace: Workplace) -> Deployer:  # noqa: ARG002
        return NoDeployer()
