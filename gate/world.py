"""From a configuration to what carries it out: the deployer, the verification and the source it describes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, assert_never

from gate import deploy, metrics, verify
from gate.carry_out import Verify
from gate.config import (
    CheckConfig,
    CommandCheck,
    Config,
    HttpCheck,
)
from gate.deploy import Deployer, RollingDeployer, Work, Workplace
from gate.hooks import AtWork
from gate.metrics import Means, Source, TelemetryApi
from gate.news import Listener
from gate.notify import Messenger
from gate.places import TesterToken
from rampgate.evidence import ArmName
from rampgate.plan import RolloutPlan, Strategy
from rampgate.rollout import Rollout

_HURRIED = 2.0
"""Seconds that a hook has for its end: unlike a deployment, a question can be broken off."""


_SHORTEST_TOKEN = 60.0
"""Seconds: the flag server makes none that lasts less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What works on slots, what reads figures, and who else is asked.

    ``plan`` is the one that they are made for; ``again`` makes the same for another.
    """

    deployer: Deployer
    verify: Verify
    source: Source
    hooks: AtWork = field(default_factory=AtWork)
    listeners: tuple[Listener, ...] = ()
    needs_hands: Callable[[Rollout], None] | None = None
    plan: RolloutPlan | None = None
    again: Callable[[RolloutPlan], "Hands"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where the gate runs: its folder, its environment, the secrets that nobody may see, and where lines are said."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    say: Callable[[str], None]


class RealClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Server(TelemetryApi, Protocol):
    """What hands need of the flag server."""

    def tester_token(self, environment: str, flag: str, arm: ArmName, lasts: float, why: str | None) -> TesterToken:
        """A token that forces its holder onto an arm for so many seconds. Raises a ``RampgateError``."""
        ...


def hands(config: Config, around: Surroundings, server: Server) -> Hands:
    """The hands that this configuration describes, at work in these surroundings."""
    options = config.metrics[0]
    further = [(one.wanted, one.options) for one in config.further]
    every: tuple[deploy.Options | metrics.Options, ...] = (config.deploy, options, *(its for _, its in further))
    signing = (one.secret_env for one in config.hooks if one.secret_env is not None)
    told = [one.to for one in config.notify]
    names = tuple(dict.fromkeys([*(name for one in every for name in one.credentials()), *signing, *told]))
    secrets = (*around.secrets, *(value for name in names if (value := around.environ.get(name))))
    workplace = Workplace(
        folder=around.folder,
        environ=around.environ,
        say=around.say,
        secrets=secrets,
        hidden=tuple(name for name in names if name not in metrics.SHARED),
        every=min(1.0, config.plan.poll),
    )
    means = Means(telemetry=server, environ=around.environ, folder=around.folder)
    hooks = AtWork(hooks=config.hooks, workplace=replace(workplace, grace=_HURRIED))
    messenger = messenger_of(config, around)
    deployer = deploy.build(config.deploy, workplace)
    verification = verify.DarkVerification(
        deployer=deployer,
        workplace=workplace,
        checks=tuple(_check(one) for one in config.verify),
        tester=partial(_tester, server),
    )
    looks: Verify = verification
    if config.plan.strategy is Strategy.ROLLING:
        deployer = _rolling(config.plan, deployer, verification, workplace)
        # Nothing is dark where targets are replaced in place: each is verified when it is its turn.
        looks = deployer.run
    return Hands(
        deployer=deployer,
        verify=looks,
        source=metrics.build(options, means, further),
        hooks=hooks,
        listeners=((hooks.tell,) if hooks.wants_events else ()) + ((messenger,) if messenger else ()),
        needs_hands=messenger.needs_hands if messenger else None,
        plan=config.plan,
        again=lambda plan: hands(replace(config, plan=plan), around, server),
    )


def _tester(server: Server, work: Work) -> str:
    """A tester's way to the new version, for as long as its verification may take."""
    why = f"verification of {work.version} in rollout {work.rollout_id}"
    lasts = max(_SHORTEST_TOKEN, work.seconds)
    return server.tester_token(work.environment, work.flag, ArmName.CANARY, lasts, why).token


def _rolling(
    plan: RolloutPlan, inner: Deployer, verification: verify.DarkVerification, workplace: Workplace
) -> RollingDeployer:
    return RollingDeployer(
        inner=inner,
        healthy=verification,
        restored=replace(verification, checks=()),
        targets=plan.targets,
        at_once=plan.max_unavailable,
        every=workplace.every,
        say=workplace.say,
    )


def messenger_of(config: Config, around: Surroundings) -> Messenger | None:
    """Who tells people, where the configuration names any."""
    if not config.notify:
        return None
    return Messenger(to=config.notify, environ=around.environ, say=around.say)


def _check(config: CheckConfig) -> verify.Check:
    match config:
        case HttpCheck():
            return verify.Probe(
                url=config.url,
                status=config.status,
                within=config.within,
                contains=config.contains,
                headers=config.headers,
                answers=config.answers,
                patience=config.patience,
                forced=config.forced,
            )
        case CommandCheck():
            return verify.CommandCheck(command=config.command)
        case _:
            assert_never(config)
