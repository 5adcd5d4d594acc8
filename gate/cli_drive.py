"""The commands that drive rollouts from a terminal or beside the flag server: drive, drive --follow, sweep."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from getpass import getuser
from pathlib import Path
from socket import gethostname
from types import FrameType
from typing import NoReturn

import click

from gate import config
from gate.errors import Exit, MisuseError, RampgateError
from gate.follower import FILE, Checkout, Checkouts, Follower
from gate.github.no_github import NoGitHub
from gate.github.port import GitHub
from gate.parting import Asked, never
from gate.release import Gate, fitting, left_behind
from gate.report.page import Links, headline
from gate.report.result import decision_of, exit_of
from gate.report.short import waited
from gate.runner_files import RunnerFiles, as_people_read
from gate.telling import Audience, Telling
from gate.terminal import flag_server, folder_of, say, spoken
from gate.world import RealClock, Surroundings, hands
from rampgate.rollout import Rollout


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT]", required=False)
@click.option("--folder", type=click.Path(path_type=Path), default=".", help="The checkout whose hooks are run.")
@click.option("--follow", is_flag=True, help="Go on, for ever, with what jobs hand over or leave behind.")
@click.option("--environment", multiple=True, help="With --follow: this environment; else each configuration's own.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="With --follow: a folder of checkouts, or one.")
@click.option("--name", help="With --follow: its name; the same after a restart, and no other's. Else the host's.")
@spoken
def drive(
    rollout_id: str | None,
    folder: Path,
    follow: bool,
    environment: tuple[str, ...],
    config_dir: Path | None,
    name: str | None,
) -> None:
    """Take up a ROLLOUT that nobody drives, and drive it to its end, with the hooks of the checkout in this folder."""
    if follow == (rollout_id is not None) or (not follow and (environment or config_dir or name)):
        raise MisuseError(
            "Either a rollout is driven, or rollouts are followed.",
            do="Say `rampgate drive ROLLOUT`, or `rampgate drive --follow`.",
        )
    if rollout_id is not None:
        rollout = flag_server().rollout(rollout_id)
        with gate_here(*_checkout(folder, rollout)) as gate:
            end_with(gate.drive(rollout))
    follower = Follower(
        server=flag_server(),
        name=name or gethostname(),
        read=Checkouts(config_dir or folder, environment, say),
        gate=_gate_of,
        say=say,
    )

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        follower.stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    follower.run()


def _gate_of(checkout: Checkout, rollout: Rollout, holder: str, parting: Asked) -> AbstractContextManager[Gate]:
    return gate_here(
        checkout.config,
        checkout.file,
        holder=holder,
        parting=parting,
        say=partial(_say_of, rollout),
        told=rollout,
    )


def _say_of(rollout: Rollout, text: str) -> None:
    say(f"{rollout.plan.flag} {rollout.version}: {as_people_read(text)}")


@click.command()
@click.option("--environment", help="Only this environment.")
@click.option("--folder", type=click.Path(path_type=Path), default=".", help="The checkout whose hooks are run.")
@spoken
def sweep(environment: str | None, folder: Path) -> None:
    """Finish what other gates have left behind: rollouts that wait for hands."""
    left = left_behind(flag_server(), environment)
    unfinished = 0
    for one in left:
        try:
            with gate_here(*_checkout(folder, one)) as gate:
                click.echo(headline(gate.drive(one), time.time()))
        except RampgateError as error:
            unfinished += 1
            click.echo(f"Rollout {one.id} still waits for hands. {error}", err=True)
    click.echo(waited(len(left)))
    if unfinished:
        sys.exit(Exit.UNFINISHED)


def _checkout(folder: Path, rollout: Rollout) -> tuple[config.Config, Path]:
    """The configuration that is checked out in the folder, which must be the rollout's."""
    file = folder / FILE
    found = config.read(file, environment=rollout.plan.environment)
    return fitting(found, rollout), file


def here() -> str:
    """Who runs this, and where."""
    return f"{getuser()}@{gethostname()}"


@contextmanager
def gate_here(
    found: config.Config,
    file: Path,
    *,
    holder: str | None = None,
    parting: Asked = never,
    say: Callable[[str], None] = say,
    told: Rollout | None = None,
) -> Iterator[Gate]:
    """A gate at this terminal, whose hooks run in the folder that holds the configuration's `.github`.

    With ``told`` that rollout's pull request hears of it, where `GITHUB_TOKEN` is set.
    """
    server = flag_server()
    token = os.environ.get("GITHUB_TOKEN", "").strip()
    audience = Audience(
        say=say,
        files=RunnerFiles(),
        server=server,
        github=lambda: _github(told, token, say),
        links=Links(run=told.run_url if told else None),
        wishes=found.github,
    )
    telling = Telling(audience, time.monotonic)
    secrets = tuple(one for one in (os.environ["RAMPGATE_KEY"], token) if one)
    around = Surroundings(folder=folder_of(file), environ=os.environ, secrets=secrets, say=say)
    try:
        yield Gate(
            server=server,
            hands=hands(found, around, server),
            clock=RealClock(),
            report=telling,
            waits=telling.waits,
            holder=holder or f"{here()} {os.getpid()}",
            say=say,
            parting=parting,
        )
    finally:
        telling.close()


def _github(told: Rollout | None, token: str, say: Callable[[str], None]) -> GitHub:
    if told is None or told.repository is None or not token:
        return NoGitHub(say)
    # Late, because PyGithub takes a third of a second to load.
    from gate.github.api import GitHubApi  # noqa: PLC0415

    api = os.environ.get("GITHUB_API_URL", "").strip().rstrip("/") or "https://api.github.com"
    return GitHubApi.at(api_url=api, token=token, repository=told.repository, say=say)


def end_with(rollout: Rollout) -> NoReturn:
    """Say how a rollout ended, and end so."""
    click.echo(headline(rollout, rollout.now))
    sys.exit(exit_of(decision_of(rollout)))


COMMANDS = (drive, sweep)
