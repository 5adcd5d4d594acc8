"""A comment's text → a command, or nothing. Who wrote it, and whether they may, is not asked here.

A command is the first line of a comment, from its first character on; so what is quoted, indented, in a code block
or further down is never one. `/abort` with anything after it is always understood. Signs that nobody sees, which
copying and phones leave in a text, are no part of a word.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from pydantic_core import PydanticCustomError

from gate.config import CommandName
from gate.config.rules import spaced
from gate.config.words import duration
from gate.foreign import cut

LONGEST_REASON = 500
"""Characters; the rest of a longer reason is dropped."""

_NEAR = 0.8
_OTHERS = frozenset({"block", "unblock"})
"""Words of other tools that look like ours."""

_WORD = re.compile(r"[\w./-]*\w")
"""What stands before a sign that ends a word. A path, or a word with dashes, is one word, and another tool's."""

_ABORT = re.compile(r"(abort)(?:\.+|[,:;!–—]+(.*))", re.IGNORECASE)
"""Who is in a hurry writes `/abort: broken` or `/abort!`. What takes users back needs no more than the word itself."""

_FOR = re.compile(r"(?:.*\s)?(for\s(\d.*))", re.IGNORECASE)
"""The last one: a reason may hold another, as in `waiting for 3 fixes for 2h`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandText:
    """How a command is written, and what it does, in one sentence.

    ``most`` is how many words may follow it; ``None``: a reason of any length.
    """

    usage: str
    text: str
    most: int | None = 1


COMMANDS: Mapping[CommandName, CommandText] = {
    CommandName.PROMOTE: CommandText(
        usage="promote [full] [environment]",
        text="Go on to the next step now; with `full`, to everybody.",
    ),
    CommandName.ABORT: CommandText(
        usage="abort [environment] [reason]",
        text="Take the new version away from all users at once.",
        most=None,
    ),
    CommandName.PAUSE: CommandText(
        usage="pause [environment] [reason]",
        text="Stay where it is; harm still reverts it, and so does a pause that nobody ends in time.",
        most=None,
    ),
    CommandName.RESUME: CommandText(usage="resume [environment]", text="End a pause and go on."),
    CommandName.RETRY: CommandText(
        usage="retry [environment]",
        text="Run a release again that ended for want of a gate, a source, traffic or an answer.",
    ),
    CommandName.STATUS: CommandText(usage="status [environment]", text="Say where it stands, and why."),
    CommandName.LOCK: CommandText(
        usage="lock [environment] [reason] [for 2h]",
        text="Let nothing of this flag widen, a day long unless told; a lock never stops a revert.",
        most=None,
    ),
    CommandName.UNLOCK: CommandText(usage="unlock [environment]", text="Lift this flag's locks."),
    CommandName.OVERRIDE: CommandText(
        usage="override [environment] <sha> <reason>",
        text="Let a version be tried again that regressed or was aborted.",
        most=None,
    ),
    CommandName.ROLLBACK: CommandText(
        usage="rollback [environment] [version]",
        text="Start a rollout back to an earlier version; the one before, unless told.",
        most=2,
    ),
    CommandName.HELP: CommandText(usage="help", text="Show these commands.", most=None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order.

    ``environment`` is the one named, or ``None``. Where more may follow, the first word may be an environment or
    the beginning of the rest: all of it is in ``reason`` until ``within`` has told them apart. ``lasts`` is for how
    many seconds a lock shall hold, where that was said.
    """

    name: CommandName
    full: bool = False
    environment: str | None = None
    reason: str = ""
    lasts: float | None = None

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
        prefix: what a command begins with. After one that is a word, such as `/rg`, all that follows is for us.
    """
    lines = body.splitlines()
    first = lines[0] if lines else ""
    is_word, rest = prefix[-1:].isalnum(), first[len(prefix) :]
    if not first.startswith(prefix) or (rest[:1].isspace() or not rest) != is_word:
        # A word with nothing behind it is still for us.
        return NotACommand()
    if not rest.strip():
        return _unknown("", prefix) if is_word else NotACommand()
    word, *after = rest.split(maxsplit=1)
    word = "".join(sign for sign in word if sign.isprintable())
    if hasty := _ABORT.fullmatch(word):
        word, after = hasty[1], [hasty[2] or "", *after]
    try:
        name = CommandName(word.lower())
    except ValueError:
        return _unknown(word, prefix)
    words = _visible(" ".join(after))
    if name is CommandName.HELP:
        return Command(name=name)
    if name is CommandName.LOCK:
        return _lock(words, prefix)
    if COMMANDS[name].most is None:
        return Command(name=name, reason=words[:LONGEST_REASON])
    return _with_words(name, words.split(), prefix)


def _unknown(word: str, prefix: str) -> NotACommand | NotUnderstood:
    # `/pause:lunch` and `/promote!` are almost commands.
    begins = _WORD.match(word)
    plain = begins[0] if begins else word
    near: list[str] = get_close_matches(plain.lower(), list(COMMANDS), n=1, cutoff=_NEAR)
    meant = f"Did you mean {spaced(prefix)}{near[0]}?" if near else f"See {spaced(prefix)}help."
    if not prefix[-1:].isalnum():
        if not near or plain.lower() in _OTHERS or not plain.isalpha():
            return NotACommand()
    elif not word:
        return NotUnderstood(text=f"Say what to do. {meant}")
    return NotUnderstood(text=f"There is no command {spaced(prefix)}{cut(word, 40)}. {meant}")


def _lock(words: str, prefix: str) -> Command | NotUnderstood:
    found = _FOR.fullmatch(words)
    if found is None:
        return Command(name=CommandName.LOCK, reason=words[:LONGEST_REASON])
    try:
        lasts = duration(found[2].lower())
    except PydanticCustomError as error:
        hint = (error.context or {}).get("hint")
        meant = f"Did you mean “for {hint}”?" if hint else "Write it as in “for 30m” or “for 1h30m”."
        return NotUnderstood(text=f"{spaced(prefix)}lock: {cut(found[1], 40)} is no duration. {meant}")
    return Command(name=CommandName.LOCK, reason=words[: found.start(1)].strip()[:LONGEST_REASON], lasts=lasts)


def _with_words(name: CommandName, words: list[str], prefix: str) -> Command | NotUnderstood:
    full = name is CommandName.PROMOTE and "full" in (word.lower() for word in words[:2])
    others = [word for word in words if not (full and word.lower() == "full")]
    if len(others) > (COMMANDS[name].most or 0) or len(words) > len(others) + 1:
        usage = f"{spaced(prefix)}{COMMANDS[name].usage}"
        return NotUnderstood(text=f"{spaced(prefix)}{name} takes fewer words: {usage}")
    if name is CommandName.ROLLBACK:
        return Command(name=name, reason=" ".join(others))
    return Command(name=name, full=full, environment=others[0] if others else None)


def _visible(text: str) -> str:
    """The text without what a reader would not see: control and direction signs are no words."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
