"""What the gate makes of a flag server that is not there, or is somebody else."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gate.errors import FlagServerUnreachableError
from gate.flagserver_api import FlagServer


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
    assert Elsewhere.came == ("/v1/rollouts/ro_1",)


def test_a_server_that_is_not_there_is_told_in_one_plain_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FlagServerUnreachableError) as caught:
            FlagServer(url, "key").rollout("ro_1")
    assert str(caught.value) == f"The flag server at {url} gave no answer: Connection refused"
