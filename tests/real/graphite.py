"""A real Graphite (carbon-cache, and graphite-web's render API) on free ports, for the time of a test."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.real.prometheus import PATIENCE, free_port

CARBON = """[cache]
STORAGE_DIR = {folder}
CONF_DIR = {folder}/conf
LOG_DIR = {folder}/log
PID_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
USER =
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = 10000
ENABLE_UDP_LISTENER = False
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_TAGS = False
"""
SCHEMAS = "[short]\npattern = ^short\\.\nretentions = 10s:30m,60s:1d\n[all]\npattern = .*\nretentions = 10s:6h\n"
SETTINGS = """from graphite.settings import *
SECRET_KEY = "test"
ALLOWED_HOSTS = ["*"]
STORAGE_DIR = WHISPER_DIR = "{folder}/whisper"
STANDARD_DIRS = [WHISPER_DIR]
LOG_DIR = "{folder}/log"
INDEX_FILE = "{folder}/index"
CARBONLINK_HOSTS = ["127.0.0.1:{query}"]
DATABASES = {{"default": {{"NAME": "{folder}/graphite.db", "ENGINE": "django.db.backends.sqlite3"}}}}
"""
SERVE = """import os, sys
sys.path.insert(0, {folder!r})
os.environ["DJANGO_SETTINGS_MODULE"] = "test_graphite_settings"
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from graphite.wsgi import application
from wsgiref.simple_server import WSGIRequestHandler, make_server
WSGIRequestHandler.log_message = lambda *_: None
make_server("127.0.0.1", {web}, application).serve_forever()
"""


class Graphite:
    """Both programs. Points are sent as a client sends them, a line each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.line, self.web = free_port(), free_port()
        ports = {"line": self.line, "pickle": free_port(), "query": free_port(), "web": self.web}
        for name in ("whisper", "log", "conf"):
            (folder / name).mkdir()
        (folder / "conf/carbon.conf").write_text(CARBON.format(folder=folder, **ports))
        (folder / "conf/storage-schemas.conf").write_text(SCHEMAS)
        (folder / "test_graphite_settings.py").write_text(SETTINGS.format(folder=folder, **ports))
        (folder / "serve.py").write_text(SERVE.format(folder=str(folder), **ports))
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    def start(self) -> None:
        carbon = shutil.which("carbon-cache")
        assert carbon, "carbon-cache is not installed: apt-get install graphite-carbon graphite-web"
        conf = f"--config={self.folder}/conf/carbon.conf"
        self._run("carbon", carbon, conf, f"--pidfile={self.folder}/carbon.pid", "--nodaemon", "start")
        # graphite-web is Debian's, for Debian's own Python.
        self._run("web", "/usr/bin/python3", str(self.folder / "serve.py"))
        until = time.monotonic() + PATIENCE
        while not self._is_up():
            assert time.monotonic() < until, "\n".join(log.read_text() for log in self.folder.glob("*.log"))

    def _run(self, name: str, *argv: str) -> None:
        environ = {"PATH": os.environ["PATH"], "GRAPHITE_STORAGE_DIR": str(self.folder)}
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running.append(subprocess.Popen(argv, stdout=log, stderr=log, env=environ))

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.line), timeout=1):
                pass
            return requests.get(self.url + "/render", {"target": "x", "format": "json"}, timeout=5).status_code == 200
        except (OSError, requests.RequestException):
            return False

    def reports(self, *points: tuple[str, float, int]) -> None:
        """Send points, and return once the last one of each series could be read."""
        text = "".join(f"{name} {value} {at}\n" for name, value, at in points)
        with socket.create_connection(("127.0.0.1", self.line), timeout=5) as connection:
            connection.sendall(text.encode())
        # A series can be found once carbon has made its file, one after the other.
        for name, value, at in {point[0]: point for point in points}.values():
            until = time.monotonic() + PATIENCE
            while value not in self._values(name, at):
                assert time.monotonic() < until, f"{name} never arrived"

    def _values(self, name: str, at: int) -> list[float]:
        params = {"target": name, "from": str(at - 120), "until": str(at + 60), "format": "json", "noCache": "true"}
        answer = requests.get(self.url + "/render", params, timeout=10)
        if answer.status_code != 200:  # it stumbles over a file that carbon is just making
            return []
        return [value for series in answer.json() for value, _ in series["datapoints"]]

    def kill(self) -> None:
        for one in self._running:
            one.kill()
            one.wait()


@contextmanager
def graphite(folder: Path) -> Iterator[Graphite]:
    """A Graphite without a series; `short.…` rolls up after half an hour."""
    assert sys.platform == "linux"
    server = Graphite(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
