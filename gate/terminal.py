"""What every command at a terminal shares: errors become words and an exit code, and the flag server is found."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import click

from gate.errors import InputError, RampgateError
from gate.flagserver_api import FlagServer
from gate.inputs import one_line, server_url
from rampgate.problem import Problem

P = ParamSpec("P")

_NEEDED = {"RAMPGATE_URL": "the flag server's address", "RAMPGATE_KEY": "an operator key for it"}


def spoken(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors are told on standard error and end it with their exit code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RampgateError as error:
            end(error)

    return run


def end(error: RampgateError) -> NoReturn:
    """Say what went wrong, and end."""
    click.echo(str(error), err=True)
    sys.exit(error.exit)


def flag_server() -> FlagServer:
    """The flag server that the environment names.

    Raises:
        InputError: `RAMPGATE_URL` or `RAMPGATE_KEY` is not set, or the address is not one that a key may be sent to.
    """
    given = {name: os.environ.get(name, "").strip() for name in _NEEDED}
    problems = [Problem(name, "nothing", text) for name, text in _NEEDED.items() if not given[name]]
    url = server_url("RAMPGATE_URL", given["RAMPGATE_URL"], problems)
    key = one_line("RAMPGATE_KEY", given["RAMPGATE_KEY"], problems)
    if url is None or problems:
        raise InputError(tuple(problems))
    return FlagServer(url, key)
