"""What every command of `flagserver` shares: the services that the settings describe, and who sits there."""

import getpass
import os
import re

import click

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


def services() -> Services:
    """The services over the database that the settings name.

    Raises:
        SettingsError: everything that is wrong with the settings.
        StoreGoneError: the database cannot be reached.
    """
    settings = read_settings(os.environ)
    set_up_logs(settings.log, settings.log_level)
    return assemble(settings)
