"""The client against the flag server itself: its own command, its own process, its own database."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rampgate import FlagClient
from rampgate.client import Reason
from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator
from tests.rampgate.client.scripted import until

USERS = [f"user-{number}" for number in range(100)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: FlagServer) -> Operator:
    return Operator(server)


@contextmanager
def connected(server: FlagServer) -> Iterator[FlagClient]:
    with FlagClient(server.url, server.key("sdk")) as client:
        assert client.ready(10)
        yield client


def share_of_green(client: FlagClient, flag: str) -> float:
    return sum(client.string(flag, "", user) == "green" for user in USERS) / len(USERS)


def test_a_change_on_the_server_reaches_a_connected_client(server: FlagServer, operator: Operator) -> None:
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    operator.call("PUT", "/v1/production/flags/new", {"flag": flag}, 201)
    with connected(server) as client:
        until(lambda: client.details("new", True, "u").reason is Reason.STATIC)
        assert client.boolean("new", True, "u") is False
        operator.call("PUT", "/v1/production/flags/new", {"flag": {**flag, "defaultVariant": "on"}})
        until(lambda: client.boolean("new", False, "u"))


def test_a_stopped_server_means_stable_and_its_return_brings_values_back(
    server: FlagServer, operator: Operator
) -> None:
    operator.ramp("stopped")
    with connected(server) as client:
        until(lambda: share_of_green(client, "stopped") > 0.9)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            until(lambda: share_of_green(client, "stopped") == 0)
            assert client.details("stopped", "", USERS[0]).reason is Reason.STALE
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        until(lambda: client.details("stopped", "", USERS[0]).reason is not Reason.STALE, 30)


def test_a_killed_server_is_found_again_and_has_what_was_counted(server: FlagServer, operator: Operator) -> None:
    # Long enough that a busy machine does not make it stale before it is killed.
    rollout = operator.ramp("killed", stale_after=6.0)
    with connected(server) as client:
        until(lambda: share_of_green(client, "killed") > 0.9)
        for user in USERS:
            with client.observe("killed", user):
                pass
        assert client.flush()
        server.kill()
        until(lambda: client.details("killed", "", USERS[0]).reason is Reason.STALE)
        server.start()
        until(lambda: client.details("killed", "", USERS[0]).reason is not Reason.STALE, 30)
        counted = operator.call("GET", f"/v1/rollouts/{rollout}/telemetry")
        assert counted["stable"]["requests"] + counted["canary"]["requests"] == len(USERS)


def test_an_abort_reaches_a_connected_client_and_outcomes_reach_the_rollout(
    server: FlagServer, operator: Operator
) -> None:
    # Never stale, however busy the machine is: what has to take it back is the abort.
    rollout = operator.ramp("aborted", lease=60.0, stale_after=60.0)
    with connected(server) as client:
        until(lambda: share_of_green(client, "aborted") > 0.9)
        user = next(user for user in USERS if client.string("aborted", "", user) == "green")
        with pytest.raises(RuntimeError), client.observe("aborted", user) as assignment:
            raise RuntimeError("the canary's fault")
        assert assignment.variant == "green"
        assert client.flush()
        assert operator.call("GET", f"/v1/rollouts/{rollout}/telemetry")["canary"]["errors"] == 1
        operator.tell(rollout, "revert")
        until(lambda: share_of_green(client, "aborted") == 0)
