"""The examples of docs/sdks.md, and a real server with a release at 10 % to run them against."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import requests

from tests.flagserver.callers import Gate
from tests.flagserver.inside import PLAN as INSIDE
from tests.flagserver.process import FlagServer

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\w+\n(?:#|//) (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def example(name: str) -> str:
    """The code that the page shows under this file name."""
    found = dict(BLOCK.findall((ROOT / "docs/sdks.md").read_text()))
    assert name in found, f"docs/sdks.md shows no {name}"
    return str(found[name])


PLAN = replace(INSIDE, poll=0.5, lease=600.0, stale_after=600.0, scale_down_delay=1200.0)
"""Apps report several times a second, and no gate has to come by while a test runs."""


class Release:
    """A server on which the flag `shop` is ramping: one user is served green, another blue. Shipping is free."""

    def __init__(self, server: FlagServer, environment: str = "production") -> None:
        self.server = server
        self.environment = environment
        self.gate = Gate(server, environment)
        self.key = server.key("sdk", environment)
        self.rollout = self.gate.to_ten_percent(self.gate.create("shop", plan=PLAN)).id
        self.gate.put("free-shipping", True)
        users = [f"user-{number}" for number in range(200)]
        self.green = next(user for user in users if self.asked(user) == "green")
        self.blue = next(user for user in users if self.asked(user) == "blue")

    @property
    def environ(self) -> dict[str, str]:
        return {
            "RAMPGATE_URL": self.server.url,
            "RAMPGATE_KEY": self.key,
            "RAMPGATE_ENVIRONMENT": self.environment,
        }

    def asked(self, user: str) -> str:
        """What the server itself says for a user."""
        where = f"{self.server.url}/ofrep/v1/evaluate/flags/shop"
        reply = requests.post(where, json={"context": {"targetingKey": user}}, headers=self.gate.sdk, timeout=10)
        return str(reply.json()["value"])

    def counted(self) -> dict[str, dict[str, int]]:
        """What apps have reported, by arm."""
        where = f"{self.server.url}/v1/rollouts/{self.rollout}/telemetry"
        counted: dict[str, dict[str, int]] = requests.get(where, headers=self.gate.key, timeout=10).json()
        return counted


@contextmanager
def release(folder: Path) -> Iterator[Release]:
    with FlagServer(folder) as server:
        yield Release(server)
