"""The front doors of examples/edge as they stand there, with this machine's addresses written in."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import requests
import yaml

RECIPES = Path(__file__).parents[2] / "examples" / "edge"
PATIENCE = 30.0


class Door(StrEnum):
    NGINX = "nginx"
    CADDY = "caddy"
    HAPROXY = "haproxy"
    TRAEFIK = "traefik"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the parts are: ports of this machine, and a client key."""

    blue: int
    green: int
    flagserver: int
    key: str


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def version(door: Door) -> str:
    """What the program says of itself, in one word."""
    argument = {Door.NGINX: "-v", Door.CADDY: "version", Door.HAPROXY: "-v", Door.TRAEFIK: "version"}[door]
    said = subprocess.run([_program(door), argument], capture_output=True, text=True, check=True)
    words = (said.stdout + said.stderr).replace("nginx/", "").split()
    return next(word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit())


@contextmanager
def opened(door: Door, folder: Path, places: Places, *, slack: bool = False) -> Iterator[str]:
    """The door on a free port. ``slack``: its patience with the flag server is a busy machine's, 10 s."""
    port = free_port()
    (folder / "state").mkdir()
    written = {
        "10.0.0.1:8000": f"127.0.0.1:{places.blue}",
        "10.0.0.2:8000": f"127.0.0.1:{places.green}",
        "10.0.0.9:8080": f"127.0.0.1:{places.flagserver}",
        **({"/var/lib/rampgate": str(folder / "state")} if door in (Door.NGINX, Door.CADDY) else {}),
        **(SLACK[door] if slack else {}),
    }
    WRITTEN[door](folder, port, places, written)
    with running(door, folder, port, RAMPGATE_KEY=places.key) as url:
        yield url


@contextmanager
def running(door: Door, folder: Path, port: int, **environ: str) -> Iterator[str]:
    """The door's program with the configuration in the folder, from when it listens on; its address."""
    arguments = {
        Door.NGINX: ["-p", str(folder), "-c", str(folder / "nginx.conf")],
        Door.CADDY: ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
        Door.HAPROXY: ["-db", "-f", str(folder / "haproxy.cfg")],
        Door.TRAEFIK: [f"--configFile={folder / 'traefik.yaml'}"],
    }[door]
    with (folder / "door.log").open("w") as log:
        everything = {**os.environ, **environ, "HOME": str(folder)}
        process = subprocess.Popen([_program(door), *arguments], stdout=log, stderr=log, env=everything)
    try:
        await_port(port, process, folder / "door.log")
        if door is Door.TRAEFIK:
            _await_routes(port, folder / "door.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def retire(door: Door, folder: Path, slot: str) -> None:
    """What the deploy hook of the README does before it stops a slot."""
    stable = {"blue": "green", "green": "blue"}[slot]
    if door is Door.HAPROXY:
        (folder / "rampgate.map").write_text(f"shop {stable}\n")
        tell_haproxy(folder, f"set map {folder}/rampgate.map shop {stable}")
    elif door is Door.TRAEFIK:
        slots = yaml.safe_load((folder / "dynamic/rampgate.yaml").read_text())["http"]["services"]
        servers = {"loadBalancer": {"servers": slots[stable]["loadBalancer"]["servers"]}}
        path = folder / "dynamic/stable.yaml"
        path.with_suffix(".new").write_text(yaml.safe_dump({"http": {"services": {"stable": servers}}}))
        path.with_suffix(".new").rename(path)
        threading.Event().wait(2.0)
    elif stable == "green":
        (folder / "state" / "shop.green").touch()
    else:
        (folder / "state" / "shop.green").unlink(missing_ok=True)


def tell_haproxy(folder: Path, order: str) -> None:
    """An order by its runtime socket."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(folder / "admin.sock"))
        admin.sendall(f"{order}\n".encode())
        admin.recv(1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The app in one slot."""

    process: "subprocess.Popen[bytes]"
    port: int


@contextmanager
def pool(name: str, folder: Path, port: int = 0) -> Iterator[App]:
    """The app in the slot of that name, on a free port unless told."""
    with (folder / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.real.pool", name, str(port)],
            cwd=RECIPES.parents[1],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        yield App(process=process, port=int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


SLACK: Mapping[Door, Mapping[str, str]] = {
    Door.NGINX: {"_connect_timeout 50ms": "_connect_timeout 5s", "_read_timeout 100ms": "_read_timeout 10s"},
    Door.CADDY: {"dial_timeout 50ms": "dial_timeout 5s", "_header_timeout 100ms": "_header_timeout 10s"},
    Door.HAPROXY: {"timeout connect 50ms": "timeout connect 5s", "timeout server 90ms": "timeout server 10s"},
    Door.TRAEFIK: {
        "dialTimeout: 50ms": "dialTimeout: 5s",
        "responseHeaderTimeout: 100ms": "responseHeaderTimeout: 10s",
    },
}


def _read(path: Path, written: Mapping[str, str]) -> str:
    text = path.read_text()
    for old, new in written.items():
        assert old in text or path.suffix in (".lua", ".yaml"), f"{old} is not in {path}"
        text = text.replace(old, new)
    return text


def _nginx(folder: Path, port: int, places: Places, written: Mapping[str, str]) -> None:
    mine = {"listen 80": f"listen 127.0.0.1:{port}", "rg_client_…": places.key}
    write_nginx(folder, _read(RECIPES / "nginx" / "rampgate.conf", {**written, **mine}))


def write_nginx(folder: Path, block: str) -> None:
    """nginx.conf with this in its `http { }`."""
    paths = "".join(f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # workers that are nobody could not look into a test's folder
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 2;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000; {paths}\n{block}\n}}\n"
    )


def _caddy(folder: Path, port: int, _: Places, written: Mapping[str, str]) -> None:
    mine = {"http://example.com": f"http://127.0.0.1:{port}"}
    (folder / "Caddyfile").write_text(
        "{\n\tadmin off\n}\n" + _read(RECIPES / "caddy" / "Caddyfile", {**written, **mine})
    )


def _haproxy(folder: Path, port: int, places: Places, written: Mapping[str, str]) -> None:
    mine = {
        "bind :80": f"bind 127.0.0.1:{port}",
        "127.0.0.1:8009": f"127.0.0.1:{free_port()}",
        "127.0.0.1:8404": f"unix@{folder}/metrics.sock",
        "/etc/haproxy": str(folder),
        "/run/haproxy": str(folder),
        "rg_client_…": places.key,
    }
    for name in ("haproxy.cfg", "rampgate.lua"):
        (folder / name).write_text(_read(RECIPES / "haproxy" / name, {**written, **mine}))
    (folder / "rampgate.map").write_text("shop blue\n")


def _traefik(folder: Path, port: int, places: Places, written: Mapping[str, str]) -> None:
    mine = {f"127.0.0.1:{one}": f"127.0.0.1:{free_port()}" for one in (8001, 8002, 8003)} | {
        '":80"': f'"127.0.0.1:{port}"',
        "/etc/traefik": str(folder),
        "Host(`example.com`)": "PathPrefix(`/`)",
        "rg_client_…": places.key,
    }
    (folder / "dynamic").mkdir()
    for name in ("traefik.yaml", "dynamic/stable.yaml", "dynamic/rampgate.yaml"):
        (folder / name).write_text(_read(RECIPES / "traefik" / name, {**written, **mine}))


WRITTEN = {Door.NGINX: _nginx, Door.CADDY: _caddy, Door.HAPROXY: _haproxy, Door.TRAEFIK: _traefik}


def _program(door: Door) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
    found = shutil.which(door.value, path=path)
    assert found, f"{door} is not installed: see scripts/real-programs"
    return found


def _await_routes(port: int, log: Path) -> None:
    """Traefik listens before it has read where requests go."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if requests.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).status_code != 404:
            return
        threading.Event().wait(0.05)
    raise AssertionError(log.read_text())


def await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns once something listens on the port."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            threading.Event().wait(0.05)
    raise AssertionError(log.read_text())
