"""The front doors of examples/edge, as real programs before two pools and the flag server."""

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator
from tests.real.doors import App, Door, Places, opened, pool, retire

PATIENCE = 30.0
STEPS = [{"share": 50_000, "bake": 0.0}, {"share": 100_000, "bake": 0.0}]
PACE = {"poll": 15.0, "lease": 300.0, "stale_after": 300.0, "heartbeat": 15.0}


@dataclass
class Site:
    """The flag server, two pools, and every door before them."""

    folder: Path
    server: FlagServer
    places: Places
    green: App
    stack: ExitStack
    urls: dict[Door, str] = field(default_factory=dict)
    versions: int = 1
    rollout: str = ""

    def ramp(self) -> None:
        """A new version in green, with half of the users on it."""
        self.versions += 1
        self.operator = Operator(self.server)
        self.rollout = self.operator.ramp("shop", f"v{self.versions}", steps=STEPS, **PACE)

    def ask(self, door: Door, user: str, method: str = "GET", path: str = "/", **more: Any) -> requests.Response:
        headers = {"X-User-Id": user, **more.pop("headers", {})}
        return requests.request(method, self.urls[door] + path, headers=headers, timeout=PATIENCE, **more)

    def pools(self, door: Door, users: int = 24, **more: Any) -> list[str]:
        """The pool that answered each of some users; every answer is 200."""
        replies = [self.ask(door, f"user-{number}", **more) for number in range(users)]
        assert {reply.status_code for reply in replies} == {200}, [reply.text for reply in replies]
        return [reply.headers["X-Pool"] for reply in replies]

    def user_of(self, slot: str) -> str:
        return f"user-{self.pools(Door.NGINX).index(slot)}"

    def to_pool(self, slot: str, path: str) -> dict[str, int]:
        """Ask a pool itself, past the doors."""
        port = {"blue": self.places.blue, "green": self.places.green}[slot]
        found: dict[str, int] = requests.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE).json()
        return found


class WebSocket:
    """Just enough of one to be upgraded and to hear an echo."""

    def __init__(self, url: str, user: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), PATIENCE)
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        self._socket.sendall(f"GET /echo HTTP/1.1\r\nHost: {host}\r\nX-User-Id: {user}\r\n{upgrade}{key}\r\n".encode())
        head = self._socket.recv(4096)
        assert b" 101 " in head, head

    def say(self, text: bytes) -> bytes:
        self._socket.sendall(text)
        return self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        server = stack.enter_context(FlagServer(folder))
        blue, green = (stack.enter_context(pool(slot, folder)) for slot in ("blue", "green"))
        places = Places(blue=blue.port, green=green.port, flagserver=server.port, key=server.key("client"))
        made = Site(folder, server, places, green, stack)
        made.ramp()
        for door in Door:
            (folder / door).mkdir()
            made.urls[door] = stack.enter_context(opened(door, folder / door, places, slack=True))
        yield made


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends
        threading.Event().wait(0.02)


def test_the_same_visitor_reaches_the_same_pool_at_every_door_whatever_their_headers_say(site: Site) -> None:
    said = {"Rampgate-Variant": "green", "Rampgate-Force": "green", "Rampgate-User": "root"}
    found = {door: site.pools(door, headers=said) for door in Door}
    assert found[Door.NGINX] == found[Door.CADDY] == found[Door.HAPROXY] == found[Door.TRAEFIK]
    assert set(found[Door.NGINX]) == {"blue", "green"}


@pytest.mark.parametrize("door", Door)
def test_the_app_is_told_its_variant_and_user_and_gets_what_was_posted(site: Site, door: Door) -> None:
    user = site.user_of("green")
    reply = site.ask(door, user, "POST", data=b"x" * 10_000, headers={"Rampgate-User": "root"})
    assert reply.json() == {"pool": "green", "method": "POST", "rampgate-variant": "green", "rampgate-user": user}
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("door", Door)
def test_a_visitor_without_a_name_gets_a_cookie_and_is_known_by_it(site: Site, door: Door) -> None:
    first = requests.get(site.urls[door], timeout=PATIENCE)
    name, user = first.headers["Set-Cookie"].split(";")[0].split("=")
    assert (name, len(user), first.json()["rampgate-user"]) == ("rampgate-user", 32, user)
    again = requests.get(site.urls[door], headers={"Cookie": f"rampgate-user={user}"}, timeout=PATIENCE)
    assert again.json() == first.json()
    assert "Set-Cookie" not in again.headers


@pytest.mark.parametrize("door", Door)
def test_about_the_share_of_all_visitors_reaches_the_canary(site: Site, door: Door) -> None:
    assert 60 < site.pools(door, users=200).count("green") < 140


@pytest.mark.parametrize("door", Door)
def test_a_signed_token_leads_a_tester_to_the_canary(site: Site, door: Door) -> None:
    made = site.operator.call("POST", "/v1/production/flags/shop/tester-tokens", {"arm": "canary"}, 201)
    assert set(site.pools(door, headers={"Rampgate-Force": made["token"]})) == {"green"}
    assert "blue" in site.pools(door, headers={"Rampgate-Force": made["token"][:-4] + "AAAA"})


def test_haproxy_counts_each_slots_answers_under_the_names_of_the_page(site: Site) -> None:
    """The queries of docs/edge.md are made of `haproxy_server_http_responses_total` by `server` and `code`."""

    def counted(slot: str) -> int:
        with socket.socket(socket.AF_UNIX) as exporter:
            exporter.connect(str(site.folder / Door.HAPROXY / "metrics.sock"))
            exporter.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: exporter.recv(65536), b"")).decode()
        series = rf'^haproxy_server_http_responses_total{{[^}}]*server="{slot}",code="2xx"}} (\d+)'
        return sum(int(count) for count in re.findall(series, text, re.M))

    before = {slot: counted(slot) for slot in ("blue", "green")}
    reached = site.pools(Door.HAPROXY)
    assert {slot: counted(slot) - before[slot] for slot in before} == {slot: reached.count(slot) for slot in before}


def test_without_the_flag_server_everybody_reaches_the_slot_that_was_not_retired_last(site: Site) -> None:
    site.server.kill()
    for door in Door:
        assert set(site.pools(door)) == set(site.pools(door, method="POST", data=b"order")) == {"blue"}
        retire(door, site.folder / door, "blue")
        until(lambda door=door: set(site.pools(door)) == {"green"})  # type: ignore[misc]
        retire(door, site.folder / door, "green")
        until(lambda door=door: set(site.pools(door)) == {"blue"})  # type: ignore[misc]
    site.server.start()
    for door in Door:
        assert set(site.pools(door)) == {"blue", "green"}


def test_a_flag_server_that_hangs_fails_nobody(site: Site, tmp_path: Path) -> None:
    site.server.process.send_signal(signal.SIGSTOP)
    try:
        for door in Door:
            (tmp_path / door).mkdir()
            with opened(door, tmp_path / door, site.places) as url:
                for method in ("GET", "POST"):
                    reply = requests.request(method, url, data=b"order", timeout=PATIENCE)
                    assert (reply.status_code, reply.json()["pool"]) == (200, "blue")
    finally:
        site.server.process.send_signal(signal.SIGCONT)


def test_a_killed_canary_fails_nothing_that_may_be_repeated_and_no_order_is_placed_twice(site: Site) -> None:
    site.to_pool("blue", "/go-on")
    user, before = site.user_of("green"), site.to_pool("green", "/seen")
    orders = site.to_pool("blue", "/seen")["POST"]
    with ThreadPoolExecutor(2 * len(Door)) as threads:
        asked = {
            method: [threads.submit(site.ask, door, user, method, "/quiet", data=body) for door in Door]
            for method, body in (("GET", b""), ("POST", b"order"))
        }
        until(lambda: all(site.to_pool("green", "/seen")[method] == before[method] + len(Door) for method in asked))
        site.green.process.kill()
    got = {method: [reply.result() for reply in replies] for method, replies in asked.items()}
    assert [(reply.status_code, reply.headers.get("X-Pool")) for reply in got["GET"]] == [(200, "blue")] * len(Door)
    assert {reply.status_code for reply in got["POST"]} <= {502, 503}
    assert site.to_pool("blue", "/seen")["POST"] == orders
    for door in Door:
        until(lambda door=door: Door.TRAEFIK is not door or site.ask(door, user, "POST").status_code == 200)  # type: ignore[misc]
        assert set(site.pools(door)) == set(site.pools(door, method="POST", data=b"order")) == {"blue"}
    site.green = site.stack.enter_context(pool("green", site.folder, site.places.green))
    for door in Door:
        until(lambda door=door: "green" in site.pools(door))  # type: ignore[misc]


def test_a_revert_is_obeyed_with_the_next_request_and_what_was_under_way_ends_where_it_began(site: Site) -> None:
    user = site.user_of("green")
    long = {door: site.ask(door, user, path="/long", stream=True) for door in Door}
    sockets = {door: WebSocket(site.urls[door], user) for door in Door}
    site.operator.tell(site.rollout, "revert")
    for door in Door:
        assert set(site.pools(door)) == {"blue"}
        assert sockets[door].say(b"still there?") == b"green still there?"
        sockets[door].close()
    site.to_pool("green", "/go-on")
    assert [reply.text for reply in long.values()] == ["begunended"] * len(Door)
    site.to_pool("green", "/hold")
    site.ramp()
