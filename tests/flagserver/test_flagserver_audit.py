"""The audit log: who did what, before and after, why and through which request; and that nobody changes it."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from flagserver.auth import KEY_ROLES, Role
from flagserver.errors import ConflictError
from flagserver.store import Store, audit
from flagserver.store.audit import Filter, Origin
from flagserver.store.tables import audit as table
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from tests.flagserver.inside import Clock, Inside, new_rollout

PLAIN = {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a"}


def log(server: Inside, query: str = "") -> list[dict[str, Any]]:
    reply = server.call("GET", f"/v1/audit?{query}", role=Role.ADMIN)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.get_json()["entries"]
    return found


def write(store: Store, *subjects: str, why: str | None = None, after: Mapping[str, Any] | None = None) -> None:
    for subject in subjects:
        with store.write() as tx:
            audit.record(tx, actor="ada", action="flag.written", subject=subject, flag=subject, why=why, after=after)


def test_a_line_says_who_what_before_and_after_and_why(store: Store) -> None:
    token = audit.origin.set(Origin(request="r1", key="abc", run="run 7"))
    with store.write() as tx:
        audit.record(
            tx, actor="ada", action="flag.written", subject="shop", environment="production", flag="shop",
            before={"a": 1}, after={"a": 2}, why="so", via="comment-1",
        )  # fmt: skip
    audit.origin.reset(token)
    with store.read() as tx:
        (line,) = audit.find(tx, Filter())
    told = {name: line[name] for name in ("actor", "before", "after", "why", "via", "request", "key", "run", "flag")}
    assert told == {
        "actor": "ada", "before": {"a": 1}, "after": {"a": 2}, "why": "so", "via": "comment-1", "request": "r1",
        "key": "abc", "run": "run 7", "flag": "shop",
    }  # fmt: skip


def test_what_is_rolled_back_is_not_in_the_log(store: Store) -> None:
    def broken_off() -> None:
        with store.write() as tx:
            audit.record(tx, actor="ada", action="flag.written", subject="shop")
            raise ConflictError("No.")

    with pytest.raises(ConflictError):
        broken_off()
    with store.read() as tx:
        assert audit.find(tx, Filter()) == []


@pytest.mark.parametrize(
    "statement", [sa.update(table).values(actor="eve"), sa.delete(table)], ids=["update", "delete"]
)
def test_the_database_refuses_to_change_or_delete_a_line(store: Store, statement: Any) -> None:
    write(store, "shop")
    with pytest.raises(sa.exc.IntegrityError, match="only added to"), store.write() as tx:
        tx.run(statement)
    with store.read() as tx:
        assert [line["actor"] for line in audit.find(tx, Filter())] == ["ada"]


def test_a_line_that_was_changed_behind_the_servers_back_breaks_the_chain(store: Store) -> None:
    write(store, "one", "two", "three")
    with store.read() as tx:
        whole = audit.first_broken(tx)
    assert whole[:2] == (None, 3)
    with store.write() as tx:
        guard = "audit_guard ON audit" if tx.is_postgres else "audit_unchanged"
        (before,) = [line["number"] for line in audit.find(tx, Filter(flag="two"))]
        with tx.connection.begin_nested() as undone:
            tx.connection.exec_driver_sql(f"DROP TRIGGER {guard}")
            tx.run(sa.update(table).where(table.c.flag == "two").values(actor="eve"))
            assert audit.first_broken(tx)[0] == before
            undone.rollback()
        assert audit.first_broken(tx) == whole


def test_retention_deletes_the_oldest_lines_and_leaves_the_chain_whole(store: Store, clock: Clock) -> None:
    write(store, "old", "older")
    clock.go(100.0)
    write(store, "new", "newer")
    with store.write() as tx:
        assert audit.forget(tx, clock.now - 50.0) == 2
    with store.read() as tx:
        assert [line["subject"] for line in audit.find(tx, Filter())] == ["new", "newer"]
        assert audit.first_broken(tx)[0] is None
    with pytest.raises(sa.exc.IntegrityError), store.write() as tx:
        tx.run(sa.delete(table))


def test_a_key_in_a_text_is_masked(store: Store) -> None:
    key = f"rg_admin_{'0' * 12}_{'s' * 43}"
    write(store, "shop", why=f"mine is {key}", after={"note": key})
    with store.read() as tx:
        (line,) = audit.find(tx, Filter())
    assert "sss" not in json.dumps(line)
    assert line["why"] == "mine is rg_admin_000000000000_***"


def test_lines_of_many_writers_at_once_make_one_chain(store: Store) -> None:
    writers = [threading.Thread(target=write, args=(store, *"abcde")) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    with store.read() as tx:
        assert audit.first_broken(tx)[:2] == (None, 20)


def test_a_line_names_the_key_and_the_request_that_asked(inside: Inside) -> None:
    reply = inside.call("PUT", "/v1/production/flags/plain", {"flag": PLAIN})
    (line,) = log(inside, "flag=plain")
    assert line["request"] == reply.headers["X-Request-Id"]
    assert line["key"] == inside.keys[Role.OPERATOR].split("_")[2]
    assert (line["before"], line["after"]["flag"]) == (None, PLAIN)


def test_every_decision_about_a_rollout_is_in_the_log_with_its_author(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    inside.say(rollout, Told(order=Order.PAUSE, by="@ann", text="lunch"), "comment-77")
    inside.clock.go(4000.0)
    inside.services.rollouts.settle()
    lines = log(inside, f"rollout={rollout.id}")
    assert [line["action"].partition(".")[2] for line in lines[:4]] == ["created", "advance", "pause", "revert"]
    assert (lines[2]["via"], lines[2]["why"]) == ("comment-77", "lunch")
    assert "@ann" in lines[2]["actor"]
    assert lines[3]["actor"] == "clock"
    assert (lines[3]["before"]["share"], lines[3]["after"]["share"]) == (10_000, 0)


def test_an_order_that_was_refused_is_in_the_log_too(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.tell(rollout, Order.ADVANCE)
    assert log(inside, f"rollout={rollout.id}")[-1]["action"] == "rollout.advance_refused"


def test_the_log_is_filtered_paged_and_exported(inside: Inside) -> None:
    first = inside.clock.now
    for number in range(5):
        inside.call("PUT", f"/v1/production/flags/f{number}", {"flag": PLAIN})
        inside.clock.go(10.0)
    assert [line["flag"] for line in log(inside, f"action=flag&since={first + 10}&until={first + 30}")] == ["f1", "f2"]
    assert [line["flag"] for line in log(inside, "action=flag.written&newest=true&limit=2")] == ["f4", "f3"]
    assert log(inside, "actor=nobody") == []
    assert len(log(inside, "actor=OPERATOR&environment=production&action=flag")) == 5
    exported = inside.call("GET", "/v1/audit?action=flag&limit=3", role=Role.ADMIN, Accept="application/x-ndjson")
    assert exported.content_type == "application/x-ndjson"
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["flag"] for line in lines] == ["f0", "f1", "f2"]
    rest = log(inside, f"action=flag&after={exported.headers['Rampgate-Next']}")
    assert [line["flag"] for line in rest] == ["f3", "f4"]


def test_the_chain_is_checked_over_http(inside: Inside) -> None:
    reply = inside.call("GET", "/v1/audit/check", role=Role.ADMIN).get_json()
    assert (reply["whole"], reply["broken_at"], reply["entries"]) == (True, None, len(KEY_ROLES))
    assert len(reply["head"]) == 64
