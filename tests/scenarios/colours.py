"""Two colours of an app, each a process of its own, and the front before them: visitors whom the SDK sends to one."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rampgate import FlagClient
from tests.flagserver.process import FlagServer
from tests.scenarios.room import COMMAND, Room

SLOTS = ("blue", "green")


class Colours(Room):
    """A machine room whose slots listen; blue runs v1."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copy(Path(__file__).with_name("target.py"), folder)
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.ports = {slot: free.getsockname()[1] for slot, free in zip(SLOTS, (one, other), strict=True)}
        (folder / "ports").write_text("".join(f"{slot} {port}\n" for slot, port in self.ports.items()))
        (folder / "log").write_text("")
        told = {"ACTION": "ensure", "SLOT": "blue", "VERSION": "v1", "FENCE": "0"}
        environ = {**os.environ, "PYTHON": sys.executable, **{f"RAMPGATE_{name}": text for name, text in told.items()}}
        subprocess.run(COMMAND, cwd=folder, env=environ, check=True, timeout=60)

    def document(self, **changes: Any) -> dict[str, Any]:
        """A configuration's part: everybody from one colour to the other at once, after a look at it in the dark."""
        addresses = {slot: f"http://127.0.0.1:{port}/healthz" for slot, port in self.ports.items()}
        return {
            "strategy": "blue-green",
            "steps": [{"share": 100, "bake": "0s"}],
            "dark": {"bake": "1200ms"},
            "deploy": {"command": ["env", f"PYTHON={sys.executable}", *COMMAND]},
            "verify": [{"url": addresses, "contains": "{{version}}", "patience": "30s"}],
            **changes,
        }

    def visit(self, slot: str) -> str | None:
        """The version that answers in a slot; ``None``: nobody does."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[slot]), timeout=20) as wire:
            wire.sendall(b"GET /version HTTP/1.1\r\n\r\n")
            return wire.makefile().read().rpartition("\n")[2] or None
        return None

    def end(self) -> None:
        for file in self.folder.glob("hold-*"):
            file.unlink()
        for file in self.folder.glob("pid-*"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


@dataclass
class Front:
    """Lets visitors in, one after the other, to the slots of all the shops behind it. ``met``: what they met there."""

    server: FlagServer
    shops: dict[str, Colours] = field(default_factory=dict)
    met: dict[str, list[str | None]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._client = FlagClient(self.server.url, self.server.key("sdk"), telemetry=False)
        self._thread = threading.Thread(target=self._let_in)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def opens(self, flag: str, shop: Colours) -> None:
        self.met[flag] = []
        self.shops = {**self.shops, flag: shop}

    def versions(self, flag: str) -> list[str | None]:
        """What visitors met, in order, repetitions aside."""
        return [version for version, _ in itertools.groupby(self.met[flag])]

    def _let_in(self) -> None:
        for number in itertools.count():
            if self._ended.wait(0.05):
                return
            for flag, shop in self.shops.items():
                slot = self._client.string(flag, "blue", f"user-{number % 500}")
                self.met[flag].append(shop.visit(slot))
