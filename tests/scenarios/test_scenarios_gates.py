"""Gates that are stopped, overtaken or started twice: one drives, the others follow, and nothing is done twice."""

import signal

from rampgate.machine.state import Phase, Reason
from tests.scenarios.action import shares
from tests.scenarios.fleet import QUICK, Fleet
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.waiting import until_rollout


def test_a_gate_that_was_stopped_does_not_fight_when_it_goes_on(fleet: Fleet) -> None:
    fleet.document["steps"] = [{"share": 10, "bake": "10m"}, {"share": 100, "bake": "0s"}]
    gate = fleet.start("gate 1")
    rollout = until_rollout(fleet.api, fleet.rollout().id, lambda one: one.share > 0)
    gate.signal(signal.SIGSTOP)

    lapsed = until_rollout(fleet.api, rollout.id, lambda one: one.state.lease is None)
    assert (lapsed.share, lapsed.state.reason) == (0, Reason.GATE_LOST)
    gate.signal(signal.SIGCONT)

    assert gate.code() == 0, gate.log()
    ended = fleet.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.GATE_LOST, ())
    assert fleet.room.running == {"blue": "v1"}
    entries = fleet.api.entries(rollout.id)
    assert shares(entries) == [0, 10_000, 0]
    check_users(entries, fleet.room, 3.0)


def test_a_gate_that_was_stopped_finds_its_successor_at_work_and_follows_it(fleet: Fleet) -> None:
    fleet.document["steps"] = [{"share": 10, "bake": "10m"}, {"share": 100, "bake": "0s"}]
    first = fleet.start("gate 1")
    rollout = until_rollout(fleet.api, fleet.rollout().id, lambda one: one.share > 0)
    first.signal(signal.SIGSTOP)
    until_rollout(fleet.api, rollout.id, lambda one: one.state.lease is None)
    fleet.document = dict(QUICK)
    second = fleet.start("gate 2")
    until_rollout(fleet.api, rollout.id, lambda one: one.state.attempt == 2 and one.share > 0)

    first.signal(signal.SIGCONT)

    assert (first.code(), second.code()) == (0, 0), first.log() + second.log()
    assert fleet.api.rollout(rollout.id).state.phase is Phase.PROMOTED
    entries = fleet.api.entries(rollout.id)
    attached = [one.event.holder for one in entries if one.event.type == "attached" and one.refusal is None]
    assert attached == ["gate 1", "gate 2"]
    assert fleet.room.running == {"green": "v2"}
    check_users(entries, fleet.room, 3.0)
    check_widening(entries)


def test_two_gates_for_the_same_rollout_do_not_fight(fleet: Fleet) -> None:
    gates = [fleet.start("gate 1"), fleet.start("gate 2")]

    assert [gate.code() for gate in gates] == [0, 0], "".join(gate.log() for gate in gates)
    rollouts = fleet.api.find(flag=fleet.flag)
    assert [one.state.phase for one in rollouts] == [Phase.PROMOTED]
    entries = fleet.api.entries(rollouts[0].id)
    attached = {one.event.holder for one in entries if one.event.type == "attached" and one.refusal is None}
    assert len(attached) == 1
    assert fleet.room.did("up", "green") == 1, "it was deployed twice"
    assert fleet.room.running == {"green": "v2"}
    check_users(entries, fleet.room, 3.0)
    check_widening(entries)
