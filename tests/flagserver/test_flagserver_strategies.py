"""Strategies that follow one another on one flag: the live slot is never written to, and the record is what runs."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rampgate.evidence import VerdictWord
from rampgate.machine.events import CarriedOut, Deployed, RetirementBegun, Verified
from rampgate.machine.state import Action, ActionKind, Order, Phase
from rampgate.plan import WHOLE, RolloutPlan, Step, Strategy, UsersFollow
from rampgate.rollout import Rollout, Slot
from tests.flagserver.inside import PLAN, Inside, new_rollout

AT_ONCE = (Step(share=WHOLE, bake=0.0),)
PLANS = {
    Strategy.CANARY: replace(PLAN, hold_back=0),
    Strategy.BLUE_GREEN: replace(PLAN, strategy=Strategy.BLUE_GREEN, steps=AT_ONCE, hold_back=0),
    Strategy.ROLLING: replace(
        PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("web-1", "web-2"),
        steps=(Step(share=50_000, bake=0.0), *AT_ONCE), hold_back=0,
    ),
}  # fmt: skip


@dataclass
class House:
    """What runs in the slots, by the actions that the flag server asked for. In place, names are all that moves."""

    server: Inside
    runs: dict[str, str | None] = field(default_factory=lambda: {"blue": "v1"})
    versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(2))

    @property
    def slots(self) -> tuple[Slot, Slot]:
        found = self.server.flag()["slots"]
        return tuple(Slot(**found[name]) for name in ("stable", "idle"))  # type: ignore[return-value]

    def begin(self, plan: RolloutPlan, stable: Slot) -> Rollout:
        return self.server.create(new_rollout(f"v{next(self.versions)}", plan=plan, stable=stable))

    def do(self, rollout: Rollout, fence: int) -> Rollout:
        """Carry out what is waiting, one action after the other."""
        for action in self.server.look(rollout).state.actions:
            self._do(self.server.look(rollout), action)
            event = {ActionKind.DEPLOY: Deployed, ActionKind.VERIFY: Verified}.get(action.kind, CarriedOut)
            self.server.say(rollout, event(fence=fence, action=action.number))
        return self.server.look(rollout)

    def _do(self, now: Rollout, action: Action) -> None:
        slot = now.slot(action.arm)
        if now.plan.strategy is Strategy.ROLLING or action.kind in (ActionKind.VERIFY, ActionKind.PROBE):
            return
        assert slot.name not in self.live(now), f"{action.kind} of {slot} while users are there"
        if action.kind is ActionKind.DEPLOY:
            self.runs[slot.name] = now.version
        else:
            self.runs.pop(slot.name)

    def live(self, now: Rollout) -> set[str]:
        """Where the snapshot sends users, as the apps read it; all of it runs."""
        served = self.server.snapshot()["flags"]["shop"]["defaultVariant"]
        live = {served, now.canary.name if now.share else now.stable.name}
        assert live <= self.runs.keys()
        return live

    def to_first_users(self, rollout: Rollout) -> int:
        fence = self.server.attach(rollout)
        self.do(rollout, fence)
        self.do(rollout, fence)
        self.server.tell(rollout, Order.ADVANCE)
        self.do(rollout, fence)
        return fence

    def promote(self, rollout: Rollout) -> Rollout:
        fence = self.to_first_users(rollout)
        self.server.tell(rollout, Order.COMPLETE)
        self.do(rollout, fence)
        for _ in range(int(rollout.plan.scale_down_delay / 30)):
            self.server.clock.go(30)
            self.server.judge(rollout, fence)
        self.server.say(rollout, RetirementBegun(fence=fence))
        if rollout.plan.strategy is Strategy.ROLLING:
            self.runs = {rollout.canary.name: rollout.version}
        return self.do(rollout, fence)


def regressed(house: House, rollout: Rollout) -> None:
    fence = house.to_first_users(rollout)
    house.server.judge(rollout, fence, VerdictWord.REGRESSED)
    house.do(rollout, fence)


def aborted_while_the_old_one_is_warm(house: House, rollout: Rollout) -> None:
    fence = house.to_first_users(rollout)
    house.server.tell(rollout, Order.COMPLETE)
    house.do(rollout, fence)
    house.server.tell(rollout, Order.REVERT)
    house.do(rollout, fence)


def lost_and_swept(house: House, rollout: Rollout) -> None:
    house.to_first_users(rollout)
    house.server.clock.go(rollout.plan.lease)
    house.server.look(rollout)
    fence = house.server.attach(rollout, "sweeper")
    house.server.tell(rollout, Order.REVERT)
    house.do(rollout, fence)


def superseded_by_its_like(house: House, rollout: Rollout) -> None:
    house.to_first_users(rollout)
    stable, _ = house.slots
    regressed(house, house.begin(rollout.plan, stable))
    assert house.server.look(rollout).state.phase is Phase.SUPERSEDED


FATES: tuple[Callable[[House, Rollout], None], ...] = (
    regressed, aborted_while_the_old_one_is_warm, lost_and_swept, superseded_by_its_like,
)  # fmt: skip
ORDER = "ccbbrrcrbc"
"""Each strategy after each, itself included."""


def test_each_strategy_may_follow_each_and_the_live_slot_is_never_written_to(server: Inside) -> None:
    house, stable = House(server), Slot(name="blue", version="v1")
    named = {strategy.value[0]: PLANS[strategy] for strategy in Strategy}
    assert len(set(itertools.pairwise(ORDER))) == 9
    for plan, fate in zip((named[one] for one in ORDER), itertools.cycle(FATES)):
        fate(house, house.begin(plan, stable))
        assert house.slots[0] == stable
        ended = house.promote(house.begin(plan, stable))
        assert ended.state.phase is Phase.PROMOTED
        assert house.slots == (Slot(name=ended.canary.name, version=ended.version), Slot(name=stable.name))
        assert house.runs == {ended.canary.name: ended.version}
        stable = house.slots[0]
