"""Rollouts made by the real state machine, with the history that the flag server would keep of them."""

from dataclasses import dataclass, field, replace

from rampgate.evidence import Counters, Look, Reading, Sample, Verdict, VerdictReason, VerdictWord
from rampgate.machine import begin, handle, share
from rampgate.machine.events import (
    Attached,
    CarriedOut,
    Created,
    Deployed,
    Event,
    HookProgressed,
    Judged,
    Told,
    Verified,
)
from rampgate.machine.state import Order, State, Transition
from rampgate.plan import Confirm, RolloutPlan, Step, Strategy, UsersFollow
from rampgate.rollout import Entry, Rollout, Slot

NOON = 1_795_348_800.0  # 2026-11-22 12:00:00 UTC

PLAN = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000), Step(share=50_000), Step(share=100_000)),
)
CONFIRMED = replace(PLAN, steps=(Step(share=10_000, confirm=Confirm()), *PLAN.steps[1:]))

SWITCHED = replace(
    PLAN, strategy=Strategy.BLUE_GREEN, steps=(Step(share=100_000),), hold_back=0, dark=Step(share=0, bake=60.0)
)
ROLLING = replace(
    PLAN,
    strategy=Strategy.ROLLING,
    users_follow=UsersFollow.DEPLOYMENT,
    targets=tuple(f"web-{number}" for number in range(1, 11)),
    steps=(Step(share=30_000), Step(share=100_000)),
    hold_back=0,
)

HEALTHY = (VerdictWord.HEALTHY, VerdictReason.NOT_WORSE, "3 % of requests fail on both arms.")
COLLECTING = (VerdictWord.INCONCLUSIVE, VerdictReason.COLLECTING, "Not enough data yet: ×3 is not excluded.")
REGRESSED = (
    VerdictWord.REGRESSED,
    VerdictReason.ERRORS_HIGHER,
    "30 % of requests fail on the canary (60 of 200) against 3 % on stable (54 of 1800).",
)
SILENT = (
    VerdictWord.NO_TRAFFIC,
    VerdictReason.NO_TRAFFIC,
    "Neither stable nor the canary had a request in the last 15s.",
)
DOWN = (VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_UNREACHABLE, "Prometheus did not answer within 5s.")


@dataclass(slots=True)
class Story:
    """A rollout on its way. Every call moves it by one event at ``now``."""

    plan: RolloutPlan = PLAN
    version: str = "v2"
    now: float = NOON
    baseline: bool = True
    looks: list[Look] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    state: State = field(init=False)

    def __post_init__(self) -> None:
        event = Created(baseline=self.baseline, by="gate")
        self._keep(event, begin(self.plan, event, self.now), "gate")

    def tell(self, event: Event | None, actor: str = "gate") -> "Story":
        for applied, transition in handle(self.plan, self.state, event, self.now):
            self._keep(applied, transition, actor if applied is event else "clock")
        return self

    def _keep(self, event: Event, transition: Transition, actor: str) -> None:
        self.state = state = transition.state
        self.entries.append(
            Entry(
                number=len(self.entries) + 1,
                at=self.now,
                actor=actor,
                event=event,
                verb=transition.verb,
                phase=state.phase,
                step=state.step,
                share=share(self.plan, state),
                revision=state.revision,
                attempt=state.attempt,
                because=transition.because,
                refusal=transition.refusal,
            )
        )

    def later(self, seconds: float) -> "Story":
        self.now += seconds
        return self

    @property
    def fence(self) -> int:
        return self.state.fence

    def up(self) -> "Story":
        """Deployed and verified: dark."""
        self.tell(Attached(holder="run-1"))
        self.later(40).tell(Deployed(fence=self.fence, action=self.state.actions[0].number))
        return self.later(5).tell(Verified(fence=self.fence, action=self.state.actions[0].number))

    def look(
        self,
        verdict: tuple[VerdictWord, VerdictReason, str],
        *,
        stable: tuple[int, int] | None = (900, 27),
        canary: tuple[int, int] | None = (100, 3),
        log_e: float = 0.6,
        excluded: float | None = None,
    ) -> "Story":
        word, reason, text = verdict
        self.later(15)
        made = Look(
            at=self.now,
            step=self.state.step,
            share=share(self.plan, self.state),
            reading=Reading(at=self.now, stable=Counters(requests=0, errors=0), canary=Counters(requests=0, errors=0)),
            stable=Sample(requests=stable[0], errors=stable[1]) if stable else None,
            canary=Sample(requests=canary[0], errors=canary[1]) if canary else None,
            verdict=Verdict(
                word=word, reason=reason, text=text, log_e=log_e, threshold=3.0, excluded=excluded, no_harm=log_e < 0
            ),
        )
        self.looks.append(made)
        return self.tell(Judged(fence=self.fence, revision=self.state.revision, attempt=self.state.attempt, look=made))

    def bake(self) -> "Story":
        """Healthy looks until it moves on."""
        step, phase = self.state.step, self.state.phase
        while (self.state.step, self.state.phase) == (step, phase):
            self.look(HEALTHY, excluded=1.4)
        return self

    def said(self, order: Order, text: str = "", by: str = "@ada") -> "Story":
        return self.later(7).tell(Told(order=order, by=by, text=text), actor=by)

    def hands(self) -> "Story":
        """Everything that waits is carried out, and the lease is kept meanwhile."""
        for action in self.state.actions:
            while self.now + 15 < action.not_before:
                self.later(15).tell(HookProgressed(fence=self.fence, action=action.number))
            self.now = max(self.now + 1, action.not_before)
            self.tell(CarriedOut(fence=self.fence, action=action.number))
        return self

    def retire(self) -> "Story":
        """Judged on until the old version may go."""
        while not self.state.retirement_begun:
            self.look(HEALTHY, stable=(0, 0), canary=(1000, 29))
        return self

    def rollout(self) -> Rollout:
        return Rollout(
            id="r-7f3a",
            key="octo/shop:1:abc",
            plan=self.plan,
            version=self.version,
            canary=Slot(name="green", version=self.version),
            stable=Slot(name="blue", version="v1" if self.baseline else None),
            state=self.state,
            share=share(self.plan, self.state),
            created_at=NOON,
            now=self.now,
            by="@ada",
            sha="0123456789abcdef0123456789abcdef01234567",
            repository="octo/shop",
            pull_request=42,
            run_url="https://github.com/octo/shop/actions/runs/1/attempts/1",
        )


def ramping() -> Story:
    """At 10 %, with some data but not enough."""
    return (
        Story()
        .up()
        .look(HEALTHY, stable=(0, 0), canary=(0, 0), log_e=0.0)
        .look(COLLECTING)
        .look(COLLECTING, excluded=3.4)
    )


def _waiting() -> Story:
    story = Story(plan=CONFIRMED).up().bake()
    return story.bake().look(HEALTHY, excluded=1.4)


def _last_step() -> Story:
    return Story().up().bake().bake().bake().look(HEALTHY, stable=(50, 1), canary=(950, 28), excluded=1.3)


def _switched() -> Story:
    return Story(SWITCHED).up().bake().look(HEALTHY, stable=(0, 0), canary=(1000, 29)).look(COLLECTING, stable=(0, 0))


def rolled() -> Story:
    """A batch of three of ten targets is through."""
    story = Story(ROLLING).up().bake().later(30)
    return story.tell(CarriedOut(fence=story.fence, action=story.state.actions[0].number)).look(COLLECTING)


STORIES = {
    "deploying": lambda: Story().tell(Attached(holder="run-1")).later(12),
    "ramping": ramping,
    "baking": lambda: ramping().look(HEALTHY, excluded=2.2),
    "waiting": _waiting,
    "paused": lambda: ramping().said(Order.PAUSE, "lunch <b>first</b> @team #12").later(60),
    "source-down": lambda: ramping().look(DOWN, stable=None, canary=None).look(DOWN, stable=None, canary=None),
    "last-step": _last_step,
    "completing": lambda: Story().up().bake().bake().bake().bake().later(30),
    "promoted": lambda: Story().up().bake().bake().bake().bake().retire().hands(),
    "reverting": lambda: ramping().look(REGRESSED, canary=(100, 57), log_e=4.1).later(3),
    "reverted": lambda: ramping().look(REGRESSED, canary=(100, 57), log_e=4.1).hands(),
    "aborted": lambda: ramping().said(Order.REVERT, "checkout is down").hands(),
    "gate-lost": lambda: ramping().later(46).tell(None).later(2000).tell(None),
    "switch-dark": lambda: Story(SWITCHED).up().look(HEALTHY, canary=(0, 0)),
    "switched": _switched,
    "switched-back": lambda: _switched().look(REGRESSED, stable=(0, 0), canary=(1000, 300), log_e=4.1).hands(),
    "batch": rolled,
    "batch-reverting": lambda: rolled().look(REGRESSED, canary=(100, 57), log_e=4.1).later(3),
    "batch-reverted": lambda: rolled().look(REGRESSED, canary=(100, 57), log_e=4.1).hands(),
    "batch-left": lambda: (
        rolled().look(REGRESSED, canary=(100, 57), log_e=4.1).later(46).tell(None).later(1000).tell(None)
    ),
    "first-deploy": lambda: Story(baseline=False).up(),
}
