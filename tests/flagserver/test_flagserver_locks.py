"""Locks over HTTP: what they cover, what they stop at once, and that they never stop a way back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flagserver.auth import Role
from flagserver.publish import served_share
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason, Refused
from rampgate.rollout import Rollout
from tests.flagserver.inside import PLAN, Inside, new_rollout

PLAIN = {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a"}
ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def lock(
    server: Inside, status: int = 201, *, role: Role = Role.OPERATOR, how: str = "POST /v1/locks", **said: Any
) -> Mapping[str, Any]:
    method, path = how.split()
    body = {"reason": "incident", "by": "@ann", **({"name": "incident"} if "until" not in said else {}), **said}
    reply = server.call(method, path, body, role=role)
    assert reply.status_code == status, reply.text
    found: Mapping[str, Any] = reply.get_json()
    return found


def at_ten_percent(server: Inside, **changes: Any) -> tuple[Rollout, int]:
    rollout = server.create(new_rollout(**changes))
    return rollout, server.to_step(rollout)


@ON_EACH_DATABASE
def test_a_running_rollout_hears_of_a_lock_before_it_is_answered_and_of_its_end(server: Inside) -> None:
    rollout, fence = at_ten_percent(server)
    made = lock(server)
    state = server.look(rollout).state
    assert state.lock is not None
    assert (state.lock.id, state.lock.scope) == (made["id"], "production")
    assert server.judge(rollout, fence).because[0].reason is Reason.LOCKED
    answer = server.tell(rollout, Order.COMPLETE)
    assert answer.refusal is not None
    assert answer.refusal.refused is Refused.LOCKED
    assert server.call("DELETE", f"/v1/locks/{made['id']}?by=@bob&reason=over").status_code == 204
    assert server.look(rollout).state.lock is None
    assert server.judge(rollout, fence).rollout.share == 95_000
    entries = server.call("GET", f"/v1/rollouts/{rollout.id}/events").get_json()["entries"]
    said = [(one["event"]["type"], one["actor"]) for one in entries if "lock" in one["event"]["type"]]
    assert said == [("locked", "@ann"), ("unlocked", "@bob")]


def test_a_new_rollout_under_a_lock_waits_dark(server: Inside) -> None:
    server.promote(new_rollout("v1"))
    lock(server, flag="shop")
    stable = server.flag()["slots"]["stable"]["name"]
    rollout = server.create(new_rollout("v2", stable=replace(new_rollout().stable, name=stable)))
    fence = server.to_step(rollout, step=0)
    answer = server.judge(rollout, fence)
    assert (answer.rollout.state.phase, answer.rollout.share) == (Phase.DARK, 0)
    assert answer.because[0].reason is Reason.LOCKED


@pytest.mark.parametrize("order", ["abort", "lapse"])
def test_a_lock_stops_no_way_back(server: Inside, order: str) -> None:
    rollout, _ = at_ten_percent(server)
    lock(server)
    if order == "abort":
        server.say(rollout, Told(order=Order.REVERT, by="@ann", revision=1))
    else:
        server.clock.go(PLAN.lease)
    assert server.look(rollout).share == 0


def test_a_lock_that_is_meant_for_later_holds_from_then_and_until_its_end(server: Inside) -> None:
    rollout, fence = at_ten_percent(server)
    now = server.clock.now
    made = lock(server, since=now + 30, until=now + 60)
    assert made["holds"] is False
    assert server.look(rollout).state.lock is None
    server.clock.go(30.0)
    server.services.rollouts.settle()
    assert server.look(rollout).state.lock is not None
    assert server.judge(rollout, fence).because[0].reason is Reason.LOCKED
    server.clock.go(30.0)
    assert server.judge(rollout, fence).rollout.share == 95_000
    server.services.rollouts.settle()
    assert server.call("GET", "/v1/locks").get_json() == {"locks": []}


def test_a_lock_that_has_begun_holds_for_the_very_next_event_though_nobody_has_looked(server: Inside) -> None:
    rollout, fence = at_ten_percent(server)
    lock(server, since=server.clock.now + 10, until=server.clock.now + 60)
    server.clock.go(15.0)
    assert server.judge(rollout, fence).refusal is not None
    assert server.judge(rollout, fence).because[0].reason is Reason.LOCKED


def test_of_several_locks_the_longest_is_shown_and_each_holds_by_itself(server: Inside) -> None:
    rollout, _ = at_ten_percent(server)
    now = server.clock.now
    short = lock(server, until=now + 100, flag="shop")
    long = lock(server, until=now + 200)
    held = server.look(rollout).state.lock
    assert held is not None
    assert held.id == long["id"]
    server.call("DELETE", f"/v1/locks/{long['id']}")
    held = server.look(rollout).state.lock
    assert held is not None
    assert (held.id, held.scope) == (short["id"], "shop in production")


def test_a_lock_covers_its_flag_and_no_other(server: Inside) -> None:
    rollout, _ = at_ten_percent(server)
    other, _ = at_ten_percent(server, plan=replace(PLAN, flag="search"))
    lock(server, flag="search")
    assert server.look(rollout).state.lock is None
    assert server.look(other).state.lock is not None
    shown = server.call("GET", "/v1/locks?flag=shop").get_json()["locks"]
    assert (shown, len(server.call("GET", "/v1/locks").get_json()["locks"])) == ([], 1)


def test_a_lock_is_changed_and_its_rollouts_hear_of_it(server: Inside) -> None:
    rollout, _ = at_ten_percent(server)
    made = lock(server, until=server.clock.now + 50)
    how = f"PUT /v1/locks/{made['id']}"
    changed = lock(server, 200, how=how, until=server.clock.now + 90, reason="still bad", by="@bob")
    assert (changed["id"], changed["since"]) == (made["id"], made["since"])
    held = server.look(rollout).state.lock
    assert held is not None
    assert (held.reason, held.by, held.until) == ("still bad", "@bob", server.clock.now + 90)
    assert server.call("GET", f"/v1/locks/{made['id']}").get_json() == changed


def test_the_same_key_gives_the_same_lock_and_a_name_is_taken_once(server: Inside) -> None:
    at_ten_percent(server)
    first = lock(server, key="comment-1")
    assert lock(server, 200, key="comment-1") == first
    assert lock(server, 409)["error"] == "lock_exists"


def test_everything_wrong_with_a_lock_is_said_at_once(server: Inside) -> None:
    at_ten_percent(server)
    body = {"reason": " ", "by": "", "flag": "shp", "until": 5.0}
    reply = server.call("POST", "/v1/locks", body)
    problems = {one["path"]: one["hint"] for one in reply.get_json()["problems"]}
    assert (reply.status_code, set(problems)) == (422, {"reason", "by", "flag", "until"})
    assert problems["flag"] == "shop"
    unnamed = server.call("POST", "/v1/locks", {"reason": "x", "by": "y"}).get_json()
    assert [one["path"] for one in unnamed["problems"]] == ["until"]


def test_a_key_locks_in_its_own_environment_and_an_admin_everywhere(server: Inside) -> None:
    rollout, _ = at_ten_percent(server)
    assert lock(server, 403, environment="staging")["error"] == "environment"
    everything = lock(server, role=Role.ADMIN, name="black-friday")
    assert everything["scope"] == "everything"
    held = server.look(rollout).state.lock
    assert held is not None
    assert held.scope == "everything"
    assert [one["id"] for one in server.call("GET", "/v1/locks").get_json()["locks"]] == [everything["id"]]
    assert server.call("GET", f"/v1/locks/{everything['id']}").status_code == 200
    assert server.call("DELETE", f"/v1/locks/{everything['id']}").status_code == 403
    assert server.call("DELETE", f"/v1/locks/{everything['id']}", role=Role.ADMIN).status_code == 204
    assert server.call("DELETE", f"/v1/locks/{everything['id']}", role=Role.ADMIN).status_code == 404


def test_a_lock_is_in_the_audit_log_with_who_and_why(server: Inside) -> None:
    at_ten_percent(server)
    made = lock(server)
    server.call("DELETE", f"/v1/locks/{made['id']}?by=@bob&reason=it+is+over")
    lines = server.call("GET", "/v1/audit?action=lock", role=Role.ADMIN).get_json()["entries"]
    assert [line["action"] for line in lines] == ["lock.made", "lock.lifted"]
    assert [line["why"] for line in lines] == ["incident", "it is over"]
    assert "@bob" in lines[1]["actor"]
    assert lines[1]["before"]["scope"] == "production"


def test_a_lock_that_ends_while_the_database_is_away_takes_nobody_back(server: Inside) -> None:
    at_ten_percent(server)
    lock(server, until=server.clock.now + 10)
    ((record, _),) = server.services.live.ramping()
    assert served_share(record, server.clock.now + 20, cut_off=True) == 10_000
    assert served_share(record, server.clock.now + PLAN.lease + 1, cut_off=True) == 0
