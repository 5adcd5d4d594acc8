"""Users who shop: a steady stream of requests from some thousands of users, each answer written down.

Every line on stdout is the sum of what came back since the line before, as JSON. A connection that is refused or
cut, and a 502, 503 or 504 without the shop's own mark, is a *switching failure*: the release's fault.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Seen:
    """What came back, by version."""

    served: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    switching: int = 0
    why: Counter[str] = field(default_factory=Counter)
    users: dict[str, set[int]] = field(default_factory=dict)
    first_bad: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)

    def add(self, user: int, status: int, version: str, marked: bool) -> None:
        now = time.time()
        if status in (502, 503, 504) and not marked:
            self.fault(f"{status} without the shop's mark")
            return
        self.served[version] += 1
        self.last[version] = now
        self.users.setdefault(version, set()).add(user)
        if status >= 500:
            self.failed[version] += 1
            self.first_bad.setdefault(version, now)

    def fault(self, why: str) -> None:
        self.switching += 1
        self.why[why] += 1


class Customer:
    """One keep-alive connection to the shop's front door."""

    def __init__(self, port: int, seen: Seen) -> None:
        self.port, self.seen = port, seen
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def buy(self, user: int) -> None:
        try:
            async with asyncio.timeout(10):
                if self.streams is None:
                    self.streams = await asyncio.open_connection("127.0.0.1", self.port)
                status, version, marked, ends = await self.ask(user, *self.streams)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            self.seen.fault(type(error).__name__)
            self.hang_up()
            return
        self.seen.add(user, status, version, marked)
        if ends:
            self.hang_up()

    async def ask(
        self, user: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, str, bool, bool]:
        writer.write(f"GET /buy HTTP/1.1\r\nHost: shop\r\nCookie: user=user-{user}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(fields.get("content-length", 0)))
        ends = fields.get("connection") == "close"
        return status, fields.get("x-shop-version", "?"), "x-shop-error" in fields, ends

    def hang_up(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


async def shop(port: int, rate: float, users: int, connections: int) -> None:
    seen, chance, ended = Seen(), random.Random(7), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    reporter = asyncio.create_task(report(seen, ended))
    each = rate / connections

    async def come_and_go(customer: Customer) -> None:
        due = time.monotonic() + chance.random() / each
        while not ended.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await customer.buy(chance.randrange(users))
            due = max(due + chance.expovariate(each), time.monotonic() - 1.0)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(come_and_go(Customer(port, seen)))
    await reporter


async def report(seen: Seen, ended: asyncio.Event) -> None:
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), 0.25)
        except TimeoutError:
            tell(seen)
    tell(seen)


def tell(seen: Seen) -> None:
    totals = {
        "served": dict(seen.served),
        "failed": dict(seen.failed),
        "switching": seen.switching,
        "why": dict(seen.why),
        "users": {version: len(some) for version, some in seen.users.items()},
        "first_bad": seen.first_bad,
        "last": seen.last,
    }
    sys.stdout.write(json.dumps(totals) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second")
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    asyncio.run(shop(given.port, given.rate, given.users, given.connections))


if __name__ == "__main__":
    main()
