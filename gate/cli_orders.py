"""The commands about what may widen and what may be tried again: lock, unlock, locks, override."""

import time
from getpass import getuser

import click

from gate.config.words import duration
from gate.errors import InputError, MisuseError
from gate.terminal import flag_server, spoken
from rampgate.locks import HeldLock, NewLock
from rampgate.problem import Problem
from rampgate.wording import clock

_ENVIRONMENT = click.option("--environment", envvar="RAMPGATE_ENVIRONMENT", help="The environment; else the key's.")


@click.command("lock")
@click.argument("reason", nargs=-1, required=True)
@click.option("--flag", help="Only this flag; else every flag of the environment.")
@_ENVIRONMENT
@click.option("--for", "lasts", default="24h", show_default=True, help="How long it holds.")
@spoken
def lock(reason: tuple[str, ...], flag: str | None, environment: str | None, lasts: str) -> None:
    """Let nothing widen, for a REASON. A lock never stops a revert."""
    try:
        seconds = duration(lasts)
    except ValueError as error:
        raise InputError((Problem("--for", lasts, "a duration, such as 30m or 8h"),)) from error
    new = NewLock(
        reason=" ".join(reason), by=getuser(), environment=environment, flag=flag, until=time.time() + seconds
    )
    click.echo(_told(flag_server().lock(new)))


@click.command("locks")
@click.option("--flag", help="Only what covers this flag.")
@_ENVIRONMENT
@spoken
def locks(flag: str | None, environment: str | None) -> None:
    """List the locks that hold or will."""
    found = flag_server().locks(environment, flag)
    for one in found:
        click.echo(_told(one))
    if not found:
        click.echo("Nothing is locked.")


@click.command("unlock")
@click.argument("lock_id", metavar="LOCK")
@click.argument("reason", nargs=-1)
@spoken
def unlock(lock_id: str, reason: tuple[str, ...]) -> None:
    """Lift a LOCK, by its id."""
    flag_server().unlock(lock_id, by=getuser(), reason=" ".join(reason) or None)
    click.echo(f"{lock_id} is lifted.")


@click.command("override")
@click.argument("version")
@click.argument("reason", nargs=-1, required=True)
@click.option("--flag", required=True, help="The flag.")
@click.option(
    "--environment", default="production", envvar="RAMPGATE_ENVIRONMENT", show_default=True, help="The environment."
)
@spoken
def override(version: str, reason: tuple[str, ...], flag: str, environment: str) -> None:
    """Let a VERSION be tried again that regressed or was aborted, for a REASON."""
    server = flag_server()
    refused = [one.version for one in server.refused_versions(environment, flag)]
    if version not in refused:
        there = ", ".join(refused[:5]) or "none"
        raise MisuseError(f"{version} is not refused for {flag} in {environment}.", do=f"Refused are: {there}.")
    server.allow(environment, flag, version, by=getuser(), reason=" ".join(reason))
    click.echo(f"{version} may be tried again: its next release starts a rollout.")


def _told(held: HeldLock) -> str:
    now = time.time()
    since = "" if held.holds else f" from {clock(held.since, now)}"
    until = f" until {clock(held.until, now)}" if held.until is not None else ", without an end"
    return f"{held.id}: {held.scope}{since}{until}, by {held.by}: {held.reason}"


COMMANDS = (lock, locks, unlock, override)
"""What the command line adds."""
