"""The flag server as the client sees it: three requests over the standard library's HTTP. Decides nothing.

Every call has a time limit, and ``interrupt`` ends those that are under way, so that closing never waits for a network.
"""

import http.client
import io
import json
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from rampgate.client.events import BrokenStreamError, Chunks, Event, EventReader

CONNECT_TIMEOUT = 2.0
"""Seconds for the connection and its encryption."""

ANSWER_TIMEOUT = 5.0
"""Seconds for an answer, and for the first event of a stream."""

"host".encode("idna")
# Python loads this codec at the first connection. A fork in that moment, in another thread, would leave the module
# locked for ever in the child.

MAX_HEAD = 64 << 10
MAX_BODY = 64 << 20
PIECE = 64 << 10


class UnreachableError(Exception):
    """Nobody answered: no connection, no answer in time, or none that is HTTP."""


class RefusedError(Exception):
    """The server, or something before it, answered with another status than asked for."""

    def __init__(self, status: int, retry_after: float | None = None, text: str = "") -> None:
        super().__init__(f"status {status}{': ' if text else ''}{text}")
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Fetched:
    """A snapshot request's answer. ``document`` is ``None`` where nothing has changed; ``age`` is in seconds."""

    document: object
    age: float


class Stream:
    """An open change stream. ``receive`` gives events as they come; ``drained`` whether nothing waited behind them."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self._sock: socket.socket = connection.sock
        self._chunks: Chunks | None = None
        self._reader = EventReader()
        self._early = b""
        self.drained = False

    @property
    def retry(self) -> float | None:
        """How long, in seconds, the server asks clients to wait before they come again."""
        return self._reader.retry

    def open(self, wait: float) -> None:
        """Read the answer's head, within ``wait`` seconds between its pieces."""
        self._sock.settimeout(wait)
        held = b""
        while (end := held.find(b"\r\n\r\n")) < 0:
            if len(held) > MAX_HEAD:
                raise UnreachableError("the answer's head does not end")
            held += self._piece()
        line, _, fields = held[: end + 4].partition(b"\r\n")
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise UnreachableError("the answer is not HTTP/1.1")
        headers = http.client.parse_headers(io.BytesIO(fields))
        status = int(words[1])
        if status != 200:
            raise RefusedError(status, _seconds(headers.get("Retry-After")))
        if headers.get_content_type() != "text/event-stream":
            raise RefusedError(status, text=f"{headers.get_content_type()} where a stream of events was asked for")
        if "chunked" in headers.get("Transfer-Encoding", "").lower():
            self._chunks = Chunks()
        self._early = held[end + 4 :]

    def receive(self, patience: float) -> list[Event]:
        """The events that arrive within ``patience`` seconds; none, where all was silent.

        Raises:
            UnreachableError: the stream ended.
            BrokenStreamError: what came is no stream of events.
        """
        if self._early:
            piece, self._early = self._early, b""
            self.drained = False
        else:
            self._sock.settimeout(patience)
            try:
                piece = self._piece()
            except TimeoutError:
                self.drained = True
                return []
            self.drained = len(piece) < PIECE and not isinstance(self._sock, ssl.SSLSocket)
        body = piece if self._chunks is None else self._chunks.feed(piece)
        events = list(self._reader.feed(body))
        if self._chunks is not None and self._chunks.ended and not events:
            raise UnreachableError("the stream ended")
        return events

    def _piece(self) -> bytes:
        try:
            piece = self._sock.recv(PIECE)
        except TimeoutError:
            raise
        except OSError as error:
            raise UnreachableError(str(error)) from error
        if not piece:
            raise UnreachableError("the stream ended")
        return piece


class Server:
    """One environment of one flag server."""

    def __init__(self, url: str, key: str, environment: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        prefix = parts.path.rstrip("/")
        self._environment = f"{prefix}/v1/{quote(environment, safe='')}"
        self._telemetry = f"{prefix}/v1/telemetry"
        self._headers = {"Authorization": f"Bearer {key}", "User-Agent": "rampgate-python"}
        self._context = context
        self._open: set[http.client.HTTPConnection] = set()
        self._ended = False
        self._connect_timeout = CONNECT_TIMEOUT
        self._answer_timeout = ANSWER_TIMEOUT

    def fetch(self, version: str | None) -> Fetched:
        """The snapshot, unless it still is at ``version``. Raises ``UnreachableError``, ``RefusedError``."""
        headers = {"Accept": "application/json"}
        if version is not None:
            headers["If-None-Match"] = f'"{version}"'
        status, age, body = self._ask("GET", f"{self._environment}/snapshot", headers, None)
        if status == 304 and version is not None:
            return Fetched(None, age)
        if status != 200:
            raise RefusedError(status)
        try:
            return Fetched(json.loads(body), age)
        except ValueError as error:
            raise RefusedError(status, text="the snapshot is not JSON") from error

    def tell(self, body: bytes) -> None:
        """Hand in a batch of counts. Raises ``UnreachableError``, ``RefusedError``."""
        status, _, _ = self._ask("POST", self._telemetry, {"Content-Type": "application/json"}, body)
        if status not in (200, 201, 202, 204):
            raise RefusedError(status)

    def stream(self, version: str | None, wait: float) -> Stream:
        """Open the change stream behind ``version``, waiting up to ``wait`` seconds for an answer.

        Raises:
            UnreachableError: no connection.
            RefusedError: an answer, but no stream.
            TimeoutError: a connection, but no answer.
        """
        connection = self._connection()
        try:
            connection.putrequest("GET", f"{self._environment}/stream", skip_accept_encoding=True)
            headers = {**self._headers, "Accept": "text/event-stream", "Cache-Control": "no-cache"}
            if version is not None:
                headers["Last-Event-ID"] = version
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            stream = Stream(connection)
            stream.open(wait)
        except TimeoutError:
            self._done(connection)
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._done(connection)
            raise UnreachableError(str(error)) from error
        except BaseException:
            self._done(connection)
            raise
        return stream

    def close_stream(self, stream: Stream) -> None:
        self._done(stream.connection)

    def _done(self, connection: http.client.HTTPConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def interrupt(self) -> None:
        """End every call that is under way."""
        for connection in list(self._open):
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """End every call that is under way, and refuse further ones."""
        self._ended = True
        self.interrupt()

    def hurry(self, seconds: float) -> None:
        """From now on no connection and no answer may take longer."""
        self._connect_timeout = self._answer_timeout = seconds

    def abandon(self) -> None:
        """After a fork: close the child's copies of the connections, which stay open in the parent.

        Only the descriptors: a reader's lock may be held for ever by a thread that did not come along.
        """
        for connection in self._open:
            if connection.sock is not None:
                with suppress(OSError):
                    os.close(connection.sock.detach())

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._secure:
            context = self._context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._connect_timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(str(error)) from error
        self._open.add(connection)
        if self._ended:
            self._done(connection)
            raise UnreachableError("the client is closed")
        return connection

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, float, bytes]:
        connection = self._connection()
        try:
            connection.sock.settimeout(self._answer_timeout)
            connection.request(method, path, body, {**self._headers, **headers, "Connection": "close"})
            answer = connection.getresponse()
            data = answer.read(MAX_BODY + 1)
            if len(data) > MAX_BODY:
                raise UnreachableError("the answer does not end")
            if answer.status in (429, 503):
                raise RefusedError(answer.status, _seconds(answer.headers.get("Retry-After")))
            return answer.status, _seconds(answer.headers.get("Rampgate-Age")) or 0.0, data
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(str(error)) from error
        finally:
            self._done(connection)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text is not None else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < float("inf") else None


__all__ = ["BrokenStreamError", "Event", "Fetched", "RefusedError", "Server", "Stream", "UnreachableError"]
