"""The keys under `hooks:`, and what they come to: who is asked, when, and for how long."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from gate.config.keys import Keys
from gate.config.values import HookConfig, Moment
from gate.config.words import Address, Command, Duration, Name, Variable, number, one_of, refusal
from rampgate.plan import RolloutPlan, seconds
from rampgate.problem import Problem

MOST_HOOKS = 20
_LONGEST = 300.0
_WAIT = 1800.0
_FAILURES = 2


class HookKeys(Keys):
    """A command or an address that is asked, or told, at a moment of the rollout."""

    when: Annotated[Moment, *one_of(*Moment)] = Field(description="At which moment.")
    name: Name | None = Field(default=None, description="What to call it; left out, its moment.")
    command: Command | None = Field(default=None, description="Exit code 0 is yes.")
    url: Address | None = Field(default=None, description="Is posted to; an answer of 200 to 299 is yes.")
    secret_env: Variable | None = Field(
        default=None, description="The environment variable with the secret that signs what is posted."
    )
    timeout: Duration = Field(default=10.0, description="How long one answer may take.")
    wait: Duration | None = Field(
        default=None, description="confirm-rollout: how long to wait for a yes; 30m left out."
    )
    failure_limit: Annotated[int, *number(0, 1000, whole=True)] | None = Field(
        default=None, description="rollout: how many failures are allowed; 2 left out."
    )

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        known = isinstance(value, dict) and {"when", "command", "url"} & value.keys()
        if known and ("command" in value) == ("url" in value):
            raise refusal("one of {when: pre-rollout, command: ./check.sh} and {when: pre-rollout, url: https://…}")
        return value


def hooks_of(keys: Sequence[HookKeys]) -> tuple[HookConfig, ...]:
    """The hooks, each with a name of its own."""
    return tuple(
        HookConfig(
            when=one.when,
            name=one.name or _nameless(keys, index),
            command=one.command,
            url=one.url,
            secret_env=one.secret_env,
            timeout=one.timeout,
            wait=_WAIT if one.wait is None else one.wait,
            failure_limit=_FAILURES if one.failure_limit is None else one.failure_limit,
        )
        for index, one in enumerate(keys)
    )


def waits(keys: Sequence[HookKeys]) -> float:
    """For how many seconds the hooks may keep the deployment waiting, together."""
    return sum(one.wait for one in hooks_of(keys) if one.when is Moment.CONFIRM_ROLLOUT)


def hook_problems(keys: Sequence[HookKeys], plan: RolloutPlan) -> Iterator[Problem]:
    """What does not fit: with the moment, with the plan, or with another hook."""
    seen: set[str] = set()
    for index, (one, hook) in enumerate(zip(keys, hooks_of(keys), strict=True)):
        path = f"hooks[{index}]"
        most, name = (
            (plan.verify, "timeouts.verify") if one.when is Moment.PRE_ROLLOUT else (_LONGEST, "the most there is")
        )
        if not 0 < one.timeout <= most:
            yield Problem(f"{path}.timeout", seconds(one.timeout), f"more than 0s and at most {seconds(most)}, {name}")
        if one.wait is not None and one.when is not Moment.CONFIRM_ROLLOUT:
            yield Problem(f"{path}.wait", f"with {one.when}", "no wait: only confirm-rollout waits by itself")
        if one.failure_limit is not None and one.when is not Moment.ROLLOUT:
            yield Problem(f"{path}.failureLimit", f"with {one.when}", "no limit: only rollout hooks fail by number")
        if one.secret_env is not None and one.url is None:
            yield Problem(f"{path}.secretEnv", one.secret_env, "none: only what is posted is signed")
        if hook.name in seen:
            yield Problem(f"{path}.name", hook.name, "a name that no other hook has")
        seen.add(hook.name)


def _nameless(keys: Sequence[HookKeys], index: int) -> str:
    """Its moment; with a number from the second such hook on."""
    earlier = sum(one.name is None and one.when is keys[index].when for one in keys[:index])
    return f"{keys[index].when}-{earlier + 1}" if earlier else str(keys[index].when)
