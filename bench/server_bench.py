"""What the flag server costs: its memory when idle, a snapshot of 1 000 flags, and evaluations over HTTP with 1 000
change streams open, beside a server that only answers.

    make bench, or: PYTHONPATH=. python bench/server_bench.py

The bounds are the product's, for two cores that do nothing else. Both servers are asked by the same client, turn by
turn; it takes one of the cores.
"""

import asyncio
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import psutil
import requests
import uvloop

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from streams_bench import open_streams  # noqa: E402

from flagserver.hub import Hub  # noqa: E402
from flagserver.live import Live  # noqa: E402
from flagserver.serve import calm_collections  # noqa: E402
from flagserver.store import Store, flags  # noqa: E402
from flagserver.store.flags import FlagRecord, Kind  # noqa: E402
from tests.flagserver.process import FlagServer, bearer  # noqa: E402

CONNECTIONS = 16
SECONDS = 2.0
ROUNDS = 3
FLAGS = 20
MANY = 1_000
STREAMS = 1_000
IDLE_BOUND = 90.0
SNAPSHOT_BOUND = 0.1
RATE_BOUND = 20_000
LATE_BOUND = 0.005

FLAG = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"fractional": [["on", 10], ["off", 90]]},
}


@dataclass
class Asking(asyncio.Protocol):
    """One kept connection that asks, waits for the whole answer, and asks again."""

    request: bytes
    until: float
    took: list[float]
    done: "asyncio.Future[None]"
    asked_at: float = 0.0
    pending: bytearray = field(default_factory=bytearray)
    transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self.transport is not None
        self.asked_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head = self.pending.find(b"\r\n\r\n")
        if head < 0:
            return
        if not self.pending.startswith(b"HTTP/1.1 20"):
            self.done.set_exception(RuntimeError(bytes(self.pending).decode()))
            return
        told = self.pending[:head].lower().split(b"content-length:")
        length = int(told[1].split(b"\r\n")[0]) if len(told) > 1 else 0
        if len(self.pending) < head + 4 + length:
            return
        self.pending.clear()
        now = time.perf_counter()
        self.took.append(now - self.asked_at)
        if now < self.until:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))


def crowd(port: int, request: bytes) -> tuple[float, float]:
    """Answers a second, and the 99th percentile of their times in seconds."""

    async def ask() -> list[float]:
        loop, took = asyncio.get_running_loop(), list[float]()
        until, waits = time.perf_counter() + SECONDS, []
        for _ in range(CONNECTIONS):
            done = loop.create_future()
            asking = partial(Asking, request=request, until=until, took=took, done=done)
            await loop.create_connection(asking, "127.0.0.1", port)
            waits.append(done)
        await asyncio.wait_for(asyncio.gather(*waits), SECONDS + 10)
        return took

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = sorted(runner.run(ask()))
    return len(took) / SECONDS, took[int(len(took) * 0.99)]


class Plain(asyncio.Protocol):
    """Answers whatever it is sent with the same small document."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 96\r\n\r\n" + b"x" * 96

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self.transport.write(self.ANSWER)


def serve_plain(told: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@contextmanager
def plain_server() -> Iterator[int]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_plain, args=(there,))
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()
        here.close()
        there.close()


def memory(process: int) -> float:
    """MiB of memory that a process holds."""
    return float(psutil.Process(process).memory_info().rss) / (1 << 20)


def bare_memory() -> float:
    """MiB of a bare interpreter."""
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = memory(process.pid)
        process.communicate()
    return held


def idle(server: FlagServer) -> bool:
    held, floor = memory(server.process.pid), bare_memory()
    print("Memory of the flag server when idle, and how many bare interpreters that is")
    print(f"  floor: a bare interpreter  {floor:7.1f} MiB")
    print(f"  flag server, idle          {held:7.1f} MiB{held / floor:8.1f}", end="")
    print(f"  bound {IDLE_BOUND:.0f} MiB  {word(held <= IDLE_BOUND)}")
    return held <= IDLE_BOUND


def snapshot(folder: Path) -> bool:
    """A cold start's work: read from SQLite, published, every flag compiled; the best of 10."""
    store = Store(f"sqlite:///{folder / 'snapshot.db'}")
    store.migrate()
    with store.write() as tx:
        for number in range(MANY):
            record = FlagRecord(
                environment="production",
                key=f"flag-{number}",
                kind=Kind.PLAIN,
                document=FLAG,
                slots=None,
                updated_at=0.0,
            )
            flags.save(tx, record)
    calm_collections()
    took = []
    for _ in range(10):
        live = Live(store, Hub())
        began = time.process_time()
        live.refresh()
        published = live.current("production")
        assert all(published.compiled(key) is not None for key in published.flags)
        took.append(time.process_time() - began)
    store.close()
    held = min(took) <= SNAPSHOT_BOUND
    print(f"\nA snapshot of {MANY} flags, read and compiled  {min(took) * 1000:7.1f} ms of processor", end="")
    print(f"  bound {SNAPSHOT_BOUND * 1000:.0f} ms  {word(held)}")
    return held


def evaluations(server: FlagServer) -> bool:
    key = server.key("sdk")
    port = urlsplit(server.url).port or 80
    document = {"flags": {f"flag-{number}": FLAG for number in range(FLAGS)}}
    for name, flag in document["flags"].items():
        where = f"{server.url}/v1/production/flags/{name}"
        reply = requests.put(where, json={"flag": flag}, headers=bearer(server.admin_key), timeout=10)
        if not reply.ok:
            raise SystemExit(reply.text)
    path, edge = "/ofrep/v1/evaluate/flags", "/edge/v1/decide?flag=flag-7&user=header:x-user"
    process = psutil.Process(server.process.pid)
    with plain_server() as floor_port, open_streams(port, key, STREAMS):
        contestants = {
            "floor: only answers": (floor_port, ask_for(f"{path}/flag-7", key)),
            "one flag": (port, ask_for(f"{path}/flag-7", key)),
            f"all {FLAGS} flags": (port, ask_for(path, key)),
            "one flag, for a proxy": (port, ask_for(edge, key, "X-User: user-4711\r\n", method="GET")),
        }
        best = dict.fromkeys(contestants, (0.0, 0.0, 0.0))
        for _ in range(ROUNDS):
            for each, (where, request) in contestants.items():
                before = sum(process.cpu_times()[:2])
                rate, late = crowd(where, request)
                spent = (sum(process.cpu_times()[:2]) - before) / (rate * SECONDS)
                best[each] = max(best[each], (rate, late, spent))
    print(
        f"\nEvaluations over HTTP (OFREP), {CONNECTIONS} connections, {STREAMS} change streams open, best of {ROUNDS}"
    )
    floor = best["floor: only answers"][0]
    for each, (rate, late, spent) in best.items():
        processor = "" if each.startswith("floor") else f"   {spent * 1e6:5.1f} µs of processor"
        print(f"  {each:26}{rate:9.0f} a second{rate / floor:8.2f}   p99 {late * 1000:6.2f} ms{processor}")
    rate, late, _ = best["one flag"]
    held = rate >= RATE_BOUND and late <= LATE_BOUND
    print(f"  one flag: bound {RATE_BOUND} a second at p99 {LATE_BOUND * 1000:.0f} ms  {word(held)}")
    print(f"  after that the flag server holds {memory(server.process.pid):.1f} MiB; load {psutil.getloadavg()[0]:.1f}")
    return held


def ask_for(path: str, key: str, header: str = "", method: str = "POST") -> bytes:
    body = b'{"context":{"targetingKey":"user-4711"}}' if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: flags\r\nAuthorization: Bearer {key}\r\n{header}"
    return f"{head}Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode() + body


def word(held: bool) -> str:
    return "held" if held else "MISSED"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, FlagServer(Path(folder)) as server:
        held = [idle(server), snapshot(Path(folder)), evaluations(server)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
