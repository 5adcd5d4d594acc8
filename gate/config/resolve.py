"""The file's keys → a plan and what carries it out: defaults that follow from each other, and what must fit together.

A value that was written is never changed: what does not fit is a problem. Only what was left out follows the rest.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import PydanticCustomError

from gate.config.deploys import deployer_of
from gate.config.further import further_of
from gate.config.hooks import hook_problems, waits
from gate.config.models import (
    CommandCheckKeys,
    File,
    HttpCheckKeys,
    InconclusiveKeys,
    LimitKeys,
    NoTrafficKeys,
    SourceDownKeys,
)
from gate.config.rolling import longest, rolling_misfits, shares_of, usual_sizes
from gate.config.sources import options_of
from gate.config.steps import BatchKeys, ConfirmKeys, StepInconclusiveKeys, StepKeys
from gate.config.values import (
    CheckConfig,
    CommandCheck,
    HttpCheck,
)
from gate.config.words import duration, share
from gate.judge import limits
from gate.metrics import FlagServerOptions, Options
from rampgate.criteria import JudgeSettings, Limit, MetricKind
from rampgate.evidence import VerdictWord
from rampgate.plan import WHOLE, Budget, Confirm, RolloutPlan, Step, Strategy, percent, problems, reaches, seconds
from rampgate.problem import Problem

DARK_BEFORE_ALL = 300.0
"""Seconds for which stable is looked at before everybody leaves it: what the new version is then compared with."""
_LONGEST_STEP = 30 * 86_400.0
_PATHS = {
    "deploy": "timeouts.deploy",
    "verify": "timeouts.verify",
    "retire": "timeouts.retire",
    "pause": "timeouts.pause",
    "hold": "timeouts.hold",
    "stepTimeout": "timeouts.step",
}
"""Where the file keeps what the plan calls by another name."""


def plan_of(file: File, environment: str) -> RolloutPlan:
    """The plan; it may still have problems."""
    poll, lease, stale_after, heartbeat, scale_down_delay = _timings(file)
    steps = _steps(file)
    before = steps[-2].share if len(steps) > 1 else 0
    hold_back = file.hold_back
    if "hold_back" not in file.model_fields_set:
        hold_back = 0 if file.strategy is not Strategy.CANARY else max(0, min(hold_back, (WHOLE - before) // 2))
    step_timeout = file.timeouts.step
    dark = Step(share=0, bake=_dark_bake(file, steps, hold_back), confirm=_confirm(file.dark.confirm))
    if "step" not in file.timeouts.model_fields_set:
        longest = max(step.bake + (step.confirm.timeout if step.confirm else 0.0) for step in (dark, *steps))
        step_timeout = min(max(step_timeout, 2 * longest), _LONGEST_STEP)
    plan = RolloutPlan(
        flag=file.flag,
        environment=environment,
        steps=steps,
        strategy=file.strategy,
        kind=file.kind,
        dark=dark,
        hold_back=hold_back,
        poll=poll,
        lease=lease,
        stale_after=stale_after,
        heartbeat=heartbeat,
        scale_down_delay=scale_down_delay,
        drain=file.drain_timeout,
        deploy=file.timeouts.deploy + waits(file.hooks),
        verify=file.timeouts.verify,
        retire=file.timeouts.retire,
        step_timeout=step_timeout,
        pause=file.timeouts.pause,
        hold=file.timeouts.hold,
        on_gate_lost=file.on_gate_lost,
        supersede=file.supersede,
        first_deploy=file.first_deploy,
        salt=file.salt,
        users_follow=file.users_follow,
        targets=tuple(file.targets),
        max_unavailable=file.max_unavailable,
        budgets={
            VerdictWord.INCONCLUSIVE: _budget(file.policies.inconclusive),
            VerdictWord.NO_TRAFFIC: _budget(file.policies.no_traffic),
            VerdictWord.SOURCE_DOWN: _budget(file.policies.source_down),
        },
        judge=_judge(file),
    )
    return _with_time(file, plan) if plan.strategy is Strategy.ROLLING and plan.targets else plan


_PER_TARGET = 300.0


def _with_time(file: File, plan: RolloutPlan) -> RolloutPlan:
    """Time-outs that were left out are long enough for as many targets in a row as there are."""
    given, (batch, every) = file.timeouts.model_fields_set, longest(plan)
    return replace(
        plan,
        deploy=plan.deploy if "deploy" in given else min(max(plan.deploy, _PER_TARGET * batch), _LONGEST_STEP),
        retire=plan.retire if "retire" in given else min(max(plan.retire, _PER_TARGET * every), _LONGEST_STEP),
    )


def _judge(file: File) -> JudgeSettings:
    further = further_of(file)
    kinds = {one.name: one.kind for one in further.settings}
    return JudgeSettings(
        alpha=file.alpha,
        beta=file.beta,
        margin=file.margin,
        floor=file.floor,
        min_polls=file.min_polls,
        metrics=further.settings,
        limits=tuple(_limit(keys, kinds.get(keys.metric, MetricKind.ERRORS)) for keys in file.limits),
        strict=file.strict,
    )


def _limit(keys: LimitKeys, kind: MetricKind) -> Limit:
    return Limit(
        metric=keys.metric,
        success=keys.success,
        failure=keys.failure if keys.max is None else _above(keys.max, kind) or "result > 0",
        failure_limit=keys.failure_limit,
        inconclusive_limit=keys.inconclusive_limit,
        consecutive_error_limit=keys.consecutive_error_limit,
    )


_BY_MACHINE = (
    "a source whose figures name the machine's version or slot, such as prometheus: the SDKs count by the flag's "
    "answer, and in a rolling rollout users meet what their machine runs"
)
_MOST = {MetricKind.ERRORS: "a percentage such as 2%", MetricKind.LATENCY: "a duration such as 500ms, for p99"}


def _above(most: str | float, kind: MetricKind) -> str | None:
    """The condition that fails above this; ``None`` where it is not written as the metric has it."""
    try:
        if kind is MetricKind.ERRORS:
            return limits.at_most(share(most) / WHOLE)
        if kind is MetricKind.LATENCY:
            return limits.at_most(duration(most), of="p99")
    except PydanticCustomError:
        return None
    return limits.at_most(float(most)) if isinstance(most, int | float) else None


def _timings(file: File) -> tuple[float, float, float, float, float]:
    """Poll, lease, staleAfter, heartbeat, scaleDownDelay: what was left out follows from what was written."""
    given = file.model_fields_set
    poll, lease, stale_after, heartbeat = file.poll, file.lease, file.stale_after, file.heartbeat
    scale_down_delay = file.scale_down_delay
    if "stale_after" not in given:
        stale_after = max(
            stale_after,
            lease if "lease" in given else 0.0,
            3 * poll if "poll" in given else 0.0,
            3 * heartbeat if "heartbeat" in given else 0.0,
        )
        if "scale_down_delay" in given:
            stale_after = max(min(stale_after, scale_down_delay / 2), 3 * poll if "poll" in given else 0.0)
    if "lease" not in given:
        lease = max(min(lease, stale_after), 3 * poll if "poll" in given else 0.0)
    if "poll" not in given:
        poll = min(poll, lease / 3)
    if "heartbeat" not in given:
        heartbeat = min(heartbeat, stale_after / 3)
    if "scale_down_delay" not in given:
        scale_down_delay = max(scale_down_delay, 2 * stale_after, stale_after + file.drain_timeout)
    return poll, lease, stale_after, heartbeat, scale_down_delay


def _steps(file: File) -> tuple[Step, ...]:
    if file.strategy is Strategy.ROLLING:
        count = len(file.targets)
        batches = file.batches or [BatchKeys.model_validate(size) for size in usual_sizes(count)]
        ends = shares_of([one.targets for one in batches], count)
        return tuple(_rung(file, one, share) for one, share in zip(batches, ends, strict=True))
    if "steps" in file.model_fields_set:
        return tuple(_rung(file, one, one.share) for one in file.steps)
    shares = (100,) if file.strategy is Strategy.BLUE_GREEN else (10, 50, 100)
    return tuple(Step(share=one * WHOLE // 100) for one in shares)


def _at_once(steps: Sequence[Step], hold_back: int) -> bool:
    """Whether everybody goes over at the first step, so that nobody is left to compare with."""
    return len(steps) == 1 and hold_back == 0


def _dark_bake(file: File, steps: Sequence[Step], hold_back: int) -> float:
    if "bake" in file.dark.model_fields_set or not _at_once(steps, hold_back):
        return file.dark.bake
    return DARK_BEFORE_ALL


def _rung(file: File, keys: StepKeys | BatchKeys, share: int) -> Step:
    return Step(
        share=share,
        bake=keys.bake,
        confirm=_confirm(keys.confirm),
        timeout=keys.timeout,
        inconclusive=_override(keys.inconclusive, file.policies.inconclusive),
    )


def _confirm(keys: ConfirmKeys | None) -> Confirm | None:
    return Confirm(timeout=keys.timeout, then=keys.then) if keys else None


def _budget(keys: InconclusiveKeys | NoTrafficKeys | SourceDownKeys) -> Budget:
    return Budget(seconds=keys.after, then=keys.then)


def _override(keys: StepInconclusiveKeys | None, usual: InconclusiveKeys) -> Budget | None:
    """A step's own budget; what it leaves out is the plan's."""
    if keys is None:
        return None
    return Budget(seconds=usual.after if keys.after is None else keys.after, then=keys.then or usual.then)


def metrics_of(file: File) -> tuple[Options, ...]:
    """The source of the errors, alone."""
    return tuple(options_of(keys) for _, keys in _errors(file)[:1])


def _errors(file: File) -> list[tuple[int, Any]]:
    return [(index, keys) for index, keys in enumerate(file.metrics) if not isinstance(keys, dict)]


def verify_of(file: File) -> tuple[CheckConfig, ...]:
    return tuple(_check(keys) for keys in file.verify)


def _check(keys: HttpCheckKeys | CommandCheckKeys) -> CheckConfig:
    if isinstance(keys, CommandCheckKeys):
        return CommandCheck(command=keys.command)
    return HttpCheck(
        url=keys.url,
        status=keys.status,
        within=keys.within,
        contains=keys.contains,
        headers=dict(keys.headers),
        answers=dict(keys.answers),
        patience=keys.patience,
        forced=keys.forced,
    )


def misfits(file: File, plan: RolloutPlan) -> Iterator[Problem]:
    """Everything that does not fit together, by the file's own paths."""
    further = further_of(file)
    yield from further.problems
    yield from rolling_misfits(file, plan)
    for problem in problems(plan):
        # A limit may well name the metric that cannot be read.
        if not (further.unread and problem.path.startswith("limits")):
            yield _in_the_file(problem, further.places, rolls=plan.strategy is Strategy.ROLLING)
    if plan.strategy is Strategy.BLUE_GREEN and [step.share for step in plan.steps] != [WHOLE]:
        steps = ", ".join(percent(step.share) for step in plan.steps)
        yield Problem("steps", steps, "one step, 100: blue-green moves everybody at once; canary moves by steps")
    name, deployer = deployer_of(file.deploy)
    yield from deployer.problems(f"deploy.{name}", targets=plan.targets if plan.strategy is Strategy.ROLLING else None)
    if _at_once(plan.steps, plan.hold_back) and not reaches(plan.dark.bake, 3 * plan.poll):
        allowed = f"at least 3 × poll ({seconds(3 * plan.poll)}): the new version is compared with stable's time before"
        yield Problem("dark.bake", seconds(plan.dark.bake), allowed)
    mains = _errors(file)
    if not mains:
        yield Problem("metrics", "no errors", "one {errors: …} among them: what every release is judged by")
    for index, _ in mains[1:]:
        allowed = "errors once; what else fails is {failures: …}, with a name"
        yield Problem(f"metrics[{index}].errors", "errors again", allowed)
    for (index, _), options in zip(mains, metrics_of(file), strict=False):
        yield from options.problems(f"metrics[{index}]")
    if plan.strategy is Strategy.ROLLING:
        asked = [(f"metrics[{index}]", options_of(keys)) for index, keys in mains]
        asked += [(one.path, one.options) for one in further.metrics]
        yield from (
            Problem(path, "flagserver", _BY_MACHINE) for path, one in asked if isinstance(one, FlagServerOptions)
        )
    kinds = {one.name: one.kind for one in further.settings}
    for index, keys in enumerate(file.limits):
        kind = MetricKind.ERRORS if keys.metric == "errors" else kinds.get(keys.metric)
        if kind is not None and keys.max is not None and _above(keys.max, kind) is None:
            yield Problem(f"limits[{index}].max", str(keys.max), _MOST.get(kind, "a number"))
    for index, check in enumerate(file.verify):
        if isinstance(check, HttpCheckKeys) and not 0 < check.within <= plan.verify:
            limit = seconds(plan.verify)
            allowed = f"more than 0s and at most timeouts.verify ({limit})"
            yield Problem(f"verify[{index}].within", seconds(check.within), allowed)
    yield from hook_problems(file.hooks, plan)


def _in_the_file(problem: Problem, places: Sequence[int], *, rolls: bool) -> Problem:
    path = _PATHS.get(problem.path, problem.path)
    if rolls and path.startswith("steps"):
        path = "batches" + path.removeprefix("steps")
    if (found := re.match(r"metrics\[(\d+)\]", path)) is not None:
        path = f"metrics[{places[int(found[1])]}]{path[found.end() :]}"
    if path.startswith("policies."):
        path = path.replace(".budget", ".after")
    allowed = problem.allowed.replace("stepTimeout", "timeouts.step")
    return Problem(path, problem.value, allowed, problem.hint)
