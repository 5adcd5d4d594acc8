"""Remote evaluation as existing OpenFeature providers need it."""

from typing import Any

import pytest

from flagserver.auth import Role
from rampgate.machine.state import Order
from tests.flagserver.inside import Inside, new_rollout

FLAGS: dict[str, Any] = {
    "plain": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"},
    "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
    "own": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": None},
    "rule": {
        "state": "ENABLED", "variants": {"gold": {"n": 1}, "other": {"n": 2}}, "defaultVariant": "other",
        "metadata": {"team": "shop"}, "targeting": {"if": [{"==": [{"var": "tier"}, "gold"]}, "gold", None]},
    },
    "wrong": {
        "state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on",
        "targeting": {"if": [True, "nothing"]},
    },
}  # fmt: skip


@pytest.fixture
def server(inside: Inside) -> Inside:
    for key, flag in FLAGS.items():
        reply = inside.call("PUT", f"/v1/production/flags/{key}", {"flag": flag})
        assert reply.status_code == 201, reply.text
    return inside


def evaluate(server: Inside, key: str, **context: object) -> tuple[int, dict[str, Any]]:
    body = {"context": {"targetingKey": "ada", **context}}
    reply = server.call("POST", f"/ofrep/v1/evaluate/flags/{key}", body, role=Role.SDK)
    document: dict[str, Any] = reply.get_json()
    return reply.status_code, document


def test_a_success_always_names_its_variant_and_reason(server: Inside) -> None:
    assert evaluate(server, "plain") == (
        200,
        {"key": "plain", "value": True, "variant": "on", "reason": "STATIC", "metadata": {}},
    )
    status, gold = evaluate(server, "rule", tier="gold")
    assert (status, gold["value"], gold["variant"], gold["reason"]) == (200, {"n": 1}, "gold", "TARGETING_MATCH")
    assert gold["metadata"] == {"team": "shop"}
    assert evaluate(server, "rule")[1]["reason"] == "DEFAULT"


@pytest.mark.parametrize(("key", "reason"), [("off", "DISABLED"), ("own", "DEFAULT")])
def test_where_the_apps_own_default_counts_there_is_no_value_but_a_variant_key(
    server: Inside, key: str, reason: str
) -> None:
    status, document = evaluate(server, key)
    assert (status, document["reason"], document["variant"]) == (200, reason, None)
    assert "value" not in document


def test_every_error_has_a_code_and_details(server: Inside) -> None:
    for key, status, code in (("missing", 404, "FLAG_NOT_FOUND"), ("wrong", 400, "GENERAL")):
        found, document = evaluate(server, key)
        assert (found, document["errorCode"], bool(document["errorDetails"])) == (status, code, True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"), (b"", "INVALID_CONTEXT"), (b"[]", "INVALID_CONTEXT"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING"), (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"), (b"[" * 5000, "PARSE_ERROR"),
        (b'{"context": {"targetingKey": "ada", "bio": "%s"}}' % (b"x" * 65_536), "INVALID_CONTEXT"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["", "/plain"])
def test_a_context_that_cannot_be_used_is_an_error_with_its_code(
    server: Inside, where: str, body: bytes, code: str
) -> None:
    reply = server.call("POST", f"/ofrep/v1/evaluate/flags{where}", body, role=Role.SDK)
    document = reply.get_json()
    assert (reply.status_code, document["errorCode"], bool(document["errorDetails"])) == (400, code, True)


def test_all_flags_at_once_one_bad_flag_among_them(server: Inside) -> None:
    body = {"context": {"targetingKey": "ada"}}
    reply = server.call("POST", "/ofrep/v1/evaluate/flags", body, role=Role.SDK)
    found = {one["key"]: one for one in reply.get_json()["flags"]}
    assert set(found) == set(FLAGS)
    assert found["wrong"]["errorCode"] == "GENERAL"
    assert found["plain"]["value"] is True


def test_the_tag_is_of_the_configuration_and_the_context(server: Inside) -> None:
    def bulk(context: dict[str, object], tag: str = "") -> Any:
        body = {"context": context}
        return server.call("POST", "/ofrep/v1/evaluate/flags", body, role=Role.SDK, If_None_Match=tag)

    first = bulk({"targetingKey": "ada", "tier": "gold"})
    tag = first.headers["ETag"]
    assert bulk({"tier": "gold", "targetingKey": "ada"}, tag).status_code == 304
    assert bulk({"targetingKey": "ada", "tier": "tin"}, tag).status_code == 200
    server.call("DELETE", "/v1/production/flags/plain")
    assert bulk({"targetingKey": "ada", "tier": "gold"}, tag).status_code == 200


def test_a_ramp_is_evaluated_as_apps_do_and_a_revert_at_once(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)

    def variants() -> list[str]:
        return [evaluate(inside, "shop", targetingKey=f"user-{number}")[1]["variant"] for number in range(300)]

    assert 10 <= variants().count("green") <= 60
    inside.tell(rollout, Order.REVERT)
    assert set(variants()) == {"blue"}


@pytest.mark.parametrize(
    "where", ["POST /ofrep/v1/evaluate/flags", "POST /ofrep/v1/evaluate/flags/plain", "GET /edge/v1/decide"]
)
def test_who_names_another_environment_than_the_keys_is_not_answered_from_the_keys(server: Inside, where: str) -> None:
    method, path = where.split()
    body = {"context": {"targetingKey": "ada"}} if method == "POST" else None
    named = "flag=plain&environment="
    refused = server.call(method, f"{path}?{named}staging", body, role=Role.CLIENT)
    assert (refused.status_code, refused.get_json()["error"]) == (403, "environment")
    assert server.call(method, f"{path}?{named}production", body, role=Role.CLIENT).status_code in (200, 204)
