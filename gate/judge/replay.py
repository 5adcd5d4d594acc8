"""Judge a rollout's recorded looks again: the same readings must give the same verdicts, to the last figure.

So nobody has to take a verdict's word for it. It is also how a gate that takes a rollout over gets its evidence back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import ceil
from typing import Any

from gate.judge.further import sentence
from gate.judge.state import JudgeState, Situation
from gate.judge.verdict import begin, judge
from rampgate.evidence import SAID_BY_HOOKS, Look
from rampgate.plan import RolloutPlan, Strategy, UsersFollow


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a replay first parted from the record: the look's number from 1, what differs, and both values."""

    number: int
    at: float
    what: str
    recorded: Any
    replayed: Any


def begun(plan: RolloutPlan) -> JudgeState:
    """The judge as every rollout of this plan begins with it."""
    bakes = sum(max(step.bake, plan.judge.min_polls * plan.poll) for step in plan.steps)
    # Too few would only slow late detection; steps often last longer than their bakes.
    planned = max(60, ceil(4 * bakes / plan.poll))
    # A rolling rollout leaves no machine behind to compare the last batch with.
    held = plan.hold_back > 0 and plan.strategy is not Strategy.ROLLING
    even = plan.users_follow is UsersFollow.FLAG
    return begin(plan.judge, steps=len(plan.steps), planned_polls=planned, hold_back=held, even=even)


def situation_of(plan: RolloutPlan, look: Look) -> Situation:
    """Where the rollout stood when this look was taken."""
    return Situation(step=look.step, share=look.share, last=look.step == plan.last, settled_at=look.settled_at)


def replay(plan: RolloutPlan, looks: Iterable[Look]) -> tuple[int, Difference | None]:
    """Judge one attempt's looks again, oldest first: how many there were, and the first difference if there is one.

    Looks without a reading (those after the ramp, at the new version's own state) have nothing to replay.
    """
    state, number = begun(plan), 0
    for number, look in enumerate(looks, start=1):
        if look.reading is None:
            continue
        state, again = judge(state, situation_of(plan, look), look.reading)
        if (found := difference(number, look, again)) is not None:
            return number, found
    return number, None


_HOOKS_CHANGE = frozenset({"word", "reason", "text", "no_harm", "culprit"})
"""What a hook's answer replaces in a verdict. The figures beside it are still the judge's."""


def difference(number: int, recorded: Look, replayed: Look) -> Difference | None:
    """The first thing in which two looks differ."""
    for name in ("stable", "canary"):
        one, other = getattr(recorded, name), getattr(replayed, name)
        if one != other:
            return Difference(number=number, at=recorded.at, what=name, recorded=one, replayed=other)
    for part in fields(recorded.verdict):
        if recorded.verdict.reason in SAID_BY_HOOKS and part.name in _HOOKS_CHANGE:
            continue
        one, other = getattr(recorded.verdict, part.name), getattr(replayed.verdict, part.name)
        if one != other:
            what = f"verdict.{part.name}"
            return Difference(number=number, at=recorded.at, what=what, recorded=one, replayed=other)
    return None


def further(plan: RolloutPlan, looks: Iterable[Look]) -> tuple[str, ...]:
    """How the metrics beside the errors stand in the last look's step, a sentence each; looks of one attempt."""
    if not plan.judge.metrics:
        return ()
    state, seen = begun(plan), False
    for look in looks:
        if look.reading is not None:
            state, _ = judge(state, situation_of(plan, look), look.reading)
            seen = True
    pairs = zip(state.further, plan.judge.metrics, strict=True)
    return tuple(sentence(metric, settings) for metric, settings in pairs) if seen else ()
