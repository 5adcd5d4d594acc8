"""What a gate and a person do to a real flag server, over HTTP: a ramp, and orders."""

from typing import Any

import requests

from tests.flagserver.process import FlagServer, bearer

PLAN = {
    "flag": "shop",
    "environment": "production",
    "steps": [{"share": 99_000, "bake": 0.0}, {"share": 100_000, "bake": 0.0}],
    "hold_back": 0,
    "poll": 0.5,
    "lease": 2.0,
    "stale_after": 2.0,
    "heartbeat": 0.25,
    "scale_down_delay": 600.0,
    "on_gate_lost": "hold",
}


class Operator:
    """What a gate and a person do, over HTTP."""

    def __init__(self, server: FlagServer) -> None:
        self.server = server
        self.headers = bearer(server.key("operator"))
        self._events = 0

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        reply = requests.request(method, f"{self.server.url}{path}", json=body, headers=self.headers, timeout=10)
        assert reply.status_code == status, reply.text
        return reply.json() if reply.content else None

    def ramp(self, flag: str, version: str = "v2", **changes: object) -> str:
        """A rollout at its first step, with nearly all users on it."""
        new = {
            "key": f"run-{flag}-{version}",
            "plan": {**PLAN, "flag": flag, **changes},
            "version": version,
            "stable": {"name": "blue", "version": "v1"},
            "baseline": True,
            "by": "ada",
        }
        rollout = str(self.call("POST", "/v1/rollouts", new, 201)["id"])
        fence = self.say(rollout, {"type": "attached", "holder": "gate"})["state"]["lease"]["fence"]
        for kind in ("deployed", "verified"):
            actions = self.call("GET", f"/v1/rollouts/{rollout}")["state"]["actions"]
            self.say(rollout, {"type": kind, "fence": fence, "action": actions[-1]["number"]})
        self.tell(rollout, "advance")
        return rollout

    def tell(self, rollout: str, order: str) -> None:
        self.say(rollout, {"type": "told", "order": order, "by": "ada"})

    def say(self, rollout: str, event: dict[str, Any]) -> Any:
        self._events += 1
        answer = self.call("POST", f"/v1/rollouts/{rollout}/events", {"id": f"e-{self._events}", "event": event})
        assert answer["refusal"] is None, answer
        return answer["rollout"]
