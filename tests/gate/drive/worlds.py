"""A whole world for a driver, in memory: slots that are up or not, users who send requests, a gate that can die."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gate.carry_out import Verify
from gate.deploy import DeployAction, Deployment, Done, NotUp, RollingDeployer, Stopped, Work
from gate.drive import Driver, World
from gate.metrics import Question
from rampgate.evidence import Counters, Look, Reading, SourceDown, VerdictReason
from rampgate.plan import RolloutPlan, Step, Strategy, UsersFollow
from rampgate.rollout import Rollout
from tests.fakes.flag_server import FakeClock, FakeFlagServer

SECONDS = RolloutPlan(
    flag="shop",
    environment="production",
    steps=(Step(share=10_000, bake=3.0), Step(share=50_000, bake=3.0), Step(share=100_000, bake=3.0)),
    poll=0.5,
    lease=2.0,
    stale_after=2.0,
    heartbeat=0.5,
    scale_down_delay=4.0,
    deploy=30.0,
    verify=10.0,
    retire=30.0,
)


class Killed(BaseException):
    """The gate's process is gone at this very call."""


@dataclass
class Slots:
    """What really runs where. A hook with an older fence is refused, as a deploy script should."""

    clock: FakeClock
    running: dict[str, str] = field(default_factory=lambda: {"blue": "v1"})
    deployed: list[str] = field(default_factory=list)
    fence: int = 0
    takes: float = 1.0
    broken: Callable[[Work], bool] = lambda _: False

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        assert work.fence >= self.fence, "a gate that lost its lease is still deploying"
        self.fence = work.fence
        if work.action is DeployAction.STATUS:
            version = self.running.get(work.slot)
            if version != work.version or self.broken(work):
                return NotUp(text=f"{work.slot} runs {version}")
            return Done(text=f"{work.slot} runs {version}", version=version)
        until = self.clock.now + self.takes
        while self.clock.now < until:
            self.clock.advance(0.25)
            if not keep_going():
                return Stopped(text="told to stop")
        if self.broken(work):
            return NotUp(text="it broke")
        if work.action is DeployAction.ENSURE:
            if self.running.get(work.slot) != work.version:
                self.deployed.append(work.version)
            self.running[work.slot] = work.version
        else:
            self.running.pop(work.slot, None)
        return Done(text="done")


SWITCHED = replace(
    SECONDS, strategy=Strategy.BLUE_GREEN, steps=(Step(share=100_000, bake=3.0),), hold_back=0,
    dark=Step(share=0, bake=3.0),
)  # fmt: skip
ROLLING = replace(
    SECONDS, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, hold_back=0,
    targets=("web-1", "web-2", "web-3", "web-4"),
    steps=(Step(share=25_000, bake=3.0), Step(share=50_000, bake=3.0), Step(share=100_000, bake=3.0)),
)  # fmt: skip


@dataclass
class Machines:
    """What really runs on each target of a rolling rollout: a deployer of one of them."""

    running: dict[str, str]
    broken: Callable[[Work], bool] = lambda _: False

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        assert work.target is not None
        if not keep_going():
            return Stopped(text="told to stop")
        if self.broken(work):
            return NotUp(text=f"{work.target} broke")
        if work.action is DeployAction.ENSURE:
            self.running[work.target] = work.version
        version = self.running[work.target]
        if work.version not in ("", version):
            return NotUp(text=f"{work.target} runs {version}")
        return Done(text=f"{work.target} runs {version}", version=version)


@dataclass
class Users:
    """Requests at a steady rate, split by the flag's share; each arm fails at its own rate."""

    clock: FakeClock
    server: FakeFlagServer
    per_second: float = 2000.0
    fails: dict[str, float] = field(default_factory=lambda: {"stable": 0.03, "canary": 0.03})
    down: bool = False
    seen_at: float | None = None
    totals: dict[str, list[float]] = field(default_factory=lambda: {"stable": [0.0, 0.0], "canary": [0.0, 0.0]})

    def pass_by(self) -> None:
        now = self.clock.now
        since = now - (now if self.seen_at is None else self.seen_at)
        self.seen_at = now
        share = self.server.record.share / 100_000
        for arm, part in (("stable", 1 - share), ("canary", share)):
            self.totals[arm][0] += since * self.per_second * part
            self.totals[arm][1] += since * self.per_second * part * self.fails[arm]

    def read(self, question: Question) -> Reading | SourceDown:
        self.pass_by()
        if self.down:
            return SourceDown(at=question.at, reason=VerdictReason.SOURCE_UNREACHABLE, text="No route to the metrics.")
        counters = {
            arm: Counters(requests=int(requests), errors=int(errors)) for arm, (requests, errors) in self.totals.items()
        }
        return Reading(at=question.at, stable=counters["stable"], canary=counters["canary"])


class MortalServer:
    """The flag server as one gate sees it; every call is counted, and one of them may be the gate's last."""

    def __init__(self, real: FakeFlagServer, tick: Callable[[str], None]) -> None:
        self._real = real
        self._tick = tick

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._real, name)

        def call(*args: object, **kwargs: object) -> object:
            self._tick(f"before {name}")
            answer = method(*args, **kwargs)
            self._tick(f"after {name}")
            return answer

        return call


@dataclass
class Scene:
    """Server, slots and users, and gates that come and go."""

    plan: RolloutPlan = SECONDS
    baseline: bool = True
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, int]] = field(default_factory=list)
    calls: int = 0
    dies_at: int | None = None

    def __post_init__(self) -> None:
        self.server = FakeFlagServer(clock=self.clock, plan=self.plan, baseline=self.baseline)
        self.slots = Slots(clock=self.clock)
        self.users = Users(clock=self.clock, server=self.server)
        self.machines = Machines(dict.fromkeys(self.plan.targets, "v1"))

    def count(self, what: str) -> None:
        self.calls += 1
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise Killed(what)

    def world(self, holder: str, replaces: Callable[[str], bool] = lambda _: False) -> World:
        run = self._rolling().run if self.plan.in_place else self.slots.run
        verify: Verify = self._mortal(run)
        return World(
            server=MortalServer(self.server, self.count),  # type: ignore[arg-type]
            source=_Source(self._mortal(self.users.read)),
            deployer=_Deployer(self._mortal(run)),
            verify=verify,
            report=self.report,
            clock=self.clock,
            holder=holder,
            replaces=replaces,
        )

    def _rolling(self) -> RollingDeployer:
        healthy = self.machines.run
        return RollingDeployer(
            inner=self.machines, healthy=healthy, restored=healthy, targets=self.plan.targets, every=0.01
        )

    def report(self, rollout: Rollout, looks: tuple[Look, ...]) -> None:
        self.told.append((rollout.state.phase, len(looks)))

    def drive(self, holder: str = "gate 1", **kwargs: Callable[[str], bool]) -> Rollout:
        return Driver(world=self.world(holder, **kwargs), rollout=self.server.rollout("r1")).run()

    def _mortal(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            self.count(f"before {call.__name__}")
            answer = call(*args)
            self.count(f"after {call.__name__}")
            return answer

        return counted


@dataclass
class _Source:
    read: Callable[..., object]


@dataclass
class _Deployer:
    run: Callable[..., object]
