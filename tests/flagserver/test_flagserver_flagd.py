"""What flagd syncs: our own flags to the letter, of which those that ramp expire by themselves."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flagserver.auth import Role
from rampgate.evaluation import compile_flag
from rampgate.flags import read
from rampgate.machine.state import Order
from rampgate.plan import Step
from tests.flagserver.inside import PLAN, Inside, new_rollout
from tests.rampgate.oracle.reference import ours, theirs

WHERE = "/flagd/v1/production.json"
USERS = [f"user-{number}" for number in range(80)]


def sync(server: Inside, tag: str = "") -> Any:
    return server.call("GET", WHERE, role=Role.SDK, If_None_Match=tag)


def served(document: Mapping[str, Any], now: float) -> list[str | None]:
    """What flagd's own evaluator makes of the document at a moment; ours must agree."""
    found = []
    for user in USERS:
        said = theirs(document, "shop", {"targetingKey": user}, now)
        assert said == ours(document, "shop", {"targetingKey": user}, now)
        found.append(said.variant)
    return found


@pytest.fixture
def ramping(inside: Inside) -> Inside:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    return inside


def test_a_ramp_is_what_the_snapshot_says_until_it_expires_by_itself(ramping: Inside) -> None:
    document, now = sync(ramping).get_json(), ramping.clock.now
    assert read(document).problems == ()
    snapshot = compile_flag(read({"flags": {"shop": ramping.snapshot()["flags"]["shop"]}}).flags["shop"])
    expected = [snapshot.evaluate({"targetingKey": user}).variant for user in USERS]
    assert set(expected) == {"blue", "green"}
    assert served(document, now) == expected
    assert served(document, now + PLAN.stale_after / 2 - 1) == expected
    assert set(served(document, now + PLAN.stale_after + 1)) == {"blue"}


def test_a_reader_that_does_not_tell_the_time_serves_stable(ramping: Inside) -> None:
    shop = compile_flag(read(sync(ramping).get_json()).flags["shop"])
    assert {shop.evaluate({"targetingKey": user}, 0.0).variant for user in USERS} == {"blue"}


def test_a_whole_share_expires_too_and_after_a_revert_nothing_does(ramping: Inside) -> None:
    rollout = ramping.services.live.ramping()[0][0]
    ramping.tell(rollout, Order.COMPLETE)
    document, now = sync(ramping).get_json(), ramping.clock.now
    assert set(served(document, now)) == {"green"}
    assert set(served(document, now + PLAN.stale_after + 1)) == {"blue"}
    ramping.tell(rollout, Order.REVERT)
    assert "targeting" not in sync(ramping).get_json()["flags"]["shop"]


def test_looks_change_the_document_once_in_half_of_stale_after(inside: Inside) -> None:
    steps = (Step(share=10_000, bake=900.0), Step(share=100_000, bake=900.0))
    rollout = inside.create(new_rollout(plan=replace(PLAN, steps=steps)))
    fence = inside.to_step(rollout)
    tags = []
    for _ in range(int(PLAN.stale_after * 4 / 10)):
        inside.clock.go(10.0)
        inside.judge(rollout, fence)
        tags.append(sync(inside).headers["ETag"])
        assert len(set(served(sync(inside).get_json(), inside.clock.now))) == 2
    assert len(set(tags)) <= 10


def test_a_lease_that_is_not_renewed_ends_the_ramp_in_the_document(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    ends = set()
    for _ in range(4):
        inside.clock.go(10.0)
        inside.services.live.refresh()
        [condition, _, _] = sync(inside).get_json()["flags"]["shop"]["targeting"]["if"]
        ends.add(condition["and"][1]["<"][1])
    lease = max(ends) - inside.clock.now
    assert lease <= PLAN.stale_after
    inside.clock.go(PLAN.lease)
    assert set(served(sync(inside).get_json(), inside.clock.now)) == {"blue"}


def test_a_server_that_is_cut_off_from_its_store_does_not_move_the_end_on(
    ramping: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramping.clock.go(5.0)
    end = sync(ramping).get_json()["flags"]["shop"]["targeting"]["if"][0]["and"][1]["<"][1]
    ramping.clock.go(20.0)
    monkeypatch.setattr(ramping.services.live, "age", lambda: 20.0)
    assert sync(ramping).get_json()["flags"]["shop"]["targeting"]["if"][0]["and"][1]["<"][1] == end


def test_flags_that_do_not_ramp_are_as_they_were_written_and_the_tag_is_strong(inside: Inside) -> None:
    lamp = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on", "metadata": {"a": 1}}
    inside.call("PUT", "/v1/production/flags/lamp", {"flag": lamp})
    first = sync(inside)
    assert first.get_json()["flags"] == {"lamp": lamp}
    assert first.headers["ETag"].startswith('"')
    assert (sync(inside, first.headers["ETag"]).status_code, sync(inside, first.headers["ETag"]).data) == (304, b"")
    inside.call("PUT", "/v1/production/flags/lamp", {"flag": lamp | {"defaultVariant": "off"}})
    assert sync(inside, first.headers["ETag"]).status_code == 200
