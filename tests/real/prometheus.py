"""A real Prometheus and the shops it scrapes, on free ports of this machine, for the time of a test."""

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATIENCE = 30.0


class Shop(ThreadingHTTPServer):
    """One version of a shop: an exporter of two counters and a histogram. Prometheus comes by each second."""

    def __init__(self, version: str, slot: str) -> None:
        super().__init__(("127.0.0.1", 0), _Metrics)
        self.version, self.slot = version, slot
        self.counts: dict[str, int] = {"200": 0}
        self._scraped = threading.Condition()
        self._scrapes = 0

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def text(self) -> str:
        version = self.version.replace("\\", "\\\\").replace('"', '\\"')
        labels = f'version="{version}",slot="{self.slot}"'
        lines = [f'http_requests_total{{{labels},code="{code}"}} {count}' for code, count in self.counts.items()]
        # Half of the requests take at most 0.1 s, all of them at most 1 s.
        total = sum(self.counts.values())
        spread = {"0.1": total // 2, "1.0": total, "+Inf": total}
        buckets = [f'took_seconds_bucket{{{labels},le="{bound}"}} {count}' for bound, count in spread.items()]
        return "\n".join(["# TYPE http_requests_total counter", *lines, "# TYPE took_seconds histogram", *buckets, ""])

    def was_scraped(self) -> None:
        with self._scraped:
            self._scrapes += 1
            self._scraped.notify_all()

    def await_scrape(self) -> None:
        """Returns after the next scrape has been answered."""
        with self._scraped:
            seen = self._scrapes
            assert self._scraped.wait_for(lambda: self._scrapes > seen, PATIENCE), "nobody scrapes the shop"


class _Metrics(BaseHTTPRequestHandler):
    server: Shop
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.server.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.was_scraped()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def shop(version: str, slot: str) -> Iterator[Shop]:
    """A shop that is open until the test ends."""
    server = Shop(version, slot)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    """The program itself, which can be killed, frozen and started again on the same data."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}\n"
            "scrape_configs:\n- job_name: shop\n  static_configs:\n"
            f"  - targets: [{', '.join(repr(target) for target in targets)}]\n"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is not installed: apt-get install prometheus"
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        said: list[bytes] = []
        for line in self.process.stderr:
            said.append(line)
            if b"Server is ready to receive web requests" in line:
                return
        raise AssertionError(b"".join(said).decode())

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@contextmanager
def prometheus(folder: Path, *shops: Shop) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these shops each second."""
    server = Prometheus(folder, [one.target for one in shops])
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
