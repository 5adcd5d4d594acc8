"""What every command at a terminal shares: errors become words and an exit code, and the flag server is found."""

import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import click

from gate.config import Config
from gate.errors import InputError, RampgateError
from gate.flagserver_api import FlagServer
from gate.inputs import one_line, server_url
from gate.metrics import Means
from gate.runner_files import as_people_read
from rampgate.problem import Problem
from rampgate.rollout import Minute, Slot, Slots, Telemetry

P = ParamSpec("P")


class _NoTelemetry:
    """Stands for a flag server that nobody named."""

    def telemetry(self, rollout_id: str) -> Telemetry:
        raise RampgateError(f"No flag server is named that counts for {rollout_id}.")

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        raise RampgateError(f"RAMPGATE_URL names no flag server that counts {flag} in {environment} ({since}-{until})")


_HOST = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")

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


def say(text: str) -> None:
    """One line on standard output, at once; an annotation as one only where GitHub's runner reads it."""
    click.echo(text if os.environ.get("GITHUB_ACTIONS") == "true" else as_people_read(text))
    sys.stdout.flush()


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
    url = server_url("RAMPGATE_URL", given["RAMPGATE_URL"], problems, plain_at=_plain_at(problems))
    key = one_line("RAMPGATE_KEY", given["RAMPGATE_KEY"], problems)
    if url is None or problems:
        raise InputError(tuple(problems))
    return FlagServer(url, key)


def _plain_at(problems: list[Problem]) -> str:
    """The host:port that `RAMPGATE_PLAIN_HTTP` names: a server beside this program, in a network of their own."""
    named = os.environ.get("RAMPGATE_PLAIN_HTTP", "").strip()
    if not named or _HOST.fullmatch(named):
        return named
    allowed = "one host and port as RAMPGATE_URL has them, such as flagserver:8080"
    problems.append(Problem("RAMPGATE_PLAIN_HTTP", repr(named[:80]), allowed))
    return ""


def folder_of(file: Path) -> Path:
    """Where the hooks and commands of a configuration run: in the folder that holds its `.github`."""
    folder = file.resolve().parent
    return folder.parent if folder.name == ".github" else folder


def sources_of(config: Config, file: Path, stable: str | None, slot: str) -> tuple[Means, Slots | None]:
    """What the configuration's sources may use, and which version has traffic: the one named, or the flag server's.

    Args:
        config: the configuration.
        file: where it was read.
        stable: the version that has traffic; ``None``: the flag server says.
        slot: the slot of that version, where it is named.

    Raises:
        RampgateError: the flag server was to say, and did not.
    """
    named = bool(os.environ.get("RAMPGATE_URL", "").strip())
    server = flag_server() if named or stable is None else None
    if stable is not None:
        idle = "green" if slot == "blue" else "blue"
        slots: Slots | None = Slots(stable=Slot(name=slot, version=stable), idle=Slot(name=idle))
    else:
        slots = flag_server().slots(config.plan.environment, config.plan.flag)
    return Means(telemetry=server or _NoTelemetry(), environ=dict(os.environ), folder=folder_of(file)), slots
