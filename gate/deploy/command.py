"""The deployer that runs the user's own hook. Values reach the hook by its environment, never by interpolation."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

from gate.deploy.deployer import (
    DeployAction,
    Deployer,
    Deployment,
    Done,
    Failed,
    NotUp,
    Plain,
    Stopped,
    Work,
    Workplace,
)
from gate.deploy.hook import HURRIED, Ending, Ran, run_hook
from gate.foreign import Secrets, cut, harmless
from rampgate.plan import WHOLE, seconds


class CommandDeployer:
    """Runs one command for every action; ``RAMPGATE_ACTION`` tells it which."""

    def __init__(self, command: str | tuple[str, ...], workplace: Workplace) -> None:
        self._command = command
        self._workplace = workplace

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        workplace = self._workplace
        if work.action is DeployAction.STATUS:
            # A question can be broken off; the end of one that hangs must not cost the lease.
            workplace = replace(workplace, grace=min(workplace.grace, HURRIED))
        ran = run_hook(self._command, values(work), workplace, seconds=work.seconds, keep_going=keep_going)
        task = Secrets(self._workplace.secrets).shown(f"{work.action} of {cut(work.version, 80)} in slot {work.slot}")
        if ran.ending is Ending.STOPPED:
            return Stopped(text=f"{task} was stopped after {ran.seconds:.1f} s", tail=ran.tail)
        if ran.ending is Ending.EXITED and work.action is DeployAction.STATUS and ran.code in (0, 1):
            return _status(work, ran)
        if ran.ending is Ending.EXITED and ran.code == 0:
            return Done(text=f"{task} took {ran.seconds:.1f} s")
        return Failed(text=f"{task} failed: {ending(ran, work.seconds)}", tail=ran.tail)


def _status(work: Work, ran: Ran) -> Done | NotUp:
    """Exit code 0: up, and the last line of stdout names the version; 1: not up."""
    if ran.code == 1:
        said = f" (last line: {cut(ran.tail[-1], 200)})" if ran.tail else ""
        return NotUp(text=f"slot {work.slot} is not up: its hook ended with exit code 1{said}")
    if not ran.last:
        return Done(text=f"slot {work.slot} is up; its hook does not say what it runs")
    if work.version and ran.last != work.version:
        runs = f"slot {work.slot} runs {cut(ran.last, 80)}"
        return NotUp(text=f"{runs} and not {cut(harmless(work.version), 80)}, says its hook's last line")
    return Done(text=f"slot {work.slot} is up and runs {cut(ran.last, 80)}", version=ran.last)


def values(work: Work) -> dict[str, str]:
    """What the hook is told. ``RAMPGATE_TARGET`` and ``RAMPGATE_SHARE``, in percent, are there in a rolling
    deployment alone.
    """
    told = {
        "RAMPGATE_ACTION": str(work.action),
        "RAMPGATE_SLOT": work.slot,
        "RAMPGATE_VERSION": work.version,
        "RAMPGATE_FENCE": str(work.fence),
        "RAMPGATE_ENVIRONMENT": work.environment,
        "RAMPGATE_FLAG": work.flag,
        "RAMPGATE_ROLLOUT": work.rollout_id,
    }
    if work.share is not None:
        told["RAMPGATE_SHARE"] = f"{work.share * 100 / WHOLE:.3f}".rstrip("0").rstrip(".")
    if work.target is not None:
        told["RAMPGATE_TARGET"] = work.target
    if work.drain:
        told["RAMPGATE_DRAIN"] = f"{work.drain:.3f}".rstrip("0").rstrip(".")
    return told


def ending(ran: Ran, limit: float) -> str:
    """How a hook failed, in words. ``limit`` is the time it had, in seconds."""
    match ran.ending:
        case Ending.LATE:
            return f"the hook was ended after {seconds(limit)}, its deadline"
        case Ending.TOO_MUCH:
            return "the hook was ended: it wrote more than 256 MiB"
        case Ending.NOT_STARTED:
            return f"the hook could not be started: {harmless(ran.problem)}"
        case Ending.STOPPED:
            return "the hook was stopped"
        case Ending.EXITED:
            code = ran.code or 0
            return f"the hook was killed by {_name(-code)}" if code < 0 else f"the hook ended with exit code {code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions(Plain):
    """``deploy: {command: ./deploy.sh}``: a line for ``/bin/sh``, or a program with its arguments."""

    command: str | tuple[str, ...]

    def deployer(self, workplace: Workplace) -> Deployer:
        return CommandDeployer(self.command, workplace)
