"""A row of targets, each a process of its own that its hook replaces, and what happened to them in which order."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BY_VERSION = {name: f'{name}{{version="{{{{version}}}}"}}' for name in ("requests", "errors")}
"""What a source that tells machines apart is asked; nobody answers here, since these gates have their own figures."""
HOOK = ["bash", "roll.bash"]


@dataclass
class Row:
    """Six targets, all with v1."""

    folder: Path
    names: tuple[str, ...] = tuple(f"web-{number}" for number in range(1, 7))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("roll.bash", "target.py"):
            shutil.copy(HERE / name, self.folder)
        with ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in self.names]
            self.ports = {name: one.getsockname()[1] for name, one in zip(self.names, free, strict=True)}
        (self.folder / "ports").write_text("".join(f"{name} {port}\n" for name, port in self.ports.items()))
        begun = [self._ensure(name, "v1") for name in self.names]
        assert [one.wait(60) for one in begun] == [0] * len(self.names)
        (self.folder / "log").write_text("")

    def document(self, **changes: Any) -> dict[str, Any]:
        """A configuration's part: rolling over these targets, each with its own health check."""
        addresses = {name: f"http://127.0.0.1:{port}/healthz" for name, port in self.ports.items()}
        return {
            "strategy": "rolling",
            "usersFollow": "deployment",
            "targets": list(self.names),
            "deploy": {"command": ["env", f"PYTHON={sys.executable}", *HOOK]},
            "metrics": [{"errors": "prometheus", "url": "http://127.0.0.1:9", "queries": BY_VERSION}],
            "verify": [{"url": addresses, "contains": "{{version}}", "patience": "300ms"}],
            **changes,
        }

    def did(self, what: str) -> list[tuple[str, str]]:
        """The targets and versions to which this happened, in order."""
        lines = [line.split() for line in (self.folder / "log").read_text().splitlines()]
        return [(target, version) for did, target, version in lines if did == what]

    def running(self) -> dict[str, str | None]:
        """What each target says that it runs."""
        return {name: self._ask(port) for name, port in self.ports.items()}

    def end(self) -> None:
        for file in self.folder.glob("hold-*"):
            file.unlink()
        for file in self.folder.glob("pid-*"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)

    def _ask(self, port: int) -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
                wire.sendall(b"GET /version HTTP/1.1\r\n\r\n")
                return wire.makefile().read().rpartition("\n")[2]
        except OSError:
            return None

    def _ensure(self, target: str, version: str) -> "subprocess.Popen[bytes]":
        told = {"ACTION": "ensure", "TARGET": target, "VERSION": version, "FENCE": "0", "SLOT": "blue"}
        environ = {**os.environ, "PYTHON": sys.executable, **{f"RAMPGATE_{name}": text for name, text in told.items()}}
        return subprocess.Popen(HOOK, cwd=self.folder, env=environ)
