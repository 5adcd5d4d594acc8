"""Make a decision so: one numbered action at a time, through the deployer, reported back as an event.

Every action may be done twice; whoever is killed in between leaves it waiting for the next hands.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, assert_never

from gate.deploy import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work
from gate.foreign import cut, harmless
from rampgate.evidence import ArmName
from rampgate.machine.events import LONGEST_TEXT, CarriedOut, Deployed, Event, HookFailed, Verified
from rampgate.machine.state import Action, ActionKind
from rampgate.plan import WHOLE, Strategy
from rampgate.rollout import Rollout

Run = Callable[[Work, Callable[[], bool]], Deployment]
"""What does one piece of work, as a deployer's ``run`` does."""


class Verify(Protocol):
    """Looks at a slot that nobody is sent to yet."""

    def __call__(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        """``Done`` when the slot is up and passes everything that is asked of it dark."""
        ...


def carry_out(
    deployer: Deployer,
    verify: Verify,
    rollout: Rollout,
    action: Action,
    fence: int,
    keep_going: Callable[[], bool],
    around: Callable[[Run], Run] = lambda run: run,
) -> Event | None:
    """Carry one action out under a lease's ``fence``, as long as ``keep_going`` says yes.

    ``around`` adds what is to be done before it, or after it and before it counts as done.

    Returns the event to report, or ``None`` when it was stopped: then the rollout has moved on.
    """
    work = work_of(rollout, action, fence)
    done = around(verify if action.kind is ActionKind.VERIFY else deployer.run)(work, keep_going)
    match done:
        case Stopped():
            return None
        case Failed() | NotUp():
            return HookFailed(fence=fence, action=action.number, text=_sayable(_failure(action, work, done)))
        case Done():
            event = _EVENTS.get(action.kind, CarriedOut)
            return event(fence=fence, action=action.number, text=_sayable(done.text))
        case _:
            assert_never(done)


def work_of(rollout: Rollout, action: Action, fence: int) -> Work:
    """What the deployer is asked for an action."""
    slot = rollout.slot(action.arm)
    return Work(
        action=_WORK[action.kind],
        slot=slot.name,
        version=rollout.version if action.arm is ArmName.CANARY else slot.version or "",
        fence=fence,
        environment=rollout.plan.environment,
        flag=rollout.plan.flag,
        rollout_id=rollout.id,
        share=action.share,
        former=rollout.stable if rollout.plan.strategy is Strategy.ROLLING else None,
        drain=rollout.plan.drain,
        seconds=_seconds(rollout, action),
    )


def looking_at(rollout: Rollout, arm: ArmName, fence: int, most: float) -> Work:
    """What the deployer is asked to see whether an arm is up, in so many seconds at most."""
    everywhere = WHOLE if rollout.plan.strategy is Strategy.ROLLING else None
    action = Action(number=0, kind=ActionKind.PROBE, arm=arm, share=everywhere)
    return replace(work_of(rollout, action, fence), seconds=most)


_EVENTS: dict[ActionKind, type[Deployed] | type[Verified] | type[CarriedOut]] = {
    ActionKind.DEPLOY: Deployed,
    ActionKind.VERIFY: Verified,
}

_WORK = {
    ActionKind.DEPLOY: DeployAction.ENSURE,
    ActionKind.ROLL: DeployAction.ENSURE,
    ActionKind.VERIFY: DeployAction.STATUS,
    ActionKind.PROBE: DeployAction.STATUS,
    ActionKind.RETIRE: DeployAction.RETIRE,
    ActionKind.UNDO: DeployAction.RETIRE,
}


def _seconds(rollout: Rollout, action: Action) -> float:
    plan = rollout.plan
    match action.kind:
        case ActionKind.DEPLOY:
            return plan.deploy_all
        case ActionKind.ROLL:
            return plan.deploy_all if rollout.state.hurried else plan.deploy
        case ActionKind.VERIFY:
            return plan.verify
        case ActionKind.RETIRE | ActionKind.UNDO | ActionKind.PROBE:
            return plan.retire
        case _:
            assert_never(action.kind)


def _sayable(text: str) -> str:
    """As the flag server takes it: a hook's lines can be of any length."""
    return cut(harmless(text), LONGEST_TEXT)


def _failure(action: Action, work: Work, done: Failed | NotUp) -> str:
    what = {
        ActionKind.DEPLOY: f"{work.version} could not be deployed into slot {work.slot}",
        ActionKind.VERIFY: f"{work.version} in slot {work.slot} did not pass its verification",
        ActionKind.ROLL: f"{work.version} could not be rolled out further",
        ActionKind.RETIRE: f"slot {work.slot} could not be retired",
        ActionKind.UNDO: f"slot {work.slot} could not be undone",
        ActionKind.PROBE: f"slot {work.slot}, which users are back on, does not answer as up",
    }[action.kind]
    tail = f" Last lines: {' / '.join(done.tail[-3:])}" if isinstance(done, Failed) and done.tail else ""
    return f"{what}: {done.text}.{tail}"
