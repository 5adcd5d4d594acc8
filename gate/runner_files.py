"""What the gate hands to GitHub's runner: outputs, state, the job summary, and workflow commands on the log.

Formats: "Workflow commands for GitHub Actions" in GitHub's documentation, and the runner's own source. Text that is
not ours reaches the log only as `foreign.py` makes it harmless, because the runner obeys every line that looks like a
command.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

from gate.errors import MisuseError

SUMMARY_LIMIT = 1024 * 1024
"""Bytes; the runner drops a larger summary whole."""

OUTPUT_LIMIT = 512 * 1024
"""Bytes of one value: GitHub keeps 1 MB for all outputs of a job."""

MESSAGE_LIMIT = 4096
"""Characters; the runner cuts a longer annotation."""

_CUT = "\n\n… cut here: the summary is longer than GitHub keeps.\n"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Level(StrEnum):
    """How loud an annotation is. GitHub shows ten of each per step, so one per decision."""

    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFiles:
    """The runner's three files; ``None`` where no runner gave one, and what is written there is then dropped.

    What cannot be written, on a full disk say, is dropped too, and ``say`` told once of each file: no rollout ends for
    want of one.
    """

    output_path: Path | None = None
    state_path: Path | None = None
    summary_path: Path | None = None
    new_uuid: Callable[[], UUID] = uuid4
    say: Callable[[str], None] = lambda _: None
    lost: set[Path] = field(default_factory=set, init=False)

    def output(self, name: str, value: str) -> None:
        """Set an output of the step.

        Raises:
            MisuseError: the name is no output name, or the value is too large or holds its own delimiter.
        """
        self._append(self.output_path, name, value)

    def state(self, name: str, value: str) -> None:
        """Keep a value for the step's post run, which finds it as ``STATE_<name>``. No secrets: it is in the clear.

        Raises:
            MisuseError: as for ``output``.
        """
        self._append(self.state_path, name, value)

    def summary(self, markdown: str) -> None:
        """Replace the step's summary; what exceeds the runner's limit is cut from its end, with a word about it."""
        if self.summary_path is None:
            return
        data = markdown.encode("utf-8", "replace")
        if len(data) > SUMMARY_LIMIT:
            room = SUMMARY_LIMIT - len(_CUT.encode())
            data = data[:room].decode("utf-8", "ignore").encode() + _CUT.encode()
        self._write(self.summary_path, "wb", data)

    def _append(self, path: Path | None, name: str, value: str) -> None:
        text = entry(name, value, f"ghadelimiter_{self.new_uuid()}")
        if path is not None:
            self._write(path, "ab", text.encode("utf-8", "replace"))

    def _write(self, path: Path, mode: Literal["ab", "wb"], data: bytes) -> None:
        try:
            with path.open(mode) as file:
                file.write(data)
        except OSError as error:
            if path in self.lost:
                return
            self.lost.add(path)
            text = f"{path} cannot be written, so the workflow does not see what was meant for it: {error.strerror}."
            self.say(annotation(Level.WARNING, text, title="Rampgate"))


def entry(name: str, value: str, delimiter: str) -> str:
    """One value in the runner's file format.

    Raises:
        MisuseError: the name is no output name, or the value is too large or holds the delimiter.
    """
    if not _NAME.fullmatch(name):
        raise MisuseError(f"{name!r} cannot name an output.", do="Use letters, digits, - and _.")
    if delimiter in value:
        raise MisuseError(f"The value of {name} holds its own delimiter.", why="It could forge further outputs.")
    if len(value.encode("utf-8", "replace")) > OUTPUT_LIMIT:
        raise MisuseError(f"The value of {name} is larger than {OUTPUT_LIMIT // 1024} KiB.")
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def annotation(level: Level, text: str, *, title: str = "") -> str:
    """A line that the runner shows beside the run."""
    properties = f" title={_property(title)}" if title else ""
    if len(text) > MESSAGE_LIMIT:
        text = text[: MESSAGE_LIMIT - 1] + "…"
    return f"::{level}{properties}::{_data(text)}"


_ANNOTATION = re.compile(r"::(notice|warning|error)(?: title=([^:]*))?::(.*)")


def as_people_read(line: str) -> str:
    """An annotation where no runner shows it, such as at a terminal; any other line as it is."""
    found = _ANNOTATION.fullmatch(line)
    if found is None:
        return line
    title = f" ({_decoded(found[2])})" if found[2] else ""
    return f"{found[1]}{title}: {_decoded(found[3])}"


def mask(secret: str) -> str:
    """A line that makes the runner hide this value in all that follows. Empty values would hide everything."""
    return f"::add-mask::{_data(secret)}" if secret.strip() else ""


def group(title: str) -> str:
    return f"::group::{_data(title)}"


def end_group() -> str:
    return "::endgroup::"


def debug(text: str) -> str:
    return f"::debug::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _decoded(text: str) -> str:
    for code, sign in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
