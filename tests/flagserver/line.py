"""The line between one server and its PostgreSQL, which a test can cut without a word to either side."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sqlalchemy.engine import make_url


class Line:
    """A socket in ``folder`` that passes everything on to the database of ``url``, until it is cut."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = make_url(url)
        port = parts.port or parts.query.get("port", "5432")
        self._target = f"{parts.query['host']}/.s.PGSQL.{port}"
        self.url = parts.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{port}"))
        self._listener.listen(64)
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._whole.set()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.socket(socket.AF_UNIX)
                self._open += [here, there]
                self._whole.wait()
                there.connect(self._target)
                join(here, there, self._whole)


def join(one: socket.socket, other: socket.socket, whole: threading.Event) -> None:
    """Pass on what comes from either end, while the line is whole; when one end closes, so does the other."""

    def pass_on(here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(65536):
                whole.wait()
                there.sendall(data)
        for each in (here, there):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    for ends in ((one, other), (other, one)):
        threading.Thread(target=pass_on, args=ends, daemon=True).start()
