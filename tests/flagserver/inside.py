"""A flag server inside the test: the real app over a real database, with a clock that only the test moves."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import TypeAdapter
from werkzeug.test import TestResponse

from flagserver import wire
from flagserver.app import create_app
from flagserver.auth import KEY_ROLES, Role, Wish
from flagserver.errors import StoreGoneError
from flagserver.services import Services, assemble
from flagserver.settings import Settings
from flagserver.store import Store
from rampgate.evidence import Counters, Look, Reading, Verdict, VerdictReason, VerdictWord
from rampgate.machine.events import Attached, CarriedOut, Deployed, Event, Judged, RetirementBegun, Told, Verified
from rampgate.machine.state import ActionKind, Order
from rampgate.plan import RolloutPlan, Step
from rampgate.rollout import Answer, NewRollout, Posted, Rollout, Slot

PLAN = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000, bake=0.0), Step(share=100_000, bake=0.0)),
    scale_down_delay=120.0,
    retire=90.0,
)


class Clock:
    """Seconds since the epoch, as the test says."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


def new_rollout(version: str = "v2", *, key: str | None = None, plan: RolloutPlan = PLAN, **changes: Any) -> NewRollout:
    """What a gate asks for: v1 is stable in blue."""
    wanted = NewRollout(
        key=key or f"run-{version}", plan=plan, version=version, stable=Slot(name="blue"), baseline=True, by="ada"
    )
    return replace(wanted, **changes)


class Inside:
    """The services and the app, with a key of each role and the gate's part in a few words."""

    def __init__(self, database_url: str, clock: Clock, **settings: Any) -> None:
        self.clock = clock
        self.services: Services = assemble(Settings(database_url=database_url, **settings), clock=clock)
        self.client: FlaskClient = create_app(self.services).test_client()
        self.keys = {
            role: self.services.keyring.create(
                Wish(role=role, environment=None if role is Role.ADMIN else "production", name=role), by="test"
            ).text
            for role in KEY_ROLES
        }
        self._ids = itertools.count(1)

    def __enter__(self) -> "Inside":
        self.services.live.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.services.store.close()

    def call(
        self, method: str, path: str, body: object = None, *, role: Role | None = Role.OPERATOR, **headers: str
    ) -> TestResponse:
        """Make a request; a body that is no bytes is sent as JSON."""
        key = {} if role is None else {"Authorization": f"Bearer {self.keys[role]}"}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else wire.encode(body)
        return self.client.open(path, method=method, data=data, headers={**key, **names})

    def create(self, new: NewRollout, status: int = 201) -> Rollout:
        reply = self.call("POST", "/v1/rollouts", wire.NEW_ROLLOUT.dump_json(new))
        assert reply.status_code == status, reply.text
        return _read(wire.ROLLOUT, reply)

    def refused(self, new: NewRollout, status: int = 409) -> Mapping[str, Any]:
        reply = self.call("POST", "/v1/rollouts", wire.NEW_ROLLOUT.dump_json(new))
        assert reply.status_code == status, reply.text
        document: Mapping[str, Any] = reply.get_json()
        return document

    def say(self, rollout: Rollout, event: Event, event_id: str | None = None) -> Answer:
        posted = Posted(id=event_id or f"event-{next(self._ids)}", event=event)
        reply = self.call("POST", f"/v1/rollouts/{rollout.id}/events", wire.POSTED.dump_json(posted))
        assert reply.status_code == 200, reply.text
        return _read(wire.ANSWER, reply)

    def look(self, rollout: Rollout) -> Rollout:
        reply = self.call("GET", f"/v1/rollouts/{rollout.id}")
        assert reply.status_code == 200, reply.text
        return _read(wire.ROLLOUT, reply)

    def snapshot(self) -> Mapping[str, Any]:
        reply = self.call("GET", "/v1/production/snapshot", role=Role.SDK)
        assert reply.status_code == 200, reply.text
        document: Mapping[str, Any] = reply.get_json()
        return document

    def flag(self, key: str = "shop") -> Mapping[str, Any]:
        reply = self.call("GET", f"/v1/production/flags/{key}")
        assert reply.status_code == 200, reply.text
        document: Mapping[str, Any] = reply.get_json()
        return document

    def attach(self, rollout: Rollout, holder: str = "gate-1") -> int:
        answer = self.say(rollout, Attached(holder=holder))
        assert answer.refusal is None, answer.refusal
        assert answer.rollout.state.lease is not None
        return answer.rollout.state.lease.fence

    def to_step(self, rollout: Rollout, step: int = 1) -> int:
        """Deploy and verify it, then promote it by hand to this step; returns the fence."""
        fence = self.attach(rollout)
        self.say(rollout, Deployed(fence=fence, action=self.action(rollout, ActionKind.DEPLOY)))
        self.say(rollout, Verified(fence=fence, action=self.action(rollout, ActionKind.VERIFY)))
        for _ in range(step):
            self.tell(rollout, Order.ADVANCE)
        return fence

    def promote(self, new: NewRollout) -> Rollout:
        """A whole rollout, to its good end."""
        rollout = self.create(new)
        fence = self.to_step(rollout)
        self.tell(rollout, Order.COMPLETE)
        delay = new.plan.scale_down_delay
        while delay > 0:
            self.clock.go(min(delay, 30.0))
            delay -= 30.0
            self.judge(rollout, fence)
        self.say(rollout, RetirementBegun(fence=fence))
        self.say(rollout, CarriedOut(fence=fence, action=self.action(rollout, ActionKind.RETIRE)))
        return self.look(rollout)

    def undo(self, rollout: Rollout, fence: int) -> Rollout:
        """Carry out what a revert demands."""
        for action in self.look(rollout).state.actions:
            self.say(rollout, CarriedOut(fence=fence, action=action.number))
        return self.look(rollout)

    def tell(self, rollout: Rollout, order: Order, by: str = "ada") -> Answer:
        return self.say(rollout, Told(order=order, by=by))

    def judge(self, rollout: Rollout, fence: int, word: VerdictWord = VerdictWord.HEALTHY) -> Answer:
        """A look with this verdict, on the step and revision as they are now."""
        now = self.look(rollout)
        state, nothing = now.state, Counters(requests=0, errors=0)
        reading = Reading(at=self.clock.now, stable=nothing, canary=nothing)
        verdict = Verdict(word=word, reason=VerdictReason.NOT_WORSE, text="As seen by the test.", no_harm=True)
        look = Look(
            at=self.clock.now,
            step=state.step,
            share=now.share,
            reading=reading,
            stable=None,
            canary=None,
            verdict=verdict,
        )
        event = Judged(fence=fence, revision=state.revision, attempt=state.attempt, look=look)
        return self.say(rollout, event)

    def action(self, rollout: Rollout, kind: ActionKind) -> int:
        return next(one.number for one in self.look(rollout).state.actions if one.kind is kind)


def _read(adapter: TypeAdapter[Any], reply: TestResponse) -> Any:
    return adapter.validate_json(reply.data, strict=True)


@contextmanager
def gone(store: Store) -> Iterator[None]:
    """Within it the database cannot be used."""

    def refuse() -> object:
        raise StoreGoneError("The database cannot be used now: it is gone.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "read", refuse)
        patch.setattr(store, "write", refuse)
        yield
