"""What every command of `flagserver` shares: the services that the settings describe, and who sits there."""

import getpass
import os
import re
from pathlib import Path

import click
from sqlalchemy.engine import make_url

from flagserver.errors import SettingsError
from flagserver.logs import set_up_logs
from flagserver.services import Services, assemble
from flagserver.settings import read_settings

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration(text: str) -> float:
    """A time such as ``90d``, ``12h`` or ``30m``, in seconds.

    Raises:
        BadParameter: the text is none.
    """
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no time: write 90d, 12h or 30m.")
    return int(found[1]) * _UNITS[found[2]]


def person() -> str:
    """Who sits at this terminal, for the audit log."""
    return f"{getpass.getuser()} on the box"


def services(*, first: bool = False) -> Services:
    """The services over the database that the settings name.

    Args:
        first: whether the command may be the first that there is, and so make the database. Every other one would
            only hide from whoever types it that it looks at the wrong file.

    Raises:
        SettingsError: everything that is wrong with the settings, or there is no such database.
        StoreGoneError: the database cannot be reached.
    """
    settings = read_settings(os.environ)
    set_up_logs(settings.log, settings.log_level)
    url = make_url(settings.database_url)
    if not first and url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise SettingsError(
            f"There is no database {Path(url.database or '').absolute()}. FLAGSERVER_DATABASE_URL must name the "
            "server's; `flagserver serve` and `flagserver migrate` make one."
        )
    return assemble(settings)
