"""A small GitHub over real HTTP, with a memory: what the gate calls, no more, and the weather on demand.

Held to GitHub's own description by `github_contract.py`. Needs no pytest: the demo runs the Action against it.

    with FakeGitHub("acme/shop") as github:
        token = github.token("github-actions[bot]", reads_user=False)
        github.pull(7, author="ann", head_sha="a" * 40)
        ...  # GITHUB_API_URL=github.url
"""

import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.github_memory import GitHubMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One bad answer. ``applied``: the request took effect all the same, only its answer was lost.

    ``reset`` cuts the connection; ``hang`` answers nothing until the fake is closed.
    """

    status: int = 502
    message: str = "Server Error"
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False
    reset: bool = False
    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int
    answer: Any
    answer_headers: Mapping[str, str]
    faulty: bool


class FakeGitHub(GitHubMemory):
    """The repository behind a real server on a free port of this machine.

    Args:
        repository: `owner/name`.
        clock: what GitHub's clock says, in seconds since the epoch.
        prefix: what its paths begin with; `/api/v3` on GitHub Enterprise.
    """

    def __init__(self, repository: str = "acme/shop", clock: Callable[[], float] = time.time, prefix: str = "") -> None:
        super().__init__(repository, clock)
        self.exchanges: list[Exchange] = []
        self._faults: list[tuple[str, re.Pattern[str], deque[Fault]]] = []
        self._closing = threading.Event()
        self._server = _server(self)
        self._prefix = prefix
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, method: str, path: str, *faults: Fault) -> None:
        """Queue faults for the next requests whose path holds this regular expression."""
        self._faults.append((method, re.compile(path), deque(faults)))

    def heal(self) -> None:
        """From now on the weather is good."""
        with self.lock:
            self._faults.clear()

    def sent(self, method: str, path: str = "") -> list[Exchange]:
        """The requests so far whose path holds this regular expression."""
        with self.lock:
            return [one for one in self.exchanges if one.method == method and re.search(path, one.path)]

    def answer(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> Exchange | None:
        """Answer one request, and remember it; ``None``: hang up."""
        parts = urlsplit(target)
        path = parts.path.removeprefix(self._prefix) if parts.path.startswith(self._prefix) else "/nowhere"
        # On GitHub Enterprise the GraphQL API stands beside the REST API, not below it.
        path = "/graphql" if parts.path == f"{self._prefix.removesuffix('/v3')}/graphql" else path
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = json.loads(raw) if raw else None
        fault = self._fault(method, path)
        if fault is not None and fault.hang:
            self._closing.wait()
            return None
        with self.lock:
            status, said, extra = 0, None, {}
            if fault is None or fault.applied:
                status, said, extra = self.obey(method, path, query, headers, body)
            if fault is not None:
                status, said, extra = fault.status, {"message": fault.message}, dict(fault.headers)
            exchange = Exchange(
                method=method,
                path=path,
                query=query,
                headers={key.lower(): value for key, value in headers.items()},
                body=body,
                status=status,
                answer=said,
                answer_headers=extra,
                faulty=fault is not None,
            )
            self.exchanges.append(exchange)
        return None if fault is not None and fault.reset else exchange

    def _fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for verb, pattern, faults in self._faults:
                if verb == method and faults and pattern.search(path):
                    return faults.popleft()
        return None


def _server(github: FakeGitHub) -> ThreadingHTTPServer:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            exchange = github.answer(self.command, self.path, dict(self.headers.items()), raw)
            if exchange is None:
                # A reset, not a polite end: the client cannot know what became of its request.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            out = b"" if exchange.answer is None else json.dumps(exchange.answer).encode()
            self.send_response(exchange.status)
            for key, value in exchange.answer_headers.items():
                self.send_header(key, value)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    return server
