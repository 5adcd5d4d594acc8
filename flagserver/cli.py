"""The command `flagserver`: serve, keys, import, export, migrate, backup, abort."""

import getpass
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import click

from flagserver.auth import Role
from flagserver.errors import FlagServerError, NotFoundError
from flagserver.logs import set_up_logs
from flagserver.services import Services, assemble
from flagserver.settings import read_settings
from flagserver.store.rollouts import Wanted
from flagserver.wire import decode
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.rollout import Posted

FLAGD_SCHEMA = "https://flagd.dev/schema/v0/flags.json"

MOST_IMPORT = 16 * 1024 * 1024
"""Bytes of the largest file that is imported."""


def main() -> None:
    """Run the command line; what cannot be done is one sentence on stderr and exit code 2."""
    try:
        cli(standalone_mode=False)
    except FlagServerError as error:
        print(f"flagserver: {error.message}", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The flag server of Rampgate. Settings come from FLAGSERVER_* variables."""


@cli.command()
def serve() -> None:
    """Serve flags and rollouts until told to stop."""
    from flagserver.serve import serve as run  # noqa: PLC0415  (the other commands need no web server)

    services = _services()
    services.keyring.refresh()
    if services.keyring.is_empty:
        made = services.keyring.create(Role.ADMIN, None, "first", by="flagserver serve")
        # The one place that shows it; the log never does.
        print(f"admin key, shown once: {made.text}", flush=True)
    run(services)


@cli.command()
def migrate() -> None:
    """Bring the database's tables to this version's form. Serving does it, too."""
    services = _services()
    click.echo(f"{_shown(services)} is up to date.")


@cli.command()
@click.argument("target", type=click.Path(path_type=Path))
def backup(target: Path) -> None:
    """Copy a SQLite database into TARGET, while it is being served."""
    services = _services()
    services.store.backup(target)
    click.echo(f"{_shown(services)} was copied to {target}.")


@cli.group()
def keys() -> None:
    """Make, list and revoke keys."""


@keys.command("create")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--environment", help="The environment that the key belongs to; admin keys have none.")
@click.option("--name", required=True, help="Whose key it is, for the audit log.")
def create_key(role: str, environment: str | None, name: str) -> None:
    """Make a key and print it; nothing shows it again."""
    click.echo(_services().keyring.create(Role(role), environment, name, by=_person()).text)


@keys.command("list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    for one in _services().keyring.every():
        state = "revoked" if one.revoked_at is not None else "in use"
        click.echo(f"{one.selector}  {one.role:<8}  {one.environment or 'all':<16}  {state:<7}  {one.name}")


@keys.command("revoke")
@click.argument("selector")
def revoke_key(selector: str) -> None:
    """Take the key with this SELECTOR out of use."""
    _services().keyring.revoke(selector, by=_person())
    click.echo(f"The key {selector} is revoked.")


@cli.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--environment", required=True)
def import_flags(file: BinaryIO, environment: str) -> None:
    """Make or replace the flags of a flagd FILE (JSON); all of them or none."""
    services = _services()
    document = decode(file.read(MOST_IMPORT + 1))
    count = services.flags.import_document(environment, document, by=_person())
    click.echo(f"{count} flags of {environment} were written.")


@cli.command("export")
@click.option("--environment", required=True)
def export_flags(environment: str) -> None:
    """Print an environment's flags as a flagd document."""
    flags = {one["key"]: one["flag"] for one in _services().flags.all_of(environment)}
    click.echo(json.dumps({"$schema": FLAGD_SCHEMA, "flags": flags}, indent=2))


@cli.command()
@click.argument("flag")
@click.option("--environment", required=True)
@click.option("--reason", default="", help="Why, for the history.")
def abort(flag: str, environment: str, reason: str) -> None:
    """Break the glass: take the users of FLAG back to stable, straight in the database."""
    services = _services()
    wanted = Wanted(environment=environment, flag=flag, active=True)
    found = services.rollouts.find(wanted)
    if not found:
        raise NotFoundError(f"No rollout of {flag} in {environment} is under way.")
    refused = False
    for rollout in found:
        event = Told(order=Order.REVERT, by=_person(), text=reason)
        answer = services.rollouts.apply(rollout.id, Posted(id=f"abort-{uuid4()}", event=event), "flagserver abort")
        refusal = answer.refusal
        refused = refused or refusal is not None
        said = f"refused: {refusal.text}" if refusal else f"{answer.rollout.state.phase}: users are on stable."
        click.echo(f"{rollout.id} of {rollout.version}: {said}")
    if refused:
        sys.exit(1)


def _person() -> str:
    return f"{getpass.getuser()} on the box"


def _shown(services: Services) -> str:
    return services.store.url.render_as_string(hide_password=True)


def _services() -> Services:
    settings = read_settings(os.environ)
    set_up_logs(settings.log, settings.log_level)
    return assemble(settings)


if __name__ == "__main__":
    main()
