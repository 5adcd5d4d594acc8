"""A hook's output, read as it grows: bounded, harmless, masked, the last lines kept.

The output is a file without a name, not a pipe: a child that stays behind neither keeps the gate waiting nor dies of
its next line when the gate has gone.
"""

import fcntl
import os
from collections import deque
from collections.abc import Callable
from typing import IO

from gate.foreign import Secrets, cut

LINE = 2_000
"""Characters of a line that are shown."""
SHOWN = 1_000_000
"""Characters of one stream that are shown, about: each line costs a few more. Of what follows only the end is read."""
TAIL = 20
_LINE_COST = 16
_TURN = 1 << 20
_LEAP = 1 << 14


class Stream:
    """One of a hook's two streams. ``read`` says the lines that came since the last time."""

    def __init__(self, file: IO[bytes], say: Callable[[str], None], tail: deque[str], secrets: Secrets) -> None:
        self._fd = file.fileno()
        # Appending keeps what a hook writes whole, even where it opens /dev/stdout anew.
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) | os.O_APPEND)
        self._say, self._tail, self._secrets = say, tail, secrets
        self._most = 4 * (LINE + secrets.longest)
        self._offset = 0
        self._open = b""
        self._discarding = False
        self._left = SHOWN
        self.last = ""

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self._fd).st_size

    def read(self, *, ended: bool = False) -> None:
        """Take what is there, at most a megabyte: of more only the end. ``ended``: the open line is complete."""
        size = self.size
        if size < self._offset:
            self._offset = 0
        if size - self._offset > _TURN:
            self._leap(size - _LEAP)
        while self._offset < size:
            if self._left <= 0 and size - self._offset > 2 * _LEAP:
                self._leap(size - _LEAP)
            chunk = os.pread(self._fd, min(_LEAP, size - self._offset), self._offset)
            if not chunk:
                break
            self._offset += len(chunk)
            self._take(chunk)
        if ended and self._open:
            self._line(self._open)
            self._open = b""

    def _leap(self, offset: int) -> None:
        """Go on from here. The rest of the line that stands here is dropped: it may begin inside a secret."""
        self._show(f"… {offset - self._offset} bytes of output are not shown")
        self._offset, self._open, self._discarding = offset, b"", True

    def _take(self, chunk: bytes) -> None:
        *lines, rest = chunk.replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if not self._discarding:
                self._line(self._open + line)
            self._open, self._discarding = b"", False
        if self._discarding:
            return
        self._open += rest
        if len(self._open) > self._most:
            self._line(self._open)
            self._open, self._discarding = b"", True

    def _line(self, raw: bytes) -> None:
        if not raw:
            return
        whole = len(raw) <= self._most
        text = self._secrets.shown(raw[: self._most].decode("utf-8", "replace"))
        if not whole:  # the end may hold the first part of a secret
            text = text[: max(0, len(text) - self._secrets.longest)] + "…"
        text = cut(text, LINE)
        if not text.strip():
            return
        self.last = text
        self._tail.append(text)
        self._show(text)

    def _show(self, text: str) -> None:
        if self._left <= 0:
            return
        self._left -= len(text) + _LINE_COST
        self._say(text if self._left > 0 else "… further output is not shown")
