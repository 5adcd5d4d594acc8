"""The Action's inputs and outputs, in one registry, and what the runner says about itself.

`action.yml` and docs/inputs.md are held to ``INPUTS`` and ``OUTPUTS`` by tests. Nothing here reads a file or asks
the network: everything comes from the environment that is handed in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from gate.errors import InputError
from rampgate.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input: what it is when left out, whether it may be, and its description."""

    text: str
    default: str = ""
    required: bool = False


INPUTS: Mapping[str, Input] = {
    "config": Input(text="The configuration file, from the repository's root.", default=".github/rampgate.yml"),
    "flag-server-url": Input(text="Where the flag server listens: https, or http on this machine.", required=True),
    "flag-server-key": Input(text="A flag server key of the role operator. Left out: the job's own token."),
    "version": Input(text="The version to release. Left out: the commit's SHA."),
    "environment": Input(text="The environment to release to. Left out: the one in the configuration file."),
    "github-token": Input(text="The token for comments and deployments.", default="${{ github.token }}"),
    "mode": Input(text="What to do: auto (chosen by the event), run, comment, sweep or validate.", default="auto"),
    "on-cancel": Input(
        text="When the job is cancelled: revert, hold until the lease lapses, or detach: a follower goes on.",
        default="revert",
    ),
    "detach": Input(
        text="Whether the job ends once the version is up dark, and a follower ramps it: true or false.",
        default="false",
    ),
    "job-timeout-minutes": Input(
        text="The job's own timeout-minutes: the step hands over, or says what to do, before they are over.",
        default="360",
    ),
    "fail-on-revert": Input(text="Whether a reverted rollout fails the step: true or false.", default="true"),
}

OUTPUTS: Mapping[str, str] = {
    "decision": "How it ended: promoted, reverted, superseded, failed, unfinished, refused, obeyed, nothing or error.",
    "reason": "Why, as one word of the closed list in docs/reasons.md.",
    "result": "All of it as JSON, with a version of its own: docs/inputs.md.",
    "rollout-id": "The rollout's id on the flag server.",
    "percentage": "The percentage of users on the new version when the step ended.",
    "rollout-url": "The rollout's page on the flag server's dashboard.",
}


class Mode(StrEnum):
    AUTO = "auto"
    RUN = "run"
    COMMENT = "comment"
    SWEEP = "sweep"
    VALIDATE = "validate"


class OnCancel(StrEnum):
    """What a cancelled job says last. ``hold`` says nothing, and leaves the rollout to `onGateLost`; ``detach`` hands
    it to a follower, and reverts where none is there.
    """

    REVERT = "revert"
    HOLD = "hold"
    DETACH = "detach"


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must not be seen: it prints as ``***``, and only ``reveal()`` gives it out."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagServerAccess:
    """Where the flag server is, without a slash at the end, and the key to it, if one is given."""

    url: str
    key: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs, each read and checked. ``None`` stands for one that was left out; ``job_timeout`` is in seconds."""

    config: Path
    flag_server_url: str | None
    flag_server_key: Secret
    version: str | None
    environment: str | None
    github_token: Secret
    mode: Mode
    on_cancel: OnCancel
    detach: bool
    job_timeout: float
    fail_on_revert: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Inputs":
        """Read ``INPUT_<NAME>``, upper case with dashes kept, as the runner passes them.

        The flag server's address and key may be missing: what needs them calls ``flag_server``.

        Raises:
            InputError: with every input that cannot be used.
        """
        found: list[Problem] = []
        given = {name: _given(environ, name) for name in INPUTS}
        inputs = cls(
            config=_config(given["config"], found),
            flag_server_url=server_url("flag-server-url", given["flag-server-url"], found),
            flag_server_key=Secret(one_line("flag-server-key", given["flag-server-key"], found)),
            version=_named("version", given["version"], _VERSION, found),
            environment=_named("environment", given["environment"], _ENVIRONMENT, found),
            github_token=Secret(one_line("github-token", given["github-token"], found)),
            mode=_word("mode", given["mode"], Mode, Mode.AUTO, found),
            on_cancel=_word("on-cancel", given["on-cancel"], OnCancel, OnCancel.REVERT, found),
            detach=_boolean("detach", given["detach"], found, default=False),
            job_timeout=60.0 * _minutes("job-timeout-minutes", given["job-timeout-minutes"], found),
            fail_on_revert=_boolean("fail-on-revert", given["fail-on-revert"], found, default=True),
        )
        if found:
            raise InputError(tuple(found))
        return inputs

    def flag_server(self) -> FlagServerAccess:
        """Where the flag server is, for whatever cannot do without it.

        Raises:
            InputError: its address is not given.
        """
        if self.flag_server_url is None:
            allowed = "the flag server's address, such as https://flags.example.com"
            raise InputError((Problem("flag-server-url", "nothing", allowed),))
        return FlagServerAccess(url=self.flag_server_url, key=self.flag_server_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What GitHub's runner says about this run. Source: "Variables reference" in GitHub's documentation."""

    event_name: str
    event_path: Path
    repository: str
    repository_id: str
    sha: str
    ref: str
    run_id: int
    run_attempt: int
    actor: str
    triggering_actor: str
    api_url: str
    server_url: str
    workspace: Path
    output_path: Path | None
    summary_path: Path | None
    state_path: Path | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Runner":
        """Read the ``GITHUB_*`` variables.

        Raises:
            InputError: with every variable that is missing or makes no sense.
        """
        found: list[Problem] = []

        def text(name: str) -> str:
            value = environ.get(name, "").strip()
            if not value:
                found.append(Problem(name, "nothing", "what GitHub's runner sets it to"))
            return value

        def number(name: str, default: str = "") -> int:
            value = environ.get(name, "").strip() or default
            if not (value.isascii() and value.isdigit()):
                found.append(Problem(name, _shown(value), "a number"))
                return 0
            return int(value)

        runner = cls(
            event_name=text("GITHUB_EVENT_NAME"),
            event_path=Path(text("GITHUB_EVENT_PATH")),
            repository=text("GITHUB_REPOSITORY"),
            repository_id=text("GITHUB_REPOSITORY_ID"),
            sha=text("GITHUB_SHA"),
            ref=environ.get("GITHUB_REF", ""),
            run_id=number("GITHUB_RUN_ID"),
            run_attempt=number("GITHUB_RUN_ATTEMPT", "1"),
            actor=text("GITHUB_ACTOR"),
            triggering_actor=environ.get("GITHUB_TRIGGERING_ACTOR", "").strip() or environ.get("GITHUB_ACTOR", ""),
            api_url=environ.get("GITHUB_API_URL", "").strip().rstrip("/") or "https://api.github.com",
            server_url=environ.get("GITHUB_SERVER_URL", "").strip().rstrip("/") or "https://github.com",
            workspace=Path(environ.get("GITHUB_WORKSPACE", "").strip() or "."),
            output_path=_path(environ, "GITHUB_OUTPUT"),
            summary_path=_path(environ, "GITHUB_STEP_SUMMARY"),
            state_path=_path(environ, "GITHUB_STATE"),
        )
        if found:
            raise InputError(tuple(found))
        return runner

    @property
    def run_url(self) -> str:
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}/attempts/{self.run_attempt}"


Word = TypeVar("Word", bound=StrEnum)

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:/@-]{0,199}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _given(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"INPUT_{name.upper()}", "").strip()


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name, "").strip()
    return Path(value) if value else None


def _shown(value: str) -> str:
    """A value as a message shows it: quoted, and never longer than a line."""
    return repr(value if len(value) <= 60 else value[:59] + "…") if value else "nothing"


def _config(value: str, found: list[Problem]) -> Path:
    path = Path(value or INPUTS["config"].default)
    if path.is_absolute() or ".." in path.parts:
        found.append(Problem("config", _shown(value), "a path inside the repository"))
    return path


def server_url(name: str, value: str, found: list[Problem], *, plain_at: str = "") -> str | None:
    """The address of a flag server, to which a key may be sent; ``None`` where there is none, or a problem with it.

    Args:
        name: what is wrong, where it is.
        value: the address.
        found: takes the problems.
        plain_at: the one host:port, beside this machine's own, that may be asked over http.
    """
    if not value:
        return None
    allowed = "an address such as https://flags.example.com, without user, query or fragment; http only on this machine"
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        found.append(Problem(name, "what was given", allowed))
        return None
    near = host is not None and (_is_loopback(host) or parts.netloc == plain_at)
    plain = parts.scheme == "http" and near
    tidy = not (parts.username or parts.password or parts.query or parts.fragment) and value.isprintable()
    if not host or not tidy or " " in value or not (parts.scheme == "https" or plain):
        # Addresses with a password in them must not reach the log.
        found.append(Problem(name, f"{parts.scheme or 'no scheme'}://{host or ''}", allowed))
        return None
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def one_line(name: str, value: str, found: list[Problem]) -> str:
    """A secret that fits into a header; what it is stays out of the problem."""
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        found.append(Problem(name, "***", "one line of letters, digits and signs"))
    return value


def _named(name: str, value: str, grammar: re.Pattern[str], found: list[Problem]) -> str | None:
    if value and not grammar.fullmatch(value):
        signs = "letters, digits and . _ -" if grammar is _ENVIRONMENT else "letters, digits and . _ + : / @ -"
        found.append(Problem(name, _shown(value), f"{signs}, the first a letter or digit"))
    return value or None


def _word(name: str, value: str, words: type[Word], default: Word, found: list[Problem]) -> Word:
    if not value:
        return default
    try:
        return words(value)
    except ValueError:
        near: list[str] = get_close_matches(value, [word.value for word in words], n=1)
        found.append(Problem(name, _shown(value), "one of " + ", ".join(words), near[0] if near else None))
        return default


def _boolean(name: str, value: str, found: list[Problem], *, default: bool) -> bool:
    # GitHub's own toolkit reads inputs by YAML 1.2: exactly these spellings.
    if value in ("true", "True", "TRUE"):
        return True
    if value not in ("", "false", "False", "FALSE"):
        found.append(Problem(name, _shown(value), "true or false"))
    return default and not value


def _minutes(name: str, value: str, found: list[Problem]) -> int:
    value = value or INPUTS[name].default
    if value.isascii() and value.isdecimal() and len(value) < 6 and 0 < int(value) <= _LONGEST_JOB:
        return int(value)
    found.append(Problem(name, _shown(value), f"whole minutes from 1 to {_LONGEST_JOB}"))
    return _LONGEST_JOB


_LONGEST_JOB = 7200
"""Minutes that a job may take on a runner of one's own: five days. Source: "Actions limits", GitHub's documentation."""
