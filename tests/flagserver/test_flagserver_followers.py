"""Followers: who is there, for how long, and that nobody lets go of users whom nobody would take over."""

import pytest

from flagserver import wire
from flagserver.auth import Role
from rampgate.machine.events import Detached, Told
from rampgate.machine.state import Order, Phase
from rampgate.rollout import Posted, Rollout
from tests.flagserver.inside import Inside, new_rollout

ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def come(server: Inside, name: str = "box-1", *, flags: tuple[str, ...] = ("shop",), instance: str = "a") -> int:
    said = {"flags": list(flags), "instance": instance}
    return server.call("PUT", f"/v1/followers/{name}", said).status_code


def there(server: Inside, query: str = "") -> list[str]:
    found = server.call("GET", f"/v1/followers{query}").get_json()["followers"]
    return [one["name"] for one in found]


def detach(server: Inside, rollout: Rollout, fence: int, event_id: str = "let-go") -> tuple[int, str | None]:
    posted = Posted(id=event_id, event=Detached(fence=fence))
    reply = server.call("POST", f"/v1/rollouts/{rollout.id}/events", wire.POSTED.dump_json(posted))
    return reply.status_code, reply.get_json().get("error")


@ON_EACH_DATABASE
def test_a_follower_is_there_for_as_long_as_it_says_so(server: Inside) -> None:
    assert come(server) == 200
    assert come(server, "box-2", flags=("cart", "shop")) == 200
    assert there(server) == there(server, "?flag=shop") == ["box-1", "box-2"]
    assert there(server, "?environment=production&flag=cart") == ["box-2"]
    server.clock.go(7.0)
    come(server, "box-2", flags=("cart",))
    server.clock.go(7.0)
    assert there(server) == ["box-2"]
    assert server.call("DELETE", "/v1/followers/box-2").status_code == 204
    assert there(server) == []


def test_two_followers_do_not_run_under_one_name(server: Inside) -> None:
    come(server)
    assert come(server, instance="b") == 409
    server.clock.go(11.0)
    assert come(server, instance="b") == 200


def test_a_follower_belongs_to_its_keys_environment_and_needs_an_operators_key(server: Inside) -> None:
    said = {"flags": ["shop"], "instance": "a"}
    assert server.call("PUT", "/v1/followers/x?environment=staging", said).status_code in (400, 403)
    assert server.call("PUT", "/v1/followers/x", said, role=Role.SDK).status_code == 403
    assert server.call("PUT", "/v1/followers/x?environment=staging", said, role=Role.ADMIN).status_code == 200
    assert there(server) == []


def test_everything_that_is_wrong_with_a_follower_is_said_at_once(server: Inside) -> None:
    reply = server.call("PUT", "/v1/followers/x", {"flags": ["shop", "", "y" * 201], "instance": ""})
    assert reply.status_code == 422
    assert [one["path"] for one in reply.get_json()["problems"]] == ["instance", "flags[1]", "flags[2]"]


@ON_EACH_DATABASE
def test_a_gate_lets_go_of_its_users_only_where_a_follower_of_the_flag_is_there(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.attach(rollout)
    come(server, flags=("cart",))
    assert detach(server, rollout, fence) == (409, "no_follower")
    assert server.look(rollout).state.lease is not None
    come(server)
    assert detach(server, rollout, fence) == (200, None), "the refused one was recorded"
    assert server.look(rollout).state.lease is None
    server.clock.go(20.0)
    assert there(server) == []
    assert detach(server, rollout, fence) == (200, None), "the same event has the same answer"


def test_a_gate_whose_users_are_back_may_let_go_without_a_follower(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.attach(rollout)
    server.say(rollout, Told(order=Order.REVERT, by="@ann"))
    assert server.look(rollout).state.phase is Phase.REVERTING
    assert detach(server, rollout, fence) == (200, None)


def test_who_came_and_left_is_in_the_audit_log(server: Inside) -> None:
    for _ in range(3):
        come(server)
    server.call("DELETE", "/v1/followers/box-1")
    found = server.call("GET", "/v1/audit?action=follower", role=Role.ADMIN).get_json()["entries"]
    assert [(one["action"], one["subject"]) for one in found] == [
        ("follower.came", "box-1"),
        ("follower.left", "box-1"),
    ]
