"""Affected users, end to end: eight worker processes, one user, one retry storm; and what a client says of users."""

import base64
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rampgate import FlagClient
from rampgate.client.users import Users, hashed, register
from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator
from tests.rampgate.client.scripted import Scripted, ramp

ROOT = Path(__file__).parents[3]
STORM = 400
WORKERS = 8

WORKER = """
import sys
from rampgate import FlagClient
with FlagClient(sys.argv[1], sys.argv[2]) as client:
    assert client.ready(20)
    for number in range(int(sys.argv[3])):
        try:
            with client.observe(sys.argv[4], "the one who retries"):
                raise RuntimeError("again")
        except RuntimeError:
            pass
    with client.observe(sys.argv[4], "everybody's friend"):
        pass
"""


def storm(server: FlagServer, flag: str) -> str:
    """Eight processes, which simply close their clients at the end; what they said about it."""
    command = [sys.executable, "-c", WORKER, server.url, server.key("sdk"), str(STORM), flag]
    workers = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    said = "".join(worker.communicate(timeout=100)[1] for worker in workers)
    assert [worker.returncode for worker in workers] == [0] * WORKERS, said
    return said


def test_one_user_who_storms_eight_processes_is_one_affected_user_and_a_close_loses_nothing(tmp_path: Path) -> None:
    with FlagServer(tmp_path) as server:
        operator = Operator(server)
        for attempt in range(5):
            rollout = operator.ramp(f"shop-{attempt}", stale_after=60.0)
            began = time.time()
            said = storm(server, f"shop-{attempt}")
            minutes = math.floor(time.time() / 60) - math.floor(began / 60) + 1
            if "are lost" not in said:
                break  # otherwise the machine was too busy for an answer within two seconds, and was told so
        found = operator.call("GET", f"/v1/rollouts/{rollout}/telemetry")
    arms = [found["stable"], found["canary"]]
    assert sum(arm["requests"] for arm in arms) == WORKERS * (STORM + 1)
    assert sum(arm["errors"] for arm in arms) == WORKERS * STORM
    # Distinct in each minute of the server's clock, and a storm may go on into the next.
    assert 1 <= sum(arm["affected_users"] for arm in arms) <= minutes
    assert 2 <= sum(arm["active_users"] for arm in arms) <= 2 * minutes


def test_users_go_over_the_wire_as_keyed_hashes_alone(server: Scripted, connect: Callable[..., FlagClient]) -> None:
    server.snapshot["rollouts"]["shop"] = ramp(poll=3600.0, hashKey="k" * 32)
    client = connect(server)
    assert client.ready(10)
    with client.observe("shop", "ada@example.com"):
        pass
    client.track("shop", {"targetingKey": "bob@example.com"}, ok=False, variant="green")
    client.track("new", "eve@example.com", ok=False)
    assert client.flush()
    counts = server.batches[-1]["counts"]
    assert sum("users" in one for one in counts) in (1, 2)
    assert not any("users" in one for one in counts if one["flag"] == "new")
    assert "example.com" not in json.dumps(server.batches)


@pytest.mark.parametrize("key", [None, "", 7, "x" * 65])
def test_without_a_sound_key_users_are_left_out(
    server: Scripted, connect: Callable[..., FlagClient], key: object
) -> None:
    server.snapshot["rollouts"]["shop"] = ramp(poll=3600.0, hashKey=key)
    client = connect(server)
    assert client.ready(10)
    client.track("shop", "u", variant="green")
    assert client.flush()
    assert [one for one in server.batches[-1]["counts"] if "users" in one] == []


def test_no_user_is_lost_between_two_reports() -> None:
    users, stop = Users("k"), threading.Event()
    told: list[dict[str, object]] = []

    def report() -> None:
        while not stop.is_set():
            told.append(users.drain() or {})

    reporter = threading.Thread(target=report)
    reporter.start()
    threads = [
        threading.Thread(target=lambda part=part: [users.add(f"{part}-{n}", False) for n in range(500)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reporter.join()
    told += [users.drain() or {}, users.drain() or {}]
    affected = {
        int.from_bytes(raw[start : start + 8])
        for one in told
        if one
        for raw in [base64.b64decode(str(one["affected"]))]
        for start in range(0, len(raw), 8)
    }
    assert affected == {hashed(f"{part}-{n}", "k") for part in range(4) for n in range(500)}


def test_a_register_holds_a_rank_from_1_to_15() -> None:
    assert register(0) == 15
    assert register((1 << 64) - 1) == 4095 << 4 | 1
    assert register(1 << 51) & 15 == 1
    assert register(1 << 50) & 15 == 2
