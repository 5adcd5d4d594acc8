"""Verified at 0 % through the door that users have: a real app with the SDK, a gate that comes as a tester."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason
from tests.scenarios.fleet import Fleet
from tests.scenarios.waiting import until

ROOT = Path(__file__).parents[2]


@dataclass
class Door:
    """The shop's one address, as users have it."""

    url: str

    def served_by(self) -> str:
        """Which slot serves an ordinary user."""
        return requests.get(self.url, headers={"X-User": "ann"}, timeout=20).text


@pytest.fixture
def door(fleet: Fleet, tmp_path: Path) -> Iterator[Door]:
    api = fleet.server
    environ = {**os.environ, "RAMPGATE_URL": api.url, "RAMPGATE_KEY": api.key("sdk")}
    command = [sys.executable, "-m", "tests.scenarios.shop_app", fleet.flag, str(tmp_path / "broken")]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as shop:
        assert shop.stdout is not None
        port = int(shop.stdout.readline())
        url = f"http://127.0.0.1:{port}/"
        fleet.document = {
            **fleet.document,
            "verify": [{"url": url, "forced": True, "answers": {"X-Served-By": "{{slot}}"}, "patience": "20s"}],
        }
        try:
            yield Door(url)
        finally:
            shop.terminate()


def test_what_fails_at_the_door_never_reaches_a_user_and_what_works_there_is_met_by_the_tester_alone(
    fleet: Fleet, door: Door, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    fleet.document |= {"dark": {"bake": "10m"}}
    (check,) = fleet.document["verify"]
    fleet.document["verify"] = [{**check, "patience": "1s"}]
    gate = fleet.gates.run(fleet.job("attempt 1"))
    failed = fleet.rollout()
    assert (failed.state.phase, failed.state.reason) == (Phase.FAILED, Reason.VERIFY_FAILED), gate.log()
    assert "HTTP 500, not 200" in failed.state.text
    assert door.served_by() == "blue"

    broken.unlink()
    fleet.document["verify"] = [check]
    gate = fleet.start("attempt 2")
    rollout = until(
        lambda: next((one for one in fleet.api.find(flag=fleet.flag) if one.state.phase is Phase.DARK), None)
    )
    assert (rollout.id, rollout.state.attempt) == (failed.id, 2)
    assert "answers as expected" in rollout.state.text
    assert door.served_by() == "blue"
    assert {entry.share for entry in fleet.api.entries(rollout.id)} == {0}
    fleet.api.post(rollout.id, Told(order=Order.REVERT, by="@ann"), "abort")
    assert gate.code() == 0
