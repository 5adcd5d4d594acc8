"""One uvicorn process with one event loop: started, announced, and ended within seconds of SIGTERM."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator

import uvicorn

from flagserver.asgi import FrontDoor
from flagserver.errors import SettingsError
from flagserver.lane import lane, let_go
from flagserver.services import Services

GRACE = 4
"""Seconds that requests under way have to end."""

LAST = 9.0
"""Seconds from SIGTERM to the end, whatever hangs: all that was acknowledged is in the database by then."""


_TICKS = 50
"""Uvicorn's ticks, of a tenth of a second, between two looks for requests that do not arrive."""


class _Server(uvicorn.Server):
    """Uvicorn that says where it listens and lets its streams go before it ends."""

    def __init__(self, config: uvicorn.Config, door: FrontDoor, address: str) -> None:
        super().__init__(config)
        self._door = door
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            calm_collections()
            print(f"listening on {self._address}", flush=True)

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            let_go(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._door.close()
        last = threading.Timer(LAST, os._exit, (0,))
        last.daemon = True
        last.start()


def calm_collections() -> None:
    """Leave out of garbage collections what lives already, and have them seldom: thousands of streams, and flags that
    are compiled, would each cost pauses otherwise, and leave next to no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 25, 100)


def serve(services: Services) -> None:
    """Serve until SIGTERM or SIGINT; returns when all is closed.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    settings = services.settings
    listener = _listen(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    async def run() -> None:
        door = FrontDoor(services)
        config = uvicorn.Config(
            door, loop="none", http=lane(door), ws="none", lifespan="on", log_config=None, access_log=False,
            server_header=False, date_header=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=75,
            backlog=2048,
        )  # fmt: skip
        await _Server(config, door, f"http://{shown}:{port}").serve(sockets=[listener])

    services.start()
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(run())
    finally:
        services.stop()


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415  (only the serving process needs it)

    return uvloop.new_event_loop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(f"FLAGSERVER_LISTEN: cannot listen on {host}:{port}: {error.strerror}.") from None
    listener.set_inheritable(True)
    return listener
