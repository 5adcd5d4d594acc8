"""The line of those who wait for a flag: who is in it, whose turn it is, and how a place is lost."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flagserver.auth import Role
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.plan import Supersede
from rampgate.rollout import NewRollout, Rollout
from tests.flagserver.inside import PLAN, Inside, new_rollout

QUEUE = replace(PLAN, supersede=Supersede.QUEUE)
ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def wanted(version: str, **changes: Any) -> NewRollout:
    return new_rollout(version, plan=QUEUE, **changes)


def place(server: Inside, new: NewRollout) -> Mapping[str, Any]:
    refusal = server.refused(new)
    assert refusal["error"] == "queued_behind", refusal
    found: Mapping[str, Any] = refusal["place"]
    return found


def line(server: Inside, query: str = "flag=shop") -> list[tuple[int, str]]:
    waiting = server.call("GET", f"/v1/queue?{query}").get_json()["waiting"]
    return [(one["position"], one["version"]) for one in waiting]


def end(server: Inside, rollout: Rollout) -> None:
    """To its end, with nothing left to do."""
    fence = server.attach(rollout)
    server.say(rollout, Told(order=Order.REVERT, by="@ann"))
    server.undo(rollout, fence)


@ON_EACH_DATABASE
def test_those_who_wait_come_in_the_order_in_which_they_asked(server: Inside) -> None:
    first = server.create(wanted("v2"))
    assert place(server, wanted("v3"))["position"] == 1
    server.clock.go(1.0)
    mine = place(server, wanted("v4"))
    assert (mine["position"], mine["version"], mine["since"]) == (2, "v4", server.clock.now)
    server.clock.go(5.0)
    place(server, wanted("v3"))
    assert line(server) == [(1, "v3"), (2, "v4")]
    end(server, first)
    refusal = server.refused(wanted("v4"))
    assert (refusal["error"], refusal.get("rollout"), refusal["place"]["position"]) == ("queued_behind", None, 2)
    assert "v3" in refusal["message"]
    server.create(wanted("v3"))
    assert line(server) == [(1, "v4")]


def test_a_gate_that_no_longer_asks_loses_its_place(server: Inside) -> None:
    first = server.create(wanted("v2"))
    server.attach(first)
    place(server, wanted("v3"))
    server.clock.go(30.0)
    server.look(first)
    place(server, wanted("v4"))
    server.clock.go(31.0)
    assert line(server) == [(1, "v4")]
    assert place(server, wanted("v3"))["position"] == 2


def test_a_newer_commit_of_the_same_branch_takes_the_place_of_an_older_one(server: Inside) -> None:
    main = {"ref": "refs/heads/main", "repository": "o/shop"}
    server.create(wanted("v2", **main))
    place(server, wanted("v3", **main))
    server.clock.go(1.0)
    place(server, wanted("other", ref="refs/heads/hotfix", repository="o/shop"))
    newer = place(server, wanted("v4", **main))
    assert newer["position"] == 1
    assert line(server) == [(1, "v4"), (2, "other")]
    refusal = server.refused(wanted("v3", **main))
    assert refusal["error"] == "replaced_in_queue"
    assert "v4" in refusal["message"]


def test_a_place_is_given_up(server: Inside) -> None:
    server.create(wanted("v2"))
    place(server, wanted("v3"))
    assert server.call("DELETE", "/v1/queue?flag=shop&key=run-v3").status_code == 204
    assert line(server) == []
    assert server.call("DELETE", "/v1/queue?flag=shop").get_json()["problems"][0]["path"] == "key"
    logged = server.call("GET", "/v1/audit?action=queue", role=Role.ADMIN).get_json()["entries"]
    assert [one["before"]["version"] for one in logged] == ["v3"]


def test_who_replaces_goes_ahead_of_the_line_and_who_refuses_does_not(server: Inside) -> None:
    first = server.create(wanted("v2"))
    place(server, wanted("v3"))
    end(server, first)
    refusal = server.refused(new_rollout("v4", plan=replace(PLAN, supersede=Supersede.REFUSE)))
    assert refusal["error"] == "rollout_in_progress"
    server.create(new_rollout("v5"))
    assert line(server) == [(1, "v3")]


def test_lines_of_two_flags_do_not_mix(server: Inside) -> None:
    server.create(wanted("v2"))
    other = replace(QUEUE, flag="search")
    server.create(new_rollout("v2", plan=other))
    place(server, wanted("v3"))
    assert place(server, new_rollout("v3", plan=other))["position"] == 1
    assert line(server, "flag=search") == [(1, "v3")]
    assert len(line(server, "")) == 2
    assert server.call("GET", "/v1/queue?environment=staging").status_code == 403
