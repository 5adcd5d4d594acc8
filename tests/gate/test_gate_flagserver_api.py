"""What the gate makes of a flag server that is not there, or is somebody else."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gate.errors import FlagServerRefusedError, FlagServerUnreachableError
from gate.flagserver_api import FlagServer
from rampgate.problem import Problem


class Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody somewhere else, and remembers who came."""

    came: tuple[str, ...] = ()

    def do_GET(self) -> None:
        type(self).came += (self.path,)
        self.send_response(302)
        self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_redirect_is_not_followed_and_says_what_to_give_instead(elsewhere: str) -> None:
    with pytest.raises(FlagServerUnreachableError, match="answered 302, a redirect: give the server's own address"):
        FlagServer(elsewhere, "key").rollout("ro_1")
    assert Elsewhere.came[-1] == "/v1/rollouts/ro_1"


class Dripping(socketserver.BaseRequestHandler):
    """Sends a head, or only the beginning of one, and then byte after byte for as long as somebody listens."""

    head = b""

    def handle(self) -> None:
        gone = threading.Event()
        self.request.recv(65_536)
        try:
            self.request.sendall(self.head)
            while not gone.wait(0.05):
                self.request.sendall(b" ")
        except OSError:
            gone.set()


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "],
    ids=["body", "body without a length", "head"],
)
def test_a_server_that_drips_bytes_does_not_hold_the_gate(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dripping, "head", head)
    with socketserver.TCPServer(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            with pytest.raises(FlagServerUnreachableError, match=r"gave no answer within 300 ?ms"):
                FlagServer(url, "key", timeout=0.3).rollout("ro_1")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("needs", "asked"), [(None, ""), (True, "&needs_hands=true"), (False, "&needs_hands=false")])
def test_rollouts_that_need_hands_can_be_asked_for(elsewhere: str, needs: bool | None, asked: str) -> None:
    with pytest.raises(FlagServerUnreachableError):
        FlagServer(elsewhere, "key").find(flag="shop", needs_hands=needs)
    path, _, query = Elsewhere.came[-1].partition("?")
    assert (path, query) == ("/v1/rollouts", f"flag=shop{asked}&limit=50")


def test_a_server_that_is_not_there_is_told_in_one_plain_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FlagServerUnreachableError) as caught:
            FlagServer(url, "key").rollout("ro_1")
    assert str(caught.value) == f"The flag server at {url} gave no answer: Connection refused"


def test_a_single_problem_is_not_told_twice() -> None:
    one, other = Problem("environment", "'x'", "one that is here"), Problem("flag", "'y'", "one that is here")
    assert str(FlagServerRefusedError(code="invalid", message=str(one), problems=(one,))) == str(one)
    both = str(FlagServerRefusedError(code="invalid", message="2 problems.", problems=(one, other)))
    assert both.splitlines() == ["2 problems.", f"  {one}", f"  {other}"]
