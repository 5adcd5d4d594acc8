"""How comments give orders, and who may: the configuration's `commands`, and what holds where nothing is written.

A section that cannot be read still lets people make things safer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from gate.config.keys import Keys
from gate.config.words import one_of, refusal


class CommandName(StrEnum):
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    STATUS = "status"
    LOCK = "lock"
    UNLOCK = "unlock"
    OVERRIDE = "override"
    ROLLBACK = "rollback"
    HELP = "help"


class Right(StrEnum):
    """What GitHub lets somebody do in the repository; each includes those before it."""

    READ = "read"
    TRIAGE = "triage"
    WRITE = "write"
    MAINTAIN = "maintain"
    ADMIN = "admin"


LOOKING = frozenset({CommandName.STATUS, CommandName.HELP})
CALMING = frozenset({CommandName.ABORT, CommandName.PAUSE, CommandName.LOCK})
WITH_SECOND_PERSON = frozenset({CommandName.PROMOTE, CommandName.OVERRIDE})
"""What `requireSecondPerson` is about. Never what makes things safer: nobody waits for a colleague to abort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a command asks of its author: a right and, where ``teams`` or ``users`` are named, to be among them.

    Of a bot it asks to be named, and no right: GitHub gives apps none.
    """

    right: Right
    teams: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


_DEFAULTS: Mapping[CommandName, Right] = {
    **dict.fromkeys(CommandName, Right.WRITE),
    CommandName.OVERRIDE: Right.MAINTAIN,
    **dict.fromkeys(LOOKING, Right.READ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRules:
    """The section, resolved.

    ``flag`` and ``environment`` are what the file itself is about, where it says so. ``unreadable`` says why the
    section could not be read: then nothing but what makes things safer is obeyed, at the default right.
    """

    prefix: str = "/"
    requirements: Mapping[CommandName, Requirement] = field(
        default_factory=lambda: {name: Requirement(right=right) for name, right in _DEFAULTS.items()}
    )
    second_person: bool = False
    flag: str | None = None
    environment: str | None = None
    unreadable: str = ""

    def word(self, words: str) -> str:
        """A command as it is written here: `/promote`, or `/rg promote`."""
        return f"{spaced(self.prefix)}{words}"

    def may_be_obeyed(self, name: CommandName) -> bool:
        return not self.unreadable or name in CALMING | LOOKING


def spaced(prefix: str) -> str:
    """A prefix as it stands before a command: one that ends with a letter or digit is a word of its own."""
    return f"{prefix} " if prefix[-1:].isalnum() else prefix


_PREFIX = re.compile(r"[/.!][A-Za-z0-9]{0,19}")
_LOGIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,98})(?:\[bot\])?")
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}/[a-z0-9][a-z0-9_-]{0,99}")


def _matching(pattern: re.Pattern[str], allowed: str) -> tuple[BeforeValidator, WithJsonSchema]:
    def read(value: Any) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not pattern.fullmatch(text):
            raise refusal(allowed)
        return text

    return BeforeValidator(read), WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern} ?$"})


Prefix = Annotated[str, *_matching(_PREFIX, "/, . or !, and up to 20 letters and digits, such as / or /rg")]
Login = Annotated[str, *_matching(_LOGIN, "a login on GitHub, without @, such as ann or renovate[bot]")]
Team = Annotated[str, *_matching(_TEAM, "a team as organisation/slug, such as acme/sre")]
_MOST_NAMED = 50


def _short(value: Any) -> Any:
    return {"permission": value} if isinstance(value, str) else value


class _RequirementKeys(Keys):
    """What a command asks of its author. A bare word is short for its permission."""

    permission: Right | None
    teams: list[Team] = Field(
        default=[], description="Teams, as organisation/slug, of which the author is in one.", max_length=_MOST_NAMED
    )
    users: list[Login] = Field(
        default=[], description="Logins, of which the author is one; a bot has to be.", max_length=_MOST_NAMED
    )


_PERMISSION = "The least permission in the repository."


class LookingKeys(_RequirementKeys):
    permission: Annotated[Right, *one_of(*Right)] | None = Field(default=None, description=_PERMISSION)


class CalmingKeys(_RequirementKeys):
    permission: Annotated[Right, *one_of(Right.TRIAGE, Right.WRITE, Right.MAINTAIN, Right.ADMIN)] | None = Field(
        default=None, description=_PERMISSION
    )


class WideningKeys(_RequirementKeys):
    permission: Annotated[Right, *one_of(Right.WRITE, Right.MAINTAIN, Right.ADMIN)] | None = Field(
        default=None, description=_PERMISSION
    )


Looking = Annotated[LookingKeys, BeforeValidator(_short)]
Calming = Annotated[CalmingKeys, BeforeValidator(_short)]
Widening = Annotated[WideningKeys, BeforeValidator(_short)]


class PermissionsKeys(Keys):
    """Who may give which command."""

    promote: Widening = Field(default=WideningKeys(), description="/promote and /promote full.")
    abort: Calming = Field(default=CalmingKeys(), description="/abort.")
    pause: Calming = Field(default=CalmingKeys(), description="/pause.")
    resume: Widening = Field(default=WideningKeys(), description="/resume.")
    retry: Widening = Field(default=WideningKeys(), description="/retry.")
    status: Looking = Field(default=LookingKeys(), description="/status.")
    lock: Calming = Field(default=CalmingKeys(), description="/lock.")
    unlock: Widening = Field(default=WideningKeys(), description="/unlock.")
    override: Widening = Field(default=WideningKeys(), description="/override.")
    rollback: Widening = Field(default=WideningKeys(), description="/rollback.")
    help: Looking = Field(default=LookingKeys(), description="/help.")


class CommandsKeys(Keys):
    """How comments give orders, and who may."""

    prefix: Prefix = Field(default="/", description="What a command begins with.")
    require_second_person: bool = Field(
        default=False, description="promote and override need somebody other than the change's author and its releaser."
    )
    permissions: PermissionsKeys = Field(default=PermissionsKeys(), description="Who may give which command.")


class OnlyCommands(BaseModel):
    """The section alone, so that a fault elsewhere in the file stops nobody from aborting."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)

    commands: CommandsKeys = Field(default=CommandsKeys(), description="How comments give orders, and who may.")


def rules_of(keys: CommandsKeys, *, flag: str | None = None, environment: str | None = None) -> CommandRules:
    """The section, resolved: each command with what it asks."""
    asked = {name: getattr(keys.permissions, name.value) for name in CommandName}
    return CommandRules(
        prefix=keys.prefix,
        requirements={
            name: Requirement(right=one.permission or _DEFAULTS[name], teams=tuple(one.teams), users=tuple(one.users))
            for name, one in asked.items()
        },
        second_person=keys.require_second_person,
        flag=flag,
        environment=environment,
    )
