"""The command `flagserver`: serve, keys, import, export, migrate, backup, abort."""

import os
import sys

import click

from flagserver.auth import Role
from flagserver.errors import FlagServerError
from flagserver.logs import set_up_logs
from flagserver.services import Services, assemble
from flagserver.settings import read_settings


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


def _services() -> Services:
    settings = read_settings(os.environ)
    set_up_logs(settings.log, settings.log_level)
    return assemble(settings)


if __name__ == "__main__":
    main()
