"""What an abort costs to reach everybody: change streams opened, their memory, the fan-out, and lookups meanwhile.

    make bench, or: PYTHONPATH=. python bench/streams_bench.py [streams ...]

The listeners are bare readers on one event loop in a process of its own: a stream counts as told when the bytes of the
event are there. Client and server share the machine's cores, so every figure holds the listeners' work, too.
"""

import asyncio
import multiprocessing
import resource
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
import uvloop

from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator

ROUNDS = 7
SETTLED = 2.0
"""Seconds after which what came before the abort has been told to everybody."""
PACE = {"poll": 15.0, "lease": 45.0, "stale_after": 60.0, "heartbeat": 15.0}
BOUNDS = {1_000: 0.25, 10_000: 1.0}
STREAM_BOUND = 20.0
LOOKUP_BOUND = 0.020


@dataclass(slots=True)
class Listener(asyncio.Protocol):
    """One change stream: notes when the word that is waited for has arrived."""

    room: "Room"
    transport: asyncio.WriteTransport | None = None
    tail: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.transport.write(self.room.request)

    def data_received(self, data: bytes) -> None:
        room = self.room
        seen = self.tail + data
        self.tail = seen[-64:]
        if room.word in seen:
            self.tail = b""
            room.heard.append(time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.room.lost += 1


@dataclass(slots=True)
class Room:
    """All listeners of the process."""

    request: bytes
    word: bytes = b"event: snapshot"
    heard: list[float] = field(default_factory=list)
    lost: int = 0


async def _listen(port: int, key: str, count: int, told: Connection) -> None:
    loop = asyncio.get_running_loop()
    head = f"GET /v1/production/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    room = Room(head.encode())
    for _ in range(count):
        await loop.create_connection(partial(Listener, room), "127.0.0.1", port)
        if len(room.heard) % 64 == 0:
            await asyncio.sleep(0)
    await _all(room, count)
    told.send("open")
    while (word := await loop.run_in_executor(None, told.recv)) != b"end":
        room.heard, room.word = [], word
        told.send("listening")
        await _all(room, count)
        told.send(sorted(room.heard))


async def _all(room: Room, count: int) -> None:
    ends = time.monotonic() + 60
    while len(room.heard) < count:
        if room.lost or time.monotonic() > ends:
            raise SystemExit(f"{len(room.heard)} of {count} streams heard, {room.lost} lost")
        await asyncio.sleep(0.01)


def _listeners(port: int, key: str, count: int, told: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_listen(port, key, count, told))


@contextmanager
def open_streams(port: int, key: str, count: int) -> Iterator[Connection]:
    """This many streams, all open; the connection tells their process what to wait for."""
    here, there = multiprocessing.Pipe()
    listeners = multiprocessing.get_context("spawn").Process(target=_listeners, args=(port, key, count, there))
    listeners.start()
    try:
        assert here.recv() == "open"
        yield here
        here.send(b"end")
        listeners.join(10)
    finally:
        listeners.kill()


def _lookups(port: int, key: str, told: Connection) -> None:
    """One connection that evaluates a flag, turn by turn, and times each answer."""

    async def run() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"context":{"targetingKey":"ada"}}'
        head = f"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        took: list[float] = []
        told.send("ready")
        while not told.poll():
            began = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.001)
        told.send(sorted(took))

    asyncio.run(run())


def memory(process: int) -> float:
    """KiB of memory that a process holds."""
    return float(psutil.Process(process).memory_info().rss) / 1024


def at(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))]


def verdict(what: str, found: float, bound: float, unit: str) -> bool:
    held = found <= bound
    print(f"  {what:62}{found:9.1f} {unit:4} bound {bound:g}  {'held' if held else 'MISSED'}")
    return held


def measure(count: int) -> bool:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, FlagServer(Path(folder), max_streams=str(count + 10)) as server:
        operator, key = Operator(server), server.key("sdk")
        port = urlsplit(server.url).port or 80
        before = memory(server.process.pid)
        began = time.monotonic()
        with open_streams(port, key, count) as here:
            print(f"\n{count} streams, opened in {time.monotonic() - began:.1f} s; load {psutil.getloadavg()[0]:.1f}")
            each = (memory(server.process.pid) - before) / count
            held = [verdict("memory of a stream", each, STREAM_BOUND, "KiB")]
            asking, asked = multiprocessing.Pipe()
            lookups = spawn.Process(target=_lookups, args=(port, key, asked))
            lookups.start()
            assert asking.recv() == "ready"
            lasts, own = [], []
            for number in range(ROUNDS):
                ramp = operator.ramp(f"shop-{number}", **PACE)
                time.sleep(SETTLED)
                here.send(b"event: changed")
                assert here.recv() == "listening"
                began = time.monotonic()
                operator.tell(ramp, "revert")
                own.append(time.monotonic() - began)
                lasts.append(at(here.recv(), 0.99) - began)
            asking.send("end")
            took = asking.recv()
            lookups.join(10)
    print(f"  the abort's own answer, median {sorted(own)[len(own) // 2] * 1000:.0f} ms")
    lasts.sort()
    print(f"  abort to 99 % of the streams: best {lasts[0] * 1000:.0f} ms, worst {lasts[-1] * 1000:.0f} ms")
    bound = next(bound for most, bound in BOUNDS.items() if count <= most)
    held.append(verdict("abort to 99 % of the streams, median", lasts[len(lasts) // 2] * 1000, bound * 1000, "ms"))
    held.append(verdict("lookups meanwhile, p99", at(took, 0.99) * 1000, LOOKUP_BOUND * 1000, "ms"))
    return all(held)


def main() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    counts = [int(one) for one in sys.argv[1:]] or list(BOUNDS)
    held = [measure(count) for count in counts]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
