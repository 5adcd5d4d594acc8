"""Server-sent events out of bytes as they arrive: HTTP's chunks first, then the events. No sockets here.

Source: WHATWG HTML, "Server-sent events"; RFC 9112, section 7.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_EVENT = 64 << 20
"""Bytes. A stream that sends more without ending an event is broken."""


class BrokenStreamError(Exception):
    """The bytes are no stream of ours, or it ended in the middle."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``id`` is the last one seen on the stream, as the standard says."""

    name: str
    data: str
    id: str | None


class Chunks:
    """Undoes HTTP's chunked transfer coding, byte by byte if need be. ``ended`` after the last chunk."""

    def __init__(self) -> None:
        self.ended = False
        self._held = bytearray()
        self._left = 0
        self._in_data = False

    def feed(self, data: bytes) -> bytes:
        """The body's bytes in ``data``. Raises ``BrokenStreamError``."""
        self._held += data
        body = bytearray()
        while not self.ended:
            if self._in_data:
                taken = self._held[: self._left]
                body += taken
                del self._held[: len(taken)]
                self._left -= len(taken)
                if self._left or len(self._held) < 2:
                    break
                if self._held[:2] != b"\r\n":
                    raise BrokenStreamError("a chunk does not end where it says")
                del self._held[:2]
                self._in_data = False
                continue
            end = self._held.find(b"\r\n")
            if end < 0:
                if len(self._held) > 1024:
                    raise BrokenStreamError("a chunk's size does not end")
                break
            self._left = _chunk_size(bytes(self._held[:end]))
            del self._held[: end + 2]
            self._in_data = True
            self.ended = self._left == 0
        return bytes(body)


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line.split(b";", 1)[0].strip(), 16)
    except ValueError as error:
        raise BrokenStreamError("a chunk has no size") from error
    if size < 0:
        raise BrokenStreamError("a chunk has a negative size")
    return size


class EventReader:
    """Reads events out of a body that comes in pieces. ``retry`` is what the server asked for, in seconds."""

    def __init__(self) -> None:
        self.retry: float | None = None
        self._held = bytearray()
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that ``data`` completes. Raises ``BrokenStreamError`` for one without end."""
        self._held += data
        while True:
            end = self._held.find(b"\n")
            if end < 0:
                break
            line = bytes(self._held[:end]).removesuffix(b"\r")
            del self._held[: end + 1]
            event = self._line(line.decode("utf-8", "replace"))
            if event is not None:
                yield event
        if len(self._held) + self._size > MAX_EVENT:
            raise BrokenStreamError("an event does not end")

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._name or "message", "\n".join(self._data), self._id) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000
        return None
