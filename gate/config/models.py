"""The configuration file's keys, as pydantic reads them: the one list of what may stand in it.

The editors' schema is made from these classes. What the values mean together is `resolve.py`'s business.
"""

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from gate.config.deploys import deploy_keys
from gate.config.github import GitHubKeys, RevertKeys
from gate.config.hooks import MOST_HOOKS, HookKeys
from gate.config.keys import Keys
from gate.config.notify import MOST_NOTIFIED, NotifyKeys
from gate.config.rules import CommandsKeys
from gate.config.sources import metric
from gate.config.steps import BatchKeys, ConfirmKeys, StepKeys
from gate.config.values import HttpCheck
from gate.config.words import (
    Command,
    Duration,
    Line,
    Most,
    Name,
    Probe,
    Share,
    number,
    one_of,
    placeholders,
    refusal,
)
from gate.judge import limits
from rampgate.criteria import JUDGE_BOUNDS, Better, JudgeSettings, Limit, MetricKind, MetricSettings
from rampgate.evidence import VerdictWord
from rampgate.plan import (
    ALLOWED_POLICIES,
    DEFAULT_BUDGETS,
    MOST_STEPS,
    MOST_TARGETS,
    FlagKind,
    OnGateLost,
    Policy,
    RolloutPlan,
    Strategy,
    Supersede,
    UsersFollow,
)

_PLAN = RolloutPlan(flag="", environment="", steps=())
_JUDGE = JudgeSettings()
_LIMIT = Limit()
_METRIC = MetricSettings(name="", kind=MetricKind.ERRORS)
_HTTP = HttpCheck(url="")


class DarkKeys(Keys):
    """The time before the first user: deployed and verified, at 0 %."""

    bake: Duration = Field(default=_PLAN.dark.bake, description="The least time to stay dark.")
    confirm: ConfirmKeys | None = Field(default=None, description="Asks for a person's yes before the first user.")


class TimeoutKeys(Keys):
    """How long each thing may take."""

    deploy: Duration = Field(default=_PLAN.deploy, description="The deploy hook.")
    verify: Duration = Field(default=_PLAN.verify, description="The verification of the dark version.")
    retire: Duration = Field(default=_PLAN.retire, description="Taking the old version away, or undoing the new one.")
    step: Duration = Field(default=_PLAN.step_timeout, description="One step.")
    pause: Duration = Field(default=_PLAN.pause, description="A person's pause; then users go back to stable.")
    hold: Duration = Field(default=_PLAN.hold, description="A hold by a policy; then users go back to stable.")


class InconclusiveKeys(Keys):
    """Valid data, but not enough of it."""

    after: Duration = Field(
        default=DEFAULT_BUDGETS[VerdictWord.INCONCLUSIVE].seconds, description="How long it may stand."
    )
    then: Annotated[Policy, *one_of(*ALLOWED_POLICIES["policies.inconclusive"])] = Field(
        default=DEFAULT_BUDGETS[VerdictWord.INCONCLUSIVE].then, description="What follows."
    )


class NoTrafficKeys(Keys):
    """Neither arm has traffic."""

    after: Duration = Field(
        default=DEFAULT_BUDGETS[VerdictWord.NO_TRAFFIC].seconds, description="How long it may stand."
    )
    then: Annotated[Policy, *one_of(*ALLOWED_POLICIES["policies.no_traffic"])] = Field(
        default=DEFAULT_BUDGETS[VerdictWord.NO_TRAFFIC].then, description="What follows."
    )


class SourceDownKeys(Keys):
    """The metrics cannot be read."""

    after: Duration = Field(
        default=DEFAULT_BUDGETS[VerdictWord.SOURCE_DOWN].seconds, description="How long it may stand."
    )
    then: Annotated[Policy, *one_of(*ALLOWED_POLICIES["policies.source_down"])] = Field(
        default=DEFAULT_BUDGETS[VerdictWord.SOURCE_DOWN].then, description="What follows."
    )


class PolicyKeys(Keys):
    """What follows when a verdict stands for too long."""

    model_config = ConfigDict(alias_generator=None)

    inconclusive: InconclusiveKeys = Field(default=InconclusiveKeys(), description="Valid data, but not enough of it.")
    no_traffic: NoTrafficKeys = Field(default=NoTrafficKeys(), description="Neither arm has traffic.")
    source_down: SourceDownKeys = Field(default=SourceDownKeys(), description="The metrics cannot be read.")


class FurtherKeys(Keys):
    """A metric beside the errors."""

    name: Name | None = Field(default=None, description="What to call it; left out, what it is.")
    margin: Annotated[float, *number(*JUDGE_BOUNDS["margin"])] = Field(
        default=_METRIC.margin, description="The largest harmless ratio, worse arm to better."
    )
    floor: Annotated[float, *number(*JUDGE_BOUNDS["floor"])] = Field(
        default=_METRIC.floor, description="The rate below which nothing is reverted."
    )
    weight: Share | None = Field(
        default=None, description="Its part of what the further metrics share, such as 60%; together they make 100%."
    )
    better: Annotated[Better, *one_of(*Better)] = Field(
        default=_METRIC.better, description="lower, or higher: which way it is good."
    )


def _condition(value: Any) -> str:
    try:
        limits.condition(value if isinstance(value, str) else "")
    except ValueError as error:
        allowed = f"a condition such as `result <= 2%`: {error}"
        raise refusal(allowed) from None
    return str(value)


Condition = Annotated[str, BeforeValidator(_condition), WithJsonSchema({"type": "string", "minLength": 1})]


class LimitKeys(Keys):
    """A fixed limit on the canary's own figures, beside the test and never instead of it."""

    metric: Name = Field(default=_LIMIT.metric, description="errors, or the name of a further metric.")
    max: Most | None = Field(
        default=None, description="Short for a failure above this: 2% of requests, 500ms for p99, or a plain figure."
    )
    success: Condition | None = Field(default=None, description="What a good measurement meets.")
    failure: Condition | None = Field(default=None, description="What a bad measurement meets.")
    failure_limit: Annotated[int, *number(0, 1000, whole=True)] = Field(
        default=_LIMIT.failure_limit, description="How many bad measurements are allowed."
    )
    inconclusive_limit: Annotated[int, *number(0, 1000, whole=True)] = Field(
        default=_LIMIT.inconclusive_limit, description="How many may be neither."
    )
    consecutive_error_limit: Annotated[int, *number(0, 1000, whole=True)] = Field(
        default=_LIMIT.consecutive_error_limit, description="How many in a row may fail to measure."
    )

    @model_validator(mode="after")
    def _says_something(self) -> "LimitKeys":
        if (self.max is None) == (self.success is None and self.failure is None):
            raise refusal("max, or a condition under success, failure or both")
        return self


DeployKeys = deploy_keys(Keys)


class HttpCheckKeys(Keys):
    """A page of the dark version that must answer."""

    url: Probe = Field(description="Its address with {{slot}} or {{version}}, or one for each slot.")
    status: Annotated[int, *number(100, 599, whole=True)] = Field(
        default=_HTTP.status, description="The status it must have."
    )
    within: Duration = Field(default=_HTTP.within, description="The longest it may take.")
    contains: Line | None = Field(default=None, description="Text that must be in it.")
    headers: dict[str, Line] = Field(default={}, description="Headers to send.")
    answers: dict[str, Line] = Field(default={}, description="Headers that must come back.")
    patience: Duration = Field(default=_HTTP.patience, description="For how long it is tried again.")
    forced: bool = Field(
        default=_HTTP.forced, description="true: as a tester, sent to the new version by a tester token."
    )

    @model_validator(mode="after")
    def _names_the_arm(self) -> "HttpCheckKeys":
        if self.forced:
            if not any(placeholders(text) for text in (self.contains or "", *self.answers.values())):
                raise refusal(
                    "{{version}} or {{slot}} in contains or answers: else nobody knows which version answered"
                )
            return self
        texts = [self.url] if isinstance(self.url, str) else []
        if texts and not any(placeholders(text) for text in (*texts, *self.headers.values())):
            allowed = (
                "{{slot}}, {{version}} or {{target}} in the address or a header: else it asks what users already see"
            )
            raise refusal(allowed)
        return self


class CommandCheckKeys(Keys):
    """A hook that fails when the dark version is not fit to be seen."""

    command: Command = Field(description="A line for the shell, or a program and its arguments.")


def _check_kind(value: Any) -> str | None:
    found = [key for key in ("url", "command") if isinstance(value, dict) and key in value]
    return f"={found[0]}" if found else None


Metric = metric(Keys, FurtherKeys)
MOST_METRICS = 12
Check = Annotated[
    Annotated[HttpCheckKeys, Tag("=url")] | Annotated[CommandCheckKeys, Tag("=command")],
    Discriminator(_check_kind, custom_error_type="check", custom_error_message="check"),
]


class File(Keys):
    """The whole of .github/rampgate.yml."""

    flag: Name = Field(description="The flag that decides which version a user meets.")
    environment: Name | None = Field(default=None, description="The environment, where the input does not name one.")
    deploy: DeployKeys = Field(  # type: ignore[valid-type]
        description="How a version gets into its slot, such as {command: ./deploy.sh}."
    )
    metrics: list[Metric] = Field(  # type: ignore[valid-type]
        description="What to judge by, such as [{errors: flagserver}].", min_length=1, max_length=MOST_METRICS
    )
    steps: list[StepKeys] = Field(
        default=[], description="The ramp, such as [10, 50, 100].", min_length=1, max_length=MOST_STEPS
    )
    strategy: Annotated[Strategy, *one_of(*Strategy)] = Field(default=_PLAN.strategy, description="How users move.")
    targets: list[Name] = Field(
        default=[], description="The machines of a rolling rollout, in the order they are replaced in.",
        max_length=MOST_TARGETS,
    )  # fmt: skip
    batches: list[BatchKeys] = Field(
        default=[], description="The ramp of a rolling rollout, such as [10%, 50%, all].", min_length=1,
        max_length=MOST_STEPS,
    )  # fmt: skip
    max_unavailable: Annotated[int, *number(1, MOST_TARGETS, whole=True)] = Field(
        default=_PLAN.max_unavailable, description="How many targets may be away at once."
    )
    users_follow: Annotated[UsersFollow, *one_of(*UsersFollow)] = Field(
        default=_PLAN.users_follow, description="What decides which version a user meets: the flag, or the machine."
    )
    kind: Annotated[FlagKind, *one_of(*FlagKind)] = Field(
        default=_PLAN.kind, description="rollout: two slots that trade places; release: off, then on, once."
    )
    dark: DarkKeys = Field(default=DarkKeys(), description="The time before the first user.")
    verify: list[Check] = Field(default=[], description="What the dark version must pass.", max_length=20)
    hooks: list[HookKeys] = Field(
        default=[],
        description="Commands and addresses that are asked at moments of the rollout.",
        max_length=MOST_HOOKS,
    )
    notify: list[NotifyKeys] = Field(
        default=[], description="Who hears of a rollout, by whatever service they use.", max_length=MOST_NOTIFIED
    )
    hold_back: Share = Field(
        default=_PLAN.hold_back, description="The percentage left on stable while the last step bakes."
    )
    poll: Duration = Field(default=_PLAN.poll, description="How often to look.")
    lease: Duration = Field(default=_PLAN.lease, description="How long the gate may be silent.")
    stale_after: Duration = Field(
        default=_PLAN.stale_after, description="After how long without contact an app serves stable."
    )
    heartbeat: Duration = Field(
        default=_PLAN.heartbeat, description="How often the flag server tells apps that it is there."
    )
    drain_timeout: Duration = Field(
        default=_PLAN.drain, description="How long requests under way have, once their users have left."
    )
    scale_down_delay: Duration = Field(
        default=_PLAN.scale_down_delay, description="How long the old version stays warm."
    )
    margin: Annotated[float, *number(*JUDGE_BOUNDS["margin"])] = Field(
        default=_JUDGE.margin, description="The largest harmless ratio of error rates, new to stable."
    )
    floor: Annotated[float, *number(*JUDGE_BOUNDS["floor"])] = Field(
        default=_JUDGE.floor, description="The error rate below which nothing is reverted."
    )
    alpha: Annotated[float, *number(*JUDGE_BOUNDS["alpha"])] = Field(
        default=_JUDGE.alpha, description="The largest chance to revert a healthy release."
    )
    beta: Annotated[float, *number(*JUDGE_BOUNDS["beta"])] = Field(
        default=_JUDGE.beta, description="The largest chance to widen a release that is at the limit."
    )
    min_polls: Annotated[int, *number(*JUDGE_BOUNDS["minPolls"], whole=True)] = Field(
        default=_JUDGE.min_polls, description="The fewest polls of a step before it may be left."
    )
    limits: list[LimitKeys] = Field(
        default=[], description="Fixed limits on the canary's own figures, beside the test.", max_length=20
    )
    strict: bool = Field(
        default=_JUDGE.strict, description="Refuse a plan with a step that cannot exclude what it has to."
    )
    on_gate_lost: Annotated[OnGateLost, *one_of(*OnGateLost)] = Field(
        default=_PLAN.on_gate_lost, description="What the flag server does when the gate falls silent."
    )
    supersede: Annotated[Supersede, *one_of(*Supersede)] = Field(
        default=_PLAN.supersede, description="What a newer rollout does to an unfinished one."
    )
    salt: Name | None = Field(
        default=_PLAN.salt, description="A word that services share whose users must move together."
    )
    first_deploy: Annotated[Policy, *one_of(*ALLOWED_POLICIES["firstDeploy"])] = Field(
        default=_PLAN.first_deploy, description="What happens where there is no stable version to compare with."
    )
    timeouts: TimeoutKeys = Field(default=TimeoutKeys(), description="How long each thing may take.")
    policies: PolicyKeys = Field(default=PolicyKeys(), description="What follows when a verdict stands for too long.")
    on_revert: RevertKeys = Field(default=RevertKeys(), description="What is opened when a version is taken back.")
    github: GitHubKeys = Field(default=GitHubKeys(), description="What GitHub is told beside the comment.")
    commands: CommandsKeys = Field(default=CommandsKeys(), description="How comments give orders, and who may.")
