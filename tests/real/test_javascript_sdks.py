"""The JavaScript of docs/sdks.md, as it stands there: Node.js and Chromium, OpenFeature's packages, a real server."""

import json
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from flagserver import wire
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from tests.sdks.page import Release, example, release

HERE = Path(__file__).parent / "javascript"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with release(tmp_path_factory.mktemp("flagserver")) as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock, and the page's examples beside them."""
    folder = tmp_path_factory.mktemp("javascript")
    for file in ("package.json", "package-lock.json", ".npmrc", "said.mjs", "page.html"):
        shutil.copy(HERE / file, folder)
    for name in ("server.mjs", "browser.js"):
        (folder / name).write_text(example(name))
    install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder


def test_node_serves_what_the_server_says(shop: Release, project: Path) -> None:
    run = subprocess.run(
        ["node", "said.mjs", shop.green, shop.blue], cwd=project, env={**os.environ, **shop.environ},
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    expected = [
        {"value": slot, "variant": slot, "reason": "TARGETING_MATCH", "errorCode": None} for slot in ("green", "blue")
    ]
    assert json.loads(run.stdout) == expected


def test_a_browser_serves_what_the_server_says_and_never_holds_the_key(shop: Release, project: Path) -> None:
    with site(project, shop) as (url, said):
        for user, slot in ((shop.green, "green"), (shop.blue, "blue")):
            with chromium(f"{url}/page.html?user={user}", project):
                answer = said.get(timeout=PATIENCE)
            assert answer == {
                "value": slot, "variant": slot, "reason": "TARGETING_MATCH", "unknown": [True, "FLAG_NOT_FOUND"],
            }  # fmt: skip
    assert shop.key not in "".join((project / name).read_text() for name in ("browser.js", "page.html"))


def test_a_browser_hears_of_a_revert_although_it_does_not_poll(shop: Release, project: Path) -> None:
    """The page polls every 15 s where it hears of no changes; the provider leaves that while it does."""
    with site(project, shop) as (url, said), chromium(f"{url}/page.html?user={shop.green}", project):
        assert said.get(timeout=PATIENCE)["value"] == "green"
        ends = time.monotonic() + PATIENCE
        while "rampgate_page_streams 1.0" not in requests.get(f"{shop.server.url}/metrics", timeout=10).text:
            assert time.monotonic() < ends
        rollout = requests.get(f"{shop.server.url}/v1/rollouts/{shop.rollout}", headers=shop.gate.key, timeout=10)
        shop.gate.say(wire.ROLLOUT.validate_json(rollout.content), Told(order=Order.REVERT, by="ada"))
        assert said.get(timeout=PATIENCE) == {"now": "blue"}


@contextmanager
def site(folder: Path, shop: Release) -> Iterator[tuple[str, "queue.Queue[Any]"]]:
    """A site of one's own: it gives the page, and passes `/ofrep/` on with the key, as the proxy on the page does."""
    said: queue.Queue[Any] = queue.Queue()

    class Site(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            if not self.path.startswith("/ofrep/"):
                super().do_GET()
                return
            with requests.get(shop.server.url + self.path, stream=True, timeout=60) as reply, suppress(OSError):
                self.send_response(reply.status_code)
                self.send_header("Content-Type", reply.headers["Content-Type"])
                self.end_headers()
                for line in reply.iter_lines(chunk_size=1):
                    self.wfile.write(line + b"\n")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/said":
                said.put(json.loads(body))
                answer(self, 204, b"")
                return
            assert self.path.startswith("/ofrep/")
            assert shop.key not in str(self.headers)
            headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}
            headers["If-None-Match"] = self.headers.get("If-None-Match", "")
            reply = requests.post(shop.server.url + self.path, data=body, headers=headers, timeout=10)
            answer(self, reply.status_code, reply.content, reply.headers.get("ETag", ""))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(to: SimpleHTTPRequestHandler, status: int, body: bytes, tag: str = "") -> None:
    to.send_response(status)
    to.send_header("Content-Type", "application/json")
    to.send_header("ETag", tag)
    to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    to.wfile.write(body)


@contextmanager
def chromium(url: str, folder: Path) -> Iterator[None]:
    program = shutil.which("chromium")
    assert program, "chromium is not installed: apt-get install chromium"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    # A port to speak to it keeps it alive after the page has loaded.
    options += ["--remote-debugging-port=0", f"--user-data-dir={folder / 'chromium'}"]
    process = subprocess.Popen([program, *options, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
