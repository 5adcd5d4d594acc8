"""Events out of bytes, however the network cuts them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.client.events import BrokenStreamError, Chunks, Event, EventReader

STREAM = (
    "\ufeff: hello\r\nretry: 1500\n\nevent: heartbeat\ndata: {}\n\n"
    "id: v2\r\nevent: changed\r\ndata: one\r\ndata: two\r\n\r\n"
    "data: grün\n\nevent: nothing\n\nevent: heartbeat\ndata:\n\n"
).encode()
EVENTS = [
    Event("heartbeat", "{}", None),
    Event("changed", "one\ntwo", "v2"),
    Event("message", "grün", "v2"),
    Event("heartbeat", "", "v2"),
]


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    reader = EventReader()
    assert [event for piece in pieces(STREAM, cuts) for event in reader.feed(piece)] == EVENTS
    assert reader.retry == 1.5


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 10_000), max_size=30))
def test_chunks_give_the_body_however_the_bytes_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    coded = b"".join(b"%X;name=value\r\n%s\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"
    chunks = Chunks()
    assert b"".join(chunks.feed(piece) for piece in pieces(coded, cuts)) == b"".join(bodies)
    assert chunks.ended


@pytest.mark.parametrize("coded", [b"xyz\r\n", b"-1\r\n", b"2\r\nabcd", b"\r\n", b"1" * 2000])
def test_what_is_not_chunked_is_refused(coded: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        Chunks().feed(coded)


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rampgate.client.events.MAX_EVENT", 1000)
    reader = EventReader()
    with pytest.raises(BrokenStreamError):
        list(reader.feed((b"data: " + b"x" * 100 + b"\n") * 20))
