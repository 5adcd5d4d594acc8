"""The command that goes back to an earlier version: `rampgate rollback`."""

from getpass import getuser
from pathlib import Path

import click

from gate import config
from gate.cli_drive import end_with, gate_here
from gate.inputs import INPUTS
from gate.rollback import asked_for, roll_back, way_back
from gate.terminal import flag_server, spoken


@click.command()
@click.argument("reason", nargs=-1)
@click.option(
    "--to", metavar="VERSION", help="The version to go back to, or 7 characters of its commit; else the one before."
)
@click.option("--now", "at_once", is_flag=True, help="To everybody at once, as soon as it is up and verified.")
@click.option("--config", "file", type=click.Path(path_type=Path), default=INPUTS["config"].default)
@click.option("--environment", help="The environment to roll back; else the one in the file.")
@spoken
def rollback(reason: tuple[str, ...], to: str | None, at_once: bool, file: Path, environment: str | None) -> None:
    """Start a rollout back to an earlier version, with the plan of this checkout; REASON is kept with it.

    A version that had regressed, or was aborted, is taken again only with a REASON.
    """
    found = config.read(file, environment=environment)
    back = way_back(flag_server(), found.plan.environment, found.plan.flag, to)
    way = "at once" if at_once else "by the plan's steps"
    click.echo(f"Back from {back.present} to {back.version}, {way}.")
    wanted = asked_for(back, getuser(), " ".join(reason) or None)
    with gate_here(found, file) as gate:
        ended = roll_back(gate, found, wanted, lambda one: click.echo(f"Rollout {one.id}"), at_once=at_once)
    end_with(ended)


COMMANDS = (rollback,)
