"""One slot of the shop: a process that serves one version, and fails a set part of all orders.

An order that fails is answered 500 and marked ``X-Shop-Error``: the shop's own doing, not the switching's.
"""

import argparse
import asyncio
import json
import random
import signal


class Shop(asyncio.Protocol):
    """One connection; just enough HTTP/1.1 for keep-alive GETs."""

    def __init__(self, version: str, fails: float, chance: random.Random, all_open: set["Shop"]) -> None:
        self.version, self.fails, self.chance, self.all_open = version, fails, chance, all_open
        self.transport: asyncio.Transport | None = None
        self.pending = b""
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.all_open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.all_open.discard(self)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            head, self.pending = self.pending.split(b"\r\n\r\n", 1)
            self.answer(head.split(b" ", 2)[1].decode("latin-1"))

    def answer(self, path: str) -> None:
        status, mark = "200 OK", ""
        if path != "/healthz" and self.chance.random() < self.fails:
            status, mark = "500 Internal Server Error", "X-Shop-Error: 1\r\n"
        body = json.dumps({"version": self.version}).encode()
        end = "close" if self.closing else "keep-alive"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        assert self.transport is not None
        self.transport.write(f"{head}X-Shop-Version: {self.version}\r\n{mark}Connection: {end}\r\n\r\n".encode() + body)
        if self.closing:
            self.transport.close()

    def drain(self) -> None:
        """Answer what has come, then close; a connection that idles is closed at once."""
        self.closing = True
        if self.transport is not None and not self.pending:
            self.transport.close()


async def serve(port: int, version: str, fails: float) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    all_open: set[Shop] = set()
    chance = random.Random(f"{version} {port}")
    server = await loop.create_server(
        lambda: Shop(version, fails, chance, all_open), "127.0.0.1", port, reuse_port=False
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print("open", flush=True)
    await ended.wait()
    server.close()
    for one in list(all_open):
        one.drain()
    await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--fails", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.version, given.fails))


if __name__ == "__main__":
    main()
