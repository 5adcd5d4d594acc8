"""The flag server's image: not root, healthy by its own word, and gone when told to go."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.container.engine import ENGINE, Image, ask, compiled_at_start, engine


def free_port() -> int:
    """A port that nobody listened on a moment ago; the health check has to know it before the server starts."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


@pytest.fixture
def server(flagserver_image: Image) -> Iterator[tuple[str, str]]:
    """A server that listens, on a port of its own: the container's name and its first lines."""
    name = f"rampgate-server-{uuid4().hex[:12]}"
    command = [ENGINE, "run", "--name", name, "--network", "host", "-e", f"FLAGSERVER_LISTEN=127.0.0.1:{free_port()}"]
    process = subprocess.Popen(
        [*command, flagserver_image.tag],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    seen = ""
    try:
        for line in process.stdout or ():
            seen += line
            if "listening on" in line:
                break
        else:
            raise AssertionError(f"the server ended without listening:\n{seen}")
        yield name, seen
    finally:
        engine("rm", "-f", name)
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()


def test_the_image_is_not_root_and_says_where_it_keeps_and_serves(flagserver_image: Image) -> None:
    config = flagserver_image.config["Config"]
    assert config["User"] not in {"", "root", "0"}
    assert "/data" in config["Volumes"]
    assert "8080/tcp" in config["ExposedPorts"]
    assert config["Entrypoint"] == ["flagserver"]


def test_the_server_is_healthy_by_its_own_check(server: tuple[str, str], flagserver_image: Image) -> None:
    name, _ = server
    check = flagserver_image.config["Config"].get("Healthcheck") or flagserver_image.config["Healthcheck"]
    assert check["Test"][0] == "CMD"
    ask("exec", name, *check["Test"][1:])
    assert ask("exec", name, "id", "-u") == "10001"


def test_nothing_is_compiled_by_a_user_who_may_not_keep_it(flagserver_image: Image) -> None:
    assert compiled_at_start(flagserver_image, "flagserver.serve", "urllib.request") == ""


def test_the_health_check_fails_where_nothing_listens(flagserver_image: Image) -> None:
    check = flagserver_image.config["Config"].get("Healthcheck") or flagserver_image.config["Healthcheck"]
    program, *arguments = check["Test"][1:]
    listen = ["-e", "FLAGSERVER_LISTEN=127.0.0.1:9"]
    done = engine(
        "run", "--rm", "--network", "host", *listen, "--entrypoint", program, flagserver_image.tag, *arguments
    )
    assert done.returncode == 1, done.stderr


def test_sigterm_ends_the_server_as_first_process(server: tuple[str, str]) -> None:
    name, _ = server
    ask("stop", "-t", "15", name, timeout=30)
    assert ask("inspect", "--format", "{{.State.ExitCode}}", name) == "0", "137 means it had to be killed"


def test_the_data_outlives_the_container_in_its_volume(server: tuple[str, str], tmp_path: Path) -> None:
    name, _ = server
    ask("cp", f"{name}:/data/flags.db", str(tmp_path / "flags.db"))
    assert (tmp_path / "flags.db").read_bytes().startswith(b"SQLite format 3")
