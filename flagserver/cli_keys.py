"""`flagserver keys`: make, rotate, list and revoke keys, straight in the database."""

from datetime import UTC, datetime

import click

from flagserver.auth import KEY_ROLES, Role, Wish
from flagserver.store.keys import KeyRecord
from flagserver.terminal import duration, person, services


@click.group()
def keys() -> None:
    """Make, rotate, list and revoke keys."""


@keys.command("create")
@click.option("--role", type=click.Choice([role.value for role in KEY_ROLES]), required=True)
@click.option("--environment", help="The environment that the key belongs to; admin keys have none.")
@click.option("--name", required=True, help="Whose key it is, for the audit log.")
@click.option("--expires", type=duration, help="After which time it ends, as 90d; else it ends when it is revoked.")
@click.option(
    "--origin", "origins", multiple=True, help="A client key's web origin, as https://shop.example; any number."
)
def create_key(role: str, environment: str | None, name: str, expires: float | None, origins: tuple[str, ...]) -> None:
    """Make a key and print it; nothing shows it again."""
    wish = Wish(role=Role(role), environment=environment, name=name, lives=expires, origins=origins)
    click.echo(services().keyring.create(wish, by=person()).text)


@keys.command("rotate")
@click.argument("selector")
@click.option("--overlap", type=duration, default="1d", help="How long the old key stays good; 1d unless told.")
def rotate_key(selector: str, overlap: float) -> None:
    """Print a successor of the key with this SELECTOR, which itself ends after the overlap."""
    click.echo(services().keyring.rotate(selector, overlap=overlap, by=person()).text)


@keys.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    there = services()
    now = there.store.now()
    for one in there.keyring.every():
        used = "never used" if one.last_used_at is None else f"used {_day(one.last_used_at)}"
        where = one.environment or "all"
        click.echo(f"{one.selector}  {one.role:<8}  {where:<16}  {_state(one, now):<17}  {used:<15}  {one.name}")


@keys.command("revoke")
@click.argument("selector")
def revoke_key(selector: str) -> None:
    """Take the key with this SELECTOR out of use."""
    services().keyring.revoke(selector, by=person())
    click.echo(f"The key {selector} is revoked.")


def _state(one: KeyRecord, now: float) -> str:
    if one.revoked_at is not None:
        return "revoked"
    if one.expires_at is None:
        return "in use"
    return f"{'until' if one.is_good(now) else 'ended'} {_day(one.expires_at)}"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
