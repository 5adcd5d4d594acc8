"""A comment's text → a command, or nothing. Who wrote it, and whether they may, is not asked here.

A command is the first line of a comment, from its first character on; so what is quoted, indented, in a code block
or further down is never one. `/abort` with anything after it is always understood.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum

LONGEST_REASON = 500
"""Characters; the rest of a longer reason is dropped."""


class CommandName(StrEnum):
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    STATUS = "status"
    HELP = "help"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandText:
    """How a command is written, and what it does, in one sentence."""

    usage: str
    text: str
    takes_reason: bool = False


COMMANDS: Mapping[str, CommandText] = {
    CommandName.PROMOTE: CommandText(
        usage="promote [full] [environment]",
        text="Go on to the next step now; with `full`, to everybody.",
    ),
    CommandName.ABORT: CommandText(
        usage="abort [environment] [reason]",
        text="Take the new version away from all users at once.",
        takes_reason=True,
    ),
    CommandName.PAUSE: CommandText(
        usage="pause [environment] [reason]",
        text="Stay where it is; harm still reverts it, and so does a pause that nobody ends in time.",
        takes_reason=True,
    ),
    CommandName.RESUME: CommandText(usage="resume [environment]", text="End a pause and go on."),
    CommandName.STATUS: CommandText(usage="status [environment]", text="Say where it stands, and why."),
    CommandName.HELP: CommandText(usage="help", text="Show these commands."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order.

    ``environment`` is the one named, or ``None``. After a command that takes a reason the first word may be an
    environment or the reason's beginning: all of it is in ``reason`` until ``within`` has told them apart.
    """

    name: CommandName
    full: bool = False
    environment: str | None = None
    reason: str = ""

    def within(self, environments: Collection[str]) -> "Command":
        """The command, its first word taken for the environment where there is one of that name."""
        first, _, rest = self.reason.partition(" ")
        if self.environment is None and first in environments:
            return replace(self, environment=first, reason=rest.strip())
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class NotACommand:
    """People talking to people. It gets no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """Almost a command; ``text`` says what was probably meant. Nothing was done."""

    text: str


def parse(body: str, prefix: str = "/") -> Command | NotACommand | NotUnderstood:
    """Read a comment's first line.

    Args:
        body: the whole comment, as it was written.
        prefix: what a command begins with.
    """
    lines = body.splitlines()
    first = lines[0] if lines else ""
    if not first.startswith(prefix) or not first[len(prefix) :].strip() or first[len(prefix)].isspace():
        return NotACommand()
    word, *after = first[len(prefix) :].split(maxsplit=1)
    rest = _visible("".join(after))
    try:
        name = CommandName(word.lower())
    except ValueError:
        near: list[str] = get_close_matches(word.lower(), list(COMMANDS), n=1, cutoff=0.7)
        if not near or not word.strip(".,:;!?").isalpha():
            return NotACommand()
        return NotUnderstood(text=f"There is no command {prefix}{word}. Did you mean {prefix}{near[0]}?")
    if COMMANDS[name].takes_reason:
        return Command(name=name, reason=rest[:LONGEST_REASON])
    if name is CommandName.HELP:
        return Command(name=name)
    return _with_words(name, rest.split(), prefix)


def _with_words(name: CommandName, words: list[str], prefix: str) -> Command | NotUnderstood:
    full = name is CommandName.PROMOTE and "full" in (word.lower() for word in words[:2])
    others = [word for word in words if not (full and word.lower() == "full")]
    if len(others) > 1 or len(words) > len(others) + 1:
        usage = f"{prefix}{COMMANDS[name].usage}"
        return NotUnderstood(text=f"{prefix}{name} takes fewer words: {usage}")
    return Command(name=name, full=full, environment=others[0] if others else None)


def _visible(text: str) -> str:
    """The text without what a reader would not see: control and direction signs are no words."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
