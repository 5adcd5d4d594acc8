"""The gate's part and the deployer's, by hand: in two slots versions come and go as the flag server's actions say."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from rampgate.plan import Strategy
from tests.flagserver.process import FlagServer
from tests.rampgate.client.operator import Operator
from tests.real.doors import App, free_port, pool

PACE = {"poll": 0.5, "lease": 3.0, "stale_after": 3.0, "heartbeat": 0.5, "scale_down_delay": 6.0}
SHARES = {Strategy.CANARY: (10_000, 50_000, 100_000), Strategy.BLUE_GREEN: (100_000,)}
PATIENCE = 30.0


class Slots:
    """The two slots. ``before_retiring`` is the line that the recipes add to the deploy hook."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.ports = {"blue": free_port(), "green": free_port()}
        self.before_retiring: Callable[[str], None] = lambda _: None
        self._folder, self._stack = folder, stack
        self._apps: dict[str, App] = {}

    def ensure(self, slot: str) -> None:
        if slot not in self._apps:
            self._apps[slot] = self._stack.enter_context(pool(slot, self._folder, self.ports[slot]))

    @property
    def running(self) -> set[str]:
        return set(self._apps)

    @property
    def idle(self) -> str:
        return next(slot for slot in self.ports if slot not in self._apps)

    def retire(self, slot: str) -> None:
        """Orderly: requests under way are answered."""
        self.before_retiring(slot)
        self._end(slot, signal.SIGTERM)

    def crash(self, slot: str) -> None:
        self._end(slot, signal.SIGKILL)

    def served(self, slot: str) -> int:
        seen: dict[str, int] = requests.get(f"http://127.0.0.1:{self.ports[slot]}/seen", timeout=PATIENCE).json()
        return seen["GET"]

    def _end(self, slot: str, number: signal.Signals) -> None:
        if app := self._apps.pop(slot, None):
            os.kill(app.process.pid, number)
            try:
                app.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                app.process.kill()
                raise


class Releases:
    """Rollouts of one flag, one after the other, each in the slot that is idle."""

    def __init__(self, server: FlagServer, slots: Slots, strategy: Strategy) -> None:
        self.slots, self.strategy = slots, strategy
        self.shares = SHARES[strategy]
        self._server, self._operator = server, Operator(server)
        self._version = 1
        self._stable = {"name": "blue", "version": "v1"}
        self._rollout = ""

    def begin(self) -> str:
        """Deploys the next version dark; returns its slot."""
        self._version += 1
        # First, since a start takes longer on a busy machine than these short leases last.
        self.slots.ensure(self.slots.idle)
        plan = {
            "flag": "shop",
            "environment": "production",
            "strategy": self.strategy.value,
            "steps": [{"share": share, "bake": 0.0} for share in self.shares],
            "hold_back": 0,
            "on_gate_lost": "hold",
            **PACE,
        }
        new = {"key": f"run-{self._version}", "plan": plan, "version": f"v{self._version}", "by": "bench"}
        new |= {"stable": self._stable, "baseline": True}
        made = self._operator.call("POST", "/v1/rollouts", new, 201)
        self._rollout, canary = made["id"], made["canary"]["name"]
        assert canary in self.slots.running, made
        fence = self._attach()
        for kind in ("deployed", "verified"):
            action = self._look()["state"]["actions"][-1]["number"]
            self._say({"type": kind, "fence": fence, "action": action})
        return str(canary)

    def widen(self) -> None:
        self._attach()
        self._operator.tell(self._rollout, "advance")

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

    def revert(self) -> None:
        self._operator.tell(self._rollout, "revert")
        self._do_what_is_left()

    def _do_what_is_left(self) -> None:
        ends = time.monotonic() + PATIENCE
        while actions := (rollout := self._look())["state"]["actions"]:
            assert time.monotonic() < ends, rollout
            for action in actions:
                if action["not_before"] <= time.time():
                    if action["kind"] in ("retire", "undo"):
                        self.slots.retire(rollout[action["arm"]]["name"])
                    self._say({"type": "carried_out", "fence": self._attach(), "action": action["number"]})
                    break
            else:
                time.sleep(0.1)

    def _look(self) -> Any:
        return self._operator.call("GET", f"/v1/rollouts/{self._rollout}")

    def _attach(self) -> int:
        return int(self._say({"type": "attached", "holder": "bench"})["state"]["lease"]["fence"])

    def _say(self, event: dict[str, Any]) -> Any:
        return self._operator.say(self._rollout, event)
