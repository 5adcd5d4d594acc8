"""The flag server as it runs: its own process, its own port, streams, long polls, kills and restarts."""

import json
import re
import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from rampgate.machine.events import Attached, Told
from rampgate.machine.state import Order, Phase
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.inside import PLAN
from tests.flagserver.process import FlagServer

QUICK = replace(PLAN, poll=0.2, lease=1.5, stale_after=1.5, heartbeat=0.5, scale_down_delay=3.0)


@pytest.fixture
def gate(process: FlagServer) -> Gate:
    """A gate with an environment of its own on the shared server."""
    return Gate(process, f"env-{secrets.token_hex(4)}")


def test_a_stream_begins_with_the_whole_snapshot_and_goes_on_with_changes(gate: Gate) -> None:
    gate.put("one", 1)
    stream = Stream(gate)
    assert stream.reply.headers["X-Accel-Buffering"] == "no"
    number, first = stream.until("snapshot")
    assert first["snapshot"]["flags"]["one"]["variants"] == {"a": 1}
    assert number == first["snapshot"]["version"]
    assert 0 <= first["age"] < 5
    gate.put("two", 2)
    _, changed = stream.until("changed")
    assert (changed["previous"], set(changed["flags"]), changed["removed"]) == (number, {"two"}, [])
    requests.delete(f"{gate.server.url}/v1/{gate.environment}/flags/one", headers=gate.key, timeout=10)
    _, removed = stream.until("changed")
    assert (removed["previous"], removed["flags"], removed["removed"]) == (changed["version"], {}, ["one"])
    assert gate.snapshot()["version"] == removed["version"]
    stream.close()


def test_a_stream_that_resumes_with_the_current_version_gets_a_heartbeat_instead(gate: Gate) -> None:
    gate.put("one", 1)
    version = gate.snapshot()["version"]
    stream = Stream(gate, last=version)
    name, _, data = next(stream.events)
    assert (name, data["version"]) == ("heartbeat", version)
    stream.close()
    stale = Stream(gate, last="an older one")
    assert next(stale.events)[0] == "snapshot"
    stale.close()


def test_heartbeats_come_as_often_as_the_quickest_rollout_asks(gate: Gate) -> None:
    gate.create("shop", plan=replace(PLAN, poll=0.5, lease=2.0, stale_after=2.0, heartbeat=0.05))
    stream = Stream(gate)
    for _ in range(3):
        assert stream.until("heartbeat")[1]["age"] < 5
    stream.close()


def test_every_stream_hears_of_a_revert(gate: Gate) -> None:
    rollout = gate.to_ten_percent(gate.create("shop"))
    streams = [Stream(gate) for _ in range(8)]
    for stream in streams:
        _, first = stream.until("snapshot")
        assert "targeting" in first["snapshot"]["flags"]["shop"]
    gate.say(rollout, Told(order=Order.REVERT, by="ada"))
    for stream in streams:
        assert "targeting" not in stream.until("changed")[1]["flags"]["shop"]
        stream.close()


def test_a_stream_hears_of_a_lapsed_lease_although_nobody_asks(gate: Gate) -> None:
    rollout = gate.create("shop", plan=QUICK)
    stream = Stream(gate)
    gate.to_ten_percent(rollout)
    while "targeting" not in stream.until("changed")[1]["flags"].get("shop", {}):
        pass
    while "targeting" in stream.until("changed")[1]["flags"].get("shop", {"targeting": 1}):
        pass
    assert gate.read(rollout).state.phase in (Phase.REVERTING, Phase.REVERTED)
    stream.close()


def test_long_polls_are_answered_by_the_change_and_take_no_threads(gate: Gate) -> None:
    rollout = gate.create("shop")
    revision = rollout.state.revision
    with ThreadPoolExecutor(24) as pool:
        # More than the server has threads: the change below still gets through at once.
        waiting = [pool.submit(gate.read, rollout, revision, 20.0) for _ in range(24)]
        gate.say(rollout, Attached(holder="gate"))
        assert {one.result().state.revision for one in waiting} == {revision + 1}


def test_a_long_poll_ends_with_its_wait(gate: Gate) -> None:
    rollout = gate.create("shop")
    assert gate.read(rollout, rollout.state.revision, 0.1).state.revision == rollout.state.revision
    where = f"{gate.server.url}/v1/rollouts/ro_nothing?after=1&wait=5"
    assert requests.get(where, headers=gate.key, timeout=10).json()["error"] == "rollout_not_found"


def test_a_deadline_passes_with_nobody_asking(gate: Gate) -> None:
    rollout = gate.to_ten_percent(gate.create("shop", plan=QUICK))
    reverted = gate.read(rollout, rollout.state.revision, 10.0)
    assert (reverted.state.phase, reverted.share) == (Phase.REVERTING, 0)


def test_bodies_over_the_limit_are_refused_on_the_loop_too(gate: Gate) -> None:
    where = f"{gate.server.url}/ofrep/v1/evaluate/flags/one"
    reply = requests.post(where, data=b" " * (1024 * 1024 + 1), headers=gate.sdk, timeout=10)
    assert (reply.status_code, reply.json()["error"]) == (413, "too_large")


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    server = FlagServer(tmp_path)
    server.start()
    gate = Gate(server)
    rollout = gate.to_ten_percent(gate.create("shop"))
    one = {"flag": "shop", "rollout": rollout.id, "attempt": 1, "variant": "green", "requests": 1, "errors": 0}
    batch = {"client": "app", "sent_at": 1.0, "dropped": 0, "counts": [one]}
    acknowledged: list[str] = []

    def post() -> None:
        for number in range(10_000):
            body = {**batch, "batch": f"b{number}"}
            try:
                reply = requests.post(f"{server.url}/v1/telemetry", json=body, headers=gate.sdk, timeout=5)
            except requests.RequestException:
                return
            if reply.ok:
                acknowledged.append(body["batch"])
            if number == 20:
                enough.set()

    enough = threading.Event()
    poster = threading.Thread(target=post)
    poster.start()
    assert enough.wait(20)
    before = gate.snapshot()
    server.kill()
    poster.join(20)
    server.start()
    again = gate.read(rollout)
    assert (again.share, again.state.revision) == (10_000, rollout.state.revision)
    assert gate.snapshot() == before
    where = f"{server.url}/v1/rollouts/{rollout.id}/telemetry"
    counted = requests.get(where, headers=gate.key, timeout=10).json()["canary"]["requests"]
    # The last one may have been committed and not yet answered.
    assert len(acknowledged) <= counted <= len(acknowledged) + 1
    repeated = {**batch, "batch": acknowledged[-1]}
    reply = requests.post(f"{server.url}/v1/telemetry", json=repeated, headers=gate.sdk, timeout=5)
    assert reply.json() == {"applied": False}
    server.kill()
    _leave_it_down_until_the_lease_has_lapsed(server)
    server.start()
    assert "targeting" not in gate.snapshot()["flags"]["shop"]
    assert gate.read(rollout).state.phase is Phase.REVERTING
    assert server.stop() == 0


def _leave_it_down_until_the_lease_has_lapsed(server: FlagServer) -> None:
    """As good as waiting: what the file says about the lease is an hour older."""
    script = (
        "import json, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "s = json.loads(c.execute('SELECT state FROM rollouts').fetchone()[0]);"
        "s['deadlines'] = {k: {**v, 'at': v['at'] - 3600} for k, v in s['deadlines'].items()};"
        "c.execute('UPDATE rollouts SET state = ?, next_deadline = next_deadline - 3600', (json.dumps(s),));"
        "c.commit()"
    )
    subprocess.run([sys.executable, "-c", script, str(server.folder / "flagserver.db")], check=True, timeout=20)


def test_sigterm_lets_streams_and_long_polls_go_and_ends_well(tmp_path: Path) -> None:
    server = FlagServer(tmp_path, log="json")
    server.start()
    gate = Gate(server)
    rollout = gate.create("shop")
    streams = [Stream(gate) for _ in range(3)]
    for stream in streams:
        stream.until("snapshot")
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(gate.read, rollout, rollout.state.revision, 30.0)
        while "rampgate_streams 3.0" not in requests.get(f"{server.url}/metrics", timeout=5).text:
            pass
        assert server.stop(timeout=10) == 0
        assert poll.result().id == rollout.id
    for stream in streams:
        assert [name for name, _, _ in stream.events][-1] == "reconnect"
    for line in server.log.splitlines():
        json.loads(line)
    for secret in (server.admin_key, gate.key["Authorization"], gate.sdk["Authorization"]):
        assert secret.rsplit("_", 1)[1] not in server.log


def test_streams_over_the_limit_are_turned_away(tmp_path: Path) -> None:
    with FlagServer(tmp_path, max_streams="1") as server:
        gate = Gate(server)
        stream = Stream(gate)
        stream.until("snapshot")
        where = f"{server.url}/v1/production/stream"
        reply = requests.get(where, headers=gate.sdk, stream=True, timeout=10)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "2")
        stream.close()
        deadline = time.monotonic() + 20
        while requests.get(where, headers=gate.sdk, stream=True, timeout=10).status_code != 200:
            assert time.monotonic() < deadline


def command(server: FlagServer, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flagserver.cli", *words], env={**server.environ, **environ}, cwd=server.folder,
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_an_abort_on_the_box_reaches_the_running_server(tmp_path: Path) -> None:
    with FlagServer(tmp_path) as server:
        gate = Gate(server)
        rollout = gate.to_ten_percent(gate.create("shop"))
        stream = Stream(gate)
        stream.until("snapshot")
        done = command(server, "abort", "shop", "--environment", "production", "--reason", "fire")
        assert (done.returncode, rollout.id in done.stdout) == (0, True), done.stderr
        assert "targeting" not in stream.until("changed")[1]["flags"]["shop"]
        assert gate.read(rollout).state.phase is Phase.REVERTING
        stream.close()
        nothing = command(server, "abort", "other", "--environment", "production")
        assert (nothing.returncode, "No rollout of other" in nothing.stderr) == (2, True)


def test_a_server_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    done = command(FlagServer(tmp_path), "serve", FLAGSERVER_ADMIN_KEY="short")
    assert (done.returncode, "FLAGSERVER_ADMIN_KEY must be" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_the_first_start_shows_an_admin_key_once(tmp_path: Path) -> None:
    environ = {name: value for name, value in FlagServer(tmp_path).environ.items() if name != "FLAGSERVER_ADMIN_KEY"}
    shown = [_first_lines(environ, tmp_path) for _ in range(2)]
    assert re.search(r"^admin key, shown once: rg_admin_[0-9a-f]{12}_[\w-]{43}$", shown[0], re.M)
    assert "rg_admin" not in shown[1]


def _first_lines(environ: dict[str, str], folder: Path) -> str:
    words = [sys.executable, "-m", "flagserver.cli", "serve"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        assert server.stdout is not None
        lines = ""
        for line in server.stdout:
            lines += line
            if line.startswith("listening"):
                break
        server.terminate()
    return lines
