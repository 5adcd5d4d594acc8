"""Front doors of a rolling rollout: plain balancers before the targets, which leave out the one that is replaced."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.downtime.machines import Targets
from tests.real.doors import Door, free_port, running, tell_haproxy, write_nginx

CONFIGURATIONS = Path(__file__).with_name("balancers")


@contextmanager
def balanced(door: Door, folder: Path, targets: Targets) -> Iterator[str]:
    """The door before these targets; each is taken out of it before it ends, and back in once it answers."""
    port = free_port()
    (folder / "away").mkdir()
    file = {Door.NGINX: "nginx.conf", Door.CADDY: "Caddyfile", Door.HAPROXY: "haproxy.cfg"}[door]
    places = {f"10.0.0.{number}:8000": f"127.0.0.1:{one}" for number, one in enumerate(targets.ports.values(), start=1)}
    text = _written((CONFIGURATIONS / file).read_text(), {**places, "FOLDER": str(folder), "PORT": str(port)})
    if door is Door.NGINX:
        write_nginx(folder, text)
    else:
        (folder / file).write_text(text)
    with running(door, folder, port) as url:
        targets.before_ending = lambda name: _leave(door, folder, targets, name)
        targets.after_starting = lambda name: _come(door, folder, name)
        yield url


def _leave(door: Door, folder: Path, targets: Targets, name: str) -> None:
    match door:
        case Door.NGINX:
            (folder / "away" / name).touch()
        case Door.HAPROXY:
            tell_haproxy(folder, f"set server shop/{name} state drain")
        case Door.CADDY:
            targets.ask(name, "/leave")
    targets.await_quiet(name)


def _come(door: Door, folder: Path, name: str) -> None:
    match door:
        case Door.NGINX:
            (folder / "away" / name).unlink(missing_ok=True)
        case Door.HAPROXY:
            tell_haproxy(folder, f"set server shop/{name} state ready")
        case Door.CADDY:
            """Its health check finds it."""


def _written(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text
