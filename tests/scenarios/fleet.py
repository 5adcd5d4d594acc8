"""Gates for one flag of one flag server, with a machine room of their own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from gate.flagserver_api import FlagServer as Api
from rampgate.rollout import Rollout
from tests.flagserver.process import FlagServer
from tests.scenarios.gates import Gates, Living
from tests.scenarios.mortal_gate import Job
from tests.scenarios.room import COMMAND, Room
from tests.scenarios.waiting import until

QUICK: dict[str, Any] = {
    "environment": "production",
    "deploy": {"command": COMMAND},
    "metrics": [{"errors": "flagserver"}],
    "steps": [{"share": 10, "bake": "0s"}, {"share": 50, "bake": "0s"}, {"share": 100, "bake": "0s"}],
    "minPolls": 1,
    "poll": "400ms",
    "lease": "3s",
    "staleAfter": "3s",
    "heartbeat": "500ms",
    "scaleDownDelay": "6s",
}
SLOW = {
    **QUICK,
    "steps": [{"share": 50, "bake": "10m"}, {"share": 100, "bake": "0s"}],
    "lease": "60s",
    "staleAfter": "60s",
    "scaleDownDelay": "2m",
}
"""Stays at 50 %, and outlives a flag server's restart on the busiest machine."""


@dataclass
class Fleet:
    """Gates for one flag of one server. ``url`` is where they ask, where that is not the server itself."""

    server: FlagServer
    gates: Gates
    folder: Path
    document: dict[str, Any] = field(default_factory=lambda: dict(QUICK))
    flag: str = field(default_factory=lambda: f"shop-{uuid4().hex[:8]}")
    url: str | None = None

    def __post_init__(self) -> None:
        self.room = Room(self.folder / self.flag)
        self.key = self.server.key("operator")

    @property
    def api(self) -> Api:
        return Api(self.url or self.server.url, self.key, timeout=30.0)

    def job(self, holder: str) -> Job:
        return Job(
            url=self.url or self.server.url,
            key=self.key,
            document={**self.document, "flag": self.flag},
            folder=str(self.room.folder),
            journal=str(self.folder / f"{holder}.journal"),
            holder=holder,
        )

    def start(self, holder: str) -> Living:
        return self.gates.start(self.job(holder))

    def rollout(self) -> Rollout:
        return until(lambda: self.api.find(flag=self.flag))[0]
