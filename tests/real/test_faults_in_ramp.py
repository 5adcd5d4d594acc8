"""A ramp driven by looks while what it stands on is killed: `rampgate run` as a process, apps that count for real,
two replicas behind a door, and their PostgreSQL. It goes on, or reverts by the law; no accepted look is lost or twice.
"""

import json
import os
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from gate.flagserver_api import FlagServer as Api
from rampgate import FlagClient
from rampgate.evidence import Look
from rampgate.machine.events import Judged
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Entry, Rollout
from tests import nursery
from tests.flagserver.conftest import Postgres
from tests.flagserver.front import Front
from tests.flagserver.process import FlagServer, bearer
from tests.scenarios.action import shares
from tests.scenarios.audience import USERS, Audience
from tests.scenarios.fleet import QUICK, SLOW
from tests.scenarios.room import Room, check_users
from tests.scenarios.waiting import PATIENCE, until, until_rollout

_SAID = re.compile(r"stable=(\d+)/(\d+) canary=(\d+)/(\d+)")


class Apps:
    """An app with the SDK whose users go through a flag; ``fails`` is the part of requests that a slot fails."""

    def __init__(self, client: FlagClient, flag: str) -> None:
        self.fails = {"blue": 0.03, "green": 0.03}
        self._client, self._flag = client, flag
        self._chance = random.Random(1)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._ending.wait(0.02):
            for user in USERS:
                one = self._client.assign(self._flag, user, "blue")
                one.finish(ok=self._chance.random() >= self.fails[str(one.value)])


@dataclass
class Town:
    """Two replicas on one PostgreSQL, a door before them, and a gate beside."""

    folder: Path
    database: Postgres
    replicas: tuple[FlagServer, FlagServer]
    front: Front
    stack: ExitStack
    flag: str = "shop"
    gate: nursery.Program = field(init=False)

    def __post_init__(self) -> None:
        self.key, self.sdk = self.replicas[0].key("operator"), self.replicas[0].key("sdk")
        self.api = Api(self.front.url, self.key, timeout=30.0)
        self.room = Room(self.folder / "workspace")

    def release(self, document: dict[str, Any]) -> Rollout:
        """Run the gate; the rollout, once users are on the new version."""
        file = self.folder / "workspace/.github/rampgate.yml"
        file.parent.mkdir()
        file.write_text(json.dumps({**document, "flag": self.flag}))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAMPGATE_", "GITHUB_"))}
        environ = {**clean, "RAMPGATE_URL": self.front.url, "RAMPGATE_KEY": self.key}
        with (self.folder / "gate.log").open("ab") as log:
            self.gate = nursery.start(
                "gate.cli", "run", "v2", environ=environ, cwd=file.parents[1], stderr=log.fileno()
            )
        self.stack.callback(self.gate.wait)
        self.stack.callback(self.gate.kill)
        rollout = until(lambda: self.api.find(flag=self.flag))[0]
        return until_rollout(self.api, rollout.id, lambda one: one.share > 0)

    def app(self) -> tuple[Audience, Apps]:
        client = self.stack.enter_context(FlagClient(self.front.url, self.sdk))
        found = Audience(client, self.flag), Apps(client, self.flag)
        for one in found:
            self.stack.callback(one.end)
        return found

    @property
    def log(self) -> str:
        return (self.folder / "gate.log").read_text()

    def looks(self, rollout: Rollout) -> list[Look]:
        return looks_in(self.api.entries(rollout.id))

    def await_looks(self, rollout: Rollout, count: int = 2) -> None:
        """Until there are further looks that tell what apps counted."""
        before = len(self.looks(rollout))
        until(lambda: len([one for one in self.looks(rollout)[before:] if one.canary is not None]) >= count)


def looks_in(entries: tuple[Entry, ...]) -> list[Look]:
    return [one.event.look for one in entries if isinstance(one.event, Judged) and one.refusal is None]


def check_looks(entries: tuple[Entry, ...], log: str) -> None:
    """What the gate wrote down of looks that were accepted is in the history, in order; nothing in it was counted twice
    or left out between two looks."""
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    counted = [look for look in looks_in(entries) if look.stable is not None and look.canary is not None]
    kept = iter([_samples(look) for look in counted])
    said = [tuple(map(int, found)) for found in _SAID.findall(log)]
    assert said
    for one in said:
        assert one in kept, f"an accepted look is not in the history: {one}"
    for before, look in pairwise(counted):
        assert look.canary is not None
        assert before.reading.canary is not None
        assert look.reading.canary is not None
        assert look.canary.requests == look.reading.canary.requests - before.reading.canary.requests


def ramps(server: FlagServer, sdk: str) -> bool:
    """Whether a replica sends anybody to the canary."""
    snapshot = requests.get(f"{server.url}/v1/production/snapshot", headers=bearer(sdk), timeout=30).json()
    return "targeting" in snapshot["flags"]["shop"]


def _samples(look: Look) -> tuple[int, ...]:
    return tuple(n for one in (look.stable, look.canary) if one is not None for n in (one.errors, one.requests))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rg-pg-", ignore_cleanup_errors=True))
        database = Postgres(folder)
        stack.callback(database.end)
        replicas = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            replicas.append(FlagServer(tmp_path / name, database_url=database.url, log_level="warning"))
        one, two = replicas
        two.admin_key = one.admin_key
        for server in (one, two):
            stack.enter_context(server)
        front = stack.enter_context(Front(one, two))
        yield Town(tmp_path, database, (one, two), front, stack)


def test_a_ramp_goes_on_by_its_looks_though_each_replica_and_the_database_are_killed(town: Town) -> None:
    rollout = town.release({**SLOW, "holdBack": 0})
    audience, apps = town.app()
    town.await_looks(rollout)
    one, two = town.replicas
    one.kill()
    town.await_looks(rollout)
    one.start()
    town.database.kill()
    town.database.start()
    town.await_looks(rollout)
    two.kill()
    town.await_looks(rollout)
    two.start()
    now = town.api.rollout(rollout.id)
    assert (now.share, now.state.attempt, now.state.phase) == (50_000, 1, Phase.PROGRESSING)
    assert audience.returned == set()
    apps.fails["green"] = 0.5
    reverted = until_rollout(town.api, rollout.id, lambda one: one.share == 0)
    assert (reverted.state.phase, reverted.state.reason) == (Phase.REVERTING, Reason.REGRESSED)
    until(lambda: audience.share() == 0)
    until(lambda: "verdict=regressed" in town.log)
    town.gate.kill()
    entries = town.api.entries(rollout.id)
    assert shares(entries) == [0, 50_000, 0]
    check_looks(entries, town.log)
    check_users(entries, town.room, rollout.plan.stale_after)


def test_a_database_that_is_away_for_longer_than_the_lease_ends_the_ramp_and_the_gate_cleans_up(town: Town) -> None:
    steps = [{"share": 50, "bake": "10m"}, {"share": 100, "bake": "0s"}]
    bounds = {"lease": "6s", "staleAfter": "6s", "scaleDownDelay": "12s"}
    rollout = town.release({**QUICK, "steps": steps, **bounds})
    audience, _ = town.app()
    town.await_looks(rollout)
    usual = audience.widest
    assert usual > 0
    town.database.kill()
    until(lambda: not any(ramps(server, town.sdk) for server in town.replicas))
    until(lambda: audience.share() == 0)
    town.database.start()
    assert town.gate.wait(PATIENCE) == 1, town.log
    ended = town.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.GATE_LOST, ())
    assert town.room.running == {"blue": "v1"}
    assert audience.widest == usual
    entries = town.api.entries(rollout.id)
    assert shares(entries) == [0, 50_000, 0]
    check_looks(entries, town.log)
    check_users(entries, town.room, rollout.plan.stale_after)
