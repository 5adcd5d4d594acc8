"""A real HTTP server on this machine that misbehaves as it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, as it came in."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    method: str = "GET"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered. ``length`` may lie about the length of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json"
    length: int | None = None


Script = Callable[[Asked], Reply]


class ScriptedServer(ThreadingHTTPServer):
    """Answers by ``script``; keeps what it was asked. ``released`` is set when it ends: what hangs, waits for it."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.asked: list[Asked] = []
        self.released = threading.Event()
        self.script: Script = lambda _: Reply(status=404)
        self.raw: Callable[[Any], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Clients that go away in the middle are what is being tested."""

    def hangs(self) -> None:
        """From now on nobody gets an answer."""
        self.raw = lambda _: self.released.wait(30)

    def drips(self, head: bytes, piece: bytes) -> None:
        """From now on the answer is this head, and then a piece now and again, without end."""

        def drip(file: Any) -> None:
            file.write(head)
            while not self.released.wait(0.02):
                file.write(piece)

        self.raw = drip


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ScriptedServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = {k.lower(): v for k, v in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        asked = Asked(path=parts.path, query=query, headers=headers, body=body, method=self.command)
        self.server.asked.append(asked)
        self.close_connection = True
        if self.server.raw is not None:
            self.server.raw(self.wfile)
            return
        reply = self.server.script(asked)
        self.send_response(reply.status)
        if reply.content_type is not None:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def scripted() -> Iterator[ScriptedServer]:
    """A server for the time of a test; no thread of it is left afterwards."""
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
