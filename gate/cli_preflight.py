"""`rampgate validate --preflight`: what the sources answer, and what the plan will see with the traffic there is."""

import os
import time
from pathlib import Path

from gate import preflight
from gate.config import Config
from gate.metrics import FlagServerOptions
from gate.outlook import outlook, refuse_blind
from gate.terminal import sources_of


def asked(config: Config, file: Path, stable: str | None, slot: str) -> list[str]:
    """What the preflight remarks, and the forecast. Arguments as for ``sources_of``.

    Raises:
        PreflightError: something keeps the judge from judging.
        MisuseError: the plan is strict, and cannot see what its steps have to exclude.
        RampgateError: the flag server was to say, and did not.
    """
    every = (*config.metrics, *(one.options for one in config.further))
    if all(isinstance(options, FlagServerOptions) for options in every) and not os.environ.get("RAMPGATE_URL"):
        return ["The flag server counts by rollout: before one there is nothing to ask."]
    means, slots = sources_of(config, file, stable, slot)
    remarks = preflight.checked(config, str(file), means, slots)
    found = outlook(config, means, slots, now=time.time())
    refuse_blind(str(file), config, found)
    return [*remarks, *found.lines]
