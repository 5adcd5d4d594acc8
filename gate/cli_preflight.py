"""`rampgate validate --preflight`: which version to ask the sources about, and whom to ask for it."""

import os
from pathlib import Path

from gate import preflight
from gate.config import Config
from gate.metrics import FlagServerOptions, Means
from gate.terminal import flag_server
from rampgate.rollout import Minute, Slot, Slots, Telemetry


class _NoTelemetry:
    """Stands for a flag server that nobody asks."""

    def telemetry(self, rollout_id: str) -> Telemetry:
        raise LookupError(f"no flag server counts for {rollout_id}")

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        raise LookupError(f"no flag server counts for {flag} in {environment} from {since} to {until}")


def asked(config: Config, file: Path, stable: str | None, slot: str) -> list[str]:
    """What the preflight remarks.

    Args:
        config: the configuration.
        file: where it was read.
        stable: the version that has traffic; ``None``: the flag server says.
        slot: the slot of that version, where it is given.

    Raises:
        PreflightError: something keeps the judge from judging.
        RampgateError: the flag server was to say, and did not.
    """
    plan = config.plan
    slots: Slots | None
    if all(isinstance(options, FlagServerOptions) for options in config.metrics):
        return ["The flag server counts by rollout: before one there is nothing to ask."]
    if stable is not None:
        slots = Slots(stable=Slot(name=slot, version=stable), idle=Slot(name="green" if slot == "blue" else "blue"))
    else:
        slots = flag_server().slots(plan.environment, plan.flag)
    folder = file.resolve().parent
    folder = folder.parent if folder.name == ".github" else folder
    means = Means(telemetry=_NoTelemetry(), environ=dict(os.environ), folder=folder)
    return preflight.checked(config, str(file), means, slots)
