"""Every route: who may call it, what it refuses, and the shape of what it answers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from flagserver.app import create_app
from flagserver.auth import KEY_ROLES, Role, Wish
from flagserver.deadlines import Steward
from flagserver.store import telemetry as counts_store
from flagserver.store.telemetry import Count
from flagserver.views import ROUTES
from flagserver.views.health import READY_WITHIN
from flagserver.views.route import MOST_BODY, Route
from rampgate.evidence import Counters
from rampgate.machine.state import Order
from rampgate.wire import LATENCY_BOUNDS_MS
from tests.flagserver.inside import PLAN, Inside, new_rollout

GUARDED = [one for one in ROUTES if one.role is not None]
PLAIN = {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a"}


def path(route: Route) -> str:
    return re.sub(r"{(\w+)}", lambda name: "production" if name[1] == "environment" else "nothing", route.path)


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_without_a_key_in_use_nothing_is_answered(inside: Inside, route: Route) -> None:
    stranger = f"rg_admin_{'0' * 12}_{'A' * 43}"
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-API-Key": stranger}, {"Authorization": stranger}):
        reply = inside.call(route.method, path(route), role=None, **headers)
        assert (reply.status_code, reply.get_json()["error"]) == (401, "unknown_key")


@pytest.mark.parametrize("route", GUARDED, ids=ids)
def test_a_role_reaches_its_own_routes_only(inside: Inside, route: Route) -> None:
    assert route.role is not None
    for role in KEY_ROLES:
        reply = inside.call(route.method, path(route), role=role)
        assert (reply.status_code == 403 and reply.get_json()["error"] == "role") is (not role.may(route.role))


@pytest.mark.parametrize("route", [one for one in GUARDED if "{environment}" in one.path], ids=ids)
def test_a_key_reaches_its_own_environment_only(inside: Inside, route: Route) -> None:
    other = path(route).replace("production", "staging")
    reply = inside.call(route.method, other)
    assert (reply.status_code, reply.get_json()["error"]) == (403, "environment")
    assert inside.call(route.method, other, role=Role.ADMIN).status_code != 403


def test_a_rollout_of_another_environment_is_not_the_keys_to_see_or_change(inside: Inside) -> None:
    services = inside.services
    rollout = inside.create(new_rollout())
    key = services.keyring.create(Wish(role=Role.OPERATOR, environment="staging", name="elsewhere"), by="test").text
    for method, suffix in (("GET", ""), ("GET", "/events"), ("GET", "/telemetry"), ("POST", "/events")):
        body = {"id": "e", "event": {"type": "told", "order": "revert", "by": "x"}}
        reply = inside.call(
            method, f"/v1/rollouts/{rollout.id}{suffix}", body, role=None, Authorization=f"Bearer {key}"
        )
        assert reply.status_code == 403, suffix
    assert inside.call("GET", "/v1/rollouts?environment=production", role=None, X_API_Key=key).status_code == 403
    assert inside.call("GET", "/v1/rollouts", role=None, X_API_Key=key).get_json()["rollouts"] == []


def test_a_revoked_key_is_none_any_more(inside: Inside) -> None:
    made = inside.call("POST", "/v1/keys", {"role": "sdk", "environment": "production", "name": "app"}, role=Role.ADMIN)
    key, selector = made.get_json()["key"], made.get_json()["selector"]
    assert inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=key).status_code == 200
    assert inside.call("DELETE", f"/v1/keys/{selector}", role=Role.ADMIN).status_code == 204
    assert inside.call("GET", "/v1/production/snapshot", role=None, X_API_Key=key).status_code == 401
    assert inside.call("DELETE", f"/v1/keys/{selector}", role=Role.ADMIN).status_code == 404
    listed = inside.call("GET", "/v1/keys", role=Role.ADMIN)
    assert key.rsplit("_", 1)[1] not in listed.text
    assert "verifier" not in listed.text


@pytest.mark.parametrize("wanted", [{"role": "sdk", "name": "x"}, {"role": "king", "name": "x"}, {"role": "sdk"}])
def test_a_key_without_a_name_an_environment_or_a_known_role_is_refused(inside: Inside, wanted: dict[str, str]) -> None:
    assert inside.call("POST", "/v1/keys", wanted, role=Role.ADMIN).status_code == 422


BODIES = {
    "no JSON": (b"{", 400),
    "a number that is not finite": (b'{"key": NaN}', 400),
    "a number too large to be finite": (b'{"key": 1e999}', 400),
    "nested too deep": (b"[" * 50_000, 400),
    "not UTF-8": (b'{"key": "\xff"}', 400),
    "an unknown field": (b'{"nonsense": 1}', 422),
    "no object": (b"[]", 422),
    "a body over the limit": (b" " * (MOST_BODY + 1), 413),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("route", [one for one in ROUTES if one.takes is not None], ids=ids)
def test_a_bad_body_is_refused_in_words(inside: Inside, route: Route, name: str) -> None:
    body, status = BODIES[name]
    reply = inside.call(route.method, path(route), body, role=Role.ADMIN)
    if route.path == "/v1/telemetry":
        reply = inside.call(route.method, path(route), body, role=Role.SDK)
    assert (reply.status_code, bool(reply.get_json()["message"])) == (status, True)


def test_unknown_paths_and_methods_are_said_so_in_json(inside: Inside) -> None:
    assert inside.call("GET", "/nothing").get_json()["error"] == "not_found"
    reply = inside.call("PATCH", "/v1/rollouts")
    assert (reply.status_code, reply.get_json()["error"]) == (405, "method_not_allowed")
    assert "POST" in reply.headers["Allow"]


def test_a_flag_is_written_read_and_deleted(inside: Inside) -> None:
    assert inside.call("PUT", "/v1/production/flags/plain", {"flag": PLAIN}).status_code == 201
    assert inside.call("PUT", "/v1/production/flags/plain", {"flag": PLAIN}).status_code == 200
    shown = {"key": "plain", "kind": "plain", "flag": PLAIN, "slots": None, "rollout": None}
    assert inside.flag("plain") == shown
    assert inside.call("GET", "/v1/production/flags").get_json() == {"flags": [shown]}
    assert inside.snapshot()["flags"] == {"plain": PLAIN}
    assert inside.call("DELETE", "/v1/production/flags/plain").status_code == 204
    assert inside.call("GET", "/v1/production/flags/plain").get_json()["error"] == "flag_not_found"
    assert inside.snapshot()["flags"] == {}


def test_a_flag_with_problems_is_refused_with_all_of_them(inside: Inside) -> None:
    bad = {"state": "ON", "variants": {"a": 1, "b": "x"}, "defaultVariant": "c", "targeting": {"iff": []}}
    reply = inside.call("PUT", "/v1/production/flags/bad", {"flag": bad})
    paths = {one["path"] for one in reply.get_json()["problems"]}
    assert {"flag.state", "flag.variants.b", "flag.defaultVariant"} <= paths
    assert any(one.startswith("flag.targeting") for one in paths)


def test_what_the_server_writes_of_a_rollout_flag_is_not_taken(inside: Inside) -> None:
    body = {"kind": "rollout", "flag": {"defaultVariant": "green", "targeting": {}, "variants": {"red": 1}}}
    reply = inside.call("PUT", "/v1/production/flags/shop", body)
    paths = {one["path"] for one in reply.get_json()["problems"]}
    assert paths == {"flag.defaultVariant", "flag.targeting", "flag.variants"}


def test_while_a_ramp_runs_all_that_decides_who_goes_where_is_frozen_but_not_what_they_find(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    before = inside.snapshot()["flags"]["shop"]
    guard, (by_user, canary, stable) = before["targeting"]["if"][0], before["targeting"]["if"][1]["fractional"]

    def split(*arguments: object) -> dict[str, object]:
        return {"flag": {"targeting": {"if": [guard, {"fractional": list(arguments)}]}}}

    frozen: dict[str, dict[str, object]] = {
        "slots": {"slots": {"stable": {"name": "green"}, "idle": {"name": "blue"}}},
        "kind": {"kind": "plain", "flag": PLAIN},
        "state": {"flag": {"state": "DISABLED"}},
        "names of variants": {"flag": {"variants": {"blue": "b", "red": "r"}}},
        "default variant": {"flag": {"defaultVariant": "green"}},
        "order of entries": split(by_user, stable, canary),
        "weights": split(by_user, ["green", 20_000], ["blue", 80_000]),
        "salt": split({"cat": ["other:", {"var": "targetingKey"}]}, canary, stable),
        "bucketing expression": split({"cat": [by_user["cat"][0], {"var": "email"}]}, canary, stable),
        "no targeting": {"flag": {"targeting": None}},
    }
    for what, body in frozen.items():
        reply = inside.call("PUT", "/v1/production/flags/shop", body)
        assert (reply.status_code, reply.get_json()["error"]) == (409, "flag_in_rollout"), what
        assert reply.get_json()["rollout"] == rollout.id
    assert inside.call("DELETE", "/v1/production/flags/shop").status_code == 409, (
        "a key is changed by deleting the flag"
    )
    salted = new_rollout(plan=replace(PLAN, salt="other"))
    assert inside.create(salted, 200).plan.salt is None, "the plan, its salt among it, is fixed"
    assert inside.snapshot()["flags"]["shop"] == before
    body = {"flag": {"variants": {"blue": "b", "green": "g"}}}
    assert inside.call("PUT", "/v1/production/flags/shop", body).status_code == 200
    assert inside.snapshot()["flags"]["shop"]["variants"] == {"blue": "b", "green": "g"}
    assert inside.snapshot()["flags"]["shop"]["targeting"]


def test_the_snapshot_has_a_strong_tag_an_age_and_nothing_new_to_say_twice(inside: Inside) -> None:
    inside.create(new_rollout())
    first = inside.call("GET", "/v1/production/snapshot", role=Role.SDK)
    assert first.headers["ETag"] == f'"{first.get_json()["version"]}"'
    assert float(first.headers["Rampgate-Age"]) >= 0
    again = inside.call("GET", "/v1/production/snapshot", role=Role.SDK, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Rampgate-Age" in again.headers
    inside.call("PUT", "/v1/production/flags/plain", {"flag": PLAIN})
    changed = inside.call("GET", "/v1/production/snapshot", role=Role.SDK, If_None_Match=first.headers["ETag"])
    assert changed.status_code == 200


def test_the_snapshots_form_is_the_contracts(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    snapshot = inside.snapshot()
    assert set(snapshot) == {"version", "environment", "bucketing", "flags", "rollouts"}
    assert (snapshot["environment"], snapshot["bucketing"]) == ("production", "v2")
    assert len(snapshot["rollouts"]["shop"].pop("hashKey")) == 32
    assert snapshot["rollouts"]["shop"] == {
        "rollout": rollout.id, "attempt": 1, "stable": "blue", "canary": "green", "staleAfter": PLAN.stale_after,
        "poll": PLAN.poll, "heartbeat": PLAN.heartbeat,
    }  # fmt: skip


def test_queries_are_read_strictly(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    for query in ("active=maybe", "limit=0", "limit=x", "pull_request=-1", "limit=99999"):
        assert inside.call("GET", f"/v1/rollouts?{query}").status_code == 400, query
    for query in ("wait=31", "wait=x", "wait=nan", "after=-1", "after=1.5"):
        assert inside.call("GET", f"/v1/rollouts/{rollout.id}?{query}").status_code == 400, query


def test_history_is_paged(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    where = f"/v1/rollouts/{rollout.id}/events"
    every = inside.call("GET", where).get_json()["entries"]
    assert [one["number"] for one in every] == [1, 2, 3, 4, 5]
    assert [one["event"]["type"] for one in every][:2] == ["created", "attached"]
    assert inside.call("GET", f"{where}?after=2&limit=2").get_json()["entries"] == every[2:4]


def batch(of: str | None, name: str = "b1", **changes: object) -> Mapping[str, Any]:
    one = {
        "flag": "shop", "rollout": of, "attempt": 1 if of else None, "variant": "green", "requests": 5,
        "errors": 1, "exposures": 4, "latency_ms": {"bounds": [10, 100], "counts": [3, 1, 1]}, **changes,
    }  # fmt: skip
    return {"batch": name, "client": "app-1", "sent_at": 1.5, "counts": [one], "dropped": 2}


def test_a_batch_is_counted_once_and_a_rollouts_totals_are_both_arms_at_one_moment(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    where = f"/v1/rollouts/{rollout.id}/telemetry"
    nothing = {"requests": 0, "errors": 0, "active_users": 0, "affected_users": 0}
    empty = inside.call("GET", where).get_json()
    assert (empty["stable"], empty["canary"], empty["dropped"]) == (nothing, nothing, 0)
    for applied in (True, False):
        reply = inside.call("POST", "/v1/telemetry", batch(rollout.id), role=Role.SDK)
        assert reply.get_json() == {"applied": applied}
    inside.clock.go(120)
    inside.call("POST", "/v1/telemetry", batch(rollout.id, "b2"), role=Role.SDK)
    inside.call("POST", "/v1/telemetry", batch(rollout.id, "b3", attempt=2), role=Role.SDK)
    inside.call("POST", "/v1/telemetry", batch(None, "b4"), role=Role.SDK)
    found = inside.call("GET", where).get_json()
    assert found["canary"] == {"requests": 10, "errors": 2, "active_users": None, "affected_users": None}
    assert found["stable"] == nothing
    assert found["dropped"] == 8
    assert found["at"] == inside.clock.now


def test_latencies_are_told_in_the_clients_own_buckets_whatever_others_count_by(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    odd = {"latency_ms": {"bounds": [0.5, 7, 20000], "counts": [1, 2, 4, 8]}}
    for one in (batch(rollout.id), batch(rollout.id, "b2", **odd), batch(rollout.id, "b3", attempt=2)):
        inside.call("POST", "/v1/telemetry", one, role=Role.SDK)
    found = inside.call("GET", f"/v1/rollouts/{rollout.id}/telemetry").get_json()
    assert found["stable_latency"]["bounds"] == [bound / 1000 for bound in LATENCY_BOUNDS_MS]
    assert (set(found["stable_latency"]["counts"]), found["stable_latency"]["total"]) == ({0}, 0)
    spread = dict(zip(found["canary_latency"]["bounds"], found["canary_latency"]["counts"], strict=True))
    assert [spread[bound] for bound in (0.001, 0.005, 0.01, 0.05, 0.1, 10.0)] == [1, 1, 1 + 2 + 3, 6, 7, 7]
    assert found["canary_latency"]["total"] == 5 + 15


def test_counts_of_what_does_not_exist_are_left_out(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.call("PUT", "/v1/production/flags/plain", {"flag": PLAIN})
    for name, changes in {"b1": {"flag": "nothing"}, "b2": {"flag": "plain"}, "b3": {"rollout": "ro_x"}}.items():
        body = batch(rollout.id, name, **changes)
        assert inside.call("POST", "/v1/telemetry", body, role=Role.SDK).get_json() == {"applied": True}
    found = inside.call("GET", f"/v1/rollouts/{rollout.id}/telemetry").get_json()
    assert found["canary"]["requests"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": -1}, {"errors": 2.5}, {"flag": ""}, {"variant": "x" * 201}, {"attempt": None}, {"attempt": 0},
        {"latency_ms": {"bounds": [10], "counts": [1]}}, {"latency_ms": {"bounds": [10, 5], "counts": [1, 1, 1]}},
        {"latency_ms": {"bounds": [10], "counts": [1, -1]}}, {"requests": 10**9 + 1}, {"errors": 2**63},
        {"latency_ms": {"bounds": [10], "counts": [1, 10**9 + 1]}},
        {"latency_ms": {"bounds": [10], "counts": [10**9, 10**9]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_batch_with_problems_is_refused_whole(inside: Inside, changes: dict[str, object]) -> None:
    rollout = inside.create(new_rollout())
    reply = inside.call("POST", "/v1/telemetry", batch(rollout.id, **changes), role=Role.SDK)
    assert (reply.status_code, bool(reply.get_json()["problems"])) == (422, True)
    assert inside.call("POST", "/v1/telemetry", batch(rollout.id), role=Role.SDK).get_json() == {"applied": True}


def test_the_lines_of_one_batch_are_bounded_together(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    half = {**batch(rollout.id, requests=6 * 10**8)["counts"][0]}
    body = {**batch(rollout.id), "counts": [half, half]}
    reply = inside.call("POST", "/v1/telemetry", body, role=Role.SDK)
    assert (reply.status_code, [one["path"] for one in reply.get_json()["problems"]]) == (422, ["counts"])


def test_a_sum_stops_before_its_column_is_full(inside: Inside) -> None:
    count = Count(
        flag="shop", rollout="ro_1", attempt=1, variant="green", requests=6 * 10**12, errors=1, exposures=0,
        within_ms={10.0: 6 * 10**12},
    )  # fmt: skip
    with inside.services.store.write() as tx:
        counts_store.add(tx, "production", [count, count])
        counts_store.add(tx, "production", [count])
    with inside.services.store.read() as tx:
        assert counts_store.totals(tx, "ro_1", 1)["green"] == Counters(requests=counts_store.MOST_IN_ROW, errors=3)


TOO_MUCH = {
    "event.holder": {"type": "attached", "holder": "x" * 301},
    "event.replaces": {"type": "attached", "holder": "x", "replaces": "a\nb"},
    "event.by": {"type": "told", "order": "revert", "by": "\x1b[2J"},
    "event.text": {"type": "told", "order": "revert", "by": "x", "text": "x" * 2001},
    "event.lock.reason": {"type": "locked", "lock": {"by": "x", "reason": "x" * 2001, "until": None}},
}


@pytest.mark.parametrize("path", TOO_MUCH)
def test_a_text_without_bounds_is_refused_with_its_path(inside: Inside, path: str) -> None:
    rollout = inside.create(new_rollout())
    where = f"/v1/rollouts/{rollout.id}/events"
    reply = inside.call("POST", where, {"id": "e1", "event": TOO_MUCH[path]})
    assert (reply.status_code, [one["path"] for one in reply.get_json()["problems"]]) == (422, [path])
    longest = {"type": "told", "order": "revert", "by": "x" * 300, "text": "x" * 2000}
    assert inside.call("POST", where, {"id": "e1", "event": longest}).status_code == 200


def test_an_admin_names_the_environment_that_it_counts_for(inside: Inside) -> None:
    inside.create(new_rollout())
    reply = inside.call("POST", "/v1/telemetry", batch(None), role=Role.ADMIN)
    assert (reply.status_code, reply.get_json()["error"]) == (403, "environment_needed")
    where = "/v1/telemetry?environment=production"
    assert inside.call("POST", where, batch(None), role=Role.ADMIN).get_json() == {"applied": True}


def test_readiness_says_what_is_served_and_how_old_it_is(inside: Inside) -> None:
    inside.create(new_rollout())
    reply = inside.call("GET", "/readyz", role=None)
    assert reply.status_code == 200
    assert reply.get_json()["environments"] == {"production": inside.snapshot()["version"]}
    assert inside.call("GET", "/healthz", role=None).status_code == 200


def test_a_server_whose_deadlines_nobody_looks_after_is_not_ready(inside: Inside) -> None:
    services, now = inside.services, [0.0]
    steward = Steward(services.store, services.live, services.rollouts, services.hub, also=(), steady=lambda: now[0])
    inside.services = replace(services, steward=steward)
    inside.client = create_app(inside.services).test_client()
    steward.start()
    steward.stop()
    assert inside.call("GET", "/readyz", role=None).status_code == 200
    now[0] += READY_WITHIN + 1
    reply = inside.call("GET", "/readyz", role=None)
    assert (reply.status_code, reply.get_json()["status"]) == (503, "deadlines are not looked after")


def test_the_metrics_tell_evaluations_decisions_shares_and_leases(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    context = {"context": {"targetingKey": "ada"}}
    inside.call("POST", "/ofrep/v1/evaluate/flags/shop", context, role=Role.SDK)
    text = inside.call("GET", "/metrics", role=None).text
    assert re.search(r'rampgate_evaluations_total{environment="production",flag="shop",variant="\w+"} 1\.0', text)
    assert f'rampgate_rollout_share{{environment="production",flag="shop",rollout="{rollout.id}"}} 0.1' in text
    assert re.search(r"rampgate_lease_seconds{.*} 45\.0", text)
    assert 'rampgate_decisions_total{environment="production",flag="shop",verb="advance"} 1.0' in text
    inside.tell(rollout, Order.REVERT)
    assert f'rollout="{rollout.id}"}} 0.0' in inside.call("GET", "/metrics", role=None).text


def test_the_description_names_every_route_and_every_answer_fits_it(inside: Inside) -> None:
    document = inside.call("GET", "/openapi.json", role=None).get_json()
    named = {(method.upper(), where) for where, methods in document["paths"].items() for method in methods}
    assert named == {(one.method, one.path) for one in ROUTES}
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    for method, where, template in (
        ("GET", f"/v1/rollouts/{rollout.id}", "/v1/rollouts/{id}"),
        ("GET", "/v1/rollouts/nothing", "/v1/rollouts/{id}"),
        ("GET", f"/v1/rollouts/{rollout.id}/telemetry", "/v1/rollouts/{id}/telemetry"),
        ("POST", "/v1/rollouts", "/v1/rollouts"),
        ("GET", "/v1/production/snapshot", "/v1/{environment}/snapshot"),
        ("GET", "/v1/production/flags/shop", "/v1/{environment}/flags/{key}"),
        ("GET", "/v1/rollouts", "/v1/rollouts"),
        ("GET", f"/v1/rollouts/{rollout.id}/events", "/v1/rollouts/{id}/events"),
        ("GET", "/readyz", "/readyz"),
    ):
        reply = inside.call(method, where, {} if method == "POST" else None)
        responses = document["paths"][template][method.lower()]["responses"]
        content = responses[str(reply.status_code)]["content"]["application/json"]
        schema = {**content["schema"], "components": document["components"]}
        jsonschema.validate(reply.get_json(), schema)
