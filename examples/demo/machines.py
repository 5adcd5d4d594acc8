"""The shop's machine room: two slots, each a process on a port of its own, behind a tiny deploy API.

What `deploy.py` in the workspace asks for. A fence older than one that was seen is refused, so a gate that lost its
lease cannot undo what a later one did.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Machines:
    """Starts and ends slots. ``fails`` says which part of the orders each version fails."""

    def __init__(self, folder: Path, fails: Mapping[str, float]) -> None:
        self.ports = {"blue": free_port(), "green": free_port()}
        self._folder = folder
        self._fails = fails
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._fence = 0
        self._busy = threading.Lock()
        room = self

        class Desk(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                code, text = room.do(asked["action"], asked["slot"], asked["version"], int(asked["fence"]))
                body = json.dumps({"code": code, "text": text}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The room keeps no log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def do(self, action: str, slot: str, version: str, fence: int) -> tuple[int, str]:
        """Do what a deploy hook asks: an exit code for it, and a line to print."""
        if action == "status":
            running = self.running(slot)
            return (0, running) if running else (1, f"nothing answers in {slot}")
        with self._busy:
            if fence < self._fence:
                return 2, f"fence {fence} is older than {self._fence}: another gate has taken over"
            self._fence = fence
            if action == "ensure":
                return self._ensure(slot, version)
            if action == "retire":
                self._retire(slot)
                return 0, f"{slot} is empty"
        return 2, f"{action} is not one of ensure, retire, status"

    def running(self, slot: str) -> str | None:
        """The version that answers in a slot."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[slot], timeout=2)
        try:
            connection.request("GET", "/healthz")
            return str(json.loads(connection.getresponse().read())["version"])
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def crash(self, slot: str) -> None:
        """The slot's process is gone from one moment to the next."""
        self._processes[slot].kill()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for slot in list(self._processes):
            self._retire(slot)

    def _ensure(self, slot: str, version: str) -> tuple[int, str]:
        if self.running(slot) == version:
            return 0, f"{version} runs in {slot} already"
        self._retire(slot)
        command = [sys.executable, "-m", "examples.demo.slot", f"--port={self.ports[slot]}", f"--version={version}"]
        command.append(f"--fails={self._fails[version]}")
        with (self._folder / f"slot-{slot}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        self._processes[slot] = process
        assert process.stdout is not None
        process.stdout.readline()  # It says when it listens, or ends.
        if self.running(slot) != version:
            return 1, f"{version} did not come up in {slot}; see slot-{slot}.log"
        return 0, f"{version} is up in {slot}"

    def _retire(self, slot: str) -> None:
        process = self._processes.pop(slot, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
