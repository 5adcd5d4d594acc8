"""An app in one slot, for front doors to stand before, as a program of its own: `python -m tests.real.pool NAME PORT`.

It says its port when it listens. It answers what it is and was told, keeps `/long` and `/quiet` until `/go-on`, echoes
over an upgraded connection, and counts what reached it. After `/break` all its answers are 500; after `/leave` it calls
itself unwell at `/healthz`.
"""

import asyncio
import base64
import hashlib
import json
import signal
import sys

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3: what the answer to a WebSocket's key is made with."""


class Pool:
    """What the connections share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = {"GET": 0, "POST": 0, "failed": 0}
        self.broken = self.leaving = False
        self.go_on = asyncio.Event()
        self.open: set[asyncio.StreamWriter] = set()
        self.busy: set[asyncio.StreamWriter] = set()
        self.closing = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while not self.closing and await self._one(reader, writer):
                self.busy.discard(writer)
        except (OSError, asyncio.IncompleteReadError):
            """The other end has gone."""
        finally:
            self.open.discard(writer)
            self.busy.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        self.busy.add(writer)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(headers.get("content-length") or 0))
        if path in ("/seen", "/go-on", "/hold", "/break", "/leave", "/healthz"):
            self._order(path)
            self._answer(writer, self.seen, "503 Leaving" if path == "/healthz" and self.leaving else "200 OK")
            return True
        self.seen[method] = self.seen.get(method, 0) + 1
        if "upgrade" in headers:
            await self._echo(headers["sec-websocket-key"], reader, writer)
            return False
        if path == "/long":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
            await self.go_on.wait()
            writer.write(b"5\r\nended\r\n0\r\n\r\n")
        else:
            if path == "/quiet":
                await self.go_on.wait()
            told = {name: headers.get(name) for name in ("rampgate-variant", "rampgate-user")}
            self.seen["failed"] += self.broken
            status = "500 Broken" if self.broken else "200 OK"
            self._answer(writer, {"pool": self.name, "method": method, **told}, status)
        await writer.drain()
        return True

    def _order(self, path: str) -> None:
        if path in ("/go-on", "/hold"):
            (self.go_on.set if path == "/go-on" else self.go_on.clear)()
        self.broken = self.broken or path == "/break"
        self.leaving = self.leaving or path == "/leave"

    def _answer(self, writer: asyncio.StreamWriter, body: object, status: str = "200 OK") -> None:
        text = json.dumps(body).encode()
        end = "Connection: close\r\n" if self.closing else ""
        writer.write(
            f"HTTP/1.1 {status}\r\nX-Pool: {self.name}\r\n{end}Content-Length: {len(text)}\r\n\r\n".encode() + text
        )

    async def _echo(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proof = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        head = f"HTTP/1.1 101 Switching Protocols\r\n{upgrade}Sec-WebSocket-Accept: {proof}\r\n\r\n"
        writer.write(head.encode())
        while data := await reader.read(4096):
            writer.write(self.name.encode() + b" " + data)


async def main(name: str, port: int) -> None:
    pool, ended = Pool(name), asyncio.Event()
    server = await asyncio.start_server(pool.serve, "127.0.0.1", port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()
    pool.closing = True
    # Requests under way are answered; what is idle is closed.
    for writer in pool.open - pool.busy:
        writer.close()
    while pool.busy:
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
