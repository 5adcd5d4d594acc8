"""What breaks while users ramp, on real processes: no acknowledged write is lost, no share grows, all comes back."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import requests

from flagserver import wire
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.rollout import Posted, Rollout
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.conftest import Postgres
from tests.flagserver.dashboard.visitor import Forms
from tests.flagserver.inside import PLAN, new_rollout
from tests.flagserver.line import Line
from tests.flagserver.process import FlagServer, bearer
from tests.flagserver.trusting import ORIGIN, POLICY
from tests.scenarios.waiting import until

QUICK = replace(PLAN, poll=0.5, lease=4.0, stale_after=4.0, heartbeat=0.5, scale_down_delay=8.0)
ABORT = Told(order=Order.REVERT, by="ada")


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def town(
    tmp_path_factory: pytest.TempPathFactory, issuer: FakeIssuer
) -> Iterator[tuple[Postgres, FlagServer, FlagServer]]:
    """Two replicas on a PostgreSQL of their own, which trust the issuer's jobs where a policy does."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with tempfile.TemporaryDirectory(prefix="rg-pg-", ignore_cleanup_errors=True) as folder:
        database = Postgres(folder)
        trusts = {"public_url": ORIGIN, "oidc_issuer": issuer.url}
        servers = [FlagServer(where, database_url=database.url, state_dir=str(where), **trusts) for where in (one, two)]
        servers[1].admin_key = servers[0].admin_key
        with servers[0], servers[1]:
            yield database, servers[0], servers[1]
        database.end()


def at(gate: Gate, server: FlagServer) -> Gate:
    """The same caller at another replica."""
    beside = object.__new__(Gate)
    beside.__dict__.update(gate.__dict__, server=server)
    return beside


def ramps(gate: Gate, flag: str) -> bool:
    return "targeting" in gate.snapshot()["flags"].get(flag, {})


def abort(gate: Gate, rollout: Rollout) -> requests.Response:
    body = wire.POSTED.dump_json(Posted(id=f"abort-{rollout.id}", event=ABORT))
    where = f"{gate.server.url}/v1/rollouts/{rollout.id}/events"
    return requests.post(where, data=body, headers=gate.key, timeout=30)


def ready(server: FlagServer) -> dict[str, object]:
    found: dict[str, object] = requests.get(f"{server.url}/readyz", timeout=30).json()
    return found


def leads(server: FlagServer) -> bool:
    return "rampgate_leads 1.0" in requests.get(f"{server.url}/metrics", timeout=30).text


def test_when_the_replica_that_leads_is_killed_in_mid_ramp_another_acts_on_the_lapsed_lease(
    town: tuple[Postgres, FlagServer, FlagServer],
) -> None:
    _, one, two = town
    first = until(lambda: next((server for server in (one, two) if leads(server)), None))
    assert first is not None
    other = two if first is one else one
    assert not leads(other)
    gate = at(Gate(first), other)
    rollout = at(gate, first).to_ten_percent(at(gate, first).create("led", plan=QUICK))
    until(lambda: ramps(gate, "led"))
    first.kill()
    until(lambda: leads(other))
    until(lambda: not ramps(gate, "led"))
    until(lambda: gate.read(rollout).state.reason is Reason.GATE_LOST)
    first.start()


def test_an_abort_while_the_database_hangs_is_obeyed_at_once_and_recorded_first(
    town: tuple[Postgres, FlagServer, FlagServer],
) -> None:
    database, one, two = town
    gate = Gate(one)
    gate.put("plain", 1)
    rollout = gate.to_ten_percent(gate.create("hung", plan=replace(PLAN, lease=45.0)))
    until(lambda: ramps(at(gate, two), "hung"))
    with database.hung():
        reply = abort(gate, rollout)
        assert (reply.status_code, wire.ANSWER.validate_json(reply.content).rollout.share) == (202, 0)
        assert not ramps(gate, "hung")
        assert gate.snapshot()["flags"]["plain"]["variants"] == {"a": 1}
        until(lambda: ready(one)["cut_off"])
        assert ready(one)["aborts_not_recorded"] == 1
    until(lambda: not ramps(at(gate, two), "hung"))
    until(lambda: ready(one)["aborts_not_recorded"] == 0)
    assert gate.read(rollout).state.reason is Reason.ABORTED
    assert abort(gate, rollout).status_code == 200


def test_aborts_do_not_queue_behind_the_threads_that_wait_for_a_hanging_database(
    town: tuple[Postgres, FlagServer, FlagServer],
) -> None:
    database, one, _ = town
    gate = Gate(one)
    by_api, by_button = (gate.to_ten_percent(gate.create(flag)) for flag in ("called", "clicked"))
    browser = requests.Session()
    browser.headers["Origin"] = one.url
    path = f"{one.url}/ui/rollouts/{by_button.id}"
    key = gate.key["Authorization"].removeprefix("Bearer ")
    browser.post(f"{one.url}/ui/login", data={"key": key, "name": "ada"}, timeout=30)
    form = Forms(browser.get(path, timeout=30).text).found[f"/ui/rollouts/{by_button.id}/abort"]
    until(lambda: ramps(gate, "clicked"))
    with ThreadPoolExecutor(60) as pool, database.hung():
        waiting = [pool.submit(_put, gate, f"flag-{number}") for number in range(60)]
        until(lambda: ready(one)["cut_off"])
        assert abort(gate, by_api).status_code == 202
        assert browser.post(f"{path}/abort", data=form, timeout=30).status_code == 202
        assert not ramps(gate, "called")
        assert not ramps(gate, "clicked")
        assert not all(each.done() for each in waiting)
    until(lambda: ready(one)["aborts_not_recorded"] == 0)
    for rollout in (by_api, by_button):
        assert gate.read(rollout).state.reason is Reason.ABORTED


def test_a_jobs_session_aborts_while_the_database_hangs(
    town: tuple[Postgres, FlagServer, FlagServer], issuer: FakeIssuer
) -> None:
    database, one, _ = town
    gate = Gate(one)
    policy = {**POLICY, "flags": ["jobs"]}
    made = requests.post(f"{one.url}/v1/trust", json=policy, headers=bearer(one.admin_key), timeout=30)
    assert made.status_code == 201, made.text
    wanted = new_rollout(plan=replace(PLAN, flag="jobs", lease=45.0), repository="acme/shop", repository_id="1")
    reply = requests.post(
        f"{one.url}/v1/rollouts", data=wire.NEW_ROLLOUT.dump_json(wanted), headers=gate.key, timeout=30
    )
    rollout = gate.to_ten_percent(wire.ROLLOUT.validate_json(reply.content))
    comment = issuer.token(ORIGIN, event_name="issue_comment", environment=None)
    session = requests.post(f"{one.url}/v1/session", json={"token": comment}, timeout=30)
    assert session.status_code == 201, session.text
    until(lambda: ramps(gate, "jobs"))
    job = at(gate, one)
    job.key = bearer(session.json()["session"])
    with database.hung():
        assert abort(job, rollout).status_code == 202
        assert not ramps(gate, "jobs")
    until(lambda: ready(one)["aborts_not_recorded"] == 0)
    assert gate.read(rollout).state.reason is Reason.ABORTED


def test_aborts_outlive_a_process_that_is_stopped_before_the_database_is_back(
    town: tuple[Postgres, FlagServer, FlagServer],
) -> None:
    database, one, two = town
    gate = Gate(one)
    rollout = gate.to_ten_percent(gate.create("gone", plan=QUICK))
    gate.put("plain", 1)
    until(lambda: ramps(at(gate, two), "gone") and "plain" in at(gate, two).snapshot()["flags"])
    stream = Stream(at(gate, two))
    stream.until("snapshot")
    database.kill()
    try:
        assert abort(gate, rollout).status_code == 202
        where = f"{two.url}/v1/rollouts/{rollout.id}"
        assert requests.get(where, headers=gate.key, timeout=30).json()["error"] == "store_unavailable"
        assert not ramps(gate, "gone")
        # The replica that heard nothing of it takes users back once the lease that it read has run out.
        while "targeting" in stream.until("changed")[1]["flags"].get("gone", {"targeting": 1}):
            pass
        stream.close()
        assert at(gate, two).snapshot()["flags"]["plain"]["variants"] == {"a": 1}
        assert one.stop(timeout=20) == 0
    finally:
        database.start()
    one.start()
    state = gate.read(rollout).state
    assert (state.phase, state.reason) == (Phase.REVERTING, Reason.ABORTED)
    until(lambda: ready(two)["status"] == "ready" and not ready(two)["cut_off"])


def test_a_replica_that_is_cut_off_alone_widens_for_nobody_and_follows_within_the_lease(
    town: tuple[Postgres, FlagServer, FlagServer], tmp_path: Path
) -> None:
    database, one, _ = town
    with tempfile.TemporaryDirectory(prefix="rg-line-") as folder, Line(database.url, Path(folder)) as line:
        alone = FlagServer(tmp_path, database_url=line.url)
        alone.admin_key = one.admin_key
        with alone:
            gate = Gate(one)
            beyond = at(gate, alone)
            rollout = gate.to_ten_percent(gate.create("cut", plan=QUICK))
            until(lambda: ramps(beyond, "cut"))
            stream = Stream(beyond)
            stream.until("snapshot")
            line.cut()
            gate.say(rollout, ABORT)
            assert not ramps(gate, "cut")
            changed = stream.until("changed")[1]
            assert "targeting" not in changed["flags"]["cut"]
            assert changed["flags"]["cut"]["defaultVariant"] == "blue"
            until(lambda: ready(alone)["cut_off"])
            assert not ready(one)["cut_off"]
            line.mend()
            until(lambda: not ready(alone)["cut_off"])
            assert beyond.read(rollout).state == gate.read(rollout).state
            stream.close()


def test_a_full_disk_costs_no_acknowledged_write_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    with FlagServer(tmp_path) as server:
        gate = Gate(server)
        rollout = gate.to_ten_percent(gate.create("shop", plan=replace(PLAN, lease=60.0)))
        process = psutil.Process(server.process.pid)
        log = tmp_path / "flagserver.db-wal"
        process.rlimit(psutil.RLIMIT_FSIZE, (log.stat().st_size + 20_000, psutil.RLIM_INFINITY))
        taken = [number for number in range(60) if _put(gate, f"flag-{number}") in (200, 201)]
        assert len(taken) < 60
        reply = requests.put(f"{server.url}/v1/production/flags/x", json=_FLAG, headers=gate.key, timeout=30)
        assert (reply.status_code, reply.json()["error"]) == (503, "store_unavailable")
        assert "disk" in reply.json()["message"]
        assert ready(server)["trouble"]
        assert abort(gate, rollout).status_code == 202
        assert not ramps(gate, "shop")
        process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        until(lambda: ready(server)["trouble"] is None)
        until(lambda: gate.read(rollout).state.reason is Reason.ABORTED)
        assert _put(gate, "later") == 201
        server.kill()
        server.start()
        assert {f"flag-{number}" for number in taken} | {"later"} <= set(gate.snapshot()["flags"])
    _spoil(tmp_path / "flagserver.db")
    done = subprocess.run(
        [sys.executable, "-m", "flagserver.cli", "serve"], env=server.environ, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "put a backup in its place" in done.stderr
    assert "Traceback" not in done.stderr


_FLAG = {"flag": {"state": "ENABLED", "variants": {"a": "x" * 2000}, "defaultVariant": "a"}}


def _put(gate: Gate, flag: str) -> int:
    where = f"{gate.server.url}/v1/production/flags/{flag}"
    return requests.put(where, json=_FLAG, headers=gate.key, timeout=30).status_code


def _spoil(file: Path) -> None:
    with file.open("r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(0)
        opened.write(os.urandom(size))
