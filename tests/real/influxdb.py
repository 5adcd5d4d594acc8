"""A real InfluxDB (1.x) on free ports of this machine, for the time of a test."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.real.prometheus import PATIENCE, free_port

CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
[monitor]
  store-enabled = false
"""


class InfluxDB:
    """The program itself, which can be written to, frozen and killed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "influx.conf"
        self._config.write_text(CONFIG.format(folder=folder, http=self.port, rpc=free_port()))
        self._log = folder / "influx.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("influxd")
        assert program, "influxd is not installed: apt-get install influxdb"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([program, "-config", str(self._config)], stderr=log, stdout=log)
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
        self.asks("CREATE DATABASE shop")

    def _answers(self) -> bool:
        try:
            return requests.get(self.url + "/ping", timeout=1).status_code == 204
        except requests.RequestException:
            return False

    def asks(self, query: str) -> None:
        requests.post(self.url + "/query", params={"db": "shop", "q": query}, timeout=10).raise_for_status()

    def writes(self, version: str, field: str, count: int, at: int) -> None:
        tag = version
        for char in ",= ":
            tag = tag.replace(char, "\\" + char)
        line = f"http,version={tag} {field}={count}i {at}"
        answer = requests.post(
            self.url + "/write", params={"db": "shop", "precision": "s"}, data=line.encode(), timeout=10
        )
        assert answer.status_code == 204, answer.text

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def influxdb(folder: Path) -> Iterator[InfluxDB]:
    """An InfluxDB with an empty database `shop`."""
    server = InfluxDB(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
