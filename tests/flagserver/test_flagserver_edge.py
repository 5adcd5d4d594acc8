"""What proxies are told about a visitor: the same variant as apps get, and the stable one in every doubt."""

import re
from typing import Any

import pytest

from flagserver.app import create_app
from flagserver.auth import Role
from rampgate.machine.state import Order
from tests.flagserver.inside import PLAN, Inside, new_rollout

WHERE = "/edge/v1/decide"


def decide(server: Inside, query: str = "flag=shop", status: int = 204, **headers: str) -> Any:
    reply = server.call("GET", f"{WHERE}?{query}", role=Role.SDK, **headers)
    assert reply.status_code == status, reply.text
    return reply.headers if status == 204 else reply.get_json()


@pytest.fixture
def inside(inside: Inside) -> Inside:
    """A caller that keeps no cookies by itself."""
    inside.client = create_app(inside.services).test_client(use_cookies=False)
    return inside


@pytest.fixture
def ramping(inside: Inside) -> Inside:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    return inside


def test_a_visitor_gets_the_variant_that_apps_give_them(ramping: Inside) -> None:
    seen = set()
    for number in range(60):
        body = {"context": {"targetingKey": f"user-{number}"}}
        said = ramping.call("POST", "/ofrep/v1/evaluate/flags/shop", body, role=Role.SDK).get_json()
        found = decide(ramping, "flag=shop&user=header:X-User", X_User=f"user-{number}")
        assert (found["Rampgate-Variant"], found["Rampgate-User"]) == (said["variant"], f"user-{number}")
        assert (found["Rampgate-Reason"], found["Rampgate-Counted"]) == ("TARGETING_MATCH", "true")
        assert "Set-Cookie" not in found
        seen.add(said["variant"])
    assert seen == {"blue", "green"}


def test_a_visitor_without_a_name_gets_a_cookie_and_keeps_their_variant_by_it(ramping: Inside) -> None:
    first = decide(ramping)
    assert first["Cache-Control"] == "no-store"
    cookie = re.fullmatch(
        r"(rampgate-user=([0-9a-f]{32})); Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure", first["Set-Cookie"]
    )
    assert cookie is not None
    again = decide(ramping, Cookie=f"theme=dark; {cookie[1]}")
    assert "Set-Cookie" not in again
    assert (again["Rampgate-Variant"], again["Rampgate-User"]) == (first["Rampgate-Variant"], cookie[2])
    assert decide(ramping)["Set-Cookie"] != first["Set-Cookie"]


def test_where_the_key_stands_is_the_proxys_to_say_first_come_first_served(ramping: Inside) -> None:
    query = "flag=shop&user=header:X-User,cookie:session&cookie=sticky&secure=off"
    assert decide(ramping, query, X_User="ada", Cookie="session=bob")["Rampgate-User"] == "ada"
    assert decide(ramping, query, Cookie='session="bob"; sticky=carl')["Rampgate-User"] == "bob"
    assert decide(ramping, query, Cookie="sticky=carl")["Rampgate-User"] == "carl"
    assert re.fullmatch(r"sticky=\w{32}; .*SameSite=Lax", decide(ramping, query)["Set-Cookie"])
    assert decide(ramping, query, X_User="x" * 257, Cookie="session=bob")["Rampgate-User"] == "bob"


def test_a_key_beyond_ascii_is_hashed_as_apps_hash_it(ramping: Inside) -> None:
    for number in range(40):
        name = f"zoë-{number}"
        body = {"context": {"targetingKey": name}}
        said = ramping.call("POST", "/ofrep/v1/evaluate/flags/shop", body, role=Role.SDK).get_json()
        found = decide(ramping, "flag=shop&user=header:X-User", X_User=name.encode().decode("latin-1"))
        assert (found["Rampgate-Variant"], "Rampgate-User" in found) == (said["variant"], False)


def test_without_a_user_and_without_a_cookie_everybody_is_on_stable(ramping: Inside) -> None:
    found = decide(ramping, "flag=shop&cookie=")
    assert (found["Rampgate-Variant"], found["Rampgate-Reason"]) == ("blue", "NO_USER")
    assert found["Rampgate-Counted"] == "false"
    assert "Set-Cookie" not in found


def test_a_flag_that_is_not_there_is_answered_with_the_proxys_default(inside: Inside) -> None:
    found = decide(inside, "flag=none&default=blue")
    assert (found["Rampgate-Variant"], found["Rampgate-Reason"]) == ("blue", "FLAG_NOT_FOUND")
    assert "Rampgate-Variant" not in decide(inside, "flag=none")


def test_a_flag_that_fails_or_is_switched_off_is_answered_with_its_default_variant(inside: Inside) -> None:
    variants = {"blue": "b", "green": "g"}
    for key, flag, reason in (
        ("off", {"state": "DISABLED"}, "DISABLED"),
        ("wrong", {"state": "ENABLED", "targeting": {"if": [True, "red"]}}, "ERROR"),
        ("odd", {"state": "ENABLED", "targeting": {"var": "$flagd.flagKey"}}, "ERROR"),
    ):
        body = {"flag": {"variants": variants, "defaultVariant": "blue", **flag}}
        assert inside.call("PUT", f"/v1/production/flags/{key}", body).status_code == 201
        found = decide(inside, f"flag={key}")
        assert (found["Rampgate-Variant"], found["Rampgate-Reason"]) == ("blue", reason)


def test_a_revert_reaches_the_edge_at_once(ramping: Inside) -> None:
    ramping.tell(ramping.services.live.ramping()[0][0], Order.REVERT)
    variants = {decide(ramping, "flag=shop&user=header:X-User", X_User=f"u{n}")["Rampgate-Variant"] for n in range(99)}
    assert variants == {"blue"}


def test_a_server_that_has_not_read_its_store_for_too_long_says_stable(
    ramping: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ramping.services.live, "age", lambda: PLAN.stale_after + 1)
    bulk = ramping.call("POST", "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "ada"}}, role=Role.SDK)
    assert "-1-" in bulk.headers["ETag"]
    for number in range(60):
        found = decide(ramping, "flag=shop&user=header:X-User", X_User=f"user-{number}")
        assert (found["Rampgate-Variant"], found["Rampgate-Reason"]) == ("blue", "STALE")
        assert found["Rampgate-Counted"] == "false"


def test_several_flags_have_a_header_each(ramping: Inside) -> None:
    lamp = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    ramping.call("PUT", "/v1/production/flags/lamp", {"flag": lamp})
    found = decide(ramping, "flag=lamp,shop,none&user=header:X-User", X_User="ada")
    assert (found["Rampgate-Variant"], found["Rampgate-Variant-Lamp"]) == ("on", "on")
    assert found["Rampgate-Variant-Shop"] in ("blue", "green")
    assert "Rampgate-Variant-None" not in found


def test_no_variants_name_can_add_a_header(inside: Inside) -> None:
    evil = "green\r\nSet-Cookie: admin=1"
    flag = {"state": "ENABLED", "variants": {evil: "x", "ok": "y"}, "defaultVariant": evil}
    assert inside.call("PUT", "/v1/production/flags/evil", {"flag": flag}).status_code == 201
    found = decide(inside, "flag=evil")
    assert "Rampgate-Variant" not in found
    assert not found["Set-Cookie"].startswith("admin")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("", "flag"), ("flag=", "flag"), ("flag=" + ",".join("abcdefghijklmnopq"), "flag"), ("flag=a%20b,c", "flag"),
        ("flag=a&user=query:x", "user"), ("flag=a&user=header:", "user"), ("flag=a&cookie=a%20b", "cookie"),
        ("flag=a&default=a%0d%0ab", "default"), ("flag=a&secure=no", "secure"), ("flag=a&flags=b", "flags"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_meant_is_refused_when_it_is_first_tried(
    inside: Inside, query: str, path: str
) -> None:
    problems = decide(inside, query, 400)["problems"]
    assert [one["path"] for one in problems] == [path]


def test_the_visitors_own_authorization_and_origin_do_not_stand_in_for_the_proxys_key(ramping: Inside) -> None:
    key = ramping.keys[Role.CLIENT]
    path = f"{WHERE}?flag=shop"
    headers = {"Authorization": "Bearer the-visitors-own", "X-API-Key": key, "Origin": "https://shop.example"}
    assert ramping.call("GET", path, role=None, **headers).status_code == 204
    assert ramping.call("GET", path, role=None, Authorization="Bearer the-visitors-own").status_code == 401


def test_decisions_are_counted_by_variant_and_reason(ramping: Inside) -> None:
    for _ in range(3):
        decide(ramping, "flag=shop&cookie=")
    told = ramping.call("GET", "/metrics", role=None).text
    line = 'rampgate_edge_decisions_total{environment="production",flag="shop",reason="NO_USER",variant="blue"} 3.0'
    assert line in told
