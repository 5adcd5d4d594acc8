"""Every way in which a server can fall silent, against the flag server itself: stable, and back when it returns.

How long it takes is measured by bench/client_bench.py.
"""

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rampgate import FlagClient
from rampgate.client import Reason
from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator
from tests.rampgate.client.scripted import until

ROOT = Path(__file__).parents[3]
STALE_AFTER = 2.0
USERS = [f"user-{number}" for number in range(50)]


class Wire:
    """A proxy between client and server. ``mode`` is ``open``; ``drop``: bytes vanish and nobody is told, as when a
    firewall drops packets; ``half``: requests arrive, answers do not."""

    def __init__(self, port: int) -> None:
        self.mode = "open"
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for each in (self._listener, *self._pairs):
            each.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.02):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj, up=key.data)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._to)
        for one, other, up in ((near, far, True), (far, near, False)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ, up)

    def _pass_on(self, source: socket.socket, up: bool) -> None:
        try:
            data = source.recv(1 << 16)
            if self.mode == "open" or (self.mode == "half" and up):
                if data:
                    self._pairs[source].sendall(data)
                else:
                    self._pairs[source].shutdown(socket.SHUT_WR)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(source)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("silence")) as running:
        Operator(running).ramp("shop", stale_after=STALE_AFTER)
        yield running


@pytest.fixture(scope="module")
def key(server: FlagServer) -> str:
    return server.key("sdk")


@contextmanager
def following(url: str, key: str) -> Iterator[FlagClient]:
    with FlagClient(url, key) as client:
        assert client.ready(20)
        until(lambda: greens(client) > 0.9, 20)
        yield client


def greens(client: FlagClient) -> float:
    return sum(client.string("shop", "", user) == "green" for user in USERS) / len(USERS)


def falls_back_to_stable(client: FlagClient) -> None:
    """Everybody is on stable, and it says why."""
    until(lambda: greens(client) == 0, 20)
    assert client.details("shop", "", USERS[0]).reason is Reason.STALE


@pytest.mark.parametrize("mode", ["drop", "half"])
def test_packets_that_vanish_and_connections_half_open(server: FlagServer, key: str, mode: str) -> None:
    wire = Wire(server.port)
    try:
        with following(wire.url, key) as client:
            wire.mode = mode
            falls_back_to_stable(client)
            wire.mode = "open"
            until(lambda: greens(client) > 0.9, 40)
    finally:
        wire.close()


def test_a_server_that_is_stopped_and_goes_on(server: FlagServer, key: str) -> None:
    with following(server.url, key) as client:
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            falls_back_to_stable(client)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        until(lambda: greens(client) > 0.9, 40)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
# It may die between a connection's birth and the moment when somebody would close it.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_feed_thread_that_was_killed_hides_nothing(server: FlagServer, key: str) -> None:
    with following(server.url, key) as client:
        [feed] = [thread for thread in client._contact._threads if thread.name == "rampgate-feed"]  # type: ignore[union-attr]
        assert feed.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(feed.ident), ctypes.py_object(SystemExit))
        feed.join(10)
        assert not feed.is_alive()
        falls_back_to_stable(client)


APP = """
import sys, time
from rampgate import FlagClient
client = FlagClient(sys.argv[1], sys.argv[2])
assert client.ready(20)
def green():
    return sum(client.string("shop", "", f"user-{number}") == "green" for number in range(50)) > 45
while not green(): time.sleep(0.01)
print("green", flush=True)
sys.stdin.readline()
print(client.details("shop", "", "user-0").reason, flush=True)
while not green(): time.sleep(0.01)
print("green again", flush=True)
"""


def test_an_app_that_was_stopped_is_stable_at_its_first_lookup(server: FlagServer, key: str) -> None:
    command = [sys.executable, "-c", APP, server.url, key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as app:
        assert app.stdin is not None
        assert app.stdout is not None
        assert app.stdout.readline() == "green\n"
        app.send_signal(signal.SIGSTOP)
        app.stdin.write("\n")
        app.stdin.flush()
        end = time.monotonic() + STALE_AFTER + 0.2
        until(lambda: time.monotonic() > end)  # what is tested is that the clock alone makes flags stale
        # The server, too: what it would say now is fresh, and could come before the first lookup.
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            app.send_signal(signal.SIGCONT)
            assert app.stdout.readline() == "STALE\n"
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert app.stdout.readline() == "green again\n"
        assert app.wait(20) == 0


RESTARTED = """
import sys
from rampgate import FlagClient
with FlagClient(sys.argv[1], sys.argv[2], cache=sys.argv[3]) as client:
    def green():
        return sum(client.string("shop", "", f"user-{number}") == "green" for number in range(50))
    found = client.details("shop", "none", "user-0")
    print(found.value, found.reason, flush=True)
    assert client.ready(60)
    while green() <= 45: pass
"""


def test_an_app_that_is_started_again_without_the_server_is_stable_until_the_server_is_heard(
    server: FlagServer, key: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", RESTARTED, server.url, key, str(tmp_path)]
    # The first run may look up before or after it has heard the server; the second knows only what the first kept.
    subprocess.run(command, stdout=subprocess.DEVNULL, cwd=ROOT, check=True, timeout=60)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        again = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert again.stdout is not None
        assert again.stdout.readline() == "blue STALE\n"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    with again:
        assert again.wait(60) == 0
