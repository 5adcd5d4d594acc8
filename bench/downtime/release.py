"""The gate's part, by hand: rollouts of one flag, one after the other, as the flag server's actions say."""

import time
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from bench.downtime.machines import PATIENCE, Machines, Targets
from gate.judge import JudgeState, Situation, judge
from gate.judge.replay import begun
from rampgate.evidence import Counters, Reading, VerdictWord
from rampgate.plan import RolloutPlan, Strategy
from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator

PACE = {"poll": 0.5, "lease": 2.0, "stale_after": 2.0, "heartbeat": 0.5, "scale_down_delay": 4.0}
SHARES = {
    Strategy.CANARY: (10_000, 50_000, 100_000),
    Strategy.BLUE_GREEN: (100_000,),
    Strategy.ROLLING: (25_000, 50_000, 100_000),
}
_PLAN: TypeAdapter[RolloutPlan] = TypeAdapter(RolloutPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """How long the judge needed, in seconds from the first user on."""

    after: float


class Releases:
    """Rollouts of one flag: deployed dark, widened, and promoted or reverted."""

    def __init__(self, server: FlagServer, machines: Machines, strategy: Strategy) -> None:
        self.machines, self.strategy = machines, strategy
        self.shares = SHARES[strategy]
        self._operator = Operator(server)
        self._version = 1
        self._stable = {"name": "blue", "version": "v1"}
        self._rollout = ""
        self._plan = {
            "flag": "shop",
            "environment": "production",
            "strategy": strategy.value,
            "steps": [{"share": share, "bake": 0.0} for share in self.shares],
            "hold_back": 0,
            "on_gate_lost": "hold",
            **PACE,
        }
        if strategy is Strategy.ROLLING:
            self._plan |= {"users_follow": "deployment", "targets": list(Targets.NAMES)}

    def begin(self, *, spoiled: bool = False) -> None:
        """Deploys the next version dark. ``spoiled``: it will answer everybody with 500."""
        self._version += 1
        # First, since a start takes longer on a busy machine than these short leases last.
        self.machines.prepare({"blue": "green", "green": "blue"}[self._stable["name"]], spoiled=spoiled)
        new = {"key": f"run-{self._version}", "plan": self._plan, "version": f"v{self._version}", "by": "bench"}
        new |= {"stable": self._stable, "baseline": True}
        self._rollout = self._operator.call("POST", "/v1/rollouts", new, 201)["id"]
        fence = self._attach()
        for kind in ("deployed", "verified"):
            action = self._look()["state"]["actions"][-1]["number"]
            self._say({"type": kind, "fence": fence, "action": action})

    def widen(self) -> None:
        self._attach()
        self._operator.tell(self._rollout, "advance")
        self._do_what_is_left()

    def promote(self) -> None:
        """Everybody, for good; then the old version is retired."""
        self._attach()
        self._operator.tell(self._rollout, "complete")
        warm_until = time.monotonic() + PACE["scale_down_delay"] + 0.2
        while time.monotonic() < warm_until:
            time.sleep(0.1)
        self._say({"type": "retirement_begun", "fence": self._attach()})
        self._do_what_is_left()
        self._stable = self._look()["canary"]
        self.machines.promoted()

    def revert(self) -> None:
        self._operator.tell(self._rollout, "revert")
        self._do_what_is_left()

    def widen_until_judged(self) -> Caught:
        """The first step, looked at by the judge until it has found harm."""
        state = begun(_PLAN.validate_python(self._plan))
        for _ in range(2 if len(self.shares) == 1 else 0):
            # Where everybody leaves stable at once, it is looked at before.
            state, _ = self._judged(state, step=0, share=0, entered=0.0)
            time.sleep(PACE["poll"])
        self.widen()
        entered = time.time()
        for _ in range(int(PATIENCE / PACE["poll"])):
            state, word = self._judged(state, step=1, share=self.shares[0], entered=entered)
            if word is VerdictWord.REGRESSED:
                return Caught(after=time.time() - entered)
            self._attach()
            time.sleep(PACE["poll"])
        raise AssertionError("the judge found nothing")

    def _judged(self, state: JudgeState, *, step: int, share: int, entered: float) -> tuple[JudgeState, VerdictWord]:
        seen = [self.machines.seen(canary=canary) for canary in (False, True)]
        stable, canary = (Counters(requests=one["GET"] + one["POST"], errors=one["failed"]) for one in seen)
        situation = Situation(step=step, share=share, last=step == len(self.shares), settled_at=entered)
        state, look = judge(state, situation, Reading(at=time.time(), stable=stable, canary=canary))
        return state, look.verdict.word

    def _do_what_is_left(self) -> None:
        ends = time.monotonic() + 2 * PATIENCE
        while actions := (rollout := self._look())["state"]["actions"]:
            assert time.monotonic() < ends, rollout
            for action in actions:
                if action["not_before"] <= time.time():
                    self._do(rollout, action)
                    self._say({"type": "carried_out", "fence": self._attach(), "action": action["number"]})
                    break
            else:
                time.sleep(0.1)

    def _do(self, rollout: Any, action: Any) -> None:
        def progress() -> None:
            self._say({"type": "hook_progressed", "fence": self._attach(), "action": action["number"]})

        if action["kind"] == "roll":
            self.machines.roll(action["share"], progress=progress)
        elif action["kind"] in ("retire", "undo"):
            self.machines.take_away(rollout[action["arm"]]["name"], progress=progress)

    def _look(self) -> Any:
        return self._operator.call("GET", f"/v1/rollouts/{self._rollout}")

    def _attach(self) -> int:
        return int(self._say({"type": "attached", "holder": "bench"})["state"]["lease"]["fence"])

    def _say(self, event: dict[str, Any]) -> Any:
        return self._operator.say(self._rollout, event)
