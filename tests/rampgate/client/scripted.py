"""A flag server for tests that does exactly what it is told: beats, patches, gaps, hangs, half-open silence, refusals.

It keeps a snapshot and open streams, and lets a test wait for what clients did. Threads, one port of its own.
"""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RAMP = {"rollout": "r1", "attempt": 1, "stable": "blue", "canary": "green", "staleAfter": 60.0, "poll": 15.0}


def plain(value: bool = True) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on" if value else "off"}


def ramping(share: int, salt: str = "shop") -> dict[str, Any]:
    flag: dict[str, Any] = {
        "state": "ENABLED",
        "variants": {"blue": "blue", "green": "green"},
        "defaultVariant": "blue",
    }
    if share:
        key = {"cat": [salt, {"var": "targetingKey"}]}
        split = {"fractional": [key, ["green", share], ["blue", 100_000 - share]]}
        flag["targeting"] = {"if": [{"var": "targetingKey"}, split]}
    return flag


def ramp(**changes: Any) -> dict[str, Any]:
    return {**RAMP, "heartbeat": 15.0, **changes}


def document(flags: dict[str, Any], rollouts: dict[str, Any] | None = None, version: str = "v1") -> dict[str, Any]:
    return {
        "version": version,
        "environment": "production",
        "bucketing": "v2",
        "flags": flags,
        "rollouts": rollouts or {},
    }


def until(condition: Callable[[], object], within: float = 40.0) -> None:
    """Wait for something that announces itself to nobody."""
    limit = time.monotonic() + within
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        threading.Event().wait(0.005)


@dataclass
class Seen:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Scripted:
    """``stream_mode``: ``events``, ``silent`` (headers, then nothing), ``hang`` (nothing at all), or a status."""

    snapshot: dict[str, Any]
    age: float = 0.0
    stream_mode: str | int = "events"
    snapshot_mode: str | int = "answer"
    telemetry_mode: str | int = "answer"
    chunked: bool = True
    requests: "queue.Queue[Seen]" = field(default_factory=queue.Queue)
    streams: "queue.Queue[queue.Queue[bytes | None]]" = field(default_factory=queue.Queue)
    batches: list[dict[str, Any]] = field(default_factory=list)
    applied: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: list[Seen] = field(default_factory=list)
    opened: list[Seen] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    posted: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""
    _live: "list[queue.Queue[bytes | None]]" = field(default_factory=list)

    def send(self, event: str, data: dict[str, Any], id: str | None = None) -> None:
        """Say something on every open stream."""
        lines = [f"event: {event}", *([f"id: {id}"] if id else []), f"data: {json.dumps(data)}"]
        self.send_bytes(("\n".join(lines) + "\n\n").encode())

    def send_bytes(self, data: bytes) -> None:
        for stream in list(self._live):
            stream.put(data)

    def cut(self) -> None:
        for stream in list(self._live):
            stream.put(None)

    def beat(self, age: float = 0.0) -> None:
        self.send("heartbeat", {"version": self.snapshot["version"], "age": age})

    def change(
        self, version: str, flags: dict[str, Any], rollouts: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Move the snapshot on and return the event that says so."""
        before = self.snapshot
        rollouts = before["rollouts"] if rollouts is None else rollouts
        removed = more.get("removed", [])
        kept = {key: flag for key, flag in before["flags"].items() if key not in removed}
        self.snapshot = document({**kept, **flags}, rollouts, version)
        return {
            "version": version,
            "previous": before["version"],
            "age": 0.0,
            "flags": flags,
            "removed": removed,
            "rollouts": rollouts,
        }

    def counted(self, what: str = "requests", **where: Any) -> int:
        """The sum of what was counted in the batches that were applied."""
        return sum(
            entry[what]
            for batch in list(self.applied.values())
            for entry in batch["counts"]
            if all(entry[name] == value for name, value in where.items())
        )


@contextlib.contextmanager
def serve(server: Scripted, port: int = 0) -> Iterator[Scripted]:
    httpd = _Http(("127.0.0.1", port), _Conversation)
    httpd.script = server
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    server.ended.clear()
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.cut()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    script: Scripted


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            super().handle()

    def do_GET(self) -> None:
        script = self.server.script
        seen = Seen(self.path, dict(self.headers.items()))
        script.requests.put(seen)
        if self.headers.get("Authorization") != "Bearer rg_sdk_a_b":
            self._answer(401, {"error": "unknown_key", "message": "no such key"})
        elif self.path == "/v1/production/snapshot":
            script.polls.append(seen)
            self._snapshot(script)
        elif self.path == "/v1/production/stream":
            script.opened.append(seen)
            self._stream(script)
        else:
            self._answer(404, {"error": "not_found", "message": "no"})

    def do_POST(self) -> None:
        script = self.server.script
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch = json.loads(body)
        script.batches.append(batch)
        mode = script.telemetry_mode
        if mode == "hang":
            script.ended.wait()
            return
        if mode in ("answer", "apply, then cut"):
            first = batch["batch"] not in script.applied
            script.applied.setdefault(batch["batch"], batch)
            if mode == "answer":
                self._answer(200, {"applied": first})
            else:
                self.close_connection = True
        else:
            assert isinstance(mode, int)
            self._answer(mode, {"error": "no", "message": "no"})
        with script.posted:
            script.posted.notify_all()

    def _snapshot(self, script: Scripted) -> None:
        if script.snapshot_mode == "hang":
            script.ended.wait()
            return
        if isinstance(script.snapshot_mode, int):
            self._answer(script.snapshot_mode, {"error": "no", "message": "no"})
            return
        if script.snapshot_mode == "garbage":
            self._write(200, b"<html>hello</html>", "text/html")
            return
        version = script.snapshot["version"]
        if self.headers.get("If-None-Match") == f'"{version}"':
            self._write(304, b"", "application/json")
        else:
            self._answer(200, script.snapshot)

    def _stream(self, script: Scripted) -> None:
        mode = script.stream_mode
        if isinstance(mode, int):
            self._answer(mode, {"error": "no", "message": "no"})
            return
        if mode == "hang":
            script.ended.wait()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if mode == "html" else "text/event-stream; charset=utf-8")
        if script.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        self.wfile.flush()
        if mode == "silent":
            script.ended.wait()
            return
        mine: queue.Queue[bytes | None] = queue.Queue()
        if self.headers.get("Last-Event-ID") == script.snapshot["version"]:
            first = {"event": "heartbeat", "data": {"version": script.snapshot["version"], "age": script.age}}
        else:
            first = {"event": "snapshot", "data": {"age": script.age, "snapshot": script.snapshot}}
        self._piece(f"retry: 20\nevent: {first['event']}\ndata: {json.dumps(first['data'])}\n\n".encode(), script)
        script._live.append(mine)
        script.streams.put(mine)
        try:
            while (piece := mine.get()) is not None:
                self._piece(piece, script)
        finally:
            script._live.remove(mine)
        self.close_connection = True

    def _piece(self, data: bytes, script: Scripted) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if script.chunked else data)
        self.wfile.flush()

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._write(status, json.dumps(body).encode(), "application/json")

    def _write(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{self.server.script.snapshot["version"]}"')
        self.send_header("Rampgate-Age", str(self.server.script.age))
        self.end_headers()
        self.wfile.write(body)
