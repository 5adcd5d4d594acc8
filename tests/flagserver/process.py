"""A real flag server for tests: its own command in its own process, on a free port, with a database file.

with FlagServer(tmp_path) as server:
    key = server.key("sdk", "production")
    requests.get(f"{server.url}/v1/production/snapshot", headers=bearer(key))
"""

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

import requests

from tests import nursery

START_WITHIN = 90.0
"""Seconds. A start costs two of a processor, which a busy machine may take long to give."""


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class FlagServer:
    """One server on one database. It may be killed and started again; its keys and its data stay.

    ``tree`` is a folder with the code that it runs, where that is not the repository's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None = None,
        port: int = 0,
        tree: Path | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self._tree = tree
        self.admin_key = f"rg_admin_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
        self.database_url = database_url or f"sqlite:///{folder / 'flagserver.db'}"
        self.url = ""
        self.port = port
        self._settings = {f"FLAGSERVER_{name.upper()}": value for name, value in settings.items()}
        self._process: nursery.Program | subprocess.Popen[bytes] | None = None
        self._out: IO[str] | None = None
        self._log = folder / "flagserver.log"

    def __enter__(self) -> "FlagServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of the server's process; `flagserver` commands beside it want the same."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLAGSERVER_")}
        return {
            **clean,
            "FLAGSERVER_DATABASE_URL": self.database_url,
            "FLAGSERVER_ADMIN_KEY": self.admin_key,
            "FLAGSERVER_LISTEN": f"127.0.0.1:{self.port}",
            **self._settings,
        }

    @property
    def process(self) -> "nursery.Program | subprocess.Popen[bytes]":
        assert self._process is not None, "the server is not running"
        return self._process

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Start it and wait until it listens; a server started again listens on the port it had."""
        out, theirs = os.pipe()
        self._out = os.fdopen(out)
        with self._log.open("a") as log, os.fdopen(theirs, "w"):
            self._process = self._begun(theirs, log.fileno())
        alarm = threading.Timer(START_WITHIN, self._process.kill)
        alarm.start()
        try:
            for line in self._out:
                if line.startswith("listening on "):
                    self.url = line.removeprefix("listening on ").strip()
                    self.port = int(self.url.rsplit(":", 1)[1])
                    return
        finally:
            alarm.cancel()
        raise AssertionError(f"the flag server did not start:\n{self.log}")

    def _begun(self, out: int, log: int) -> "nursery.Program | subprocess.Popen[bytes]":
        if self._tree is None:
            return nursery.start(
                "flagserver.cli", "serve", environ=self.environ, cwd=self.folder, stdout=out, stderr=log
            )
        words = [sys.executable, "-m", "flagserver.cli", "serve"]
        environ = {**self.environ, "PYTHONPATH": str(self._tree)}
        return subprocess.Popen(words, env=environ, cwd=self.folder, stdout=out, stderr=log)

    def key(self, role: str, environment: str | None = "production", name: str = "test") -> str:
        """Make a key and return its text."""
        wanted = {"role": role, "environment": environment, "name": name}
        reply = requests.post(f"{self.url}/v1/keys", json=wanted, headers=bearer(self.admin_key), timeout=10)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["key"])

    def kill(self) -> None:
        """End it at once, as a lost machine would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self, timeout: float = 15.0) -> int | None:
        """End it orderly (SIGTERM); returns its exit code."""
        return self._end(signal.SIGTERM, timeout)

    def _end(self, number: signal.Signals, timeout: float = 15.0) -> int | None:
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if self._out is not None:
                self._out.close()
