"""The examples of docs/sdks.md, and a real server with a release at 10 % to run them against."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.flagserver.callers import Gate
from tests.flagserver.process import FlagServer

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\w+\n(?:#|//) (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def example(name: str) -> str:
    """The code that the page shows under this file name."""
    found = dict(BLOCK.findall((ROOT / "docs/sdks.md").read_text()))
    assert name in found, f"docs/sdks.md shows no {name}"
    return str(found[name])


class Release:
    """A server on which the flag `shop` is ramping: one user is served green, another blue."""

    def __init__(self, server: FlagServer) -> None:
        self.server = server
        self.gate = Gate(server)
        self.key = server.key("sdk")
        self.rollout = self.gate.to_ten_percent(self.gate.create("shop")).id
        users = [f"user-{number}" for number in range(200)]
        self.green = next(user for user in users if self.asked(user) == "green")
        self.blue = next(user for user in users if self.asked(user) == "blue")

    @property
    def environ(self) -> dict[str, str]:
        return {"RAMPGATE_URL": self.server.url, "RAMPGATE_KEY": self.key}

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
