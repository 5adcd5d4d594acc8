"""Who speaks to a real server in tests: an operator as a gate would, and an app that listens to a stream."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import requests

from flagserver import wire
from rampgate.machine.events import Attached, Deployed, Event, Told, Verified
from rampgate.machine.state import Order
from rampgate.plan import RolloutPlan
from rampgate.rollout import Answer, Posted, Rollout
from tests.flagserver.inside import PLAN, new_rollout
from tests.flagserver.process import bearer


class Served(Protocol):
    """A server that runs, however it was started."""

    @property
    def url(self) -> str: ...
    def key(self, role: str, environment: str | None = "production") -> str: ...


class Gate:
    """An operator who speaks to a real server."""

    def __init__(self, server: Served, environment: str = "production") -> None:
        self.server = server
        self.key = bearer(server.key("operator", environment))
        self.sdk = bearer(server.key("sdk", environment))
        self.environment = environment

    def create(self, flag: str, version: str = "v2", plan: RolloutPlan = PLAN) -> Rollout:
        plan = replace(plan, flag=flag, environment=self.environment)
        body = wire.NEW_ROLLOUT.dump_json(new_rollout(version, plan=plan))
        reply = requests.post(f"{self.server.url}/v1/rollouts", data=body, headers=self.key, timeout=10)
        assert reply.status_code in (200, 201), reply.text
        return wire.ROLLOUT.validate_json(reply.content)

    def say(self, rollout: Rollout, event: Event) -> Answer:
        body = wire.POSTED.dump_json(Posted(id=str(uuid.uuid4()), event=event))
        where = f"{self.server.url}/v1/rollouts/{rollout.id}/events"
        reply = requests.post(where, data=body, headers=self.key, timeout=10)
        assert reply.status_code == 200, reply.text
        return wire.ANSWER.validate_json(reply.content)

    def read(self, rollout: Rollout, after: int | None = None, wait: float = 0.0) -> Rollout:
        query = {} if after is None else {"after": after, "wait": wait}
        where = f"{self.server.url}/v1/rollouts/{rollout.id}"
        reply = requests.get(where, params=query, headers=self.key, timeout=wait + 10)
        assert reply.status_code == 200, reply.text
        return wire.ROLLOUT.validate_json(reply.content)

    def to_ten_percent(self, rollout: Rollout) -> Rollout:
        answer = self.say(rollout, Attached(holder="gate"))
        for kind in (Deployed, Verified):
            state = answer.rollout.state
            assert state.lease is not None
            answer = self.say(rollout, kind(fence=state.lease.fence, action=state.actions[0].number))
        answer = self.say(rollout, Told(order=Order.ADVANCE, by="ada"))
        assert answer.rollout.share == 10_000
        return answer.rollout

    def snapshot(self) -> dict[str, Any]:
        where = f"{self.server.url}/v1/{self.environment}/snapshot"
        document: dict[str, Any] = requests.get(where, headers=self.sdk, timeout=10).json()
        return document

    def put(self, flag: str, value: object) -> None:
        body = {"flag": {"state": "ENABLED", "variants": {"a": value}, "defaultVariant": "a"}}
        where = f"{self.server.url}/v1/{self.environment}/flags/{flag}"
        assert requests.put(where, json=body, headers=self.key, timeout=10).ok


class Stream:
    """A change stream, read event by event."""

    def __init__(self, gate: Gate, last: str | None = None, path: str | None = None) -> None:
        headers = (gate.key if path else gate.sdk) | ({"Last-Event-ID": last} if last else {})
        where = gate.server.url + (path or f"/v1/{gate.environment}/stream")
        self.reply = requests.get(where, headers=headers, stream=True, timeout=30)
        assert self.reply.status_code == 200, self.reply.text
        self.events = self._read()

    def _read(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        name, number, data = "", "", ""
        for line in self.reply.iter_lines(chunk_size=1, decode_unicode=True):
            field, _, value = line.partition(": ")
            match field:
                case "event":
                    name = value
                case "id":
                    number = value
                case "data":
                    data = value
                case "" if data:
                    yield name, number, json.loads(data)
                    name, number, data = "", "", ""

    def until(self, name: str) -> tuple[str, dict[str, Any]]:
        return next((number, data) for found, number, data in self.events if found == name)

    def close(self) -> None:
        self.reply.close()
