"""The first row of SEMANTICS 8, on real processes: PostgreSQL is killed in mid-ramp and comes back."""

from dataclasses import replace
from pathlib import Path

import requests

from rampgate.machine.state import Phase
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.conftest import Postgres
from tests.flagserver.inside import PLAN
from tests.flagserver.process import FlagServer


def test_without_its_database_a_server_serves_from_memory_and_comes_back_by_itself(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    plan = replace(PLAN, poll=0.5, lease=4.0, stale_after=4.0, heartbeat=0.5, scale_down_delay=8.0)
    with FlagServer(tmp_path, database_url=own_postgres.url) as server:
        gate = Gate(server)
        gate.put("plain", 1)
        rollout = gate.create("shop", plan=plan)
        stream = Stream(gate)
        gate.to_ten_percent(rollout)
        own_postgres.kill()
        assert "targeting" in gate.snapshot()["flags"]["shop"]
        where = f"{server.url}/v1/rollouts/{rollout.id}"
        assert requests.get(where, headers=gate.key, timeout=20).json()["error"] == "store_unavailable"
        while "targeting" not in stream.until("changed")[1]["flags"].get("shop", {}):
            pass
        while "targeting" in stream.until("changed")[1]["flags"].get("shop", {"targeting": 1}):
            pass
        assert gate.snapshot()["flags"]["plain"]["variants"] == {"a": 1}
        assert float(requests.get(f"{server.url}/readyz", timeout=5).json()["store_age"]) > 0
        own_postgres.start()
        while requests.get(f"{server.url}/readyz", timeout=5).json()["cut_off"]:
            pass
        assert gate.read(rollout).state.phase in (Phase.REVERTING, Phase.REVERTED)
        stream.close()
