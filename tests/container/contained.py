"""The flag server in a container of its image, on this machine's network."""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import requests

from tests.container.engine import ENGINE, Image, engine
from tests.flagserver.process import bearer


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """One that listens: its container's name, its address, and the admin key that it showed."""

    name: str
    url: str
    admin_key: str

    def key(self, role: str, environment: str | None = "production", name: str = "test") -> str:
        """Make a key and return its text."""
        wanted = {"role": role, "environment": environment, "name": name}
        reply = requests.post(f"{self.url}/v1/keys", json=wanted, headers=bearer(self.admin_key), timeout=30)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["key"])


def free_port() -> int:
    """A port that nobody listened on a moment ago; the health check has to know it before the server starts."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


@contextmanager
def started(image: Image, *flags: str) -> Iterator[Contained]:
    """A server that listens, in a container run with these flags of the engine's; the container is gone afterwards."""
    name, port = f"rampgate-server-{uuid4().hex[:12]}", free_port()
    command = [ENGINE, "run", "--name", name, "--network", "host", "-e", f"FLAGSERVER_LISTEN=127.0.0.1:{port}", *flags]
    process = subprocess.Popen(
        [*command, image.tag],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    # What nobody reads would fill the pipe, and keep the engine from ending.
    reading = threading.Thread(target=list, args=(process.stdout,))
    seen = ""
    try:
        for line in process.stdout or ():
            seen += line
            if "listening on" in line:
                break
        else:
            raise AssertionError(f"the server ended without listening:\n{seen}")
        reading.start()
        shown = re.search(r"admin key, shown once: (\S+)", seen)
        assert shown is not None, seen
        yield Contained(name=name, url=f"http://127.0.0.1:{port}", admin_key=shown[1])
    finally:
        engine("rm", "-f", name)
        process.wait(timeout=60)
        if reading.ident is not None:
            reading.join()
        if process.stdout:
            process.stdout.close()
