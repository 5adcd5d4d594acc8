"""The command line `rampgate`: each command a few lines; errors become words and an exit code in one place."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import click

from gate import config
from gate.config.schema import schema
from gate.errors import Exit, RampgateError
from gate.inputs import INPUTS
from rampgate.plan import RolloutPlan, percent, seconds

P = ParamSpec("P")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rampgate-tools", prog_name="rampgate")
def main() -> None:
    """Releases that undo themselves: the gate, from the command line."""


def spoken(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors are told on standard error and end it with their exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RampgateError as error:
            end(error)

    return run


def end(error: RampgateError) -> NoReturn:
    """Say what went wrong, and end."""
    click.echo(str(error), err=True)
    sys.exit(error.exit)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=INPUTS["config"].default)
@click.option("--environment", help="The environment to look at it for; else the one in the file.")
@spoken
def validate(file: Path, environment: str | None) -> None:
    """Check a configuration FILE, and say all that is wrong with it at once."""
    found = config.read(file, environment=environment)
    click.echo(f"{file} is sound.")
    for line in told(found.plan):
        click.echo(f"  {line}")


@main.command("config-schema")
@spoken
def config_schema() -> None:
    """Print the configuration's JSON schema, for editors."""
    click.echo(json.dumps(schema(), indent=2))


def told(plan: RolloutPlan) -> tuple[str, ...]:
    """A plan in a few lines, with what follows from what was written."""
    steps = " → ".join(percent(step.share) for step in plan.steps)
    held = f", {percent(plan.hold_back)} held back while the last one bakes" if plan.hold_back else ""
    return (
        f"{plan.strategy} of {plan.flag} in {plan.environment}: dark → {steps}{held}",
        f"looks every {seconds(plan.poll)}; a gate silent for {seconds(plan.lease)} is lost, then: {plan.on_gate_lost}",
        f"an app without contact for {seconds(plan.stale_after)} serves stable",
        f"the old version stays warm for {seconds(plan.scale_down_delay)}",
    )


if __name__ == "__main__":
    sys.exit(main(standalone_mode=True) or Exit.DONE)
