"""What is kept of rollouts and had again: lists, looks as `rampgate replay` reads them, refused versions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flagserver import wire
from flagserver.auth import Role
from gate import recorded
from gate.errors import MisuseError
from rampgate.evidence import VerdictWord
from rampgate.machine.events import Told, Verified
from rampgate.machine.state import ActionKind, Order, Phase, Reason
from rampgate.rollout import Rollout, plan_hash
from tests.flagserver.inside import PLAN, Inside, new_rollout

ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def listed(server: Inside, query: str = "") -> tuple[list[str], int | None]:
    reply = server.call("GET", f"/v1/rollouts?{query}")
    assert reply.status_code == 200, reply.text
    document = reply.get_json()
    return [one["version"] for one in document["rollouts"]], document["next"]


def aborted(server: Inside, version: str = "v2", **changes: Any) -> Rollout:
    rollout = server.create(new_rollout(version, **changes))
    fence = server.to_step(rollout)
    server.say(rollout, Told(order=Order.REVERT, by="@ann", text="too slow"))
    server.clock.go(PLAN.stale_after)
    server.undo(rollout, server.attach(server.look(rollout)) if server.look(rollout).state.lease is None else fence)
    return server.look(rollout)


def test_lists_are_paged_from_the_newest_and_bounded_in_time(server: Inside) -> None:
    began = server.clock.now
    for number in range(5):
        server.create(new_rollout(f"v{number}", plan=replace(PLAN, flag=f"shop-{number}")))
        server.clock.go(1.0)
    first, following = listed(server, "limit=2")
    assert first == ["v4", "v3"]
    second, following = listed(server, f"limit=2&before={following}")
    assert second == ["v2", "v1"]
    assert listed(server, f"limit=2&before={following}") == (["v0"], None)
    assert listed(server, f"since={began + 1}&until={began + 3}")[0] == ["v2", "v1"]


def test_several_rollouts_of_one_environment_go_their_own_ways(server: Inside) -> None:
    shop, search = (server.create(new_rollout(plan=replace(PLAN, flag=flag))) for flag in ("shop", "search"))
    for one in (shop, search):
        server.to_step(one)
    server.tell(shop, Order.REVERT)
    assert (server.look(shop).share, server.look(search).share) == (0, 10_000)
    assert listed(server, "flag=search&active=true")[0] == ["v2"]


def test_a_list_is_read_by_an_index_whatever_it_asks_for(server: Inside) -> None:
    asked = {
        "environment = 'production' ORDER BY number DESC": "ix_rollouts_environment",
        "repository = 'o/r' AND pull_request = 7 ORDER BY number DESC": "ix_rollouts_pull_request",
        "sha = 'abc' ORDER BY number DESC": "ix_rollouts_sha",
        "needs_hands = 1 ORDER BY number DESC": "ix_rollouts_needs_hands",
    }
    with server.services.store.read() as tx:
        for where, index in asked.items():
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT * FROM rollouts WHERE {where}").fetchall()
            assert index in str(plan), where


def test_an_event_id_that_was_used_for_another_event_is_refused(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.say(rollout, Told(order=Order.REVERT, by="@ann"), "once")
    again = server.say(rollout, Told(order=Order.REVERT, by="@ann", revision=1), "once")
    assert again.refusal is None
    body = {"id": "once", "event": {"type": "told", "order": "pause", "by": "@ann"}}
    reply = server.call("POST", f"/v1/rollouts/{rollout.id}/events", body)
    assert (reply.status_code, reply.get_json()["error"]) == (409, "event_id_taken")


def test_a_rollout_shows_what_names_its_plan(server: Inside) -> None:
    rollout = server.create(new_rollout())
    assert rollout.plan_hash == plan_hash(rollout.plan)
    assert plan_hash(replace(rollout.plan, poll=10.0)) != rollout.plan_hash


@ON_EACH_DATABASE
def test_looks_are_had_as_the_record_that_replay_reads(server: Inside, tmp_path: Path) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    for word in (VerdictWord.INCONCLUSIVE, VerdictWord.NO_TRAFFIC, VerdictWord.INCONCLUSIVE):
        server.judge(rollout, fence, word)
    server.judge(rollout, fence - 1)
    where = f"/v1/rollouts/{rollout.id}/looks"
    page = server.call("GET", f"{where}?limit=2").get_json()
    assert [one["look"]["verdict"]["word"] for one in page["looks"]] == ["inconclusive", "no_traffic"]
    assert page["looks"][0]["actor"].startswith("operator")
    rest = server.call("GET", f"{where}?after={page['next']}").get_json()
    assert (len(rest["looks"]), rest["next"]) == (1, None)
    exported = server.call("GET", where, Accept="application/x-ndjson")
    file = tmp_path / "looks.jsonl"
    file.write_bytes(exported.data)
    record = recorded.read(file)
    assert (record.rollout, record.plan(1)) == (rollout.id, server.look(rollout).plan)
    entries = server.services.rollouts.history(rollout.id)
    assert record == recorded.of_entries(server.look(rollout), entries)
    assert json.loads(exported.text.splitlines()[0])["plan_hash"] == rollout.plan_hash


def test_each_attempt_is_replayed_by_the_plan_that_it_had(server: Inside, tmp_path: Path) -> None:
    rollout = server.create(new_rollout())
    server.judge(rollout, server.to_step(rollout))
    server.clock.go(PLAN.lease)
    stricter = replace(PLAN, judge=replace(PLAN.judge, alpha=0.01))
    assert server.create(new_rollout(plan=stricter), status=200).state.attempt == 2
    attached = server.attach(rollout, "gate-2")
    server.say(rollout, Verified(fence=attached, action=server.action(rollout, ActionKind.VERIFY)))
    server.tell(rollout, Order.ADVANCE)
    server.judge(rollout, attached)
    where = f"/v1/rollouts/{rollout.id}/looks"
    attempts = server.call("GET", where).get_json()["attempts"]
    assert [(one["attempt"], one["plan"]["judge"]["alpha"]) for one in attempts] == [(1, 0.05), (2, 0.01)]
    file = tmp_path / "looks.jsonl"
    file.write_bytes(server.call("GET", where, Accept="application/x-ndjson").data)
    for record in (
        recorded.read(file), recorded.of_entries(server.look(rollout), server.services.rollouts.history(rollout.id)),
    ):  # fmt: skip
        assert (record.plan(1), record.plan(2)) == (PLAN, stricter)
        assert [number for number, _ in record.attempts] == [1, 2]


def test_where_nobody_kept_an_attempts_plan_its_replay_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "looks.jsonl"
    plan = wire.PLAN.dump_python(PLAN, mode="json")
    attempts = [{"attempt": 1, "plan": None}, {"attempt": 2, "plan": plan}]
    file.write_text(json.dumps({"rollout": "ro_1", "plan": plan, "attempts": attempts}))
    record = recorded.read(file)
    assert record.plan(2) == PLAN
    with pytest.raises(MisuseError, match="attempt 1 of ro_1 was judged is not known"):
        record.plan(1)


def test_only_asking_for_a_rollout_takes_it_up_again(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    body = {"id": "e1", "event": {"type": "resumed", "by": "@eve", "baseline": True}}
    reply = server.call("POST", f"/v1/rollouts/{rollout.id}/events", body)
    assert (reply.status_code, reply.get_json()["error"]) == (403, "event_not_yours")


@ON_EACH_DATABASE
def test_a_refused_version_is_listed_and_allowed_again_by_name_and_reason(server: Inside) -> None:
    rollout = aborted(server)
    assert rollout.state.phase is Phase.REVERTED
    where = "/v1/production/flags/shop/refused"
    (refused,) = server.call("GET", where).get_json()["refused"]
    assert (refused["version"], refused["rollout"], refused["reason"]) == ("v2", rollout.id, Reason.ABORTED)
    server.refused(new_rollout("v2", key="another run"))
    problems = server.call("DELETE", where).get_json()["problems"]
    assert [one["path"] for one in problems] == ["version", "reason"]
    assert server.call("DELETE", f"{where}?version=v3&reason=x").get_json()["error"] == "not_refused"
    assert server.call("DELETE", f"{where}?version=v2&reason=the+cache+was+cold&by=@bob").status_code == 204
    assert server.call("GET", where).get_json() == {"refused": []}
    line = server.call("GET", "/v1/audit?action=version.allowed", role=Role.ADMIN).get_json()["entries"][0]
    assert (line["subject"], line["why"], line["flag"]) == ("v2", "the cache was cold", "shop")
    assert "@bob" in line["actor"]
    again = server.create(new_rollout("v2", key="another run"))
    assert again.id != rollout.id


@pytest.mark.parametrize("how", ["allowed", "override"])
def test_a_run_that_is_repeated_after_its_version_was_allowed_starts_a_new_rollout(server: Inside, how: str) -> None:
    first = aborted(server)
    same = new_rollout()
    assert server.create(same, status=200).id == first.id
    if how == "override":
        same = replace(same, override="the cache was cold")
    else:
        server.call("DELETE", "/v1/production/flags/shop/refused?version=v2&reason=cold")
    second = server.create(same)
    assert second.id != first.id
    assert server.create(same, status=200).id == second.id
    assert server.look(first).state.phase is Phase.REVERTED


def test_what_regressed_after_it_was_allowed_is_refused_again(server: Inside) -> None:
    aborted(server)
    server.call("DELETE", "/v1/production/flags/shop/refused?version=v2&reason=cold")
    aborted(server, key="second")
    assert server.refused(new_rollout("v2", key="third"))["error"] == "version_refused"


def test_only_a_regression_and_a_persons_abort_refuse_a_version(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    assert server.look(rollout).state.reason is Reason.GATE_LOST
    assert server.call("GET", "/v1/production/flags/shop/refused").get_json() == {"refused": []}
