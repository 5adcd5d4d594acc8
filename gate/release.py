"""One release, from asking for a rollout to its end. A later run of the same release takes the same rollout up."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial

from gate.config import Config
from gate.deploy import DeployAction, Done, NotUp, Work
from gate.drive import Clock, Driver, Report, World
from gate.errors import FlagServerRefusedError, MisuseError, RampgateError, StableNotUpError
from gate.flagserver_api import FlagServer
from gate.news import News
from gate.parting import Asked, never
from gate.world import Hands
from rampgate.evidence import Look
from rampgate.machine.state import NOT_RESUMABLE, Deadline, Phase
from rampgate.plan import WHOLE, FlagKind, RolloutPlan, Strategy, Supersede
from rampgate.rollout import NewRollout, Rollout, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is to be released, and for whom. ``key`` is the same for every run that means the same release.

    ``at_once``: a person wants users away from what they are on, also where that is down.
    """

    key: str
    version: str
    by: str
    sha: str | None = None
    repository: str | None = None
    pull_request: int | None = None
    run_url: str | None = None
    override: str | None = None
    ref: str | None = None
    repository_id: str | None = None
    at_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who releases: the server it asks, its hands, its clock, its name, and whoever is told."""

    server: FlagServer
    hands: Hands
    clock: Clock
    report: Report
    holder: str
    replaces: Callable[[str], bool] = lambda _: False
    say: Callable[[str], None] = print
    waits: Callable[[int | None, str, str], None] = lambda *_: None
    parting: Asked = never

    def world(self, report: Report, hands: Hands | None = None) -> World:
        hands = hands or self.hands
        return World(
            server=self.server,
            source=hands.source,
            deployer=hands.deployer,
            verify=hands.verify,
            report=report,
            clock=self.clock,
            holder=self.holder,
            replaces=self.replaces,
            parting=self.parting,
            hooks=hands.hooks,
        )

    def drive(self, rollout: Rollout) -> Rollout:
        """Drive a rollout from where it stands to its end, or until it is parted from.

        Raises:
            MisuseError: it moves machines and the configuration moves users, or the other way round.
        """
        hands = self._hands_for(rollout)
        left = hands.needs_hands
        first = partial(left, rollout) if left and _is_left(rollout) else None
        news = News(self.server, self.holder, hands.listeners, self.say, begun=rollout.now, first=first)

        def report(rollout: Rollout, looks: tuple[Look, ...]) -> None:
            self.report(rollout, looks)
            if hands.listeners:
                news(rollout, looks)

        try:
            ended = Driver(world=self.world(report, hands), rollout=rollout).run()
        except BaseException:
            # What is untold, whoever takes the rollout up tells.
            news.close(0.0)
            raise
        finally:
            hands.hooks.stop()
        news.close()
        if left and _is_left(ended):
            left(ended)
        return ended

    def _hands_for(self, rollout: Rollout) -> Hands:
        """Hands for the rollout's own plan, which was fixed when it started, whatever the configuration says by now."""
        made, plan = self.hands, rollout.plan
        if made.plan is None or made.again is None or made.plan == plan:
            return made
        if made.plan.in_place != plan.in_place:
            commit = f" ({rollout.sha[:12]})" if rollout.sha else ""
            raise MisuseError(
                f"Rollout {rollout.id} of {rollout.version} is {plan.strategy}, and the configuration here says "
                f"{made.plan.strategy}.",
                why="One moves machines and the other users: the deployer and the checks here are not the rollout's.",
                do=f"Run this from the commit that it started with{commit}, or change the strategy when it has ended.",
            )
        changed = ", ".join(_changed(plan, made.plan))
        self.say(
            f"Rollout {rollout.id} goes on by the plan that it started with. What has changed in the configuration "
            f"since ({changed}) holds from the next rollout on."
        )
        return made.again(plan)


def _changed(old: RolloutPlan, new: RolloutPlan) -> tuple[str, ...]:
    """What differs, by the plan's own names."""
    return tuple(one.name for one in fields(old) if getattr(old, one.name) != getattr(new, one.name))


def release(gate: Gate, config: Config, wanted: Release, begun: Callable[[Rollout], None]) -> Rollout:
    """Ask for the rollout, drive it to its end, and return it as it ended.

    ``begun`` is told the rollout before anything is done for it, so that whoever comes next can find it.

    Raises:
        FlagServerRefusedError: the server will not start it.
        FlagServerUnreachableError: the server cannot be reached, or was silent for too long.
    """
    rollout = ask(gate, config, wanted)
    begun(rollout)
    ended = gate.drive(rollout)
    if ended.state.attempt == rollout.state.attempt and _came_late(rollout) and _resumable(ended):
        # It was being undone after another gate's end when this run came: now it can be taken up.
        ended = gate.drive(ask(gate, config, wanted))
    return ended


def fitting(config: Config, rollout: Rollout) -> Config:
    """The checkout's own configuration, once it is known to be the rollout's.

    Hooks are never taken from the flag server: whoever may write there could else run commands here.

    Raises:
        MisuseError: it is about another flag or environment.
    """
    mine, its = config.plan, rollout.plan
    if (mine.flag, mine.environment) != (its.flag, its.environment):
        raise MisuseError(
            f"Rollout {rollout.id} is of {its.flag} in {its.environment}; the configuration here is for {mine.flag} "
            f"in {mine.environment}.",
            why="Only the hooks of the checkout are run, never commands that the flag server keeps.",
            do="Run this where the rollout's own configuration is checked out.",
        )
    return config


def _is_left(rollout: Rollout) -> bool:
    """Whether a deployment was left unfinished. One that has just begun waits for its first hands, which is no news."""
    state = rollout.state
    return state.needs_hands and (state.phase.is_final or state.phase is Phase.REVERTING or state.retirement_begun)


def _came_late(rollout: Rollout) -> bool:
    return rollout.state.phase is Phase.REVERTING


def _resumable(rollout: Rollout) -> bool:
    state = rollout.state
    return state.phase in (Phase.REVERTED, Phase.FAILED) and state.reason not in NOT_RESUMABLE


def left_behind(server: FlagServer, environment: str | None, flag: str | None = None) -> tuple[Rollout, ...]:
    """The rollouts that wait for hands, newest first.

    One that is still being deployed is none of them: its own gate is about to take it, or its lease is about to lapse.
    """
    found = server.find(environment=environment, flag=flag, needs_hands=True, limit=200)
    return tuple(one for one in found if one.state.phase not in (Phase.DEPLOYING, Phase.VERIFYING))


def is_left_alone(server: FlagServer, rollout_id: str, clock: Clock) -> bool:
    """Whether something is left to do for a rollout and nobody does it.

    Where somebody holds the lease, waits for a sign of life, until the lease has lapsed at the latest.
    """
    rollout = server.rollout(rollout_id)
    due = rollout.state.deadlines.get(Deadline.LEASE)
    until = clock.monotonic() + 2 * rollout.plan.lease
    while rollout.state.actions and not rollout.state.needs_hands:
        if rollout.state.deadlines.get(Deadline.LEASE) != due or clock.monotonic() > until:
            return False
        # A renewed lease is no new revision, so the wait is short.
        rollout = server.rollout(rollout_id, after=rollout.state.revision, wait=min(1.0, rollout.plan.poll))
    return rollout.state.needs_hands


def ask(gate: Gate, config: Config, wanted: Release) -> Rollout:
    """Ask the server for the rollout, waiting in its line where the plan says so.

    Whatever ends the waiting, a cancelled job too, gives the place in the line up.

    Raises:
        FlagServerRefusedError: it will not start, and no waiting helps.
        FlagServerUnreachableError: the server cannot be reached.
    """
    plan = config.plan
    line = _Line()
    until = gate.clock.monotonic() + plan.retire + plan.scale_down_delay
    try:
        while True:
            try:
                return gate.server.create(_new(gate, config, wanted))
            except FlagServerRefusedError as error:
                line.joined = line.joined or error.code == "queued_behind"
                if not _helps_to_wait(error, plan, gate.clock.monotonic() > until):
                    raise
                line.say(gate, wanted, plan, error)
                gate.clock.sleep(min(5.0, plan.poll))
    except BaseException:
        if line.joined:
            with suppress(RampgateError):
                gate.server.leave_queue(plan.environment, plan.flag, wanted.key)
        raise


@dataclass(slots=True)
class _Line:
    """What was said of the waiting, and whether there is a place to give up."""

    said: str = ""
    joined: bool = False

    def say(self, gate: Gate, wanted: Release, plan: RolloutPlan, error: FlagServerRefusedError) -> None:
        place = "" if error.position is None else f" Place in the queue: {error.position}."
        text = f"{error.what}{place}"
        if text != self.said:
            gate.say(f"Waiting: {text}")
            gate.waits(wanted.pull_request, plan.environment, f"**{wanted.version}** waits: {text}")
        self.said = text


def _helps_to_wait(error: FlagServerRefusedError, plan: RolloutPlan, late: bool) -> bool:
    if error.code == "queued_behind":
        return True
    undone = error.code == "rollout_in_progress" and plan.supersede is not Supersede.REFUSE
    return (undone or error.code == "slots_changed") and not late


def _new(gate: Gate, config: Config, wanted: Release) -> NewRollout:
    plan = config.plan
    slots = gate.server.slots(plan.environment, plan.flag)
    stable = slots.stable if slots else Slot(name="off" if plan.kind is FlagKind.RELEASE else "blue")
    baseline, stable = _baseline(gate, config, stable, at_once=wanted.at_once)
    return NewRollout(
        key=wanted.key,
        plan=plan,
        version=wanted.version,
        stable=stable,
        baseline=baseline,
        by=wanted.by,
        sha=wanted.sha,
        repository=wanted.repository,
        pull_request=wanted.pull_request,
        run_url=wanted.run_url,
        config=config.document,
        override=wanted.override,
        ref=wanted.ref,
        repository_id=wanted.repository_id,
    )


def _baseline(gate: Gate, config: Config, stable: Slot, *, at_once: bool) -> tuple[bool, Slot]:
    """Whether the stable slot is up, by its deployer's word, and what it runs. A release flag's off is always up.

    Only a slot that was never filled may be empty: without a baseline a release goes to everybody unjudged, so a
    stable version that is down, or a deployer that does not know, ends the run instead; unless a person wants users
    away from there ``at_once``.
    """
    plan = config.plan
    if plan.kind is FlagKind.RELEASE:
        return True, stable
    rolls = plan.strategy is Strategy.ROLLING
    if rolls and _is_between_versions(gate.server, plan):
        # What targets run then is an earlier rollout's, and on a first deploy no version that ever served everybody.
        return stable.version is not None, stable
    work = Work(
        action=DeployAction.STATUS,
        slot=stable.name,
        version=stable.version or "",
        fence=0,
        environment=plan.environment,
        flag=plan.flag,
        rollout_id="",
        share=WHOLE if rolls and stable.version is not None else None,
        seconds=plan.verify,
    )
    found = gate.hands.deployer.run(work, lambda: True)
    if isinstance(found, Done):
        return True, replace(stable, version=stable.version or found.version)
    if isinstance(found, NotUp) and stable.version is None:
        gate.say(f"First deploy, there is no stable version to compare with: {found.text}.")
        return False, stable
    if at_once:
        gate.say(f"{stable.version or stable.name} is not known to be up, so nothing leads back to it: {found.text}.")
        return False, stable
    raise StableNotUpError(
        f"The stable slot {stable.name} is not known to be up: {found.text}.",
        why="Users are there, a revert would send them back there, and there is nothing to compare with.",
        do=f"Bring {stable.version or 'it'} up; or leave it at once, by `rampgate rollback --now`; or, if the slot is "
        "meant to be empty, clear its version on the server.",
    )


def _is_between_versions(server: FlagServer, plan: RolloutPlan) -> bool:
    """Whether an earlier rollout may have left targets on its version: the next one begins by putting them back."""
    found = server.find(environment=plan.environment, flag=plan.flag, limit=20)
    return any(not one.state.phase.is_final or one.state.actions for one in found)
