"""A small file for what the database could not take: one line an abort, on disk before it is answered.

Several processes may share the file; each replays all of it, and the ids of events make that harmless.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from flagserver.errors import SettingsError
from rampgate.rollout import Posted
from rampgate.wire import STRICT

log = structlog.get_logger("flagserver.journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """An abort that was obeyed and is not in the database yet. ``at`` is when, in seconds since the epoch."""

    __pydantic_config__ = STRICT

    rollout: str
    posted: Posted
    actor: str
    at: float


_LINE: TypeAdapter[Unrecorded] = TypeAdapter(Unrecorded)


class Journal:
    """The file ``aborts.jsonl`` in a folder; without a folder nothing is kept.

    Raises:
        SettingsError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "aborts.jsonl"
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"FLAGSERVER_STATE_DIR: {folder} cannot be made: {error.strerror}.") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SettingsError(f"FLAGSERVER_STATE_DIR: {folder} cannot be written to.")

    def read(self) -> tuple[Unrecorded, ...]:
        """What an earlier process left. A line that cannot be read is one that was never answered."""
        if self._path is None or not self._path.exists():
            return ()
        found = []
        for line in filter(None, self._path.read_text(errors="replace").splitlines()):
            try:
                found.append(_LINE.validate_json(line, extra="ignore"))
            except ValidationError:
                log.warning("journal_line_unreadable", line=line[:200])
        return tuple(found)

    def add(self, one: Unrecorded) -> bool:
        """Write it down; true once it is on disk."""
        if self._path is None:
            return False
        try:
            with self._locked("ab") as number:
                # A line that a full disk cut off must not take the next one with it.
                os.write(number, b"\n" + _LINE.dump_json(one) + b"\n")
                os.fsync(number)
        except OSError as error:
            log.error("journal_unwritten", why=str(error))
            return False
        return True

    def strike_out(self, recorded: frozenset[str]) -> None:
        """Take out the lines of these event ids."""
        if self._path is None or not self._path.exists():
            return
        with self._locked("r+b") as number:
            kept = b"".join(_LINE.dump_json(one) + b"\n" for one in self.read() if one.posted.id not in recorded)
            os.ftruncate(number, 0)
            os.pwrite(number, kept, 0)
            os.fsync(number)

    @contextmanager
    def _locked(self, mode: str) -> Iterator[int]:
        assert self._path is not None
        with self._path.open(mode) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()
