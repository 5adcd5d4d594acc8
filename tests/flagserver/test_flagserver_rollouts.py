"""Rollouts through the server's door, with the test's own clock: SEMANTICS 2 to 7.

The rules are asked on SQLite; what leans on transactions, locks or queries is asked on PostgreSQL, too.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flagserver import wire
from flagserver.rollouts import AGAIN, Rollouts
from rampgate.evidence import VerdictWord
from rampgate.machine.events import (
    Attached,
    CarriedOut,
    Created,
    DeadlinePassed,
    Deployed,
    Locked,
    RetirementBegun,
    Superseded,
    Unlocked,
)
from rampgate.machine.state import Deadline, Lock, Order, Phase, Reason, Refused
from rampgate.plan import Step, Strategy, Supersede, UsersFollow
from rampgate.rollout import Posted, Slot
from tests.flagserver.inside import PLAN, Inside, new_rollout

ROLLING = replace(
    PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("a", "b"), hold_back=0,
    steps=(Step(share=50_000, bake=0.0), Step(share=100_000, bake=0.0)),
)  # fmt: skip
ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)


def slots(server: Inside) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    found = server.flag()["slots"]
    return (found["stable"]["name"], found["stable"]["version"]), (found["idle"]["name"], found["idle"]["version"])


def test_an_unknown_flag_is_made_with_the_given_stable_slot(server: Inside) -> None:
    rollout = server.create(new_rollout(stable=Slot(name="green", version="v1")))
    assert (rollout.stable, rollout.canary) == (Slot(name="green", version="v1"), Slot(name="blue", version="v2"))
    assert (rollout.state.phase, rollout.share) == (Phase.DEPLOYING, 0)
    assert slots(server) == (("green", "v1"), ("blue", "v2"))
    assert server.flag()["rollout"] == rollout.id


def test_the_same_key_answers_with_the_same_rollout(server: Inside) -> None:
    rollout = server.create(new_rollout())
    assert server.create(new_rollout(), status=200).id == rollout.id
    assert server.create(new_rollout(key="another run"), status=200).id == rollout.id


@ON_EACH_DATABASE
def test_two_gates_that_ask_at_once_get_one_rollout(server: Inside) -> None:
    rollouts = server.services.rollouts
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda key: rollouts.create(new_rollout(key=key), "gate"), ("a", "b")))
    assert len({rollout.id for rollout, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False, True]


def test_a_plan_with_problems_is_refused_with_all_of_them(server: Inside) -> None:
    plan = replace(PLAN, steps=(), lease=1.0, flag="no/slash")
    paths = {one["path"] for one in server.refused(new_rollout(plan=plan), 422)["problems"]}
    assert {"steps", "lease", "plan.flag"} <= paths


@pytest.mark.parametrize("changes", [{"run_url": "a\nb"}, {"sha": "a\0"}, {"override": " "}, {"repository": "x" * 301}])
def test_what_a_gate_says_about_itself_is_one_line_of_sane_length(server: Inside, changes: dict[str, str]) -> None:
    (problem,) = server.refused(new_rollout(**changes), 422)["problems"]
    assert problem["path"] == next(iter(changes))


@ON_EACH_DATABASE
def test_an_event_is_applied_once_and_its_repeat_has_the_first_answer(server: Inside) -> None:
    rollout = server.create(new_rollout())
    first = server.say(rollout, Attached(holder="gate-1"), "e1")
    server.clock.go(5)
    server.tell(rollout, Order.REVERT)
    assert server.say(rollout, Attached(holder="gate-1"), "e1") == first
    assert server.look(rollout).state.phase is Phase.REVERTING


@pytest.mark.parametrize(
    "event",
    [
        Created(baseline=True, by="x"),
        DeadlinePassed(what=Deadline.STEP),
        Superseded(by="x"),
        Locked(lock=Lock(reason="x", by="x")),
        Unlocked(by="x"),
    ],
    ids=lambda event: event.type,
)
def test_what_only_the_server_says_is_not_taken_from_outside(inside: Inside, event: Created) -> None:
    rollout = inside.create(new_rollout())
    body = wire.POSTED.dump_json(Posted(id="e1", event=event))
    reply = inside.call("POST", f"/v1/rollouts/{rollout.id}/events", body)
    assert (reply.status_code, reply.get_json()["error"]) == (403, "event_not_yours")


def test_a_refusal_is_an_answer_and_stands_in_the_history(server: Inside) -> None:
    rollout = server.create(new_rollout())
    answer = server.say(rollout, Deployed(fence=7, action=1))
    assert answer.refusal is not None
    assert answer.refusal.refused is Refused.NOT_LEASE_HOLDER
    last = server.services.rollouts.history(rollout.id)[-1]
    assert (last.number, last.refusal) == (2, answer.refusal)


def test_a_late_verdict_never_revives_a_lapsed_lease(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.clock.go(PLAN.lease + 0.001)
    answer = server.judge(rollout, fence)
    assert answer.refusal is not None
    assert (answer.rollout.state.phase, answer.rollout.state.reason) == (Phase.REVERTING, Reason.GATE_LOST)
    assert answer.rollout.share == 0


def test_reading_applies_what_is_due(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    assert server.look(rollout).share == 10_000
    server.clock.go(PLAN.lease)
    assert server.snapshot()["flags"]["shop"]["defaultVariant"] == "blue"
    assert "targeting" not in server.snapshot()["flags"]["shop"]
    assert server.look(rollout).state.phase is Phase.REVERTING
    server.clock.go(PLAN.stale_after + PLAN.retire)
    (found,) = server.call("GET", "/v1/rollouts?flag=shop").get_json()["rollouts"]
    assert found["state"]["phase"] == "reverted"


@ON_EACH_DATABASE
def test_a_deadline_is_applied_once_however_many_notice_it(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    services = server.services
    others = [Rollouts(services.store, services.live, services.hub, services.meters) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Rollouts.settle, others))
    passed = [one for one in services.rollouts.history(rollout.id) if isinstance(one.event, DeadlinePassed)]
    assert [(one.event.what, one.actor) for one in passed if isinstance(one.event, DeadlinePassed)] == [
        (Deadline.LEASE, "clock")
    ]


def test_a_rollout_that_cannot_be_settled_keeps_no_other_from_its_deadline(
    server: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = server.create(new_rollout())
    other = server.create(new_rollout(plan=replace(PLAN, flag="search")))
    for one in (broken, other):
        server.to_step(one)
    server.clock.go(PLAN.lease)
    settle_one = Rollouts._settle_one

    def fails_for_one(self: Rollouts, rollout_id: str) -> object:
        if rollout_id == broken.id:
            raise OverflowError("out of bounds")
        return settle_one(self, rollout_id)

    monkeypatch.setattr(Rollouts, "_settle_one", fails_for_one)
    assert server.services.rollouts.settle() == server.clock.now + AGAIN
    assert server.look(other).state.phase is Phase.REVERTING


@ON_EACH_DATABASE
def test_promotion_trades_the_slots_and_the_next_rollout_goes_the_other_way(server: Inside) -> None:
    rollout = server.promote(new_rollout("v2", stable=Slot(name="blue", version="v1")))
    assert rollout.state.phase is Phase.PROMOTED
    assert slots(server) == (("green", "v2"), ("blue", None))
    assert server.snapshot()["flags"]["shop"]["defaultVariant"] == "green"
    assert server.snapshot()["rollouts"] == {}
    following = server.create(new_rollout("v3", stable=Slot(name="green", version="v2")))
    assert (following.stable.name, following.canary) == ("green", Slot(name="blue", version="v3"))


def test_the_slots_trade_when_the_retirement_begins_not_before(server: Inside) -> None:
    rollout = server.create(new_rollout(stable=Slot(name="blue", version="v1")))
    fence = server.to_step(rollout)
    server.tell(rollout, Order.COMPLETE)
    assert slots(server)[0][0] == "blue"
    assert server.snapshot()["flags"]["shop"]["defaultVariant"] == "green"
    assert "shop" in server.snapshot()["rollouts"]
    for _ in range(int(PLAN.scale_down_delay / 30)):
        server.clock.go(30)
        server.judge(rollout, fence)
    server.say(rollout, RetirementBegun(fence=fence))
    assert server.look(rollout).state.retirement_begun
    assert slots(server) == (("green", "v2"), ("blue", "v1"))
    assert server.snapshot()["rollouts"] == {}
    refusal = server.tell(rollout, Order.REVERT).refusal
    assert refusal is not None
    assert refusal.refused is Refused.RETIREMENT_BEGUN
    assert server.refused(new_rollout("v3", stable=Slot(name="green")))["error"] == "rollout_in_progress"


def test_a_reverted_slot_is_emptied_once_undone_and_used_again(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.judge(rollout, fence, VerdictWord.REGRESSED)
    assert slots(server)[1] == ("green", "v2")
    assert server.undo(rollout, fence).state.phase is Phase.REVERTED
    assert slots(server) == (("blue", None), ("green", None))
    assert server.create(new_rollout("v3")).canary == Slot(name="green", version="v3")


def test_slots_that_traded_places_meanwhile_refuse_the_request(server: Inside) -> None:
    server.promote(new_rollout("v2"))
    assert server.refused(new_rollout("v3"))["error"] == "slots_changed"
    wrong = new_rollout("v3", stable=Slot(name="green", version="v9"))
    assert server.refused(wrong)["error"] == "slots_changed"


@ON_EACH_DATABASE
def test_a_version_that_regressed_is_refused_without_an_override(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.judge(rollout, fence, VerdictWord.REGRESSED)
    server.undo(rollout, fence)
    assert server.create(new_rollout(), status=200).state.reason is Reason.REGRESSED
    assert server.refused(new_rollout(key="later run"))["error"] == "version_refused"
    again = server.create(new_rollout(key="later run", override="it was the cable"))
    assert again.id != rollout.id


def test_being_superseded_while_reverting_does_not_wash_a_regression_away(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.judge(rollout, fence, VerdictWord.REGRESSED)
    server.create(new_rollout("v3"))
    assert server.look(rollout).state.phase is Phase.SUPERSEDED
    assert server.refused(new_rollout(key="later run"))["error"] == "version_refused"


@pytest.mark.parametrize("key", ["run-v2", "later run"])
def test_after_a_lost_gate_the_same_rollout_is_resumed_with_new_evidence(server: Inside, key: str) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    resumed = server.create(new_rollout(key=key), status=200)
    assert (resumed.id, resumed.state.attempt, resumed.state.phase) == (rollout.id, 2, Phase.VERIFYING)
    assert server.create(new_rollout(key=key), status=200).state.attempt == 2
    assert server.snapshot()["rollouts"]["shop"]["attempt"] == 2


def test_a_resumed_rollout_is_deployed_anew_where_its_slot_was_emptied(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    server.look(rollout)
    server.undo(rollout, server.attach(rollout, "gate-2"))
    assert slots(server)[1] == ("green", None)
    resumed = server.create(new_rollout(), status=200)
    assert (resumed.state.attempt, resumed.state.phase) == (2, Phase.DEPLOYING)
    assert slots(server)[1] == ("green", "v2")


def test_a_superseded_version_starts_anew_when_it_is_asked_for_again(server: Inside) -> None:
    first = server.create(new_rollout("v2"))
    server.to_step(first)
    other = server.create(new_rollout("v3"))
    fence = server.to_step(other)
    server.judge(other, fence, VerdictWord.REGRESSED)
    server.undo(other, fence)
    again = server.create(new_rollout("v2", key="later run"))
    assert (again.state.attempt, again.state.phase) == (1, Phase.DEPLOYING)
    assert again.id != first.id


def test_while_its_gate_still_undoes_it_a_rollout_is_the_same(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout)
    server.clock.go(PLAN.lease)
    server.look(rollout)
    server.attach(rollout, "sweeper")
    found = server.create(new_rollout(key="later run"), status=200)
    assert (found.id, found.state.phase, found.state.attempt) == (rollout.id, Phase.REVERTING, 1)


@ON_EACH_DATABASE
def test_what_is_left_to_do_is_the_successors_who_alone_has_the_slot(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.judge(rollout, fence, VerdictWord.REGRESSED)
    server.clock.go(PLAN.stale_after + PLAN.retire)
    assert server.look(rollout).state.needs_hands
    old_fence = server.attach(rollout, "sweeper")
    newer = server.create(new_rollout("v3"))
    assert newer.state.fence > old_fence
    assert not server.look(rollout).state.actions
    assert server.say(rollout, CarriedOut(fence=old_fence, action=1)).refusal is not None
    assert server.attach(newer) > old_fence


def test_where_it_does_not_replace_a_newer_rollout_waits_for_hands_at_work(server: Inside) -> None:
    rollout = server.create(new_rollout())
    fence = server.to_step(rollout)
    server.judge(rollout, fence, VerdictWord.REGRESSED)
    server.clock.go(PLAN.stale_after + PLAN.retire)
    server.look(rollout)
    server.attach(rollout, "sweeper")
    plan = replace(PLAN, supersede=Supersede.QUEUE)
    assert server.refused(new_rollout("v3", plan=plan))["error"] == "queued_behind"
    server.clock.go(PLAN.lease)
    server.create(new_rollout("v3", plan=plan))


@pytest.mark.parametrize("rolls_first", [True, False])
def test_what_moves_machines_and_what_moves_users_do_not_take_over_from_each_other(
    server: Inside, rolls_first: bool
) -> None:
    older, newer = (ROLLING, PLAN) if rolls_first else (PLAN, ROLLING)
    rollout = server.create(new_rollout(plan=older))
    server.to_step(rollout)
    refused = server.refused(new_rollout("v3", plan=newer))
    assert (refused["error"], refused["rollout"]) == ("rollout_in_progress", rollout.id)
    assert f"is {older.strategy} and not finished; {newer.strategy} cannot take it over" in refused["message"]
    queued = server.refused(new_rollout("v3", plan=replace(newer, supersede=Supersede.QUEUE)))
    assert queued["error"] == "queued_behind"
    server.tell(rollout, Order.REVERT)
    server.clock.go(PLAN.stale_after + PLAN.retire + PLAN.lease)
    assert server.look(rollout).state.needs_hands
    assert "rampgate sweep" in server.refused(new_rollout("v3", plan=newer))["message"]
    fence = server.attach(rollout, "sweeper")
    for action in server.look(rollout).state.actions:
        server.say(rollout, CarriedOut(fence=fence, action=action.number))
    server.create(new_rollout("v3", plan=newer))


@ON_EACH_DATABASE
def test_a_newer_rollout_replaces_the_older_users_first(server: Inside) -> None:
    older = server.create(new_rollout("v2"))
    server.to_step(older)
    newer = server.create(new_rollout("v3"))
    old = server.look(older)
    assert (old.state.phase, old.state.reason, old.superseded_by) == (Phase.SUPERSEDED, Reason.SUPERSEDED, newer.id)
    assert server.snapshot()["flags"]["shop"]["defaultVariant"] == "blue"
    assert "targeting" not in server.snapshot()["flags"]["shop"]
    assert server.snapshot()["rollouts"]["shop"]["rollout"] == newer.id
    # Apps that are cut off may still send users to the slot.
    (deploy,) = newer.state.actions
    assert deploy.not_before == pytest.approx(server.clock.now + PLAN.stale_after)
    found = server.call("GET", "/v1/rollouts?flag=shop&needs_hands=true").get_json()["rollouts"]
    assert [one["id"] for one in found] == [newer.id]


def test_an_abort_for_the_older_rollout_never_touches_its_successor(server: Inside) -> None:
    older = server.create(new_rollout("v2"))
    server.to_step(older)
    newer = server.create(new_rollout("v3"))
    fence = server.to_step(newer)
    server.tell(older, Order.REVERT)
    assert server.look(newer).share == 10_000
    assert server.judge(newer, fence).refusal is None


@pytest.mark.parametrize(
    ("policy", "code"), [(Supersede.REFUSE, "rollout_in_progress"), (Supersede.QUEUE, "queued_behind")]
)
def test_a_newer_rollout_that_does_not_replace_is_refused_with_the_one_in_its_way(
    server: Inside, policy: Supersede, code: str
) -> None:
    older = server.create(new_rollout("v2"))
    refusal = server.refused(new_rollout("v3", plan=replace(PLAN, supersede=policy)))
    assert (refusal["error"], refusal["rollout"]) == (code, older.id)
    assert server.look(older).state.phase is Phase.DEPLOYING


@ON_EACH_DATABASE
def test_a_refused_request_still_applies_what_was_due(server: Inside) -> None:
    older = server.create(new_rollout("v2"))
    server.to_step(older)
    server.clock.go(PLAN.lease)
    server.refused(new_rollout("v3", plan=replace(PLAN, supersede=Supersede.REFUSE)))
    entries = server.services.rollouts.history(older.id)
    assert entries[-1].event == DeadlinePassed(what=Deadline.LEASE)
