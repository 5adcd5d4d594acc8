"""The flag server's image: not root, healthy by its own word, and gone when told to go."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests

from flagserver import wire
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Reason
from rampgate.rollout import Posted
from tests.container.contained import Contained, started
from tests.container.engine import Image, ask, compiled_at_start, engine
from tests.flagserver.callers import Gate, Stream
from tests.scenarios.waiting import until


@pytest.fixture
def server(flagserver_image: Image) -> Iterator[Contained]:
    with started(flagserver_image) as server:
        yield server


def test_the_image_is_not_root_and_says_where_it_keeps_and_serves(flagserver_image: Image) -> None:
    config = flagserver_image.config["Config"]
    assert config["User"] not in {"", "root", "0"}
    assert "/data" in config["Volumes"]
    assert "8080/tcp" in config["ExposedPorts"]
    assert config["Entrypoint"] == ["flagserver"]


def test_the_server_is_healthy_by_its_own_check(server: Contained, flagserver_image: Image) -> None:
    check = flagserver_image.config["Config"].get("Healthcheck") or flagserver_image.config["Healthcheck"]
    assert check["Test"][0] == "CMD"
    ask("exec", server.name, *check["Test"][1:])
    assert ask("exec", server.name, "id", "-u") == "10001"


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


def test_as_first_process_it_lets_streams_and_requests_end_when_told_to_go(server: Contained, tmp_path: Path) -> None:
    assert "flagserver" in ask("exec", server.name, "cat", "/proc/1/cmdline")
    gate = Gate(server)
    rollout = gate.create("shop")
    stream = Stream(gate)
    stream.until("snapshot")
    body = json.dumps({"flag": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}).encode()
    head = (
        f"PUT /v1/production/flags/slow HTTP/1.1\r\nHost: here\r\nAuthorization: {gate.key['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    port = int(server.url.rsplit(":", 1)[1])
    with ThreadPoolExecutor(2) as pool, socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        poll = pool.submit(gate.read, rollout, rollout.state.revision, 30.0)
        slow.sendall(head.encode() + body[:10])
        until(lambda: "rampgate_streams 1.0" in requests.get(f"{server.url}/metrics", timeout=30).text)
        # Whoever lives after ten seconds is killed by the engine, and its exit code is 137.
        stopping = pool.submit(ask, "stop", "-t", "10", server.name, timeout=60)
        assert [name for name, _, _ in stream.events][-1] == "reconnect"
        slow.sendall(body[10:])
        answered = b"".join(iter(lambda: slow.recv(65536), b""))
        assert answered.startswith(b"HTTP/1.1 201 "), answered
        assert poll.result().id == rollout.id
        stopping.result()
    assert ask("inspect", "--format", "{{.State.ExitCode}}", server.name) == "0"
    ask("cp", f"{server.name}:/data/flags.db", str(tmp_path / "flags.db"))
    with closing(sqlite3.connect(tmp_path / "flags.db")) as kept:
        assert ("slow",) in kept.execute("SELECT key FROM flags").fetchall()


def test_a_full_disk_costs_no_acknowledged_write_and_is_over_when_there_is_room(flagserver_image: Image) -> None:
    # As root: not every engine lets another user own a file system in memory.
    with started(flagserver_image, "--user", "0", "--tmpfs", "/data:size=4m") as server:
        gate = Gate(server)
        rollout = gate.to_ten_percent(gate.create("shop"))
        gate.put("before", 1)
        full = engine("exec", server.name, "sh", "-c", "cat /dev/zero >/data/filler")
        assert "No space left" in full.stderr
        taken = [number for number in range(300) if _put(gate, f"flag-{number}").status_code == 201]
        assert len(taken) < 300
        refused = _put(gate, "another").json()
        assert (refused["error"], "whether its disk is full" in refused["message"]) == ("store_unavailable", True)
        body = wire.POSTED.dump_json(Posted(id="abort", event=Told(order=Order.REVERT, by="ada")))
        where = f"{server.url}/v1/rollouts/{rollout.id}/events"
        assert requests.post(where, data=body, headers=gate.key, timeout=30).status_code == 202
        assert "targeting" not in gate.snapshot()["flags"]["shop"]
        ask("exec", server.name, "rm", "/data/filler")
        until(lambda: requests.get(f"{server.url}/readyz", timeout=30).json()["trouble"] is None)
        until(lambda: gate.read(rollout).state.reason is Reason.ABORTED)
        assert _put(gate, "later").status_code == 201
        kept = json.loads(ask("exec", server.name, "flagserver", "export", "--environment", "production"))["flags"]
        assert {"before", "later", *(f"flag-{number}" for number in taken)} <= set(kept)


def _put(gate: Gate, flag: str) -> requests.Response:
    document = {"flag": {"state": "ENABLED", "variants": {"a": "x" * 4000}, "defaultVariant": "a"}}
    where = f"{gate.server.url}/v1/production/flags/{flag}"
    return requests.put(where, json=document, headers=gate.key, timeout=30)


def test_the_data_outlives_the_container_in_its_volume(server: Contained, tmp_path: Path) -> None:
    ask("stop", "-t", "15", server.name, timeout=60)
    ask("cp", f"{server.name}:/data/flags.db", str(tmp_path / "flags.db"))
    assert (tmp_path / "flags.db").read_bytes().startswith(b"SQLite format 3")
