"""Other people's text made harmless in Markdown, bars of text, and how a command is written."""

import re

from rampgate.rollout import Rollout
from rampgate.wording import one_line

_SIGNS = re.compile(r"([\\`*_\[\]|~$])")
_REFERENCE = re.compile(r"#(?=\d)|(?<=\b[Gg][Hh])-(?=\d)")
_LINK = re.compile(r":(?=//)|(?<=\b[Ww][Ww][Ww])\.|(?<=\b[Mm][Aa][Ii][Ll][Tt][Oo]):")
_COMMAND = re.compile(r"`?(?<![\w/.])/(abort|pause|promote|resume|rollback)\b`?")
"""A command as the flag server writes it, which knows of no prefix."""
_UNSEEN = "\u200b"
"""A space without width: it keeps `@name`, `#1` and addresses from becoming links, and nobody is called."""


def plain(text: str, most: int = 300) -> str:
    """Other people's text as one line of Markdown that shows it and does nothing."""
    text = one_line(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SIGNS.sub(r"\\\1", text).replace("@", f"@{_UNSEEN}")
    text = _REFERENCE.sub(lambda match: match[0] + _UNSEEN, text)
    return _LINK.sub(lambda match: match[0] + _UNSEEN, text)


def code(text: str, most: int = 80) -> str:
    """Other people's text as code, fit for a table too."""
    text = one_line(text, most).replace("|", "¦")
    if not text:
        return "–"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def order(rollout: Rollout, words: str) -> str:
    """A command as the rollout's own configuration has people write it."""
    commands = rollout.config.get("commands")
    given = commands.get("prefix") if isinstance(commands, dict) else None
    prefix = given.strip() if isinstance(given, str) else "/"
    return code(f"{prefix} {words}" if prefix[-1:].isalnum() else f"{prefix}{words}")


def advised(rollout: Rollout, text: str, most: int = 300) -> str:
    """The flag server's text about a rollout, made harmless; the commands that it names as people write them there."""
    parts = _COMMAND.split(one_line(text, most))
    place = rollout.plan.environment
    return "".join(
        order(rollout, f"{part} {place}") if number % 2 else _between(part, most) for number, part in enumerate(parts)
    )


def _between(text: str, most: int) -> str:
    """A part of a line, with the spaces at its ends."""
    shown = plain(text, most)
    return f"{' ' * text.startswith(' ')}{shown}{' ' * text.endswith(' ')}" if shown else " " * bool(text)


def bar(part: float, width: int = 20) -> str:
    """A bar that is full at 1; anything above 0 shows."""
    filled = min(width, max(round(part * width), 1 if part > 0 else 0))
    return "█" * filled + "░" * (width - filled)
