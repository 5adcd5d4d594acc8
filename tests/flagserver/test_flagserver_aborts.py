"""Aborts while the database is gone: obeyed at once, from memory; kept on disk; recorded first when it is back."""

from dataclasses import replace
from pathlib import Path

import pytest

from flagserver import wire
from flagserver.auth import Role
from flagserver.errors import SettingsError
from flagserver.journal import Journal, Unrecorded
from rampgate.machine.events import RetirementBegun, Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.rollout import Answer, Posted, Rollout
from tests.flagserver.inside import PLAN, Inside, gone, new_rollout

ABORT = Told(order=Order.REVERT, by="ada", text="checkout is down")


def abort(inside: Inside, rollout: Rollout, status: int, event_id: str = "abort-1") -> Answer:
    posted = wire.POSTED.dump_json(Posted(id=event_id, event=ABORT))
    reply = inside.call("POST", f"/v1/rollouts/{rollout.id}/events", posted)
    assert reply.status_code == status, reply.text
    return wire.ANSWER.validate_json(reply.data)


def ramping(inside: Inside) -> bool:
    return "targeting" in inside.snapshot()["flags"]["shop"]


def test_an_abort_without_the_database_is_obeyed_at_once_and_recorded_first_when_it_is_back(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    steward = inside.services.steward
    with gone(inside.services.store):
        answer = abort(inside, rollout, 202)
        assert (answer.rollout.share, answer.rollout.state.reason) == (0, Reason.ABORTED)
        assert "Not recorded yet" in answer.because[-1].text
        assert not ramping(inside)
        assert abort(inside, rollout, 202).rollout.share == 0
        inside.clock.go(PLAN.lease + 10)
        assert steward.turn() > 0
        assert (ramping(inside), inside.services.aborts.waiting) == (False, 1)
    steward.turn()
    state = inside.look(rollout).state
    # Not `gate_lost`, although the lease has lapsed meanwhile: the person came first.
    assert (state.phase, state.reason, inside.services.aborts.waiting) == (Phase.REVERTING, Reason.ABORTED, 0)
    entries = inside.services.rollouts.history(rollout.id, 0, 100)
    assert [one.at for one in entries if one.event == ABORT] == [answer.rollout.now]
    assert abort(inside, rollout, 200).rollout.state.reason is Reason.ABORTED
    refused = inside.refused(new_rollout(key="again"))
    assert refused["error"] == "version_refused"


def test_an_abort_from_memory_takes_nobody_to_a_version_that_may_be_retiring(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)
    inside.tell(rollout, Order.COMPLETE)
    for _ in range(4):
        inside.clock.go(30.0)
        inside.judge(rollout, fence) if _ < 3 else None
    posted = wire.POSTED.dump_json(Posted(id="late", event=ABORT))
    where = f"/v1/rollouts/{rollout.id}/events"
    with gone(inside.services.store):
        assert inside.call("POST", where, posted).status_code == 503
    inside.judge(rollout, fence)
    inside.say(rollout, RetirementBegun(fence=fence))
    with gone(inside.services.store):
        assert abort(inside, rollout, 200, "too late").refusal is not None
        assert inside.snapshot()["flags"]["shop"]["defaultVariant"] == "green"
    assert inside.services.aborts.waiting == 0


def test_without_the_database_an_abort_is_refused_to_strangers_and_unknown_rollouts(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    posted = wire.POSTED.dump_json(Posted(id="x", event=ABORT))
    with gone(inside.services.store):
        assert inside.call("POST", f"/v1/rollouts/{rollout.id}/events", posted, role=Role.SDK).status_code == 403
        assert inside.call("POST", "/v1/rollouts/ro_nothing/events", posted).status_code == 503
        pause = wire.POSTED.dump_json(Posted(id="y", event=replace(ABORT, order=Order.PAUSE)))
        assert inside.call("POST", f"/v1/rollouts/{rollout.id}/events", pause).status_code == 503
        assert ramping(inside)


def test_aborts_that_a_process_leaves_behind_are_recorded_by_the_next_one(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    with gone(inside.services.store):
        abort(inside, rollout, 202)
        inside.services.aborts.end(0.0)
    url = inside.services.store.url.render_as_string()
    with Inside(url, inside.clock) as following:
        assert following.services.aborts.waiting == 1
        following.services.steward.turn()
        assert following.look(rollout).state.reason is Reason.ABORTED
    with Inside(url, inside.clock) as last:
        assert last.services.aborts.waiting == 0


def test_an_ending_process_records_what_only_it_knows_of(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    aborts = inside.services.aborts
    monkeypatch.setattr(aborts, "_journal", Journal(None))
    away = gone(inside.services.store)
    away.__enter__()
    assert "if this server lives" in abort(inside, rollout, 202).because[-1].text
    aborts.end(20.0, pause=lambda _seconds: away.__exit__(None, None, None))
    assert inside.look(rollout).state.reason is Reason.ABORTED


def test_a_journal_survives_torn_lines_and_keeps_what_is_not_struck_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    lines = [
        Unrecorded(rollout="ro_1", posted=Posted(id=f"e{number}", event=ABORT), actor="ada", at=float(number))
        for number in range(3)
    ]
    assert all(journal.add(one) for one in lines[:2])
    with (tmp_path / "aborts.jsonl").open("a") as file:
        file.write('{"rollout": "ro_1", "pos')
    assert journal.add(lines[2])
    assert Journal(tmp_path).read() == tuple(lines)
    journal.strike_out(frozenset({"e0", "e2"}))
    assert journal.read() == (lines[1],)
    assert not Journal(None).add(lines[0])


def test_a_state_folder_that_cannot_be_had_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="FLAGSERVER_STATE_DIR"):
        Journal(tmp_path / "file" / "under")
