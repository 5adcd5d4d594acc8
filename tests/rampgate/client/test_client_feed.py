"""The feed on bad and good days: streams, gaps, silence, refusals, proxies, a process that was stopped."""

import json
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from rampgate import FlagClient
from rampgate.client import Reason
from rampgate.client.events import Event
from rampgate.client.feed import Backoff, Feed
from rampgate.client.server import Server, Stream, UnreachableError
from rampgate.client.snapshot import NOTHING, Snapshot
from rampgate.client.workshop import Workshop
from tests.rampgate.client.scripted import Scripted, document, plain, ramp, ramping, serve, until

Connect = Callable[..., FlagClient]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rampgate.client.feed.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("rampgate.client.feed.ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr("rampgate.client.feed.SLACK", 0.2)
    monkeypatch.setattr("rampgate.client.server.ANSWER_TIMEOUT", 0.3)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_stream_is_resumed_where_it_was_cut(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    server.send("changed", server.change("v2", {"new": plain(False)}))
    until(lambda: client.boolean("new", True, "u") is False)
    server.cut()
    server.streams.get(timeout=10)
    assert [seen.headers.get("Last-Event-ID") for seen in server.opened] == ["v1", "v2"]
    assert len(server.polls) == 1


@pytest.mark.parametrize("chunked", [True, False])
def test_events_arrive_byte_by_byte(server: Scripted, connect: Connect, chunked: bool) -> None:
    server.chunked = chunked
    client = connect(server)
    server.streams.get(timeout=10)
    event = f"event: changed\ndata: {json.dumps(server.change('v2', {'new': plain(False)}))}\n\n"
    for byte in event.encode():
        server.send_bytes(bytes([byte]))
    until(lambda: client.boolean("new", True, "u") is False)


def test_a_gap_in_the_changes_fetches_the_snapshot(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    server.change("v2", {"new": plain(False)})
    server.send("changed", server.change("v3", {"other": plain()}))
    until(lambda: client.boolean("other", False, "u"))
    assert client.boolean("new", True, "u") is False
    assert len(server.polls) == 2


def test_a_heartbeat_of_another_version_fetches_the_snapshot(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    server.change("v2", {"new": plain(False)})
    server.beat()
    until(lambda: client.boolean("new", True, "u") is False)


def test_a_removed_flag_gives_the_default_again(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    assert client.boolean("new", False, "u")
    server.send("changed", server.change("v2", {}, removed=["new"]))
    until(lambda: not client.boolean("new", False, "u"))


def test_the_server_may_ask_to_come_again(server: Scripted, connect: Connect) -> None:
    connect(server)
    server.streams.get(timeout=10)
    server.send("reconnect", {})
    server.streams.get(timeout=10)


@pytest.mark.parametrize("junk", [b"event: snapshot\ndata: {]\n\n", b"event: changed\ndata: 7\n\n", b"\xff\xfe\n\n"])
def test_junk_on_the_stream_changes_nothing_and_the_next_word_counts(
    server: Scripted, connect: Connect, junk: bytes
) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    server.send_bytes(junk)
    server.change("v2", {"new": plain(False)})
    until(lambda: server.beat() or client.boolean("new", True, "u") is False)


@pytest.mark.parametrize("mode", ["silent", "hang", "html", 404, 503])
def test_where_streams_do_not_come_through_it_polls_and_streams_again_later(
    server: Scripted, connect: Connect, mode: str | int
) -> None:
    server.stream_mode = mode
    server.snapshot["rollouts"]["shop"] = ramp(staleAfter=1.0, heartbeat=0.1)
    client = connect(server)
    assert client.ready(10)
    server.change("v2", {"new": plain(False)})
    until(lambda: client.boolean("new", True, "u") is False)
    assert any(seen.headers.get("If-None-Match") == '"v1"' for seen in server.polls)
    until(lambda: len(server.polls) > 5)
    assert client.details("shop", "", "u").reason is Reason.TARGETING_MATCH
    server.stream_mode = "events"
    server.streams.get(timeout=30)


def test_a_stream_that_falls_silent_is_dropped_and_opened_again(server: Scripted, connect: Connect) -> None:
    server.snapshot["rollouts"]["shop"] = ramp(heartbeat=0.05)
    connect(server)
    server.streams.get(timeout=10)
    server.streams.get(timeout=10)


@pytest.mark.parametrize("mode", [401, 403, 500, 503, "garbage", "hang"])
def test_a_refusal_at_the_start_is_waited_out(server: Scripted, connect: Connect, mode: str | int) -> None:
    server.snapshot_mode = mode
    client = connect(server)
    until(lambda: len(server.polls) >= 1)
    assert client.boolean("new", False, "u") is False
    server.snapshot_mode = "answer"
    assert client.ready(30)
    assert client.boolean("new", False, "u") is True


def test_an_unknown_key_gives_defaults_and_a_line_in_the_log(
    server: Scripted, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(server, key="rg_sdk_wrong")
    until(lambda: "401" in caplog.text)
    assert client.boolean("new", False, "u") is False
    assert "rg_sdk_wrong" not in caplog.text


def test_a_server_that_comes_back_is_found_again() -> None:
    script = Scripted(document({"new": plain()}))
    with serve(script):
        port = int(script.url.rsplit(":", 1)[1])
        client = FlagClient(script.url, "rg_sdk_a_b")
        script.streams.get(timeout=10)
    try:
        script.change("v2", {"new": plain(False)})
        assert client.boolean("new", False, "u") is True
        with serve(script, port):
            until(lambda: client.boolean("new", True, "u") is False, 30)
    finally:
        client.close()


def test_lost_contact_serves_stable_by_the_clock_alone_and_contact_brings_values_back(
    server: Scripted, connect: Connect
) -> None:
    server.snapshot = document({"new": plain(), "shop": ramping(99_999)}, {"shop": ramp(staleAfter=60.0)})
    clock = Clock()
    client = connect(server, clock=clock)
    assert client.ready(10)
    server.streams.get(timeout=10)
    assert client.string("shop", "", "u") == "green"
    server.stream_mode = server.snapshot_mode = 503
    server.cut()
    clock.now += 60.1
    assert client.string("shop", "", "u") == "blue"
    assert client.boolean("new", False, "u") is True
    found = client.details("shop", "", "u")
    assert (found.value, found.variant, found.reason, found.counted) == ("blue", "blue", Reason.STALE, False)
    assert client.assign("shop", "u").counted is False
    server.stream_mode, server.snapshot_mode = "events", "answer"
    until(lambda: client.string("shop", "", "u") == "green", 30)


def test_freshness_counts_from_the_store_not_from_the_answer(server: Scripted, connect: Connect) -> None:
    server.snapshot = document({"shop": ramping(99_999)}, {"shop": ramp(staleAfter=60.0)})
    server.age = 59.0
    clock = Clock()
    client = connect(server, clock=clock)
    server.streams.get(timeout=10)
    assert client.string("shop", "", "u") == "green"
    clock.now += 1.5
    assert client.string("shop", "", "u") == "blue"
    server.beat(age=0.5)
    until(lambda: client.string("shop", "", "u") == "green")


class Played:
    """A stream whose events, and the clock while they are waited for, are written down beforehand."""

    def __init__(self, clock: Clock, script: list[tuple[float, list[Event] | None]]) -> None:
        self._clock = clock
        self._script = script
        self.drained = False

    def receive(self, _patience: float) -> list[Event]:
        if not self._script:
            raise UnreachableError("over")
        seconds, events = self._script.pop(0)
        self._clock.now += seconds
        self.drained = True
        return events or []


def _feed(clock: Clock) -> tuple[Feed, list[Snapshot]]:
    workshop = Workshop(clock=clock, counts=None)
    held = [workshop.from_document(document({}, {"shop": ramp(heartbeat=4.0)}), clock.now, NOTHING)]
    server = Server("http://127.0.0.1:9", "k", "production")
    return Feed(server, workshop, lambda: held[-1], held.append, chance=lambda: 0.5), held


BEAT = Event("heartbeat", json.dumps({"version": "v1", "age": 0.25}), None)


def test_a_heartbeat_is_as_old_as_the_last_moment_at_which_nothing_was_waiting() -> None:
    clock = Clock()
    feed, held = _feed(clock)
    played = Played(clock, [(0.5, None), (0.4, None), (0.1, [BEAT])])
    feed._listen(cast(Stream, played), 5.0, clock.now)
    assert held[-1].as_of[0] == 1000.5 - 0.25


def test_after_a_stopped_process_goes_on_what_waited_in_the_buffer_refreshes_nothing() -> None:
    clock = Clock()
    feed, held = _feed(clock)
    waiting = [(0.0, [BEAT])] * 5
    played = Played(clock, [(0.5, None), (0.5, [BEAT]), (600.0, [BEAT]), *waiting])
    feed._listen(cast(Stream, played), 5.0, clock.now)
    assert held[-1].as_of[0] < 1001.0
    assert len(played._script) == 5, "the stream is dropped at once: a new one tells what holds now"


def test_what_waited_in_the_buffer_since_the_stream_was_asked_for_is_as_old_as_the_question() -> None:
    clock = Clock()
    feed, held = _feed(clock)
    asked, clock.now = clock.now, clock.now + 600.0
    feed._listen(cast(Stream, Played(clock, [(0.0, [BEAT])])), 5.0, asked)
    assert held[-1].as_of[0] == 1000.0


def test_a_replica_that_lags_is_not_believed(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    server.send("changed", server.change("v2", {"new": plain(False)}))
    until(lambda: client.boolean("new", True, "u") is False)
    server.change("v1", {"new": plain()})
    server.age = 30.0
    server.cut()
    # It goes on asking, by the stream and by the snapshot, and stays with what it knows.
    until(lambda: len(server.opened) >= 4)
    assert client.boolean("new", True, "u") is False
    server.change("v3", {"new": plain()})
    server.age = 0.0
    until(lambda: client.boolean("new", False, "u"))


def test_freshness_never_moves_backwards_at_the_same_version() -> None:
    clock = Clock()
    feed, held = _feed(clock)
    held[-1].as_of[0] = 1000.0
    old = Event("heartbeat", json.dumps({"version": "v1", "age": 30.0}), None)
    feed._listen(cast(Stream, Played(clock, [(0.1, [old])])), 5.0, clock.now)
    assert held[-1].as_of[0] == 1000.0


def test_waits_grow_are_capped_and_differ_between_clients() -> None:
    def waits(chance: float) -> list[float]:
        backoff = Backoff(lambda: chance)
        return [backoff.wait(30.0) for _ in range(12)]

    slow, quick = waits(1.0), waits(0.0)
    assert slow[:4] == [0.25, 0.5, 1.0, 2.0]
    assert slow[-1] == 30.0
    assert all(one < other / 5 for one, other in zip(quick, slow, strict=True))
    assert Backoff(lambda: 0.0).wait(30.0, at_least=7.0) == 7.0


@pytest.mark.parametrize("half_open", ["stream", "snapshot", "telemetry"])
def test_closing_waits_for_no_hanging_server(server: Scripted, half_open: str) -> None:
    more: dict[str, Any] = {f"{half_open}_mode": "hang"}
    for name, value in more.items():
        setattr(server, name, value)
    before = set(threading.enumerate())
    client = FlagClient(server.url, "rg_sdk_a_b")
    if half_open == "telemetry":
        assert client.ready(10)
        client.string("shop", "", "u")
        until(lambda: server.batches)
    else:
        until(lambda: server.opened if half_open == "stream" else server.polls)
    mine = [one for one in set(threading.enumerate()) - before if one.name.startswith("rampgate-")]
    assert mine
    client.close()
    assert not [one for one in mine if one.is_alive()]
