"""The tick and the loop: hold the lease, carry actions out, judge, report; until the rollout has ended.

The server decides and keeps all state that matters. Killed at any line, the next driver attaches to the same
rollout and goes on, with the same evidence.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from gate import judge as judging
from gate.carry_out import Verify, carry_out, looking_at
from gate.deploy import Deployer, Deployment, Done, NotUp
from gate.errors import FlagServerRefusedError, FlagServerUnreachableError
from gate.hooks import AtWork
from gate.judge import JudgeState, Situation
from gate.judge.replay import begun, situation_of
from gate.metrics import Question, Source
from gate.parting import Asked, Parting, never
from gate.warm import verdict_of
from rampgate.evidence import ArmName, Look, VerdictReason
from rampgate.machine.events import Attached, Detached, Event, HookProgressed, Judged
from rampgate.machine.state import Action, Phase, Refused
from rampgate.rollout import Answer, Entry, Rollout


class Server(Protocol):
    """What a driver needs of the flag server."""

    def rollout(self, rollout_id: str, *, after: int | None = None, wait: float = 0.0) -> Rollout: ...
    def post(self, rollout_id: str, event: Event, event_id: str) -> Answer: ...
    def entries(self, rollout_id: str) -> tuple[Entry, ...]: ...


class Clock(Protocol):
    """Time as the driver lives it: ``monotonic`` seconds, and a ``sleep`` that an interruption ends."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class Report(Protocol):
    """Whoever tells people. It is told often, and chooses what is worth saying; it never raises."""

    def __call__(self, rollout: Rollout, looks: tuple[Look, ...]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside that a driver touches. ``holder`` names it; ``replaces`` is a holder known to be dead;
    ``parting`` is asked whether it leaves before the end.
    """

    server: Server
    source: Source
    deployer: Deployer
    verify: Verify
    report: Report
    clock: Clock
    holder: str
    replaces: Callable[[str], bool] = lambda _: False
    parting: Asked = never
    hooks: AtWork = field(default_factory=AtWork)


_TRIES = 3
"""How often one driver does the same action, when its report comes too late to count."""


@dataclass(slots=True)
class Driver:
    """Drives one rollout from wherever it stands to its end."""

    world: World
    rollout: Rollout
    fence: int | None = None
    judge: JudgeState | None = None
    looks: list[Look] = field(default_factory=list)
    unsure: tuple[Judged, str, JudgeState | None] | None = None
    heard_at: float = 0.0
    next_tick: float = 0.0
    sent: int = 0
    tried: Counter[tuple[int, int]] = field(default_factory=Counter)

    def run(self) -> Rollout:
        """Drive until the rollout has ended and nothing is left that these hands could do, or until they part from it.

        Returns the rollout as it ended, or as it was when it was let go of: then its phase is none of the final ones.

        Raises:
            FlagServerUnreachableError: the server was silent for so long that it has ended the rollout by itself.
        """
        self._heard(self.rollout)
        while not self._ended() and not self._leaves():
            try:
                self._turn()
            except FlagServerUnreachableError:
                self._bear_silence()
        if self.rollout.state.phase.is_final:
            self.world.hooks.ended(self.rollout)
        return self.rollout

    def _turn(self) -> None:
        if not self._holds():
            self._attach_or_follow()
        elif (action := self._next_action()) is not None:
            self._carry_out(action)
        elif self.world.clock.monotonic() >= self.next_tick:
            self._tick()
        else:
            self._wait()

    def _ended(self) -> bool:
        state = self.rollout.state
        return state.phase.is_final and all(self._was_tried(action) for action in state.actions)

    def _leaves(self) -> bool:
        """Whether these hands part from the rollout; what they hold of it is let go first."""
        holds = self._holds()
        parting = self.world.parting(self.rollout, holds)
        if parting is Parting.STAY:
            return False
        return not holds or self._let_go() or parting is Parting.GO

    def _let_go(self) -> bool:
        try:
            answer = self._post(Detached(fence=self.fence or 0), f"{self.fence}:detached")
        except (FlagServerRefusedError, FlagServerUnreachableError):
            return False
        return answer.refusal is None

    def _was_tried(self, action: Action) -> bool:
        return self.tried[(self.rollout.state.attempt, action.number)] >= _TRIES

    def _holds(self) -> bool:
        lease = self.rollout.state.lease
        return lease is not None and lease.holder == self.world.holder and lease.fence == self.fence

    def _attach_or_follow(self) -> None:
        """Take the lease; while somebody else holds it, follow what they do."""
        lease = self.rollout.state.lease
        mine = lease is not None and lease.holder == self.world.holder
        if lease is not None and not mine and not self.world.replaces(lease.holder):
            self._wait()
            return
        event = Attached(holder=self.world.holder, replaces=lease.holder if lease and not mine else None)
        answer = self._post(event, f"attach:{self.world.holder}:{self.rollout.state.fence}:{self.sent}")
        if answer.refusal is not None:
            self._wait()
            return
        self.fence = answer.rollout.state.fence
        self._recollect()

    def _recollect(self) -> None:
        """Judge again what was recorded in this attempt, so that evidence outlives a driver."""
        self.judge, self.looks, self.unsure = None, [], None
        for entry in self.world.server.entries(self.rollout.id):
            if not isinstance(entry.event, Judged) or entry.refusal is not None:
                continue
            if entry.event.attempt != self.rollout.state.attempt:
                continue
            look = entry.event.look
            self.looks.append(look)
            if look.reading is not None:
                self.judge, _ = judging.judge(self._judge(), situation_of(self.rollout.plan, look), look.reading)

    def _next_action(self) -> Action | None:
        now = self._server_now()
        waiting = [one for one in self.rollout.state.actions if not self._was_tried(one) and one.not_before <= now]
        return waiting[0] if waiting else None

    def _carry_out(self, action: Action) -> None:
        rollout, fence = self.rollout, self.fence or 0
        deployer, verify = self.world.deployer, self.world.verify
        around = partial(self.world.hooks.around, rollout, action)
        event = carry_out(deployer, verify, rollout, action, fence, self._keep_going(action, fence), around)
        if event is None:
            self._heard(self.world.server.rollout(rollout.id))
            return
        # Until the server has it, nothing else is worth doing: its answer says what follows.
        refused = self._insist(event, f"{fence}:action:{action.number}:{event.type}").refusal is not None
        # Refused means that the lease was lost meanwhile: it may be done again, but not for ever.
        self.tried[(rollout.state.attempt, action.number)] += 1 if refused else _TRIES
        self.next_tick = self.world.clock.monotonic()

    def _insist(self, event: Event, event_id: str) -> Answer:
        while True:
            try:
                return self._post(event, event_id)
            except FlagServerUnreachableError:
                self._bear_silence()

    def _keep_going(self, action: Action, fence: int) -> Callable[[], bool]:
        """Asked while a hook runs: its progress renews the lease, and the answer says whether to go on."""

        def ask() -> bool:
            clock = self.world.clock
            if self.world.parting(self.rollout, True) is Parting.GO:
                return False
            if clock.monotonic() < self.next_tick:
                return True
            self.next_tick = clock.monotonic() + min(1.0, self.rollout.plan.poll)
            try:
                answer = self._post(HookProgressed(fence=fence, action=action.number), f"{fence}:progress:{self.sent}")
            except FlagServerUnreachableError:
                # Past the lease somebody else may be at work on the same slot.
                return clock.monotonic() < self.heard_at + self.rollout.plan.lease
            return answer.refusal is None

        self.next_tick = self.world.clock.monotonic()
        return ask

    def _tick(self) -> None:
        """One poll: read, judge, tell the server, report."""
        poll = self.rollout.plan.poll
        now = self.world.clock.monotonic()
        self.next_tick = max(self.next_tick + poll, now + poll / 2)
        state = self.rollout.state
        if self.unsure is not None:
            self._settle(*self.unsure)
        elif state.phase.is_judged:
            self._judge_step()
        elif state.phase is Phase.COMPLETING and not state.actions:
            self._look_after()
        elif state.actions:
            # Waiting for the moment from which an action may be done is progress too.
            self._post(HookProgressed(fence=self.fence or 0, action=state.actions[0].number), self._id("progress"))
        else:
            self._heard(self.world.server.rollout(self.rollout.id))
        self.world.report(self.rollout, tuple(self.looks))

    def _judge_step(self) -> None:
        rollout, state = self.rollout, self.rollout.state
        question = Question(
            rollout_id=rollout.id,
            flag=rollout.plan.flag,
            environment=rollout.plan.environment,
            attempt=state.attempt,
            stable=rollout.stable,
            canary=rollout.canary,
            since=rollout.created_at,
            at=self._server_now(),
        )
        reading = self.world.source.read(question)
        situation = Situation(
            step=state.step,
            share=rollout.share,
            last=state.step == rollout.plan.last,
            settled_at=state.entered_at + rollout.plan.poll,
        )
        judged, look = judging.judge(self._judge(), situation, reading)
        look = self.world.hooks.weigh(rollout, look, self.looks, self._server_now())
        event = Judged(fence=self.fence or 0, revision=state.revision, attempt=state.attempt, look=look)
        self._settle(event, self._id("look"), judged)

    def _settle(self, event: Judged, event_id: str, judged: JudgeState | None) -> None:
        """Send a look. Evidence counts once the server has recorded it; until then the same look is sent again."""
        self.unsure = (event, event_id, judged)
        answer = self._post(event, event_id)
        self.unsure = None
        if answer.refusal is None:
            self.looks.append(event.look)
            if judged is not None:
                self.judge = judged
            self._await_settling(event.look.step)
        elif answer.refusal.refused is Refused.STALE:
            self.next_tick = self.world.clock.monotonic()

    def _await_settling(self, step: int) -> None:
        """On a new step the next look comes when its traffic begins to count: one just before would be lost."""
        state = self.rollout.state
        if state.phase is Phase.PROGRESSING and state.step != step:
            settled_at = state.entered_at + self.rollout.plan.poll
            self.next_tick = self.heard_at + max(0.0, settled_at - self.rollout.now)

    def _look_after(self) -> None:
        """Everybody is on the new version and the old one is warm: see that both are up."""
        rollout, clock = self.rollout, self.world.clock
        until = clock.monotonic() + rollout.plan.lease / 2
        new = self._look_at(ArmName.CANARY, until)
        flag_leads_back = rollout.state.baseline and not rollout.plan.in_place
        # Where nobody knows of the new one, what is found of the old one says nothing, and a lease may be near its end.
        old = self._look_at(ArmName.STABLE, until) if flag_leads_back and isinstance(new, Done | NotUp) else None
        down = self._times_down() + 1 if isinstance(new, NotUp) else 0
        look = Look(
            at=self._server_now(),
            step=rollout.state.step,
            share=rollout.share,
            reading=None,
            stable=None,
            canary=None,
            verdict=verdict_of(new, old, down),
        )
        state = rollout.state
        event = Judged(fence=self.fence or 0, revision=state.revision, attempt=state.attempt, look=look)
        self._settle(event, self._id("look"), None)

    def _look_at(self, arm: ArmName, until: float) -> Deployment:
        """Whether an arm is up, known in time: at half a lease's end there is another half to say so."""
        left = max(self.rollout.plan.lease / 20, until - self.world.clock.monotonic())
        return self.world.deployer.run(looking_at(self.rollout, arm, self.fence or 0, left), lambda: True)

    def _times_down(self) -> int:
        """How many of the last looks in a row found the new version down."""
        reasons = [look.verdict.reason for look in reversed(self.looks)]
        return next((n for n, one in enumerate(reasons) if one is not VerdictReason.SLOT_DOWN), len(reasons))

    def _judge(self) -> JudgeState:
        return self.judge if self.judge is not None else begun(self.rollout.plan)

    def _wait(self) -> None:
        """Wait for a change, but no longer than to the next thing to do."""
        now, server_now = self.world.clock.monotonic(), self._server_now()
        moments = [self.next_tick - now] if self._holds() else [self.rollout.plan.poll]
        moments += [one.not_before - server_now for one in self.rollout.state.actions if not self._was_tried(one)]
        wait = max(0.0, min(one for one in moments if one > 0) if any(one > 0 for one in moments) else 0.0)
        rollout = self.world.server.rollout(self.rollout.id, after=self.rollout.state.revision, wait=wait)
        changed = rollout.state.revision != self.rollout.state.revision
        self._heard(rollout)
        if changed:
            self.world.report(self.rollout, tuple(self.looks))

    def _post(self, event: Event, event_id: str) -> Answer:
        self.sent += 1
        answer = self.world.server.post(self.rollout.id, event, event_id)
        before = self.rollout.state.revision
        self._heard(answer.rollout)
        if answer.rollout.state.revision != before:
            self.world.report(self.rollout, tuple(self.looks))
        return answer

    def _id(self, what: str) -> str:
        return f"{self.fence}:{what}:{self.sent}"

    def _heard(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.heard_at = self.world.clock.monotonic()

    def _server_now(self) -> float:
        return self.rollout.now + (self.world.clock.monotonic() - self.heard_at)

    def _bear_silence(self) -> None:
        """The server is away. Users are safe without us; give up once it must have ended the rollout by itself."""
        plan, clock = self.rollout.plan, self.world.clock
        if clock.monotonic() > self.heard_at + max(120.0, 4 * plan.lease):
            raise FlagServerUnreachableError(
                "The flag server has been silent for too long.",
                why="It ends the rollout by itself when the lease lapses.",
                do="Run this job again: it takes the same rollout up.",
            )
        clock.sleep(min(1.0, plan.poll))
