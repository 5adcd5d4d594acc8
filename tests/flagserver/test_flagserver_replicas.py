"""Several servers on one database: each one's clients hear of what another did, and one of them acts on the clock."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from rampgate.machine.events import Attached, Told
from rampgate.machine.state import Order
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.process import FlagServer
from tests.scenarios.waiting import until


def other(gate: Gate, server: FlagServer) -> Gate:
    """The same caller, at another replica."""
    beside = object.__new__(Gate)
    beside.__dict__.update(gate.__dict__, server=server)
    return beside


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[FlagServer, FlagServer]]:
    """Two servers on one database."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with FlagServer(tmp_path, database_url=url) as one, FlagServer(one.folder, database_url=url) as two:
        yield one, two


def test_what_one_replica_did_reaches_the_others_streams_lookups_and_long_polls(
    pair: tuple[FlagServer, FlagServer],
) -> None:
    here = Gate(pair[0])
    there = other(here, pair[1])
    rollout = here.create("shop")
    stream = Stream(there)
    stream.until("snapshot")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(there.read, rollout, rollout.state.revision, 30.0)
        here.say(rollout, Attached(holder="gate"))
        assert waiting.result().state.revision == rollout.state.revision + 1
        here.to_ten_percent(here.create("cart"))
        while "targeting" not in stream.until("changed")[1]["flags"].get("cart", {}):
            pass
        ended = here.say(rollout, Told(order=Order.REVERT, by="ada")).rollout
        assert there.read(rollout).state == ended.state
    stream.close()
    where = f"{pair[0].url}/v1/keys/{here.sdk['Authorization'].split('_')[2]}"
    requests.delete(where, headers={"Authorization": f"Bearer {pair[0].admin_key}"}, timeout=20)
    snapshot = f"{pair[1].url}/v1/production/snapshot"
    until(lambda: requests.get(snapshot, headers=here.sdk, timeout=20).status_code == 401)
