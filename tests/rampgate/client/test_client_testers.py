"""Testers in an app: a header, cookie, link or attribute forces an arm for one request. Nothing of it is counted."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults

import pytest
from flask import Flask

from rampgate import FlagClient
from rampgate.client import asgi, wsgi
from rampgate.client.flask import Flags
from rampgate.client.testers import NONE, carried
from rampgate.evidence import ArmName
from rampgate.forcing import BETWEEN, NAME, Token, mint, new_key
from tests.rampgate.client.scripted import Scripted, document, ramp, ramping, serve, until

KEY = new_key()
TOKEN = Token(environment="production", flag="shop", arm=ArmName.CANARY, expires=time.time() + 3600, id="t1")
TEXT = mint(TOKEN, KEY)
CART = mint(replace(TOKEN, flag="cart"), KEY)
ENDED = mint(replace(TOKEN, expires=time.time() - 1), KEY)
LISTED = {"if": [{"in": [{"var": "targetingKey"}, ["ada"]]}, "green", *ramping(1)["targeting"]["if"]]}
Ask = Callable[..., tuple[str, str | None]]


def dark(version: str = "v1", **changes: Any) -> dict[str, Any]:
    """Two flags whose new versions are up, and nobody is sent there."""
    ramps = {"shop": ramp(forceKey=KEY, **changes), "cart": ramp(forceKey=KEY)}
    return document({"shop": ramping(0), "cart": ramping(0)}, ramps, version)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serve(Scripted(dark())) as script:
        yield script


@pytest.fixture
def client(server: Scripted) -> Iterator[FlagClient]:
    with FlagClient(server.url, "rg_sdk_a_b") as client:
        assert client.ready(20)
        yield client


def seen(client: FlagClient) -> str:
    """What an app sees in a request: the same whoever it asks about, and however."""
    found = {
        client.string("shop", "", "u"),
        client.string("shop", "", "somebody else"),
        client.string("shop", "", {"targetingKey": "u", "tier": "gold"}),
        client.details("shop", "", "u").value,
        client.details("shop", "", "another").value,
    }
    with client.observe("shop", "u") as inner:
        found.add(str(inner.value))
    client.track("shop", "u", ok=False)
    assert len(found) == 1
    return found.pop()


def by_wsgi(client: FlagClient) -> Ask:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [seen(client).encode()]

    stack: Any = wsgi.FlagMiddleware(app, client, "shop", lambda environ: environ.get("HTTP_X_USER", "u"))
    stack = wsgi.FlagMiddleware(stack, client, "cart", lambda _environ: None)

    def ask(header: str = "", cookie: str = "", query: str = "", scheme: str = "http") -> tuple[str, str | None]:
        environ = {"HTTP_RAMPGATE_FORCE": header, "HTTP_COOKIE": cookie, "QUERY_STRING": query}
        environ["wsgi.url_scheme"] = scheme
        setup_testing_defaults(environ)
        told: list[tuple[str, str]] = []
        body = stack(environ, lambda _status, headers, *_: told.extend(headers))
        cookies = [value for name, value in told if name == "Set-Cookie"]
        assert len(cookies) <= 1, "of two middlewares one sets the cookie"
        return b"".join(body).decode(), cookies[0] if cookies else None

    return ask


def by_asgi(client: FlagClient) -> Ask:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": seen(client).encode()})

    stack: Any = asgi.FlagMiddleware(app, client, "shop", lambda _scope: "u")
    stack = asgi.FlagMiddleware(stack, client, "cart", lambda _scope: None)

    def ask(header: str = "", cookie: str = "", query: str = "", scheme: str = "http") -> tuple[str, str | None]:
        headers = [(b"rampgate-force", header.encode()), (b"cookie", cookie.encode())]
        scope = {"type": "http", "headers": headers, "query_string": query.encode(), "scheme": scheme}
        told: list[Mapping[str, Any]] = []

        async def send(message: Mapping[str, Any]) -> None:
            told.append(message)

        asyncio.run(stack(scope, None, send))
        cookies = [value.decode() for name, value in told[0]["headers"] if name == b"set-cookie"]
        assert len(cookies) <= 1
        return told[1]["body"].decode(), cookies[0] if cookies else None

    return ask


def by_flask(client: FlagClient) -> Ask:
    app = Flask("shop")
    Flags(app, client=client, flags=["shop", "cart"], user=lambda: "u")
    app.add_url_rule("/", view_func=lambda: seen(client))

    def ask(header: str = "", cookie: str = "", query: str = "", scheme: str = "http") -> tuple[str, str | None]:
        headers = {"Rampgate-Force": header, "Cookie": cookie}
        made = app.test_client(use_cookies=False)
        reply = made.get(f"/?{query}", headers=headers, base_url=f"{scheme}://shop.example")
        return reply.text, reply.headers.get("Set-Cookie")

    return ask


@pytest.fixture(params=[by_wsgi, by_asgi, by_flask])
def ask(request: pytest.FixtureRequest, client: FlagClient) -> Ask:
    made: Ask = request.param(client)
    return made


def test_a_tester_meets_the_dark_version_for_one_whole_request_and_is_never_counted(
    ask: Ask, client: FlagClient, server: Scripted
) -> None:
    assert ask(header=TEXT) == ("green", None)
    assert ask(cookie=f"theme=dark; {NAME}={TEXT}") == ("green", None)
    assert ask(header=f"{CART}, {TEXT}") == ("green", None), "several flags' tokens come together"
    assert client.flush()
    assert (server.counted("requests", flag="shop"), server.counted("exposures", flag="shop")) == (0, 0)
    assert ask() == ("blue", None), "the next request is an ordinary one"
    assert client.flush()
    assert server.counted("requests", flag="shop", variant="blue") == 1
    assert server.counted("exposures", variant="green") == 0


def test_a_link_keeps_its_token_in_a_cookie_and_an_empty_one_ends_it(ask: Ask) -> None:
    page, cookie = ask(query=f"page=2&{NAME}={TEXT}")
    assert page == "green"
    assert cookie is not None
    value, *more = cookie.split("; ")
    assert value == f"{NAME}={TEXT}"
    assert more[0] == "Path=/"
    assert 3000 < int(more[1].removeprefix("Max-Age=")) <= 3600
    assert more[2:] == ["HttpOnly", "SameSite=Lax"]
    assert ask(cookie=value) == ("green", None)
    page, cookie = ask(query=f"{NAME}={quote(CART)}", cookie=value, scheme="https")
    assert page == "green", "another flag's link keeps the first one's"
    assert cookie is not None
    assert cookie.startswith(f"{NAME}={CART}{BETWEEN}{TEXT}; ")
    assert cookie.endswith("; Secure")
    page, cookie = ask(query=f"{NAME}=", cookie=value)
    assert page == "blue"
    assert cookie is not None
    assert cookie.startswith(f"{NAME}=; Path=/; Max-Age=0;")


@pytest.mark.parametrize("text", [ENDED, mint(TOKEN, new_key()), "hello"])
def test_a_token_that_is_ignored_leaves_an_ordinary_request_that_counts(
    text: str, client: FlagClient, server: Scripted
) -> None:
    assert by_wsgi(client)(header=text) == ("blue", None)
    assert client.flush()
    assert server.counted("requests", flag="shop", variant="blue") == 1
    found = client.assign("shop", "u", tokens=text)
    assert str(found.details.metadata["force"]).startswith("ignored: ")
    assert found.counted
    found.finish(ok=True)


@pytest.mark.parametrize(
    "query",
    [f"{NAME}={TEXT}%3B%20Domain%3Devil.example", f"{NAME}=a%0d%0aSet-Cookie:%20x=y", f"{NAME}=" + "x" * 5000],
)
def test_nothing_but_tokens_gets_into_the_cookie(query: str) -> None:
    found = carried("", "", query, secure=False, now=time.time)
    assert found.cookie == f"{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"


def test_a_request_without_tokens_costs_nothing() -> None:
    def never() -> float:
        raise AssertionError("nothing to ask the clock for")

    assert carried("", "a=b; session=1", "page=2", secure=True, now=never) is NONE


def test_the_contexts_attribute_forces_every_kind_of_lookup(client: FlagClient, server: Scripted) -> None:
    assert client.string("shop", "", {"targetingKey": "u"}) == "blue"
    user = {"targetingKey": "u", NAME: TEXT}
    found = client.details("shop", "", user)
    assert (found.value, found.variant, found.counted, found.metadata["forced"]) == ("green", "green", False, "canary")
    assert client.string("shop", "", user) == "green"
    assert client.details("cart", "", user).value == "blue"
    with client.observe("shop", user) as assignment:
        assert assignment.value == "green"
        assert not assignment.counted
    client.track("shop", user)
    assert client.flush()
    assert server.counted("exposures", variant="green") == server.counted("requests") == 0
    stable = {"targetingKey": "u", NAME: mint(replace(TOKEN, arm=ArmName.STABLE), KEY)}
    assert client.details("shop", "", stable).metadata["forced"] == "stable"


def test_a_request_keeps_its_forced_variant_though_the_version_goes_meanwhile(
    client: FlagClient, server: Scripted
) -> None:
    server.streams.get(timeout=20)
    assignment = client.assign("shop", "u", tokens=TEXT)
    with assignment.pinned():
        server.send("changed", server.change("v2", {}, {"shop": ramp(), "cart": ramp()}))
        until(lambda: client._snapshot.version == "v2")
        assert seen(client) == "green"
    assert client.assign("shop", "u", tokens=TEXT).value == "blue", "the key is gone: there is nothing to visit"
    assert client.details("shop", "", {"targetingKey": "u", NAME: TEXT}).metadata["force"] == (
        "ignored: no rollout has a new version up"
    )


def test_without_contact_testers_are_on_stable_too(server: Scripted) -> None:
    now = [100.0]
    with FlagClient(server.url, "rg_sdk_a_b", clock=lambda: now[0]) as client:
        assert client.ready(20)
        assert client.assign("shop", "u", tokens=TEXT).value == "green"
        now[0] += 1e6
        found = client.assign("shop", "u", tokens=TEXT)
        assert (found.value, found.details.reason) == ("blue", "STALE")


def test_listed_users_are_served_and_enter_no_arm(client: FlagClient, server: Scripted) -> None:
    server.streams.get(timeout=20)
    shop = {**ramping(0), "targeting": LISTED}
    server.send("changed", server.change("v2", {"shop": shop}))
    until(lambda: client._snapshot.version == "v2")
    for user in ("ada", {"targetingKey": "ada"}, {"targetingKey": "ada", "tier": "gold"}):
        assert client.string("shop", "", user) == "green"
        assert client.details("shop", "", user).counted is False
        with client.observe("shop", user) as assignment:
            assert (assignment.value, assignment.counted) == ("green", False)
        client.track("shop", user, variant="green")
    assert client.details("shop", "", "bob").counted
    client.track("shop", "bob")
    assert client.flush()
    assert server.counted("requests", variant="green") == server.counted("exposures", variant="green") == 0
    assert server.counted("requests", variant="blue") == 1
