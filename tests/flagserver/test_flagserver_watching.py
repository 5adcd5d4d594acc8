"""Streams of rollouts, of a real server: each rollout as it now stands, resumed where the client was."""

import asyncio
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from flagserver.auth import Role
from flagserver.views.route import ANYBODY, Call
from flagserver.watching import Watching
from rampgate.machine.events import Attached, Told
from rampgate.machine.state import Order
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.inside import PLAN, Inside
from tests.flagserver.process import FlagServer, bearer


@pytest.fixture
def gate(process: FlagServer, request: pytest.FixtureRequest) -> Gate:
    """An operator of an environment of its own."""
    return Gate(process, environment=f"env{abs(hash(request.node.name)) % 10**9}")


@pytest.fixture
def opened() -> Iterator[list[Stream]]:
    streams: list[Stream] = []
    yield streams
    for one in streams:
        one.close()


def watch(opened: list[Stream], gate: Gate, path: str, last: str | None = None) -> Stream:
    stream = Stream(gate, last, path)
    opened.append(stream)
    return stream


def test_one_rollout_is_told_with_each_revision_and_resumed_at_the_last(gate: Gate, opened: list[Stream]) -> None:
    rollout = gate.create("shop")
    path = f"/v1/rollouts/{rollout.id}/stream"
    stream = watch(opened, gate, path)
    number, first = stream.until("rollout")
    assert (number, first["id"], first["state"]["revision"]) == (str(rollout.state.revision), rollout.id, int(number))
    answer = gate.say(rollout, Attached(holder="gate"))
    number, second = stream.until("rollout")
    assert (number, second["state"]["lease"]["holder"]) == (str(answer.rollout.state.revision), "gate")

    again = watch(opened, gate, path, number)
    assert next(again.events)[0] == "heartbeat"
    gate.say(rollout, Told(order=Order.REVERT, by="@ann"))
    assert again.until("rollout")[1]["state"]["phase"] == "reverting"
    assert stream.until("rollout")[1]["state"]["phase"] == "reverting"


def test_an_environments_rollouts_are_told_from_begin_to_end(gate: Gate, opened: list[Stream]) -> None:
    shop = gate.create("shop")
    stream = watch(opened, gate, f"/v1/rollouts/stream?environment={gate.environment}")
    number, first = stream.until("rollout")
    assert (first["id"], bool(number)) == (shop.id, True)
    search = gate.create("search")
    number, second = stream.until("rollout")
    assert second["id"] == search.id
    again = watch(opened, gate, "/v1/rollouts/stream", number)
    assert next(again.events)[0] == "heartbeat"
    newer = gate.create("search", "v3")
    told = {stream.until("rollout")[1]["id"]: None for _ in range(2)}
    assert set(told) == {search.id, newer.id}


def test_what_is_not_the_keys_to_see_is_refused_before_the_stream_begins(gate: Gate, process: FlagServer) -> None:
    rollout = gate.create("shop")
    other = Gate(process, environment="elsewhere")
    for path, status in (
        (f"/v1/rollouts/{rollout.id}/stream", 403),
        (f"/v1/rollouts/stream?environment={gate.environment}", 403),
        ("/v1/rollouts/ro_none/stream", 404),
    ):
        reply = requests.get(process.url + path, headers=other.key, timeout=30)
        assert reply.status_code == status, path


def test_streams_end_with_the_key_that_they_were_begun_with(gate: Gate, opened: list[Stream]) -> None:
    rollout = gate.create("shop", plan=replace(PLAN, heartbeat=0.5))
    ours = watch(opened, gate, f"/v1/rollouts/{rollout.id}/stream")
    ours.until("rollout")
    flags = Stream(gate)
    opened.append(flags)
    flags.until("snapshot")
    admin = bearer(gate.server.admin_key)
    other = Gate(gate.server, environment=gate.environment)
    for key in (gate.key, gate.sdk):
        selector = key["Authorization"].split("_")[2]
        assert requests.delete(f"{gate.server.url}/v1/keys/{selector}", headers=admin, timeout=30).status_code == 204
    other.say(rollout, Attached(holder="gate"))
    for stream in (ours, flags):
        assert [name for name, _, _ in stream.events][-1:] == ["reconnect"]


def test_when_no_stream_is_free_the_client_is_told_to_come_back(inside: Inside) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    call = Call(params={"id": "ro_1"}, query={}, headers={}, body=b"", caller=ANYBODY)
    with ThreadPoolExecutor(1) as readers:
        asyncio.run(Watching(inside.services, readers, most=0).serve(call, receive, send))
    assert sent[0]["status"] == 503
    assert b"retry-after" in dict(sent[0]["headers"])


def test_without_an_event_loop_there_is_no_stream(inside: Inside) -> None:
    for path in ("/v1/rollouts/stream", "/v1/rollouts/ro_1/stream"):
        reply = inside.call("GET", path, role=Role.OPERATOR)
        assert (reply.status_code, reply.get_json()["error"]) == (501, "no_streams_here")
