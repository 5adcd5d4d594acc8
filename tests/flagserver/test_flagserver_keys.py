"""Keys: how they end, follow one another and are used from browsers, and what becomes of whoever guesses."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from flagserver.asgi import FrontDoor
from flagserver.auth import Keyring, Role, Wish
from flagserver.auth.guards import BURST, REFILL, SlowDown, peer_of
from flagserver.auth.keyring import OVERLAP, USED_EVERY
from flagserver.errors import FlagServerError, InvalidError, NotAllowedError, SlowDownError, UnknownKeyError
from flagserver.services import assemble
from flagserver.settings import Settings
from flagserver.store import Store
from tests.flagserver.inside import Clock, Inside

PAGE = "https://shop.example"
OFREP = "/ofrep/v1/evaluate/flags"
CONTEXT = {"context": {"targetingKey": "ada"}}
ASKS = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
FLAG = {"flag": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}


class Steady:
    """A clock that nobody steps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ring(sqlite_url: str, clock: Clock) -> Iterator[Keyring]:
    """The keys of a server whose store runs on the test's clock."""
    store = Store(sqlite_url, clock=clock)
    yield Keyring(store, steady=Steady())
    store.close()


def sdk(**changes: Any) -> Wish:
    return Wish(**{"role": Role.SDK, "environment": "production", "name": "web", **changes})


def client(inside: Inside, *origins: str) -> str:
    wish = Wish(role=Role.CLIENT, environment="production", name="pages", origins=origins)
    return inside.services.keyring.create(wish, by="test").text


def test_a_key_ends_when_it_was_to_end_and_says_so(inside: Inside) -> None:
    body = {"role": "sdk", "environment": "production", "name": "trial", "expires_in": 3600}
    made = inside.call("POST", "/v1/keys", body, role=Role.ADMIN).get_json()
    assert made["expires_at"] == inside.clock.now + 3600
    inside.clock.go(3599)
    assert inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=made["key"]).status_code == 200
    inside.clock.go(1)
    refused = inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=made["key"])
    assert (refused.status_code, refused.get_json()["error"]) == (401, "key_expired")
    assert "ended at 2027-01-15 09:00:00 UTC" in refused.get_json()["message"]


def test_a_rotated_key_stays_good_for_the_overlap_and_no_longer(inside: Inside) -> None:
    old = inside.call("POST", "/v1/keys", {"role": "sdk", "environment": "production", "name": "web"}, role=Role.ADMIN)
    path = f"/v1/keys/{old.get_json()['selector']}/rotation"
    new = inside.call("POST", path, {"overlap": 600}, role=Role.ADMIN).get_json()
    assert (new["replaces"], new["role"], new["name"]) == (old.get_json()["selector"], "sdk", "web")
    keys = old.get_json()["key"], new["key"]

    def statuses() -> list[int]:
        found = (inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=key) for key in keys)
        return [one.status_code for one in found]

    assert statuses() == [200, 200]
    inside.clock.go(600)
    assert statuses() == [401, 200]
    assert inside.call("POST", path, {}, role=Role.ADMIN).status_code == 404, "what has ended has no successor"


def test_rotation_keeps_the_lifetime_and_the_origins(ring: Keyring, clock: Clock) -> None:
    old = ring.create(sdk(role=Role.CLIENT, lives=5 * OVERLAP, origins=(PAGE,)), by="test").record
    clock.go(3 * OVERLAP)
    new = ring.rotate(old.selector, by="test").record
    assert (new.expires_at, new.origins) == (clock.now + 5 * OVERLAP, (PAGE,))
    left = {one.selector: one.expires_at for one in ring.every()}
    assert left[old.selector] == clock.now + OVERLAP


def test_the_last_use_is_written_at_most_once_a_minute_and_never_by_the_call_itself(
    sqlite_url: str, clock: Clock
) -> None:
    store, steady = Store(sqlite_url, clock=clock), Steady()
    ring = Keyring(store, steady=steady)
    used, unused = ring.create(sdk(), by="test"), ring.create(sdk(), by="test")

    def last(selector: str) -> float | None:
        return next(one.last_used_at for one in ring.every() if one.selector == selector)

    assert ring.caller(used.text) is not None
    assert last(used.record.selector) is None
    ring.turn()
    first = clock.now
    clock.go(30)
    steady.now += USED_EVERY - 1
    assert ring.caller(used.text) is not None
    ring.turn()
    assert (last(used.record.selector), last(unused.record.selector)) == (first, None)
    steady.now += 1
    ring.turn()
    assert last(used.record.selector) == clock.now
    store.close()


def test_nothing_but_the_whole_key_is_a_key(ring: Keyring) -> None:
    key = ring.create(sdk(), by="test").text
    other = ring.create(sdk(), by="test").text
    assert ring.caller(key) is not None
    secret = key[-43:]
    wrong = [key[:-1], key + "A", key.replace("rg_sdk", "rg_admin"), key[:-43] + other[-43:], secret, "_" + secret]
    for one in (*wrong, "", "é" * 60, key.replace("_", "-", 1), key[:-44] + "x" + secret, "\ud800" * 43):
        assert ring.caller(one) is None, one


def test_a_revoked_key_is_known_as_such_by_every_replica_after_its_next_look(sqlite_url: str, clock: Clock) -> None:
    one, other = (assemble(Settings(database_url=sqlite_url), clock=clock) for _ in range(2))
    made = one.keyring.create(sdk(), by="test")
    other.steward.turn()
    assert other.keyring.caller(made.text) is not None
    one.keyring.revoke(made.record.selector, by="test")
    other.steward.turn()
    assert other.keyring.caller(made.text) is None
    one.store.close()
    other.store.close()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"origins": (PAGE,)}, "origins"),
        ({"role": Role.CLIENT, "origins": ("https://shop.example/",)}, "origins.0"),
        ({"role": Role.CLIENT, "origins": (PAGE, "*")}, "origins.1"),
        ({"role": Role.CLIENT, "origins": ("null",)}, "origins.0"),
        ({"role": Role.CLIENT, "origins": ("https://*.example",)}, "origins.0"),
        ({"role": Role.CLIENT, "origins": ("https://shop.example:443",)}, "origins.0"),
        ({"role": Role.CLIENT, "origins": ("https://Shop.example",)}, "origins.0"),
        ({"lives": 1.0}, "expires_in"),
        ({"name": ""}, "name"),
        ({"environment": None}, "environment"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_path(ring: Keyring, changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidError) as caught:
        ring.create(sdk(**changes), by="test")
    assert [one.path for one in caught.value.problems] == [path]


def test_a_client_key_evaluates_and_does_nothing_else(inside: Inside) -> None:
    inside.call("PUT", "/v1/production/flags/plain", FLAG)
    assert inside.call("POST", f"{OFREP}/plain", CONTEXT, role=Role.CLIENT).get_json()["value"] == 1
    assert inside.call("POST", OFREP, CONTEXT, role=Role.CLIENT).status_code == 200
    for path in ("snapshot", "flags", "stream"):
        assert inside.call("GET", f"/v1/production/{path}", role=Role.CLIENT).get_json()["error"] == "role"
    assert inside.call("POST", "/v1/telemetry", {}, role=Role.CLIENT).get_json()["error"] == "role"


def test_a_page_calls_with_a_client_key_of_its_own_origin_only(inside: Inside) -> None:
    key, other = client(inside, PAGE, "http://localhost:3000"), client(inside, "https://elsewhere.example")
    for origin in (PAGE, "http://localhost:3000"):
        reply = inside.call("POST", OFREP, CONTEXT, role=None, X_API_Key=key, Origin=origin)
        assert (reply.status_code, reply.headers["Access-Control-Allow-Origin"]) == (200, origin)
        assert "ETag" in reply.headers["Access-Control-Expose-Headers"]
        assert (reply.headers["Vary"], "Access-Control-Allow-Credentials" in reply.headers) == ("Origin", False)
    refused = inside.call("POST", OFREP, CONTEXT, role=None, X_API_Key=other, Origin=PAGE)
    assert (refused.status_code, refused.get_json()["error"]) == (403, "origin")
    for origin in ("https://evil.example", "null", PAGE + ".evil.example"):
        refused = inside.call("POST", OFREP, CONTEXT, role=None, X_API_Key=key, Origin=origin)
        assert (refused.status_code, refused.get_json()["error"], refused.headers["Vary"]) == (403, "origin", "Origin")
        assert "Access-Control-Allow-Origin" not in refused.headers
    assert inside.call("POST", OFREP, CONTEXT, role=None, X_API_Key=key).status_code == 200, "no browser, no origin"


def test_a_page_may_read_why_it_is_refused(inside: Inside) -> None:
    client(inside, PAGE)
    reply = inside.call("POST", OFREP, CONTEXT, role=None, Origin=PAGE)
    assert (reply.status_code, reply.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


def test_a_preflight_is_granted_to_origins_of_client_keys_in_use(inside: Inside) -> None:
    key = client(inside, PAGE)
    granted = inside.call("OPTIONS", f"{OFREP}/plain", role=None, Origin=PAGE, **ASKS)
    assert (granted.status_code, granted.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert "Authorization" in granted.headers["Access-Control-Allow-Headers"]
    assert "POST" in granted.headers["Access-Control-Allow-Methods"]
    inside.services.keyring.revoke(key.split("_")[2], by="test")
    refused = inside.call("OPTIONS", f"{OFREP}/plain", role=None, Origin=PAGE, **ASKS)
    assert (refused.status_code, refused.get_json()["error"], refused.headers["Vary"]) == (403, "origin", "Origin")
    assert inside.call("OPTIONS", "/v1/production/snapshot", role=None, Origin=PAGE, **ASKS).status_code == 405


Answered = tuple[int, dict[str, str]]


async def _through_the_loop(inside: Inside, method: str, path: str, headers: dict[str, str]) -> Answered:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"context": {"targetingKey": "ada"}}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "client": ("192.0.2.9", 1234),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await FrontDoor(inside.services)(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_the_loop_answers_pages_as_flask_does(inside: Inside) -> None:
    key = client(inside, PAGE)

    def call(method: str, headers: dict[str, str]) -> Answered:
        return asyncio.run(_through_the_loop(inside, method, OFREP, headers))

    for method, good in (("OPTIONS", 204), ("POST", 200)):
        status, got = call(method, {"X-API-Key": key, "Origin": PAGE})
        assert (status, got["access-control-allow-origin"], got["vary"]) == (good, PAGE, "Origin")
        status, got = call(method, {"X-API-Key": key, "Origin": "https://evil.example"})
        assert (status, "access-control-allow-origin" in got) == (403, False)


def test_whoever_guesses_is_told_to_wait_and_a_good_key_is_served_all_the_same(inside: Inside) -> None:
    def guess(number: int) -> int:
        key = f"rg_sdk_{number:012x}_{'A' * 43}"
        return inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=key).status_code

    assert [guess(number) for number in range(BURST + 2)] == [401] * BURST + [429] * 2
    last = inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key="nonsense")
    assert (last.get_json()["error"], 1 <= int(last.headers["Retry-After"]) <= REFILL) == ("slow_down", True)
    assert inside.call("GET", "/v1/production/snapshot", role=Role.SDK).status_code == 200
    assert inside.call("GET", "/v1/production/snapshot", role=None).status_code == 401, "no key is no guess"


GUESS = UnknownKeyError("wrong")


def test_patience_grows_back_and_one_address_costs_another_nothing() -> None:
    steady = Steady()
    slow = SlowDown(steady=steady)

    def answer(peer: str, error: FlagServerError = GUESS) -> FlagServerError:
        return slow.refused(error, peer, "")

    for _ in range(BURST):
        assert answer("192.0.2.1") is GUESS
    assert isinstance(answer("192.0.2.1"), SlowDownError)
    assert answer("192.0.2.2") is GUESS
    other = NotAllowedError("no")
    assert answer("192.0.2.1", other) is other
    steady.now += REFILL
    assert answer("192.0.2.1") is GUESS
    assert isinstance(answer("192.0.2.1"), SlowDownError)


def test_the_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagserver.auth.guards.MOST_PEERS", 3)
    slow = SlowDown(steady=Steady())
    for number in range(50):
        slow.refused(GUESS, f"192.0.2.{number}", "")
    assert len(slow._peers) == 3


PROXIES = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("remote", "forwarded", "trusted", "peer"),
    [
        ("192.0.2.1", "203.0.113.5", (), "192.0.2.1"),
        ("192.0.2.1", "203.0.113.5", PROXIES, "192.0.2.1"),
        ("10.0.0.1", "203.0.113.5", PROXIES, "203.0.113.5"),
        ("10.0.0.1", "forged, 203.0.113.5, 10.1.1.1", PROXIES, "203.0.113.5"),
        ("10.0.0.1", "", PROXIES, "10.0.0.1"),
        ("2001:db8:1:2:3::4", "", (), "2001:db8:1:2::/64"),
        ("unix", "", (), "unix"),
    ],
)
def test_only_a_trusted_proxy_speaks_for_another(remote: str, forwarded: str, trusted: Any, peer: str) -> None:
    assert peer_of(remote, forwarded, trusted) == peer
