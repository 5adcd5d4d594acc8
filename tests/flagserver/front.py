"""A plain door before several servers, such as a load balancer is: it passes bytes on and understands none of them."""

import itertools
import socket
import threading
from contextlib import suppress
from types import TracebackType

from tests.flagserver.line import join
from tests.flagserver.process import FlagServer


class Front:
    """Each connection goes to the next of the ``servers`` that takes it; where none does, it is closed.

    Servers may come and go while it is open.
    """

    def __init__(self, *servers: FlagServer) -> None:
        self.servers = list(servers)
        self._turns = itertools.count()
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Front":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = self._taken()
                if there is None:
                    here.close()
                    continue
                self._ends += [here, there]
                join(here, there, self._whole)

    def _taken(self) -> socket.socket | None:
        turn, servers = next(self._turns), tuple(self.servers)
        for number in range(len(servers)):
            with suppress(OSError):
                port = servers[(turn + number) % len(servers)].port
                there = socket.create_connection(("127.0.0.1", port), timeout=5)
                there.settimeout(None)
                return there
        return None
