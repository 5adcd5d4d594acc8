"""One rollout as the flag server holds it, told event by event: what the examples of the machine are written with."""

from dataclasses import dataclass, field, replace

import pytest

from rampgate.evidence import Counters, Look, Reading, Verdict, VerdictReason, VerdictWord
from rampgate.machine import State, Transition, begin, handle, share
from rampgate.machine.events import Attached, CarriedOut, Created, Deployed, Event, HookFailed, Judged, Told, Verified
from rampgate.machine.state import ActionKind, Deadline, Lock, Order, Phase, Refused
from rampgate.plan import RolloutPlan, Step, Strategy, UsersFollow

PLAN = RolloutPlan(
    flag="shop", environment="production", steps=(Step(share=10_000), Step(share=50_000), Step(share=100_000))
)
BLUE_GREEN = replace(PLAN, strategy=Strategy.BLUE_GREEN, steps=PLAN.steps[-1:], hold_back=0)
ROLLING = replace(PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("web-1", "web-2"))
STRATEGIES = pytest.mark.parametrize("plan", [PLAN, BLUE_GREEN, ROLLING], ids=lambda plan: plan.strategy)
START = 1_000_000.0

DONE = {ActionKind.DEPLOY: Deployed, ActionKind.VERIFY: Verified}


NOTHING = Reading(at=0.0, stable=Counters(requests=0, errors=0), canary=Counters(requests=0, errors=0))


def look(step: int, share: int, word: VerdictWord, *, no_harm: bool = True) -> Look:
    verdict = Verdict(word=word, reason=VerdictReason.NOT_WORSE, text="As told.", no_harm=no_harm)
    return Look(at=0.0, step=step, share=share, reading=NOTHING, stable=None, canary=None, verdict=verdict)


@dataclass
class Ramp:
    """A rollout, its clock, and everything that can happen to it."""

    plan: RolloutPlan = PLAN
    baseline: bool = True
    lock: Lock | None = None
    now: float = START
    state: State = field(init=False)

    def __post_init__(self) -> None:
        created = Created(baseline=self.baseline, by="@ann", lock=self.lock)
        self.state = begin(self.plan, created, self.now).state

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @property
    def share(self) -> int:
        return share(self.plan, self.state)

    @property
    def fence(self) -> int:
        return self.state.lease.fence if self.state.lease else self.state.fence

    @property
    def waits_for(self) -> list[ActionKind]:
        return [action.kind for action in self.state.actions]

    def due(self, what: Deadline) -> float | None:
        """Seconds from now until the deadline passes; ``None``: it does not run."""
        there = self.state.deadlines.get(what)
        return None if there is None else there.at - self.now

    def hear(self, event: Event) -> Transition:
        """The event, after every deadline that is due."""
        transition = handle(self.plan, self.state, event, self.now)[-1][1]
        self.state = transition.state
        return transition

    def refused(self, event: Event) -> Refused | None:
        """Why the event is refused; a refused event leaves the state as it is."""
        self.after(0)
        before = self.state
        transition = self.hear(event)
        if transition.refusal is None:
            return None
        assert transition.state == before
        return transition.refusal.refused

    def after(self, seconds: float) -> "Ramp":
        """The clock alone."""
        self.now += seconds
        for _, transition in handle(self.plan, self.state, None, self.now):
            self.state = transition.state
        return self

    def attach(self, holder: str = "gate 1", replaces: str | None = None) -> Transition:
        return self.hear(Attached(holder=holder, replaces=replaces))

    def judge(self, word: VerdictWord = VerdictWord.HEALTHY, *, no_harm: bool = True, **seen: int) -> Transition:
        return self.hear(self.judged(word, no_harm=no_harm, **seen))

    def judged(self, word: VerdictWord = VerdictWord.HEALTHY, *, no_harm: bool = True, **seen: int) -> Judged:
        """A look as the gate at the lease would send it; ``seen`` says where it saw something else."""
        return Judged(
            fence=seen.get("fence", self.fence),
            revision=seen.get("revision", self.state.revision),
            attempt=seen.get("attempt", self.state.attempt),
            look=look(seen.get("step", self.state.step), self.share, word, no_harm=no_harm),
        )

    def judge_for(self, seconds: float, *words: VerdictWord) -> "Ramp":
        """A look every poll for so long, the words in turn; stops once nothing is judged any more."""
        until, turn = self.now + seconds, 0
        while self.now < until and (self.phase.is_judged or self.phase is Phase.COMPLETING) and self.state.lease:
            self.after(self.plan.poll)
            self.judge(words[turn % len(words)])
            turn += 1
        return self

    def tell(self, order: Order, revision: int | None = None) -> Transition:
        return self.hear(Told(order=order, by="@bob", revision=revision))

    def do(self, kind: ActionKind | None = None) -> Transition:
        """The hands finish the first action that waits (of this kind)."""
        action = next(one for one in self.state.actions if kind in (None, one.kind))
        return self.hear(DONE.get(action.kind, CarriedOut)(fence=self.fence, action=action.number))

    def fail(self, kind: ActionKind) -> Transition:
        """The hands give up on the action."""
        action = next(one for one in self.state.actions if one.kind is kind)
        return self.hear(HookFailed(fence=self.fence, action=action.number, text="It broke."))


def deploying(plan: RolloutPlan = PLAN, *, baseline: bool = True, lock: Lock | None = None) -> Ramp:
    ramp = Ramp(plan=plan, baseline=baseline, lock=lock)
    ramp.attach()
    return ramp


def verifying(plan: RolloutPlan = PLAN, *, baseline: bool = True, lock: Lock | None = None) -> Ramp:
    ramp = deploying(plan, baseline=baseline, lock=lock)
    ramp.do(ActionKind.DEPLOY)
    return ramp


def dark(plan: RolloutPlan = PLAN, *, baseline: bool = True, lock: Lock | None = None) -> Ramp:
    ramp = verifying(plan, baseline=baseline, lock=lock)
    ramp.do(ActionKind.VERIFY)
    return ramp


def at_step(number: int, plan: RolloutPlan = PLAN) -> Ramp:
    """On this step, just entered by healthy looks alone."""
    ramp = dark(plan)
    ramp.judge()
    while ramp.state.step < number:
        if ActionKind.ROLL in ramp.waits_for:
            ramp.do(ActionKind.ROLL)
        bake_out(ramp)
        ramp.judge()
    assert ramp.phase is Phase.PROGRESSING
    return ramp


def bake_out(ramp: Ramp) -> Ramp:
    """To the end of the step's bake, judged too little so far, with the lease fresh."""
    step, until = ramp.state.step, ramp.state.entered_at + ramp.plan.step(ramp.state.step).bake
    while ramp.now < until:
        ramp.now = min(until, ramp.now + ramp.plan.poll)
        ramp.judge(VerdictWord.INCONCLUSIVE)
    assert ramp.state.step == step
    return ramp


def completing(plan: RolloutPlan = PLAN) -> Ramp:
    ramp = bake_out(at_step(plan.last, plan))
    ramp.judge()
    assert ramp.phase is Phase.COMPLETING
    return ramp


def retiring(plan: RolloutPlan = PLAN) -> Ramp:
    """Everybody on the new version, the old one being taken away."""
    ramp = completing(plan)
    ramp.judge_for(plan.scale_down_delay, VerdictWord.HEALTHY)
    assert ramp.state.retirement_begun
    return ramp
