"""A rollout's plan, resolved: what was asked for, in seconds and shares, fixed when the rollout starts.

Plans are made from `.github/rampgate.yml` by the gate and kept by the flag server. ``problems`` says everything
that is wrong with a plan, so that none is refused twice.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from rampgate.criteria import JudgeSettings, criteria_problems
from rampgate.evidence import VerdictWord
from rampgate.problem import Problem
from rampgate.wire import STRICT

WHOLE = 100_000
"""Shares are integers in 1/100 000 of all users: 10 % is 10_000."""


class Strategy(StrEnum):
    CANARY = "canary"
    BLUE_GREEN = "blue-green"
    ROLLING = "rolling"


class FlagKind(StrEnum):
    """``rollout``: two slots that trade places. ``release``: off, then on, once."""

    ROLLOUT = "rollout"
    RELEASE = "release"


class UsersFollow(StrEnum):
    """What decides which version a user meets: the flag (SDK or edge), or the machine that answers."""

    FLAG = "flag"
    DEPLOYMENT = "deployment"


class OnGateLost(StrEnum):
    REVERT = "revert"
    HOLD = "hold"


class Supersede(StrEnum):
    """What a newer rollout of the same flag does to an unfinished one."""

    QUEUE = "queue"
    REPLACE = "replace"
    REFUSE = "refuse"


class Policy(StrEnum):
    """What happens when a budget or deadline runs out. Only the last two can widen."""

    REVERT = "revert"
    HOLD = "hold"
    ASK = "ask"
    COMPLETE = "complete"
    PROMOTE = "promote"
    PROMOTE_IF_NO_EVIDENCE = "promoteIfNoEvidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """A person's yes is needed to leave the step: within ``timeout`` seconds, else ``then``."""

    __pydantic_config__ = STRICT

    timeout: float = 1800.0
    then: Policy = Policy.REVERT


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a verdict may stand, in seconds, and what follows."""

    __pydantic_config__ = STRICT

    seconds: float
    then: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rung of the ramp: the canary's ``share``, for at least ``bake`` seconds.

    ``timeout``, in seconds, and ``inconclusive`` take the place of the plan's own for this step, where they are given.
    """

    __pydantic_config__ = STRICT

    share: int
    bake: float = 300.0
    confirm: Confirm | None = None
    timeout: float | None = None
    inconclusive: Budget | None = None


DEFAULT_BUDGETS: Mapping[VerdictWord, Budget] = {
    VerdictWord.INCONCLUSIVE: Budget(seconds=3600.0, then=Policy.HOLD),
    VerdictWord.NO_TRAFFIC: Budget(seconds=900.0, then=Policy.REVERT),
    VerdictWord.SOURCE_DOWN: Budget(seconds=300.0, then=Policy.REVERT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What one rollout does, in full. Durations are seconds; ``steps`` rise and end at ``WHOLE``.

    ``hold_back`` is the share of users that stays on stable at the last step until it has baked. ``deploy``,
    ``verify`` and ``retire`` bound the hooks; ``pause`` and ``hold`` bound what a person, or a policy, stopped.
    ``drain`` is how long requests under way have, once their users have left a slot.
    ``targets`` are the machines of a rolling rollout, in the order in which they are replaced, at most
    ``max_unavailable`` at once. ``salt`` shuffles the users;
    rollouts with the same one send the same users first. ``None``: one of its own.
    """

    __pydantic_config__ = STRICT

    flag: str
    environment: str
    steps: tuple[Step, ...]
    strategy: Strategy = Strategy.CANARY
    kind: FlagKind = FlagKind.ROLLOUT
    users_follow: UsersFollow = UsersFollow.FLAG
    dark: Step = Step(share=0, bake=0.0)
    hold_back: int = 5_000
    poll: float = 15.0
    lease: float = 45.0
    stale_after: float = 60.0
    heartbeat: float = 15.0
    scale_down_delay: float = 600.0
    drain: float = 0.0
    deploy: float = 900.0
    verify: float = 300.0
    retire: float = 900.0
    step_timeout: float = 86_400.0
    pause: float = 3600.0
    hold: float = 3600.0
    on_gate_lost: OnGateLost = OnGateLost.REVERT
    supersede: Supersede = Supersede.REPLACE
    first_deploy: Policy = Policy.PROMOTE
    budgets: Mapping[VerdictWord, Budget] = field(default_factory=lambda: dict(DEFAULT_BUDGETS))
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    salt: str | None = None
    targets: tuple[str, ...] = ()
    max_unavailable: int = 1

    @property
    def last(self) -> int:
        """The number of the last step; step 0 is the dark one."""
        return len(self.steps)

    @property
    def in_place(self) -> bool:
        """Whether targets are replaced where they are, so that users follow the machines."""
        return self.strategy is Strategy.ROLLING and bool(self.targets)

    @property
    def deploy_all(self) -> float:
        """Seconds for deploying where that is about all targets of a rolling rollout at once, and not one batch."""
        return max(self.deploy, self.retire) if self.in_place else self.deploy

    @property
    def switches(self) -> bool:
        """Whether all users go over at once, and nobody is held back."""
        return self.strategy is Strategy.BLUE_GREEN and self.hold_back == 0

    def step(self, number: int) -> Step:
        """The step of this number, 0 being the dark one."""
        return self.dark if number == 0 else self.steps[number - 1]

    def timeout(self, number: int) -> float:
        """How long the step of this number may last, in seconds."""
        own = self.step(number).timeout
        return self.step_timeout if own is None else own

    def budget(self, word: VerdictWord, number: int) -> Budget:
        """How long this verdict may stand in the step of this number, and what follows."""
        own = self.step(number).inconclusive
        return self.budgets[word] if own is None or word is not VerdictWord.INCONCLUSIVE else own


_LONGEST = 30 * 86_400
_BLUR = 0.0005
"""Durations are written in whole milliseconds: three times 0.4 seconds is 1.2, whatever floats say."""


MOST_STEPS = 50
MOST_TARGETS = 1000

SALT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SALT_ALLOWED = "1 to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit"


def problems(plan: RolloutPlan) -> Iterator[Problem]:
    """Everything that makes a plan unsafe or senseless (SEMANTICS 4 and 5); nothing for a good plan."""
    yield from _steps(plan)
    yield from _targets(plan)
    if plan.salt is not None and not SALT.fullmatch(plan.salt):
        yield Problem("salt", repr(plan.salt[:80]), SALT_ALLOWED)
    yield from _timings(plan)
    yield from _policies(plan)
    yield from criteria_problems(plan.judge)


def _steps(plan: RolloutPlan) -> Iterator[Problem]:
    shares = [step.share for step in plan.steps]
    if not 0 < len(shares) <= MOST_STEPS:
        yield Problem("steps", f"a list of {len(shares)}", f"1 to {MOST_STEPS} steps, the last of them 100")
        return
    for number, (before, here) in enumerate(zip([0, *shares], shares, strict=False)):
        rises, ends = here > before, number < len(shares) - 1 or here == WHOLE
        if rises and ends:
            continue
        allowed = f"more than {percent(before)}: steps rise"
        if not ends:
            allowed = "100: the last step is everybody" + ("" if rises else ", and steps rise")
        yield Problem(f"steps[{number}]", percent(here), allowed)
    if plan.dark.share != 0:
        yield Problem("dark.share", percent(plan.dark.share), "0: nobody meets a dark version")
    previous = shares[-2] if len(shares) > 1 else 0
    if previous < WHOLE and not 0 <= plan.hold_back < WHOLE - previous:
        allowed = f"at least 0 and less than {percent(WHOLE - previous)}, so that the last step still widens"
        yield Problem("holdBack", percent(plan.hold_back), allowed)


def _targets(plan: RolloutPlan) -> Iterator[Problem]:
    if plan.strategy is not Strategy.ROLLING:
        if plan.users_follow is UsersFollow.DEPLOYMENT:
            allowed = f"flag: under {plan.strategy} the flag server moves the users"
            yield Problem("usersFollow", plan.users_follow, allowed)
        if plan.targets:
            yield Problem("targets", f"a list of {len(plan.targets)}", "no targets, or strategy: rolling")
        return
    if plan.users_follow is UsersFollow.FLAG:
        # docs/decisions/0007-rolling-users-follow-the-machines.md
        allowed = "deployment: machines are replaced, so a flag could send users to one that is not there"
        yield Problem("usersFollow", plan.users_follow, allowed)
    count = len(plan.targets)
    if not 2 <= count <= MOST_TARGETS:
        yield Problem("targets", f"a list of {count}", f"2 to {MOST_TARGETS} names, in the order of replacement")
    elif not 1 <= plan.max_unavailable < count:
        yield Problem("maxUnavailable", str(plan.max_unavailable), f"1 to {count - 1}: one target must stay up")
    for number, name in enumerate(plan.targets):
        if not SALT.fullmatch(name):
            yield Problem(f"targets[{number}]", repr(name[:80]), SALT_ALLOWED)
        elif name in plan.targets[:number]:
            yield Problem(f"targets[{number}]", name, "each name once")


def targets_of(share: int, count: int) -> int:
    """How many of ``count`` targets make up a share: ``targets_of(10_000, 6)`` is 1."""
    return -(-share * count // WHOLE)


def share_of(targets: int, count: int) -> int:
    """The share that so many of ``count`` targets are, which ``targets_of`` takes back to as many."""
    return targets * WHOLE // count


def reaches(duration: float, least: float) -> bool:
    """Whether a duration is at least so long, both in seconds."""
    return not duration < least - _BLUR


def _timings(plan: RolloutPlan) -> Iterator[Problem]:
    positive = ("poll", "lease", "stale_after", "heartbeat", "deploy", "verify", "retire", "pause", "hold")
    for name in (*positive, "step_timeout"):
        if not 0 < getattr(plan, name) <= _LONGEST:
            yield Problem(_camel(name), seconds(getattr(plan, name)), "more than 0s and at most 720h")
    if not reaches(plan.lease, 3 * plan.poll):
        yield Problem("lease", seconds(plan.lease), f"at least 3 × poll ({seconds(3 * plan.poll)})")
    if plan.lease > plan.stale_after:
        yield Problem("staleAfter", seconds(plan.stale_after), f"at least the lease ({seconds(plan.lease)})")
    if not reaches(plan.stale_after, 3 * plan.heartbeat):
        limit = seconds(plan.stale_after / 3)
        yield Problem("heartbeat", seconds(plan.heartbeat), f"at most staleAfter / 3 ({limit})")
    if not (reaches(plan.scale_down_delay, 2 * plan.stale_after) and plan.scale_down_delay <= _LONGEST):
        limit = seconds(2 * plan.stale_after)
        allowed = f"at least 2 × staleAfter ({limit}) and at most 720h"
        yield Problem("scaleDownDelay", seconds(plan.scale_down_delay), allowed)
    room = min(plan.scale_down_delay - plan.stale_after, plan.retire)
    if not 0 <= plan.drain <= max(room, 0.0):
        allowed = "at least 0s, at most scaleDownDelay without staleAfter, and at most timeouts.retire"
        yield Problem("drainTimeout", seconds(plan.drain), f"{allowed} ({seconds(max(room, 0.0))})")
    for number, step in enumerate((plan.dark, *plan.steps)):
        path = "dark.bake" if number == 0 else f"steps[{number - 1}].bake"
        if step.timeout is not None and not 0 < step.timeout <= _LONGEST:
            yield Problem(f"{path[:-4]}timeout", seconds(step.timeout), "more than 0s and at most 720h")
        elif not 0 <= step.bake < plan.timeout(number):
            allowed = f"at least 0s, less than {_timeout_of(step)} ({seconds(plan.timeout(number))})"
            yield Problem(path, seconds(step.bake), allowed)


def _timeout_of(step: Step) -> str:
    return "stepTimeout" if step.timeout is None else "the step's timeout"


ALLOWED_POLICIES: Mapping[str, tuple[Policy, ...]] = {
    "policies.inconclusive": (Policy.HOLD, Policy.REVERT, Policy.ASK, Policy.PROMOTE_IF_NO_EVIDENCE),
    "policies.no_traffic": (Policy.HOLD, Policy.REVERT, Policy.ASK),
    "policies.source_down": (Policy.HOLD, Policy.REVERT, Policy.ASK),
    "confirm.then": (Policy.REVERT, Policy.HOLD, Policy.PROMOTE),
    "firstDeploy": (Policy.PROMOTE, Policy.ASK),
}
"""Which policies a place admits. No traffic, a dead source and a lost gate never widen (SEMANTICS 5)."""


def _policies(plan: RolloutPlan) -> Iterator[Problem]:
    for word in DEFAULT_BUDGETS:
        path = f"policies.{word}"
        budget = plan.budgets.get(word)
        if budget is None:
            yield Problem(path, "nothing", "a budget and a policy for each verdict")
            continue
        yield from _policy(path, path, budget.then)
        if not 0 < budget.seconds <= _LONGEST:
            yield Problem(f"{path}.budget", seconds(budget.seconds), "more than 0s and at most 720h")
    for word in plan.budgets.keys() - DEFAULT_BUDGETS.keys():
        yield Problem(f"policies.{word}", str(word), "only " + ", ".join(DEFAULT_BUDGETS))
    for number, step in enumerate((plan.dark, *plan.steps)):
        place = "dark" if number == 0 else f"steps[{number - 1}]"
        if (budget := step.inconclusive) is not None:
            yield from _policy(f"{place}.inconclusive.then", "policies.inconclusive", budget.then)
            if not 0 < budget.seconds <= _LONGEST:
                yield Problem(f"{place}.inconclusive.after", seconds(budget.seconds), "more than 0s and at most 720h")
        if step.confirm is not None:
            yield from _policy(f"{place}.confirm.then", "confirm.then", step.confirm.then)
            if not 0 < step.confirm.timeout < plan.timeout(number) - step.bake:
                limit = seconds(plan.timeout(number) - step.bake)
                allowed = f"more than 0s and less than {_timeout_of(step)} without the bake ({limit})"
                yield Problem(f"{place}.confirm.timeout", seconds(step.confirm.timeout), allowed)
    yield from _policy("firstDeploy", "firstDeploy", plan.first_deploy)


def _policy(path: str, place: str, policy: Policy) -> Iterator[Problem]:
    if policy not in ALLOWED_POLICIES[place]:
        yield Problem(path, policy, "one of " + ", ".join(ALLOWED_POLICIES[place]))


def percent(share: int) -> str:
    """A share as people write it: ``percent(12_500)`` is ``"12.5 %"``."""
    return f"{share * 100 / WHOLE:.3f}".rstrip("0").rstrip(".") + " %"


def seconds(duration: float) -> str:
    """A duration in the one grammar that the plan reads: ``seconds(5400)`` is ``"1h30m"``."""
    if not isfinite(duration * 1000):
        return str(duration)
    millis = round(duration * 1000)
    sign, millis = ("-", -millis) if millis < 0 else ("", millis)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
    return sign + ("".join(parts) or "0s")


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)
