"""An upgrade in mid-ramp with two versions of the server as real processes on one PostgreSQL: gate, apps and an
operator go on through either, and the old one is stopped.

Once this version is the old one, beside what its next version may be; and, where there is a release, that is the old
one and this is the new one.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from flagserver.store.schema import HEAD
from gate.flagserver_api import FlagServer as Api
from rampgate import FlagClient
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase
from tests.flagserver.conftest import Postgres
from tests.flagserver.front import Front
from tests.flagserver.process import FlagServer, bearer
from tests.real.builds import after, last_release, next_version, released
from tests.scenarios.audience import Audience
from tests.scenarios.fleet import SLOW, Fleet
from tests.scenarios.gates import Gates, check_nothing_lost
from tests.scenarios.room import check_users
from tests.scenarios.waiting import until, until_rollout

RELEASES = [tag] if (tag := last_release()) else []


@dataclass(frozen=True, kw_only=True)
class Two:
    """An old and a new server on one database, and the door before them. Only the old one runs at first.

    ``wanted`` is the migration that the new one needs.
    """

    old: FlagServer
    new: FlagServer
    front: Front
    database_url: str
    wanted: str
    is_release: bool

    def form(self) -> str:
        """Which migration the tables are at."""
        engine = sa.create_engine(make_url(self.database_url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        engine.dispose()
        return str(found)


@pytest.fixture(params=[*RELEASES, "this version and the next"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    trees: tuple[Path | None, Path | None] = (None, next_version(tmp_path / "next"))
    is_release = request.param in RELEASES
    if is_release:
        trees = (released(request.param, tmp_path / "released"), None)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rg-pg-", ignore_cleanup_errors=True))
        database = Postgres(folder)
        stack.callback(database.end)
        servers = []
        for name, tree in zip(("old", "new"), trees, strict=True):
            (tmp_path / name).mkdir()
            servers.append(FlagServer(tmp_path / name, database_url=database.url, tree=tree, log_level="warning"))
            stack.callback(servers[-1].stop)
        old, new = servers
        new.admin_key = old.admin_key
        old.start()
        front = stack.enter_context(Front(old))
        yield Two(
            old=old, new=new, front=front, database_url=database.url, wanted=HEAD if is_release else after(HEAD),
            is_release=is_release,
        )  # fmt: skip


def test_an_upgrade_in_mid_ramp_loses_nothing_and_nobody_changes_sides(two: Two, tmp_path: Path) -> None:
    old, new, front = two.old, two.new, two.front
    sdk = old.key("sdk")
    with ExitStack() as stack:
        gates = stack.enter_context(Gates())
        fleet = Fleet(server=old, gates=gates, folder=tmp_path, document=dict(SLOW), url=front.url)
        gate = fleet.start("gate 1")
        rollout = until_rollout(fleet.api, fleet.rollout().id, lambda one: one.share > 0)

        def audience(url: str) -> Audience:
            watching = Audience(stack.enter_context(FlagClient(url, sdk)), fleet.flag)
            stack.callback(watching.end)
            until(lambda: watching.share() > 0)
            return watching

        audiences = [audience(front.url), audience(old.url)]
        usual = audiences[0].share()
        gate.await_look()
        assert two.form() != two.wanted or two.is_release

        new.start()
        front.servers.append(new)
        assert two.form() == two.wanted
        audiences += [audience(new.url), audience(front.url)]
        asked = {server: Api(server.url, fleet.key, timeout=30.0) for server in (old, new)}
        _steer_by_both(asked[new], asked[old], rollout.id)
        for server in (old, new):
            _write(server, fleet.key, sdk, fleet.flag, rollout.id)
        for _ in range(3):
            gate.await_look()
        assert {one.share() for one in audiences} == {usual}

        audiences[1].end()
        front.servers.remove(old)
        assert old.stop() == 0
        gate.await_look()
        now = asked[new].rollout(rollout.id)
        assert (now.share, now.state.attempt, now.state.phase) == (50_000, 1, Phase.PROGRESSING)
        until(lambda: not any(one.is_stale() for one in (audiences[0], *audiences[2:])))
        assert _flags(new, sdk) >= {"by-old", "by-new"}
        assert asked[new].telemetry(rollout.id).canary.requests == 14
        asked[new].post(rollout.id, Told(order=Order.ADVANCE, by="ann"), str(uuid4()))
        until(lambda: audiences[0].share() > usual)
        gate.await_look()
        gate.signal(9)
        gate.code()
        assert [one.returned for one in audiences] == [set()] * 4
        entries = asked[new].entries(rollout.id)
    check_nothing_lost(entries, gate)
    check_users(entries, fleet.room, rollout.plan.stale_after)


def _steer_by_both(pausing: Api, resuming: Api, rollout: str) -> None:
    """What one server was told the other knows at once, word for word."""
    for api, order in ((pausing, Order.PAUSE), (resuming, Order.RESUME)):
        answer = api.post(rollout, Told(order=order, by="ann"), str(uuid4()))
        assert answer.refusal is None
        for one in (pausing, resuming):
            assert one.rollout(rollout).state == answer.rollout.state


def _write(server: FlagServer, key: str, sdk: str, flag: str, rollout: str) -> None:
    """Have a server take a flag of its own, and what an app counted."""
    document = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}
    where = f"{server.url}/v1/production/flags/by-{server.folder.name}"
    assert requests.put(where, json={"flag": document}, headers=bearer(key), timeout=30).status_code == 201
    counts = {"flag": flag, "rollout": rollout, "attempt": 1, "variant": "green", "requests": 7, "errors": 0}
    batch = {"batch": str(uuid4()), "client": "app", "sent_at": 0.0, "counts": [counts]}
    reply = requests.post(f"{server.url}/v1/telemetry", json=batch, headers=bearer(sdk), timeout=30)
    assert reply.json() == {"applied": True}


def _flags(server: FlagServer, sdk: str) -> set[str]:
    where = f"{server.url}/v1/production/snapshot"
    return set(requests.get(where, headers=bearer(sdk), timeout=30).json()["flags"])
