"""What the flag server costs: its memory when idle, and evaluations over HTTP, beside a server that only answers.

    make bench, or: PYTHONPATH=. python bench/server_bench.py

The bound is the product's: 90 MiB when idle. Both servers are asked by the same client, turn by turn.
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

from tests.flagserver.process import FlagServer, bearer

CONNECTIONS = 16
SECONDS = 2.0
ROUNDS = 3
FLAGS = 20
IDLE_BOUND = 90.0

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
        if not self.pending.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(bytes(self.pending).decode()))
            return
        length = int(self.pending[:head].lower().split(b"content-length:")[1].split(b"\r\n")[0])
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


def evaluations(server: FlagServer) -> None:
    key = server.key("sdk")
    port = urlsplit(server.url).port or 80
    admin = bearer(server.admin_key)
    for number in range(FLAGS):
        reply = requests.put(
            f"{server.url}/v1/production/flags/flag-{number}", json={"flag": FLAG}, headers=admin, timeout=10
        )
        if not reply.ok:
            raise SystemExit(reply.text)
    path = "/ofrep/v1/evaluate/flags"
    with plain_server() as floor_port:
        contestants = {
            "floor: only answers": (floor_port, ask_for(f"{path}/flag-7", key)),
            "one flag": (port, ask_for(f"{path}/flag-7", key)),
            f"all {FLAGS} flags": (port, ask_for(path, key)),
        }
        best = dict.fromkeys(contestants, (0.0, 0.0))
        for _ in range(ROUNDS):
            for each, (where, request) in contestants.items():
                best[each] = max(best[each], crowd(where, request))
    print(
        f"\nEvaluations over HTTP (OFREP), {CONNECTIONS} connections, best of {ROUNDS} rounds, and parts of the floor"
    )
    floor = best["floor: only answers"][0]
    for each, (rate, late) in best.items():
        print(f"  {each:26}{rate:9.0f} a second{rate / floor:8.2f}   p99 {late * 1000:6.2f} ms")
    print(f"  after that the flag server holds {memory(server.process.pid):.1f} MiB")


def ask_for(path: str, key: str) -> bytes:
    body = b'{"context":{"targetingKey":"user-4711"}}'
    head = f"POST {path} HTTP/1.1\r\nHost: flags\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def word(held: bool) -> str:
    return "held" if held else "MISSED"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, FlagServer(Path(folder)) as server:
        held = idle(server)
        evaluations(server)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
