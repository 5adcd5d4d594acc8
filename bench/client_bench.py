"""What the client costs an app besides lookups, and how fast it hears: import, memory, changes, silence, herds.

    python bench/client_bench.py

Against the flag server itself, on loopback. Bounds are those of docs/sdk.md.
"""

import asyncio
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from contextlib import suppress
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from lookup_bench import percentage, snapshot  # noqa: E402

from rampgate import FlagClient  # noqa: E402
from rampgate.client.counts import Counts  # noqa: E402
from rampgate.client.feed import LONGEST_WAIT, SHORT_LIFE, Backoff  # noqa: E402
from rampgate.client.snapshot import NOTHING  # noqa: E402
from rampgate.client.workshop import Workshop  # noqa: E402
from tests.flagserver.process import FlagServer, bearer  # noqa: E402
from tests.rampgate.client.operator import Operator  # noqa: E402

HERD = 1000
STALE_AFTER = 2.0


def verdict(what: str, found: float, bound: float, unit: str) -> bool:
    held = found <= bound
    print(f"  {what:58}{found:9.2f} {unit:8} bound {bound:g}  {'held' if held else 'MISSED'}")
    return held


def importing() -> bool:
    """As `-X importtime` sums it up, with compiled modules as an installation has them; the best of 20."""
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-X", "importtime", "-c", "from rampgate import FlagClient"]
        best = float("inf")
        for _ in range(21):
            told = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True).stderr
            lines = [line.split("|") for line in told.splitlines()]
            ours = [int(line[1]) for line in lines if line[2].strip() in ("rampgate", "rampgate.client")]
            best = min(best, sum(ours) / 1000)
    return verdict("import of the client", best, 50, "ms")


def memory(asked: bool) -> bool:
    """Of 1000 percentage flags, held; and asked once each by value."""
    document = json.loads(snapshot(1000))
    workshop = Workshop(clock=time.monotonic, counts=Counts())
    workshop.from_document(document, 0.0, NOTHING)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = workshop.from_document(document, 0.0, NOTHING)
    if asked:
        for flag in made.entries:
            made.booleans[flag]("user")
    gc.collect()
    size = (tracemalloc.get_traced_memory()[0] - before) / len(made.entries)
    tracemalloc.stop()
    return verdict(f"memory of a flag, {'each asked' if asked else 'held'}", size / 1024, 2, "KiB")


def swapping() -> bool:
    """One flag of 1000 changes, all of them in use: to a new snapshot with its lookups ready."""
    document = json.loads(snapshot(1000))
    workshop = Workshop(clock=time.monotonic, counts=Counts())
    made = workshop.from_document(document, 0.0, NOTHING)
    for flag in made.entries:
        made.booleans[flag]("user")
    took = []
    for number in range(200):
        changed = {"flag-0": percentage(number + 1, "flag-0")}
        change = {"version": str(number), "flags": changed, "rollouts": document["rollouts"]}
        began = time.perf_counter()
        workshop.from_change(change, 0.0, made)
        took.append((time.perf_counter() - began) * 1000)
    return verdict("a changed flag compiled and swapped in (median of 200)", sorted(took)[100], 1, "ms")


def hearing(server: FlagServer, operator: Operator) -> bool:
    """From the request that changes a flag to the client's callback."""
    path, off = "/v1/production/flags/heard", percentage(0, "x") | {"targeting": None}
    del off["targeting"]
    operator.call("PUT", path, {"flag": off}, 201)
    session = requests.Session()
    session.headers.update(operator.headers)
    took = []
    with FlagClient(server.url, server.key("sdk")) as client:
        assert client.ready()
        heard = threading.Event()
        client.on_change("heard", lambda _flag: heard.set())
        time.sleep(1)
        for number in range(300):
            heard.clear()
            wanted = off | {"defaultVariant": "on" if number % 2 == 0 else "off"}
            began = time.perf_counter()
            session.put(f"{server.url}{path}", json={"flag": wanted}, timeout=10)
            assert heard.wait(5)
            took.append((time.perf_counter() - began) * 1000)
    took.sort()
    print(f"  change to client: median {took[150]:.1f} ms")
    return verdict("change on the server to change in the client, p99 of 300", took[296], 50, "ms")


def silence(server: FlagServer, operator: Operator) -> bool:
    """A stopped server: from the stop to the first stable answer. The age counts from its last word: less is usual."""
    operator.ramp("silence", stale_after=STALE_AFTER)
    took = []
    with FlagClient(server.url, server.key("sdk")) as client:
        users = [f"user-{number}" for number in range(100)]
        while not (green := [user for user in users if client.string("silence", "", user) == "green"]):
            time.sleep(0.01)
        for _ in range(5):
            while client.string("silence", "", green[0]) != "green":
                time.sleep(0.01)
            os.kill(server.process.pid, signal.SIGSTOP)
            began = time.monotonic()
            while client.string("silence", "", green[0]) == "green":
                time.sleep(0.001)
            took.append(time.monotonic() - began)
            os.kill(server.process.pid, signal.SIGCONT)
    print(f"  stopped server: stable after {min(took):.2f} to {max(took):.2f} s")
    return verdict("stopped server to stable, the longest of 5", max(took), STALE_AFTER + 0.05, "s")


class Herd:
    """Bare readers of the change stream on one loop, each with the client's own patience."""

    def __init__(self, server: FlagServer) -> None:
        self.key = server.key("sdk")
        self.port = server.port
        self.connected = 0
        self.attempts: Counter[int] = Counter()
        self.since = time.monotonic()

    async def one(self) -> None:
        backoff = Backoff(random.random)
        while True:
            self.attempts[int((time.monotonic() - self.since) * 10)] += 1
            began, retry = time.monotonic(), 0.0
            with suppress(OSError):
                retry = await self._read()
            if time.monotonic() - began > SHORT_LIFE:
                backoff.failures = 0
            await asyncio.sleep(backoff.wait(LONGEST_WAIT / 2, min(retry, LONGEST_WAIT / 2)))

    async def _read(self) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        retry, counted = 0.0, False
        try:
            headers = f"Host: x\r\nAuthorization: {bearer(self.key)['Authorization']}\r\n"
            writer.write(f"GET /v1/production/stream HTTP/1.1\r\n{headers}\r\n".encode())
            while line := await reader.readline():
                if line.startswith(b"retry:"):
                    retry = int(line[6:]) / 1000
                if line.startswith(b"event:") and not counted:
                    counted = True
                    self.connected += 1
        finally:
            self.connected -= counted
            writer.close()
        return retry

    async def complete(self) -> float:
        began = time.monotonic()
        while self.connected < HERD:
            await asyncio.sleep(0.02)
        return time.monotonic() - began


async def herding(server: FlagServer) -> bool:
    """1000 streams are cut by a restart: how they come back, and whether the server answers meanwhile."""
    herd = Herd(server)
    tasks = [asyncio.create_task(herd.one()) for _ in range(HERD)]
    await herd.complete()
    await asyncio.sleep(SHORT_LIFE + 1)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    herd.attempts.clear()
    herd.since = time.monotonic()
    slowest = 0.0
    back = asyncio.create_task(herd.complete())
    while not back.done():
        began = time.perf_counter()
        await asyncio.to_thread(requests.get, f"{server.url}/healthz", timeout=30)
        slowest = max(slowest, time.perf_counter() - began)
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    print(f"  the slowest answer of the server meanwhile: {slowest * 1000:.0f} ms")
    peak = max(herd.attempts.values())
    held = verdict(f"{HERD} clients after a restart: most attempts in 100 ms", peak, HERD / 5, "")
    return verdict(f"{HERD} clients after a restart: all are back after", back.result(), 20, "s") and held


def main() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))
    print("\nThe client, besides lookups")
    held = [importing(), memory(asked=False), memory(asked=True), swapping()]
    with tempfile.TemporaryDirectory() as folder, FlagServer(Path(folder)) as server:
        operator = Operator(server)
        held += [hearing(server, operator), silence(server, operator), asyncio.run(herding(server))]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
