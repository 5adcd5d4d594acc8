"""The contract of a driver's flag server, kept by the one in memory and by the real one over HTTP."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from gate.flagserver_api import FlagServer as Api
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.plan import RolloutPlan
from rampgate.rollout import NewRollout, Rollout, Slot
from tests.contracts.driver_contract import PATIENT, DriverContract, Host, HostOf, Lockable
from tests.fakes.flag_server import FakeClock, FakeFlagServer
from tests.flagserver.process import FlagServer


@dataclass
class InMemory:
    """The fake, whose clock moves only when told."""

    server: Lockable
    clock: FakeClock
    rollout_id: str = "r1"

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


@dataclass
class OverHttp:
    """The real server, its own process; time passes by itself."""

    server: Lockable
    rollout_id: str

    def pass_time(self, seconds: float) -> None:
        rollout = self.server.rollout(self.rollout_id)
        until = rollout.now + seconds
        while rollout.now < until:
            # Every answer tells the time, and a long poll passes it.
            left = until - rollout.now
            rollout = self.server.rollout(self.rollout_id, after=rollout.state.revision, wait=left)


class TestInMemory(DriverContract):
    @pytest.fixture
    def host_of(self) -> HostOf:
        def host(plan: RolloutPlan) -> Host:
            clock = FakeClock()
            return InMemory(server=FakeFlagServer(clock=clock, plan=plan), clock=clock)

        return host


_FLAGS = count(1)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A real server for all of the file's tests, spoken to as the gate does."""
    with FlagServer(tmp_path_factory.mktemp("contract"), log_level="warning") as server:
        yield Api(server.url, server.key("operator"), timeout=30.0)


class TestOverHttp(DriverContract):
    @pytest.fixture
    def host_of(self, api: Api) -> HostOf:
        def host(plan: RolloutPlan) -> Host:
            new = NewRollout(
                key="k",
                plan=replace(plan, flag=f"shop-{next(_FLAGS)}"),
                version="v2",
                stable=Slot(name="blue", version="v1"),
                baseline=True,
                by="a test",
            )
            return OverHttp(server=api, rollout_id=api.create(new).id)

        return host

    def test_a_long_poll_hears_of_what_somebody_else_says(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        seen = self.attach(host)
        heard: list[Rollout] = []

        def listen() -> None:
            heard.append(host.server.rollout(host.rollout_id, after=seen.state.revision, wait=30.0))

        listening = threading.Thread(target=listen)
        listening.start()
        host.server.post(host.rollout_id, Told(order=Order.REVERT, by="@ann"), "abort")
        listening.join(60)
        assert heard[0].state.revision != seen.state.revision
