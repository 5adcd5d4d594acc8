"""The commands about who gets what: cohort and tester-link. `cli.py` puts them in their group."""

import time
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import click

from gate.config.words import duration
from gate.errors import InputError, MisuseError
from gate.places import Place
from gate.terminal import flag_server, spoken
from rampgate.evidence import ArmName
from rampgate.forcing import NAME
from rampgate.plan import percent, seconds
from rampgate.problem import Problem

_FLAG = click.option("--flag", required=True, help="The flag.")
_ENVIRONMENT = click.option(
    "--environment", default="production", envvar="RAMPGATE_ENVIRONMENT", show_default=True, help="The environment."
)


@click.command("cohort")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@_FLAG
@_ENVIRONMENT
@click.option("--salt", help="Ask where they would stand under this salt.")
@spoken
def cohort(users: tuple[str, ...], flag: str, environment: str, salt: str | None) -> None:
    """Say which of these users meet the new version, and from which percentage on."""
    found = flag_server().cohort(environment, flag, users, salt)
    if found.salt is None:
        click.echo(f"{flag} is in no rollout in {environment}. With --salt, its order can be asked for.")
    elif found.share is not None:
        click.echo(f"{flag} in {environment}: {percent(found.share)} of the users, by the salt {found.salt}")
    widest = max(len(place.user) for place in found.users)
    for place in found.users:
        click.echo(f"  {place.user:<{widest}}  {_placed(place)}")


def _placed(place: Place) -> str:
    start = "" if place.start is None else f"in from {percent(place.start)} on"
    if place.why == "listed":
        start = f"on a list, else {start}"
    return ", ".join(part for part in (place.variant, start) if part)


@click.command("tester-link")
@click.argument("url", required=False)
@_FLAG
@_ENVIRONMENT
@click.option("--arm", type=click.Choice([arm.value for arm in ArmName]), default="canary", show_default=True)
@click.option("--for", "lasts", default="8h", show_default=True, help="How long the link is good.")
@click.option("--why", help="For the audit log.")
@spoken
def tester_link(url: str | None, flag: str, environment: str, arm: str, lasts: str, why: str | None) -> None:
    """Print a link to URL that sends its visitor to a version in the dark; without a URL, the bare token."""
    try:
        wanted = duration(lasts)
    except ValueError as error:
        raise InputError((Problem("--for", lasts, "a duration, such as 30m or 8h"),)) from error
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise MisuseError("A link begins with https:// or http://.")
    made = flag_server().tester_token(environment, flag, ArmName(arm), wanted, why)
    click.echo(made.token if url is None else linked(url, made.token))
    ends = datetime.fromtimestamp(made.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
    left = seconds(round(made.expires - time.time()))
    click.echo(f"Whoever has it meets {flag}'s {arm} version until {ends} ({left}).", err=True)


def linked(url: str, token: str) -> str:
    """The URL with the token in its query."""
    parts = urlsplit(url)
    query = f"{parts.query}&{NAME}={token}" if parts.query else f"{NAME}={token}"
    return urlunsplit(parts._replace(query=query, path=parts.path or "/"))


COMMANDS = (cohort, tester_link)
