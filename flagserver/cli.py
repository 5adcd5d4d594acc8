"""The command `flagserver`: serve, keys, trust, import, export, migrate, backup, abort."""

import json
import signal
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import click

from flagserver.auth import Role, Wish
from flagserver.cli_keys import keys
from flagserver.cli_trust import trust
from flagserver.errors import FlagServerError, NotFoundError, TooLargeError
from flagserver.services import Services
from flagserver.store import flags
from flagserver.store.rollouts import Wanted
from flagserver.terminal import person, services
from flagserver.wire import decode
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.rollout import Posted

MOST_IMPORT = 16 * 1024 * 1024
"""Bytes of the largest file that is imported."""


def main() -> None:
    """Run the command line; what cannot be done is one sentence on stderr and exit code 2."""
    try:
        cli(standalone_mode=False)
    except FlagServerError as error:
        for line in map(str, error.problems) if error.problems else (error.message,):
            print(f"flagserver: {line}", file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The flag server of Rampgate. Settings come from FLAGSERVER_* variables."""


cli.add_command(keys)
cli.add_command(trust)


@cli.command()
def serve() -> None:
    """Serve flags and rollouts until told to stop."""
    # As process 1 of a container it would not hear SIGTERM before its loop runs: for process 1 nothing is the default.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from flagserver.serve import serve as run  # noqa: PLC0415  (the other commands need no web server)

    there = services(first=True)
    there.keyring.refresh()
    if there.keyring.is_empty:
        wish = Wish(role=Role.ADMIN, environment=None, name="first")
        made = there.keyring.create_first(wish, by="flagserver serve")
        if made is not None:
            # The one place that shows it; the log never does.
            print(f"admin key, shown once: {made.text}", flush=True)
    run(there)


@cli.command()
def migrate() -> None:
    """Bring the database's tables to this version's form. Serving does it, too."""
    there = services(first=True)
    click.echo(f"{_shown(there)} is up to date.")


@cli.command()
@click.argument("target", type=click.Path(path_type=Path))
def backup(target: Path) -> None:
    """Copy a SQLite database into TARGET, while it is being served."""
    there = services()
    there.store.backup(target)
    click.echo(f"{_shown(there)} was copied to {target}.")


@cli.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--environment", required=True)
def import_flags(file: BinaryIO, environment: str) -> None:
    """Make or replace the flags of a flagd FILE (JSON), with lists and segments if it has them; all or nothing."""
    there = services()
    body = file.read(MOST_IMPORT + 1)
    if len(body) > MOST_IMPORT:
        raise TooLargeError(f"{file.name} is larger than {MOST_IMPORT // 1024**2} MiB.")
    written, segments = there.documents.take(environment, decode(body), by=person())
    beside = f" and {_counted(segments, 'segment')}" if segments else ""
    click.echo(f"{environment} has {_counted(written, 'flag')}{beside} as the file says.")


@cli.command("export")
@click.option("--environment", required=True)
@click.option("--plain", is_flag=True, help="What flagd knows alone: without slots, lists and segments.")
def export_flags(environment: str, plain: bool) -> None:
    """Print an environment's flags as a flagd document, with their lists and segments beside them."""
    there = services()
    with there.store.read() as tx:
        known = flags.environments(tx)
    if environment not in known:
        near = get_close_matches(environment, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise NotFoundError(f"There is no flag in {environment}. Environments with flags: {', '.join(known)}.{hint}")
    click.echo(json.dumps(there.documents.give(environment, plain=plain), indent=2))


@cli.command()
@click.argument("flag")
@click.option("--environment", required=True)
@click.option("--reason", default="", help="Why, for the history.")
def abort(flag: str, environment: str, reason: str) -> None:
    """Break the glass: take the users of FLAG back to stable, straight in the database."""
    there = services()
    active, _ = there.rollouts.find(Wanted(active=True, limit=500))
    found = [one for one in active if (one.plan.environment, one.plan.flag) == (environment, flag)]
    if not found:
        others = ", ".join(sorted(f"{one.plan.flag} in {one.plan.environment}" for one in active))
        raise NotFoundError(f"No rollout of {flag} in {environment} is under way. Under way: {others or 'none'}.")
    refused = False
    for rollout in found:
        event = Told(order=Order.REVERT, by=person(), text=reason)
        answer = there.rollouts.apply(rollout.id, Posted(id=f"abort-{uuid4()}", event=event), "flagserver abort")
        refusal = answer.refusal
        refused = refused or refusal is not None
        said = f"refused: {refusal.text}" if refusal else f"{answer.rollout.state.phase}: users are on stable."
        click.echo(f"{rollout.id} of {rollout.version}: {said}")
    if refused:
        sys.exit(1)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _shown(services: Services) -> str:
    return services.store.url.render_as_string(hide_password=True)


if __name__ == "__main__":
    main()
