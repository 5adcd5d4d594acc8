"""What a rollout leaves on its flag, in what is served and in the log."""

from dataclasses import replace

import pytest

from flagserver.auth import Role
from rampgate.machine.events import (
    RetirementBegun,
    Told,
)
from rampgate.machine.state import Order, Phase
from rampgate.plan import FlagKind
from rampgate.rollout import Slot
from tests.flagserver.inside import PLAN, Inside, new_rollout

ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def test_a_release_flag_ends_on_and_refuses_a_further_rollout(server: Inside) -> None:
    plan = replace(PLAN, kind=FlagKind.RELEASE)
    new = new_rollout("checkout", plan=plan, stable=Slot(name="off"))
    rollout = server.create(new)
    fence = server.to_step(rollout)
    assert server.snapshot()["flags"]["shop"]["variants"] == {"off": False, "on": True}
    server.tell(rollout, Order.COMPLETE)
    for _ in range(int(PLAN.scale_down_delay / 30)):
        server.clock.go(30)
        server.judge(rollout, fence)
    server.say(rollout, RetirementBegun(fence=fence))
    assert server.look(rollout).state.phase is Phase.PROMOTED
    assert server.snapshot()["flags"]["shop"]["defaultVariant"] == "on"
    assert server.refused(replace(new, key="k2", version="again"))["error"] == "released"


def test_a_plain_flag_takes_no_rollout(server: Inside) -> None:
    flag = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}
    server.call("PUT", "/v1/production/flags/shop", {"flag": flag})
    assert server.refused(new_rollout())["error"] == "kind_differs"


def test_the_share_is_served_before_the_answer_is_given(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    by_key, *entries = server.snapshot()["flags"]["shop"]["targeting"]["if"][1]["fractional"]
    assert by_key == {"cat": [f"{rollout.id}:", {"var": "targetingKey"}]}
    assert entries == [["green", 10_000], ["blue", 90_000]]
    server.judge(rollout, fence)
    entries = server.snapshot()["flags"]["shop"]["targeting"]["if"][1]["fractional"][1:]
    assert entries == [["green", 95_000], ["blue", 5_000]]
    server.tell(rollout, Order.REVERT)
    assert "targeting" not in server.snapshot()["flags"]["shop"]


@ON_EACH_DATABASE
def test_what_people_did_is_in_the_audit_log(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.say(rollout, Told(order=Order.REVERT, by="grace", text="too slow"))
    lines = server.call("GET", "/v1/audit", role=Role.ADMIN).get_json()["entries"]
    told = [line for line in lines if line["subject"] == rollout.id]
    assert [line["action"] for line in told] == ["rollout.created", "rollout.revert"]
    assert "grace" in told[1]["actor"]
    assert told[1]["why"] == "too slow"
