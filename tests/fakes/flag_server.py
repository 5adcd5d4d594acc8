"""A flag server in memory, on a clock that only moves when told: the same machine, no HTTP, no store.

It keeps the contract of the real one for what a driver needs; tests/contracts holds both to it.
"""

from dataclasses import dataclass, field, replace

from rampgate.evidence import Counters
from rampgate.locks import HeldLock, NewLock
from rampgate.machine import begin, handle, next_deadline, share
from rampgate.machine.events import Created, Event, Locked, Resumed, Unlocked
from rampgate.machine.state import Lock, Verb
from rampgate.plan import RolloutPlan
from rampgate.rollout import Answer, Entry, Rollout, Slot, Telemetry


@dataclass
class FakeClock:
    """Time that moves only by ``sleep`` and ``advance``."""

    now: float = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


@dataclass
class FakeFlagServer:
    """Holds one rollout."""

    clock: FakeClock
    plan: RolloutPlan
    baseline: bool = True
    record: Rollout = field(init=False)
    history: list[Entry] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    counted: dict[str, Counters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        started = begin(self.plan, Created(baseline=self.baseline, by="a test"), self.clock.now)
        self.record = Rollout(
            id="r1",
            key="k",
            plan=self.plan,
            version="v2",
            canary=Slot(name="green", version="v2"),
            stable=Slot(name="blue", version="v1"),
            state=started.state,
            share=0,
            created_at=self.clock.now,
            now=self.clock.now,
            by="a test",
        )

    def rollout(self, rollout_id: str, *, after: int | None = None, wait: float = 0.0) -> Rollout:
        assert rollout_id == self.record.id
        self._apply(None, "clock")
        until = self.clock.now + wait
        while after is not None and self.record.state.revision == after and self.clock.now < until:
            due = next_deadline(self.record.state)
            self.clock.now = until if due is None else min(until, max(self.clock.now, due[1].at))
            self._apply(None, "clock")
        return replace(self.record, now=self.clock.now)

    def post(self, rollout_id: str, event: Event, event_id: str) -> Answer:
        assert rollout_id == self.record.id
        if event_id in self.answers:
            return self.answers[event_id]
        transition = self._apply(event, "gate")
        assert transition is not None
        answer = Answer(
            verb=transition.verb,
            because=transition.because,
            actions=transition.actions,
            refusal=transition.refusal,
            rollout=replace(self.record, now=self.clock.now),
        )
        self.answers[event_id] = answer
        return answer

    def entries(self, rollout_id: str) -> tuple[Entry, ...]:
        assert rollout_id == self.record.id
        return tuple(self.history)

    def telemetry(self, rollout_id: str) -> Telemetry:
        assert rollout_id == self.record.id
        none = Counters(requests=0, errors=0)
        return Telemetry(
            at=self.clock.now,
            stable=self.counted.get("stable", none),
            canary=self.counted.get("canary", none),
        )

    def lock(self, new: NewLock) -> HeldLock:
        held = HeldLock(
            id="lk_1", reason=new.reason, by=new.by, scope=self.plan.environment, holds=True, since=self.clock.now,
            until=new.until, created_at=self.clock.now, environment=new.environment, name=new.name,
        )  # fmt: skip
        lock = Lock(reason=held.reason, by=held.by, until=held.until, id=held.id, scope=held.scope)
        self._apply(Locked(lock=lock), new.by)
        return held

    def unlock(self, lock_id: str, *, by: str, reason: str | None = None) -> None:
        assert (lock_id, reason) != ("", "")
        self._apply(Unlocked(by=by), by)

    def resume(self) -> None:
        """What asking for the same release again does to a rollout that may be resumed."""
        self._apply(Resumed(by="a re-run"), "gate")

    def _apply(self, event: Event | None, actor: str):  # type: ignore[no-untyped-def]
        last = None
        for applied, transition in handle(self.plan, self.record.state, event, self.clock.now):
            state = transition.state
            self.record = replace(self.record, state=state, share=share(self.plan, state))
            self.history.append(
                Entry(
                    number=len(self.history) + 1,
                    at=self.clock.now,
                    actor=actor,
                    event=applied,
                    verb=transition.verb,
                    phase=state.phase,
                    step=state.step,
                    share=self.record.share,
                    revision=state.revision,
                    attempt=state.attempt,
                    because=transition.because,
                    refusal=transition.refusal,
                )
            )
            if applied is event:
                last = transition
        return last


def verbs(entries: tuple[Entry, ...]) -> list[Verb]:
    """What was decided, holds aside."""
    return [entry.verb for entry in entries if entry.verb is not Verb.HOLD and entry.refusal is None]
