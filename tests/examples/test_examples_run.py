"""Each example as its own first lines start it, against a real server on which its release is ramping."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.flagserver.process import FlagServer
from tests.sdks.page import ROOT, Release

BIN = Path(sys.executable).parent
PATIENCE = 60.0
EMPTY = {"items": 0, "total": 0}
FULL = {"items": 2, "total": 10}

WEB: dict[str, Callable[[int], list[str]]] = {
    "flask": lambda port: [str(BIN / "flask"), "--app", "examples/flask/app", "run", "--port", str(port)],
    "fastapi": lambda port: [str(BIN / "uvicorn"), "--app-dir", "examples/fastapi", "app:app", "--port", str(port)],
    "django": lambda port: [sys.executable, "examples/django/manage.py", "runserver", "--noreload", str(port)],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("flagserver")) as running:
        yield running


@pytest.fixture
def shop(server: FlagServer, request: pytest.FixtureRequest) -> Release:
    """A release of this test's own, in an environment of its own."""
    return Release(server, re.sub(r"\W+", "-", request.node.name)[-40:].strip("-"))


def environ(shop: Release) -> dict[str, str]:
    return {**os.environ, **shop.environ, "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(command: list[str], shop: Release, log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environ(shop), stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def until(condition: Callable[[], Any], log: Path) -> Any:
    """Ask again and again, for processes announce nothing."""
    for _ in range(int(PATIENCE / 0.02)):
        found = condition()
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"it did not happen; the app says:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Visitor:
    """Asks a shop as this user."""

    def __init__(self, url: str, user: str) -> None:
        self.url = url
        self.headers = {"X-User": user}
        self.served = 0

    def ask(self, basket: dict[str, int]) -> requests.Response | None:
        try:
            reply = requests.get(f"{self.url}/basket", params=basket, headers=self.headers, timeout=10)
        except requests.ConnectionError:
            return None
        self.served += 1
        return reply

    def version(self) -> str:
        reply = self.ask(FULL)
        return "" if reply is None else str(reply.json()["version"])


@pytest.mark.parametrize("name", WEB)
def test_a_web_app_serves_its_release_and_its_failures_are_counted(name: str, shop: Release, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "app.log"
    with running(WEB[name](port), shop, log):
        green, blue = (Visitor(f"http://127.0.0.1:{port}", user) for user in (shop.green, shop.blue))
        until(lambda: green.version() == "green", log)
        green.served = 1  # before it, the flags had not arrived: served as on stable, and counted for nobody
        full = blue.ask(FULL)
        assert full is not None
        assert full.json() == {"version": "blue", "average": 5.0, "shipping": 0}
        empty = blue.ask(EMPTY)
        assert empty is not None
        assert empty.json()["average"] == 0.0
        failed = [green.ask(EMPTY) for _ in range(3)]
        assert [reply is not None and reply.status_code for reply in failed] == [500] * 3

        def reported() -> bool:
            counted = shop.counted()
            arms = [(counted[arm]["requests"], counted[arm]["errors"]) for arm in ("canary", "stable")]
            return arms == [(green.served, 3), (blue.served, 0)]

        until(reported, log)


def test_a_worker_does_its_jobs_and_its_failures_are_counted(shop: Release) -> None:
    jobs = [{"user": user, **basket} for user in (shop.green, shop.blue) for basket in (FULL, EMPTY)]
    done = subprocess.run(
        [sys.executable, "examples/worker/worker.py"], cwd=ROOT, env=environ(shop), check=True, timeout=PATIENCE,
        input="".join(json.dumps(job) + "\n" for job in jobs), capture_output=True, text=True,
    )  # fmt: skip
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"version": "green", "average": 5.0},
        {"failed": "ZeroDivisionError"},
        {"version": "blue", "average": 5.0},
        {"version": "blue", "average": 0.0},
    ]
    counted = shop.counted()
    assert (counted["canary"]["requests"], counted["canary"]["errors"]) == (2, 1)
    assert (counted["stable"]["requests"], counted["stable"]["errors"]) == (2, 0)
