"""What is looked at before anything is released: the sources, and what the plan will see with the traffic there is.

A pull request is told; a release goes on, unless its plan is strict and cannot see what it has to.
"""

import time
from collections.abc import Callable

from gate import preflight
from gate.config import Config
from gate.errors import GitHubError, RampgateError
from gate.flagserver_api import FlagServer
from gate.github.port import GitHub
from gate.metrics import Means
from gate.outlook import Outlook, nothing_known, outlook, refuse_blind
from gate.report.prose import plain
from gate.runner_files import Level, annotation
from rampgate.wording import step_name

Say = Callable[[str], None]


def looked_ahead(config: Config, where: str, server: FlagServer, means: Means, say: Say) -> Outlook:
    """The forecast, told. It never keeps a release from beginning, but for a strict plan.

    Raises:
        MisuseError: the plan is strict, and cannot see what its steps have to exclude.
    """
    try:
        slots = server.slots(config.plan.environment, config.plan.flag)
        found = outlook(config, means, slots, now=time.time())
    except RampgateError as error:
        found = nothing_known(error.what.rstrip("."))
    for line in found.lines:
        say(line)
    refuse_blind(where, config, found)
    return found


def validated(config: Config, where: str, server: FlagServer | None, means: Callable[[], Means], say: Say) -> Outlook:
    """Look at the sources as well, where the flag server can be asked; say what is remarkable.

    Raises:
        PreflightError: something keeps the judge from judging.
        MisuseError: the plan is strict, and cannot see what its steps have to exclude.
    """
    nothing = Outlook(traffic=None, lines=(), brief=())
    if server is None:
        return nothing
    try:
        slots = server.slots(config.plan.environment, config.plan.flag)
    except RampgateError as error:
        say(annotation(Level.WARNING, f"The sources were not asked: {error}", title="Rampgate"))
        return nothing
    for remark in preflight.checked(config, where, means(), slots):
        say(annotation(Level.WARNING, remark, title="Rampgate"))
    return looked_ahead(config, where, server, means(), say)


def tell_pull_request(github: GitHub, number: int, config: Config, found: Outlook, say: Say) -> None:
    """Say on the pull request what would be released how, and seen. A fork's token may not: that is said."""
    plan = config.plan
    steps = " → ".join(step_name(plan, number) for number in range(plan.last + 1))
    title = f"### ⚪ {plain(plan.environment, 60)}: what a release of `{plan.flag}` would see"
    lines = [title, "", f"{plan.strategy}: {steps}", "", *(f"- {plain(line, 1000)}" for line in found.lines)]
    try:
        github.tell(number, f"{plan.environment}/forecast", "\n".join(lines))
    except GitHubError as error:
        say(f"The pull request was not told: {error}")
