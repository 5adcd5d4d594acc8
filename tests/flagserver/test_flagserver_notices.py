"""Pages that hear of changes: OFREP's event stream, and the passes that its address carries in place of a key."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from flagserver.auth import Role, Wish
from flagserver.notices import TURN, Notices
from tests.flagserver.callers import Gate, Stream
from tests.flagserver.inside import Clock, Inside
from tests.flagserver.process import FlagServer, bearer

ALL = "/ofrep/v1/evaluate/flags"
ASKED = {"context": {"targetingKey": "ada"}}
PAGE = "https://shop.example"


@pytest.fixture(scope="module")
def gate(process: FlagServer) -> Gate:
    return Gate(process)


@pytest.fixture
def notices(inside: Inside) -> Notices:
    """Those of a server with an event loop."""
    inside.services.notices.served = True
    return inside.services.notices


@pytest.fixture
def listening(gate: Gate) -> Iterator[Stream]:
    """A page that listens, and has been told what there is."""
    stream = Stream(gate, path=address(gate))
    stream.until("message")
    yield stream
    stream.close()


def bulk(gate: Gate, tag: str = "") -> requests.Response:
    headers = {**gate.sdk, "If-None-Match": tag}
    return requests.post(gate.server.url + ALL, json=ASKED, headers=headers, timeout=10)


def address(gate: Gate) -> str:
    [stream] = bulk(gate).json()["eventStreams"]
    assert (stream["type"], stream["inactivityDelaySec"]) == ("sse", 120)
    return str(stream["endpoint"]["requestUri"])


def inside_bulk(inside: Inside, role: Role = Role.SDK, **headers: str) -> Any:
    return inside.call("POST", ALL, ASKED, role=role, **headers)


def client(inside: Inside) -> str:
    wish = Wish(role=Role.CLIENT, environment="production", name="pages", origins=(PAGE,))
    return inside.services.keyring.create(wish, by="test").text


def test_a_page_is_told_to_evaluate_again_and_what_it_then_asks_is_new(gate: Gate, listening: Stream) -> None:
    tag = bulk(gate).headers["ETag"]
    assert bulk(gate, tag).status_code == 304
    gate.put("banner", "hello")
    number, told = listening.until("message")
    assert told == {"type": "refetchEvaluation", "etag": number}
    again = bulk(gate, tag)
    assert (again.status_code, again.json()["metadata"]["version"]) == (200, number)


def test_the_address_of_a_key_stays_and_holds_no_key(gate: Gate) -> None:
    assert address(gate) == address(gate)
    secret = gate.sdk["Authorization"].rpartition("_")[2]
    assert secret not in address(gate)


@pytest.mark.usefixtures("listening")
def test_a_page_that_comes_back_and_has_missed_nothing_is_not_told(gate: Gate) -> None:
    version = gate.snapshot()["version"]
    reply = requests.get(gate.server.url + address(gate), headers={"Last-Event-ID": version}, stream=True, timeout=30)
    lines = reply.iter_lines(chunk_size=1, decode_unicode=True)
    assert next(line for line in lines if line and not line.startswith("retry")).startswith(":")
    reply.close()
    assert "rampgate_page_streams" in requests.get(f"{gate.server.url}/metrics", timeout=10).text


def test_a_page_may_read_the_stream_from_an_origin_of_its_key_alone(process: FlagServer) -> None:
    wanted = {"role": "client", "environment": "production", "name": "pages", "origins": [PAGE]}
    admin = bearer(process.admin_key)
    key = requests.post(f"{process.url}/v1/keys", json=wanted, headers=admin, timeout=10).json()["key"]
    given = requests.post(process.url + ALL, json=ASKED, headers={**bearer(key), "Origin": PAGE}, timeout=10)
    where = process.url + given.json()["eventStreams"][0]["endpoint"]["requestUri"]
    with requests.get(where, headers={"Origin": PAGE}, stream=True, timeout=10) as good:
        assert (good.status_code, good.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    bad = requests.get(where, headers={"Origin": "https://evil.example"}, timeout=10)
    assert (bad.status_code, bad.json()["error"]) == (401, "unknown_pass")
    for wrong in ("", "?pass=", "?pass=a.b.c", f"?pass={'9' * 40}", where.partition("events")[2][:-1] + "ö"):
        assert requests.get(f"{process.url}/ofrep/v1/events{wrong}", timeout=10).status_code == 401
    snapshot, text = f"{process.url}/v1/production/snapshot", where.partition("=")[2]
    assert requests.get(snapshot, headers=bearer(text), timeout=10).status_code == 401


def test_a_pass_ends_with_its_time_and_with_its_key(inside: Inside, notices: Notices, clock: Clock) -> None:
    text = client(inside)
    caller = inside.services.keyring.caller(text)
    assert caller is not None
    given = notices.offer(caller)
    assert given is not None
    assert notices.holder(given, PAGE) == caller
    assert notices.holder(given, "https://evil.example") is None
    clock.go(TURN)
    assert notices.holder(given, PAGE) == caller
    assert notices.offer(caller) != given
    clock.go(TURN)
    assert notices.holder(given, PAGE) is None
    fresh = notices.offer(caller)
    assert fresh is not None
    inside.services.keyring.revoke(str(caller.selector), by="test")
    assert notices.holder(fresh, PAGE) is None


def test_a_pass_is_good_for_one_key_and_until_its_own_end(inside: Inside, notices: Notices, clock: Clock) -> None:
    found = [inside.services.keyring.caller(inside.keys[role]) for role in (Role.SDK, Role.OPERATOR)]
    mine, other = (notices.offer(one) for one in found if one is not None)
    assert mine is not None
    assert other is not None
    selector, ends, seal = mine.split(".")
    for wrong in (f"{other.split('.')[0]}.{ends}.{seal}", f"{selector}.{int(ends) + 1}.{seal}", f"{selector}.x.{seal}"):
        assert notices.holder(wrong, "") is None
    clock.go(1)
    assert notices.holder(mine, "") == found[0]


def test_an_answer_whose_pass_has_ended_is_not_called_unchanged(inside: Inside, notices: Notices, clock: Clock) -> None:
    first = inside_bulk(inside)
    tag = first.headers["ETag"]
    assert inside_bulk(inside, If_None_Match=tag).status_code == 304
    clock.go(TURN)
    again = inside_bulk(inside, If_None_Match=tag)
    assert again.status_code == 200
    assert again.get_json()["eventStreams"] != first.get_json()["eventStreams"]
    notices.open = notices.most
    assert "eventStreams" not in inside_bulk(inside, If_None_Match=again.headers["ETag"]).get_json()


def test_where_nobody_would_tell_pages_no_address_is_given(inside: Inside) -> None:
    assert "eventStreams" not in inside_bulk(inside).get_json()
    inside.services.notices.served = True
    assert "eventStreams" in inside_bulk(inside).get_json()
    assert "eventStreams" not in inside.call("POST", f"{ALL}?environment=production", ASKED, role=Role.ADMIN).get_json()
    inside.services.notices.most = 0
    assert "eventStreams" not in inside_bulk(inside).get_json()
    assert inside.call("GET", "/ofrep/v1/events?pass=x", role=None).status_code == 501
