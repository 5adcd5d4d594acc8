"""What a driver needs of a flag server, as one contract: whoever keeps it can be driven against.

A ``Host`` is one kind of flag server with a rollout of `PLAN` on it; `test_contracts_flag_server.py` has them all.
"""

from dataclasses import replace
from typing import Protocol

import pytest

from gate.drive import Server
from rampgate.evidence import Counters, Look, Reading, Verdict, VerdictReason, VerdictWord
from rampgate.locks import HeldLock, NewLock
from rampgate.machine.events import Attached, CarriedOut, Deployed, Event, HookProgressed, Judged, Told, Verified
from rampgate.machine.state import ActionKind, Deadline, Order, Phase, Reason, Refused
from rampgate.plan import RolloutPlan, Step
from rampgate.rollout import Answer, Rollout

PLAN = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000, bake=0.0), Step(share=100_000, bake=0.0)),
    poll=0.5,
    lease=1.5,
    stale_after=1.5,
    heartbeat=0.5,
    scale_down_delay=3.0,
)
PATIENT = replace(PLAN, lease=60.0, stale_after=60.0, scale_down_delay=120.0, poll=15.0)
"""For what must not be disturbed by a lapse."""


class Lockable(Server, Protocol):
    """What a driver and whoever locks need of it."""

    def lock(self, new: NewLock) -> HeldLock: ...
    def unlock(self, lock_id: str, *, by: str, reason: str | None = None) -> None: ...


class Host(Protocol):
    """One flag server, with one rollout on it."""

    server: Lockable
    rollout_id: str

    def pass_time(self, seconds: float) -> None:
        """Come back when the server's clock has gone on by this much."""


class HostOf(Protocol):
    def __call__(self, plan: RolloutPlan) -> Host: ...


class DriverContract:
    """Sub-classes give the fixture ``host_of``: plan → a host with a fresh rollout of it."""

    def attach(self, host: Host, holder: str = "gate 1") -> Rollout:
        answer = host.server.post(host.rollout_id, Attached(holder=holder), f"attach {holder}")
        assert answer.refusal is None
        return answer.rollout

    def at_first_step(self, host: Host) -> Rollout:
        rollout = self.attach(host)
        for kind in (Deployed, Verified):
            event = kind(fence=rollout.state.fence, action=rollout.state.actions[0].number)
            rollout = host.server.post(host.rollout_id, event, f"{kind.__name__}").rollout
        return host.server.post(host.rollout_id, look(rollout), "look at the dark").rollout

    def test_a_rollout_is_as_it_was_asked_for(self, host_of: HostOf) -> None:
        host = host_of(PLAN)
        rollout = host.server.rollout(host.rollout_id)
        assert (rollout.id, rollout.version) == (host.rollout_id, "v2")
        assert replace(rollout.plan, flag=PLAN.flag) == PLAN
        assert (rollout.stable.name, rollout.stable.version) == ("blue", "v1")
        assert (rollout.canary.name, rollout.canary.version) == ("green", "v2")
        assert (rollout.state.phase, rollout.share, rollout.state.attempt) == (Phase.DEPLOYING, 0, 1)
        assert [action.kind for action in rollout.state.actions] == [ActionKind.DEPLOY]
        assert rollout.now >= rollout.created_at

    def test_an_answer_says_what_followed_and_shows_the_rollout_as_it_then_stands(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.attach(host)
        assert rollout.state.lease is not None
        assert rollout.state.lease.holder == "gate 1"
        event = Deployed(fence=rollout.state.fence, action=rollout.state.actions[0].number)
        answer = host.server.post(host.rollout_id, event, "deployed")
        assert [action.kind for action in answer.actions] == [ActionKind.VERIFY]
        assert answer.rollout.state.phase is Phase.VERIFYING
        assert answer.because
        assert host.server.rollout(host.rollout_id).state == answer.rollout.state

    def test_the_ramp_widens_by_verdicts_and_shares_follow_the_steps(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.at_first_step(host)
        assert (rollout.state.step, rollout.share) == (1, 10_000)
        rollout = host.server.post(host.rollout_id, look(rollout), "look at 10 %").rollout
        assert (rollout.state.step, rollout.share) == (2, 95_000)

    def test_a_refusal_is_an_answer_that_changes_nothing(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.attach(host)
        refused: dict[str, tuple[Event, Refused]] = {
            "a second gate": (Attached(holder="gate 2"), Refused.LEASE_HELD),
            "an old fence": (HookProgressed(fence=0, action=1), Refused.NOT_LEASE_HOLDER),
            "an unknown action": (CarriedOut(fence=rollout.state.fence, action=99), Refused.UNKNOWN_ACTION),
            "a look too early": (look(rollout), Refused.WRONG_PHASE),
            "a promotion too early": (Told(order=Order.ADVANCE, by="@ann"), Refused.WRONG_PHASE),
        }
        for name, (event, why) in refused.items():
            answer = host.server.post(host.rollout_id, event, name)
            assert answer.refusal is not None, name
            assert answer.refusal.refused is why, name
            assert answer.rollout.state == rollout.state, name

    def test_a_look_at_an_older_revision_is_stale(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.at_first_step(host)
        late = look(rollout, revision=rollout.state.revision - 1)
        answer = host.server.post(host.rollout_id, late, "late")
        assert answer.refusal is not None
        assert answer.refusal.refused is Refused.STALE

    @pytest.mark.parametrize("refused", [False, True], ids=["accepted", "refused"])
    def test_the_same_event_id_repeats_the_first_answer(self, host_of: HostOf, refused: bool) -> None:
        host = host_of(PATIENT)
        self.attach(host)
        event = Attached(holder="gate 2") if refused else Told(order=Order.REVERT, by="@ann")
        first = host.server.post(host.rollout_id, event, "once")
        before = host.server.entries(host.rollout_id)
        assert (first.refusal is not None) == refused
        host.server.post(host.rollout_id, Told(order=Order.REVERT, by="@bob"), "meanwhile")

        second = host.server.post(host.rollout_id, event, "once")

        assert said(second) == said(first)
        assert second.rollout.state == first.rollout.state
        assert len(host.server.entries(host.rollout_id)) == len(before) + 1

    def test_the_history_has_everything_in_its_order(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.at_first_step(host)
        host.server.post(host.rollout_id, Attached(holder="gate 2"), "refused")
        entries = host.server.entries(host.rollout_id)
        kinds = [entry.event.type for entry in entries if entry.event.type != "created"]
        assert kinds == ["attached", "deployed", "verified", "judged", "attached"]
        numbers = [entry.number for entry in entries]
        assert numbers == sorted(set(numbers))
        assert entries[-1].refusal is not None
        assert entries[-2].share == rollout.share == 10_000
        assert isinstance(entries[-2].event, Judged)
        assert entries[-2].event.look.verdict.word is VerdictWord.HEALTHY

    def test_a_long_poll_answers_at_once_where_the_revision_is_another(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.attach(host)
        again = host.server.rollout(host.rollout_id, after=rollout.state.revision - 1, wait=30.0)
        assert again.state == rollout.state
        assert again.now - rollout.now < 30.0

    def test_a_long_poll_ends_with_nothing_new_when_its_time_is_over(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.attach(host)
        again = host.server.rollout(host.rollout_id, after=rollout.state.revision, wait=0.2)
        assert again.state == rollout.state
        assert again.now >= rollout.now + 0.2

    def test_a_long_poll_hears_of_a_deadline_that_passes(self, host_of: HostOf) -> None:
        host = host_of(PLAN)
        rollout = self.attach(host)
        again = host.server.rollout(host.rollout_id, after=rollout.state.revision, wait=30.0)
        assert again.state.lease is None
        assert again.state.reason is Reason.GATE_LOST
        assert again.now - rollout.now < 30.0

    def test_work_renews_the_lease_and_silence_loses_it(self, host_of: HostOf) -> None:
        host = host_of(replace(PLAN, lease=6.0, stale_after=6.0, scale_down_delay=12.0))
        rollout = self.attach(host)
        for number in range(4):
            host.pass_time(2.0)
            event = HookProgressed(fence=rollout.state.fence, action=rollout.state.actions[0].number)
            assert host.server.post(host.rollout_id, event, f"progress {number}").refusal is None
        assert host.server.rollout(host.rollout_id).now >= rollout.now + 8.0

    def test_a_deadline_that_is_due_comes_before_the_event(self, host_of: HostOf) -> None:
        host = host_of(PLAN)
        rollout = self.at_first_step(host)
        assert rollout.share == 10_000
        host.pass_time(PLAN.lease + 0.1)

        late = host.server.post(host.rollout_id, look(rollout), "late")

        assert late.refusal is not None
        assert late.refusal.refused in (Refused.NOT_LEASE_HOLDER, Refused.WRONG_PHASE, Refused.FINISHED)
        assert late.rollout.share == 0
        assert late.rollout.state.reason is Reason.GATE_LOST
        kinds = [entry.event.type for entry in host.server.entries(host.rollout_id)]
        assert kinds.index("deadline_passed") < len(kinds) - 1
        assert kinds[-1] == "judged"

    def test_another_gate_takes_over_with_a_higher_fence_and_the_first_one_is_refused(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.attach(host)
        taken = host.server.post(host.rollout_id, Attached(holder="gate 2", replaces="gate 1"), "take over")
        assert taken.refusal is None
        assert taken.rollout.state.fence > rollout.state.fence
        event = Deployed(fence=rollout.state.fence, action=rollout.state.actions[0].number)
        late = host.server.post(host.rollout_id, event, "late")
        assert late.refusal is not None
        assert late.refusal.refused is Refused.NOT_LEASE_HOLDER

    def test_a_revert_takes_the_users_back_in_its_very_answer(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        rollout = self.at_first_step(host)
        answer = host.server.post(host.rollout_id, Told(order=Order.REVERT, by="@ann", revision=1), "abort")
        assert answer.refusal is None
        assert answer.rollout.share == 0
        assert answer.rollout.state.phase is Phase.REVERTING
        undo = next(action for action in answer.actions if action.kind is ActionKind.UNDO)
        assert undo.not_before >= rollout.now + PATIENT.stale_after

    def test_a_lock_holds_the_share_and_the_clocks_of_going_on_until_it_is_lifted(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        before = self.at_first_step(host)
        plan = before.plan
        held = host.server.lock(
            NewLock(reason="incident", by="@ann", environment=plan.environment, flag=plan.flag, name="incident")
        )
        locked = host.server.rollout(host.rollout_id)
        assert locked.state.revision > before.state.revision
        assert locked.state.lock is not None
        assert (locked.state.lock.id, locked.state.lock.reason, locked.state.lock.by) == (held.id, "incident", "@ann")
        healthy = host.server.post(host.rollout_id, look(locked), "look under the lock")
        assert healthy.because[0].reason is Reason.LOCKED
        promoted = host.server.post(host.rollout_id, Told(order=Order.ADVANCE, by="@bob"), "promote under the lock")
        assert promoted.refusal is not None
        assert promoted.refusal.refused is Refused.LOCKED
        assert promoted.rollout.share == before.share

        host.server.unlock(held.id, by="@ann", reason="it is over")

        free = host.server.rollout(host.rollout_id)
        assert free.state.lock is None
        assert free.state.deadlines[Deadline.STEP].at >= before.state.deadlines[Deadline.STEP].at
        assert host.server.post(host.rollout_id, look(free), "look after it").rollout.share > before.share
        kinds = [entry.event.type for entry in host.server.entries(host.rollout_id)]
        assert [kind for kind in kinds if kind in ("locked", "unlocked")] == ["locked", "unlocked"]

    def test_a_lock_stops_no_abort(self, host_of: HostOf) -> None:
        host = host_of(PATIENT)
        plan = self.at_first_step(host).plan
        host.server.lock(NewLock(reason="incident", by="@ann", environment=plan.environment, flag=plan.flag, name="x"))
        assert host.server.post(host.rollout_id, Told(order=Order.REVERT, by="@ann"), "abort").rollout.share == 0


def look(rollout: Rollout, *, revision: int | None = None) -> Judged:
    """A healthy look at the rollout as it stands."""
    state = rollout.state
    verdict = Verdict(word=VerdictWord.HEALTHY, reason=VerdictReason.NOT_WORSE, text="All is well.", no_harm=True)
    nothing = Counters(requests=0, errors=0)
    reading = Reading(at=rollout.now, stable=nothing, canary=nothing)
    seen = Look(
        at=rollout.now, step=state.step, share=rollout.share, reading=reading, stable=None, canary=None, verdict=verdict
    )
    return Judged(
        fence=state.fence,
        revision=state.revision if revision is None else revision,
        attempt=state.attempt,
        look=seen,
    )


def said(answer: Answer) -> tuple[object, ...]:
    return answer.verb, answer.because, answer.actions, answer.refusal
