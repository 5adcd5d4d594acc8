"""The nginx of docs/edge.md, as it stands there, in front of two pools and the flag server."""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"
PATIENCE = 30.0


class _Pool(BaseHTTPRequestHandler):
    """Says which pool it is, and what the proxy told it."""

    def do_GET(self) -> None:
        told = {name: self.headers.get(name, "") for name in ("Rampgate-Variant", "Rampgate-User")}
        body = f"{self.server.name} {told['Rampgate-Variant']} {told['Rampgate-User']}".encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def pool(name: str) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pool)
    server.name = name  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def nginx(folder: Path, written: dict[str, str]) -> Iterator[str]:
    """nginx with the page's configuration, on a free port."""
    [block] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.S)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for old, new in {"listen 80": f"listen 127.0.0.1:{port}", **written}.items():
        assert old in block, old
        block = block.replace(old, new)
    paths = "".join(f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}}\n"
        f"http {{ access_log off; {paths}\n{block}\n}}\n"
    )
    program = shutil.which("nginx")
    assert program, "nginx is not installed: apt-get install nginx"
    with (folder / "nginx.log").open("w") as log:
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=log)
    try:
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                threading.Event().wait(0.05)
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("flagserver")) as made:
        yield made


@pytest.fixture(scope="module")
def site(server: FlagServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    steps = [{"share": 50_000, "bake": 0.0}, {"share": 100_000, "bake": 0.0}]
    pace = {"poll": 15.0, "lease": 300.0, "stale_after": 300.0, "heartbeat": 15.0}
    Operator(server).ramp("shop", steps=steps, **pace)
    with ExitStack() as stack:
        written = {
            "10.0.0.1:8000": stack.enter_context(pool("blue")),
            "10.0.0.2:8000": stack.enter_context(pool("green")),
            "10.0.0.9:8080": f"127.0.0.1:{server.port}",
            "rg_client_…": server.key("client"),
            # A busy machine may take longer than a hundredth of a second; what is shown here is not speed.
            "proxy_connect_timeout 50ms": "proxy_connect_timeout 5s",
            "proxy_read_timeout 100ms": "proxy_read_timeout 10s",
        }
        yield stack.enter_context(nginx(tmp_path_factory.mktemp("nginx"), written))


def test_each_visitor_reaches_the_pool_of_their_variant_and_the_app_is_told(site: str) -> None:
    pools = set()
    for number in range(24):
        headers = {
            "X-User-Id": f"user-{number}",
            "Rampgate-Variant": "green",
            "Authorization": "Bearer own",
            "Origin": "x",
        }
        reply = requests.get(site, headers=headers, timeout=PATIENCE)
        name, variant, user = reply.text.split(" ")
        assert (reply.status_code, variant, user) == (200, name, f"user-{number}")
        assert "Set-Cookie" not in reply.headers
        pools.add(name)
    assert pools == {"blue", "green"}


def test_a_visitor_without_a_name_is_known_again_by_the_cookie(site: str) -> None:
    first = requests.get(site, timeout=PATIENCE)
    name, user = first.headers["Set-Cookie"].split(";")[0].split("=")
    assert (name, len(user)) == ("rampgate-user", 32)
    again = requests.get(site, headers={"Cookie": f"rampgate-user={user}"}, timeout=PATIENCE)
    assert again.text == first.text
    assert "Set-Cookie" not in again.headers


def test_with_the_flag_server_gone_everybody_reaches_stable_and_nothing_fails(site: str, server: FlagServer) -> None:
    server.kill()
    for number in range(24):
        reply = requests.get(site, headers={"X-User-Id": f"user-{number}"}, timeout=PATIENCE)
        assert (reply.status_code, reply.text) == (200, "blue  ")
    server.start()
    texts = [requests.get(site, headers={"X-User-Id": f"user-{n}"}, timeout=PATIENCE).text for n in range(24)]
    assert any(text.startswith("green") for text in texts)
