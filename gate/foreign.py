"""Text that is not ours (a hook's output, a server's error), made fit for a log, a comment and a terminal.

Nothing in it may hide, command or leak: no escape sequences, no workflow commands, no secrets.
"""

import re
from collections.abc import Iterable

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_COMMAND = re.compile(r"^(\s*):(?=:)")
MASK = "***"


def harmless(text: str) -> str:
    """One line of foreign text as people may see it.

    Escape sequences go, other unprintable characters become spaces, and what GitHub's runner would take for a
    workflow command (``::`` at the start, ``##[`` anywhere) gets a space that makes it plain text.
    """
    text = _ESCAPE.sub("", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return _COMMAND.sub(r"\1: ", text).replace("##[", "## [").rstrip()


class Secrets:
    """Values that no log may show. Of a value with several lines, each line that is not trivial counts as one."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        values = [value.strip() for value in values]
        parts = {line.strip() for value in values for line in value.splitlines() if len(line.strip()) >= 4}
        parts |= {value for value in values if value}
        self._parts = sorted(parts, key=len, reverse=True)
        self.longest = len(self._parts[0]) if self._parts else 0

    def __repr__(self) -> str:
        return f"Secrets({len(self._parts)} values)"

    def masked(self, text: str) -> str:
        """The text with every secret in it replaced."""
        for part in self._parts:
            text = text.replace(part, MASK)
        return text

    def shown(self, text: str) -> str:
        """One foreign line, harmless and masked; a secret that was broken up by escape sequences is masked too."""
        return self.masked(harmless(self.masked(text)))


def cut(text: str, most: int) -> str:
    """At most ``most`` characters, with a sign where something is missing."""
    return text if len(text) <= most else text[: most - 1] + "…"
