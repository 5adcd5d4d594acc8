"""`rampgate notify --test`: whether messages arrive, before a rollout depends on somebody's hearing of it."""

import os
import sys
from pathlib import Path

import click

from gate import config
from gate.errors import Exit, MisuseError
from gate.inputs import INPUTS
from gate.terminal import folder_of, spoken
from gate.world import Surroundings, messenger_of


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=INPUTS["config"].default)
@click.option("--test", is_flag=True, help="Send a test message to everybody whom the configuration names.")
@click.option("--environment", help="The environment to look at the configuration for; else the one in it.")
@spoken
def notify(file: Path, test: bool, environment: str | None) -> None:
    """Send a test message to everybody whom the configuration FILE names under `notify`."""
    found = config.read(file, environment=environment)
    around = Surroundings(folder=folder_of(file), environ=os.environ, secrets=(), say=click.echo)
    messenger = messenger_of(found, around)
    if not test or messenger is None:
        do = "Say `rampgate notify --test`." if not test else "Name somebody under `notify`: docs/notifications.md."
        raise MisuseError("There is nothing to send.", do=do)
    answers = messenger.test()
    for name, problem in answers.items():
        click.echo(f"{name}: {problem or 'told'}", err=problem is not None)
    if any(problem is not None for problem in answers.values()):
        sys.exit(Exit.UNFINISHED)


COMMANDS = (notify,)
