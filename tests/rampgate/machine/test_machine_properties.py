"""Whatever happens, in whatever order: the invariants of SEMANTICS 2 to 9, on random plans, events and clocks."""

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rampgate.evidence import Counters, Look, Reading, Verdict, VerdictReason, VerdictWord
from rampgate.machine import State, Transition, begin, decide, handle, next_deadline, share
from rampgate.machine.events import (
    Attached,
    Cancelled,
    CarriedOut,
    Created,
    DeadlinePassed,
    Deployed,
    Detached,
    Event,
    HookFailed,
    HookProgressed,
    Judged,
    Locked,
    Resumed,
    RetirementBegun,
    Superseded,
    Told,
    Unlocked,
    Verified,
)
from rampgate.machine.state import (
    STOPPED_BY_LOCK,
    ActionKind,
    Deadline,
    Lock,
    Order,
    Phase,
    Refused,
    WidenedBy,
    running,
)
from rampgate.plan import (
    WHOLE,
    Budget,
    Confirm,
    FlagKind,
    OnGateLost,
    Policy,
    RolloutPlan,
    Step,
    Strategy,
    UsersFollow,
    problems,
)

CONFIRMS = st.one_of(
    st.none(),
    st.builds(
        Confirm,
        timeout=st.floats(1, 500),
        then=st.sampled_from([Policy.REVERT, Policy.HOLD, Policy.PROMOTE]),
    ),
)
NARROW = st.sampled_from([Policy.HOLD, Policy.REVERT, Policy.ASK])


@st.composite
def plans(draw: st.DrawFn) -> RolloutPlan:
    shares = sorted(draw(st.sets(st.integers(1, WHOLE - 6_000), max_size=3)))
    steps = tuple(Step(share=one, bake=draw(st.floats(0, 60)), confirm=draw(CONFIRMS)) for one in [*shares, WHOLE])
    strategy = draw(st.sampled_from(list(Strategy)))
    rolls = strategy is Strategy.ROLLING
    lease = draw(st.floats(3, 60))
    plan = RolloutPlan(
        flag="shop",
        environment="production",
        steps=steps,
        strategy=strategy,
        users_follow=UsersFollow.DEPLOYMENT if rolls else UsersFollow.FLAG,
        targets=("web-1", "web-2", "web-3") if rolls else (),
        kind=draw(st.sampled_from(list(FlagKind))),
        hold_back=draw(st.sampled_from([0, 5_000])),
        poll=lease / 3.001,
        lease=lease,
        stale_after=lease * 1.5,
        heartbeat=lease / 2.1,
        scale_down_delay=lease * 3,
        on_gate_lost=draw(st.sampled_from(list(OnGateLost))),
        first_deploy=draw(st.sampled_from([Policy.PROMOTE, Policy.ASK])),
        budgets={
            VerdictWord.INCONCLUSIVE: Budget(
                seconds=draw(st.floats(1, 300)),
                then=draw(st.sampled_from([*NARROW.elements, Policy.PROMOTE_IF_NO_EVIDENCE])),
            ),
            VerdictWord.NO_TRAFFIC: Budget(seconds=draw(st.floats(1, 300)), then=draw(NARROW)),
            VerdictWord.SOURCE_DOWN: Budget(seconds=draw(st.floats(1, 300)), then=draw(NARROW)),
        },
    )
    assert list(problems(plan)) == []
    return plan


READING = Reading(at=0.0, stable=Counters(requests=0, errors=0), canary=Counters(requests=0, errors=0))


def look(step: int, share: int, word: VerdictWord, *, no_harm: bool = True, reading: Reading | None = READING) -> Look:
    verdict = Verdict(word=word, reason=VerdictReason.NOT_WORSE, text="As drawn.", no_harm=no_harm)
    return Look(at=0.0, step=step, share=share, reading=reading, stable=None, canary=None, verdict=verdict)


class AnyRollout(RuleBasedStateMachine):
    """A flag server's view of one rollout: gates come and go, people order, deadlines pass, events repeat."""

    @initialize(
        plan=plans(),
        baseline=st.sampled_from([True, True, True, False]),
        fence=st.integers(0, 9),
        ticks=st.integers(0, 14),
    )
    def create(self, plan: RolloutPlan, baseline: bool, fence: int, ticks: int) -> None:
        self.plan, self.now, self.gates = plan, 1000.0, 0
        first = begin(plan, Created(baseline=baseline, by="a test", fence=fence), self.now)
        self.state = first.state
        self.up = False
        self.fences = [fence]
        if ticks:
            self.all_is_well_for_a_while(ticks)

    def happens(self, event: Event | None) -> Transition | None:
        answer = None
        for applied, transition in handle(self.plan, self.state, event, self.now):
            self.check_step(self.state, applied, transition)
            self.state = transition.state
            if applied is event:
                answer = transition
        return answer

    def check_step(self, before: State, event: Event, transition: Transition) -> None:
        after = transition.state
        if transition.refusal is not None:
            assert after == before
        assert after.revision >= before.revision
        assert after.fence >= before.fence
        if before.lock is not None and before.lock == after.lock and not after.phase.is_final:
            assert after.locked_at == before.locked_at
        visible = ("phase", "step", "reason", "lock", "actions", "lease")
        if any(getattr(before, name) != getattr(after, name) for name in visible):
            assert after.revision > before.revision, "what people can see has changed, but not the revision"
        for action in transition.actions:
            assert action.number > before.last_action
        if isinstance(event, Verified) and transition.refusal is None:
            self.up = True
        if isinstance(event, Resumed) and transition.refusal is None:
            self.up = False
        self.check_widening(before, event, transition)

    def check_widening(self, before: State, event: Event, transition: Transition) -> None:
        after = transition.state
        if share(self.plan, after) <= share(self.plan, before):
            return
        assert self.up, "users were sent to a slot that is not known to be up"
        if isinstance(event, CarriedOut):
            assert before.hurried
            assert before.widened_by is WidenedBy.PERSON
            return
        assert not (before.lock is not None and before.lock.holds(self.now)) or isinstance(event, Verified)
        if isinstance(event, Judged) and event.look.verdict.word is not VerdictWord.HEALTHY:
            assert not before.baseline
            assert before.step == 0
            assert after.widened_by is WidenedBy.POLICY
        elif isinstance(event, Judged):
            assert (event.look.step, event.revision, event.attempt) == (before.step, before.revision, before.attempt)
            if before.step > 0:
                assert isinstance(event.look.reading, Reading)
                assert event.look.share == share(self.plan, before)
            assert after.widened_by is WidenedBy.VERDICT
        elif isinstance(event, Told):
            assert event.order in (Order.ADVANCE, Order.COMPLETE)
            assert after.widened_by is WidenedBy.PERSON
        elif isinstance(event, DeadlinePassed):
            assert event.what in (Deadline.CONFIRM, Deadline.BUDGET_INCONCLUSIVE)
            assert before.deadlines[event.what].then in (Policy.PROMOTE, Policy.PROMOTE_IF_NO_EVIDENCE)
            assert after.widened_by is WidenedBy.POLICY
        else:
            assert isinstance(event, Verified)
            assert not before.baseline
            assert after.widened_by is WidenedBy.POLICY

    @rule(seconds=st.one_of(st.floats(0, 5), st.floats(0, 4000)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.happens(None)

    @rule(seconds=st.floats(0, 400))
    def time_passes_unheeded(self, seconds: float) -> None:
        self.now += seconds

    @rule(again=st.booleans(), knows=st.booleans())
    def a_gate_attaches(self, again: bool, knows: bool) -> None:
        before = self.state
        self.gates += 0 if again else 1
        dead = before.lease.holder if knows and before.lease else None
        answer = self.happens(Attached(holder=f"gate {self.gates}", replaces=dead))
        if answer is not None and answer.refusal is None:
            assert answer.state.fence > self.fences[-1]
            self.fences.append(answer.state.fence)

    def fence(self, old: bool) -> int:
        return self.fences[-1] - 1 if old or self.state.lease is None else self.state.lease.fence

    @rule(
        word=st.sampled_from(list(VerdictWord)),
        old=st.booleans(),
        behind=st.integers(0, 1),
        no_harm=st.booleans(),
        reading=st.sampled_from([READING, READING, None]),
        less=st.sampled_from([0, 0, 1]),
        times=st.integers(1, 3),
    )
    def a_look_is_judged(
        self, word: VerdictWord, old: bool, behind: int, no_harm: bool, reading: Reading | None, less: int, times: int
    ) -> None:
        for _ in range(times):
            before, lapsed = self.state, self.lease_is_due()
            event = Judged(
                fence=self.fence(old and behind == 1),
                revision=before.revision - behind,
                attempt=before.attempt,
                look=look(before.step, share(self.plan, before) - less, word, no_harm=no_harm, reading=reading),
            )
            answer = self.happens(event)
            assert answer is not None
            if lapsed:
                assert answer.refusal is not None, "a late verdict revived a lapsed lease"

    def lease_is_due(self) -> bool:
        due = self.state.deadlines.get(Deadline.LEASE)
        return due is not None and due.at <= self.now

    @rule(times=st.integers(1, 12))
    def all_is_well(self, times: int) -> None:
        self.all_is_well_for_a_while(times)

    def all_is_well_for_a_while(self, times: int) -> None:
        """What a good gate does: attach, carry actions out, and judge everything healthy."""
        self.happens(Attached(holder="good gate", replaces=self.state.lease.holder if self.state.lease else None))
        for _ in range(times):
            if self.state.lease is None:
                return
            self.fences.append(self.state.fence)
            self.now += self.plan.poll
            lease, actions = self.state.lease, [one for one in self.state.actions if one.not_before <= self.now]
            if actions:
                done = {ActionKind.DEPLOY: Deployed, ActionKind.VERIFY: Verified}.get(actions[0].kind, CarriedOut)
                self.happens(done(fence=lease.fence, action=actions[0].number))
            else:
                revision, attempt = self.state.revision, self.state.attempt
                healthy = look(self.state.step, share(self.plan, self.state), VerdictWord.HEALTHY)
                self.happens(Judged(fence=lease.fence, revision=revision, attempt=attempt, look=healthy))

    @rule(
        order=st.sampled_from([*Order, Order.ADVANCE, Order.ADVANCE, Order.PAUSE, Order.RESUME]),
        seen=st.sampled_from([None, 0, -1]),
    )
    def a_person_orders(self, order: Order, seen: int | None) -> None:
        self.happens(None)
        before = self.state
        revision = None if seen is None else before.revision + seen
        answer = self.happens(Told(order=order, by="@ann", revision=revision))
        assert answer is not None
        if order is Order.REVERT and not before.phase.is_final:
            if before.retirement_begun:
                assert answer.refusal is not None
                assert answer.refusal.refused is Refused.RETIREMENT_BEGUN
            else:
                assert answer.refusal is None, "a revert was refused"
                assert answer.state.phase is Phase.REVERTING
        elif seen == -1:
            assert answer.refusal is not None

    @rule(old=st.booleans(), fails=st.booleans(), progress=st.booleans(), which=st.integers(0, 2), wrong=st.booleans())
    def hands_report(self, old: bool, fails: bool, progress: bool, which: int, wrong: bool) -> None:
        actions = self.state.actions
        if not actions:
            return
        action = actions[which % len(actions)]
        number = action.number + 100 if wrong else action.number
        event: Event
        if progress:
            event = HookProgressed(fence=self.fence(old), action=number)
        elif fails:
            event = HookFailed(fence=self.fence(old), action=number, text="It broke.")
        elif action.kind is ActionKind.DEPLOY:
            event = Deployed(fence=self.fence(old), action=number)
        elif action.kind is ActionKind.VERIFY:
            event = Verified(fence=self.fence(old), action=number)
        else:
            event = CarriedOut(fence=self.fence(old), action=number)
        before = self.state
        answer = self.happens(event)
        assert answer is not None
        if old or wrong or before.lease is None:
            assert answer.refusal is not None

    @rule(old=st.booleans(), kind=st.sampled_from([Detached, Cancelled, RetirementBegun]))
    def the_holder_says(self, old: bool, kind: type[Detached] | type[Cancelled] | type[RetirementBegun]) -> None:
        self.happens(kind(fence=self.fence(old)))

    @rule(event=st.sampled_from([Resumed(by="a later run"), Unlocked(by="@ann")]))
    def the_server_says(self, event: Event) -> None:
        self.happens(event)

    @rule(chance=st.integers(0, 9))
    def a_newer_rollout_takes_over(self, chance: int) -> None:
        if chance == 9:
            self.happens(Superseded(by="r2"))

    @rule(after=st.one_of(st.none(), st.floats(0, 100)))
    def a_freeze_begins(self, after: float | None) -> None:
        until = None if after is None else self.now + after
        self.happens(Locked(lock=Lock(reason="incident", by="@ann", until=until)))
        if self.state.lock is not None and not self.state.phase.is_final:
            stopped = set(self.state.deadlines) - set(running(self.state))
            assert stopped <= STOPPED_BY_LOCK

    @rule(seconds=st.floats(0, 5000))
    def a_freeze_comes_and_goes(self, seconds: float) -> None:
        """What is left of a clock after a lock is never less than before it, nor more by longer than it stood."""
        self.happens(None)
        if self.state.lock is not None or self.state.phase.is_final:
            return
        before, began = self.state, self.now
        self.happens(Locked(lock=Lock(reason="incident", by="@ann")))
        self.now += seconds
        self.happens(Unlocked(by="@ann"))
        if self.state.phase is before.phase and self.state.step == before.step and not self.state.phase.is_final:
            for what, due in ((one, due) for one, due in before.deadlines.items() if one in STOPPED_BY_LOCK):
                now = self.state.deadlines.get(what, due)
                assert due.at - 1e-6 <= now.at <= due.at + (self.now - began) + 1e-6

    @invariant()
    def the_share_fits_the_phase(self) -> None:
        now = share(self.plan, self.state)
        if self.state.phase in (Phase.PROMOTED, Phase.COMPLETING) or self.state.retirement_begun:
            assert now == WHOLE
        elif not self.state.phase.is_judged or self.state.step == 0:
            assert now == 0
        assert 0 <= now <= WHOLE

    @invariant()
    def only_the_finished_lack_a_deadline(self) -> None:
        if not self.state.phase.is_final:
            assert next_deadline(self.state) is not None
        elif self.state.lease is None:
            assert not self.state.deadlines
        else:
            assert set(self.state.deadlines) == {Deadline.LEASE, Deadline.RETIRE}

    @invariant()
    def with_only_the_clock_every_state_ends_finished_and_never_wider(self) -> None:
        state, now = self.state, self.now
        widest = share(self.plan, state)
        for _ in range(40):
            due = next_deadline(state)
            if due is None:
                break
            now = max(now, due[1].at)
            before = state
            for _, transition in handle(self.plan, state, None, now):
                state = transition.state
            promised = any(
                one.then in (Policy.PROMOTE, Policy.PROMOTE_IF_NO_EVIDENCE) for one in before.deadlines.values()
            )
            if not promised and before.phase is not Phase.COMPLETING:
                assert share(self.plan, state) <= widest
            widest = share(self.plan, state)
        assert state.phase.is_final
        assert state.lease is None

    @invariant()
    def decide_is_a_function_of_its_arguments(self) -> None:
        event = Told(order=Order.PAUSE, by="@ann")
        assert decide(self.plan, self.state, event, self.now) == decide(self.plan, replace(self.state), event, self.now)


AnyRollout.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnyRollout = AnyRollout.TestCase
