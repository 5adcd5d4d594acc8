"""What the configuration file says, as values: what everything else in the gate works with.

Durations are seconds and shares 1/100 000. Nothing in here is a secret; where one is needed, the file names the
environment variable that holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gate import deploy
from gate.metrics import Options, Wanted
from rampgate.plan import RolloutPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """A page of the dark version that must answer. ``within``: the longest it may take, in seconds.

    ``url`` holds ``{{slot}}`` or ``{{version}}``, or maps each slot to its own address. ``headers`` are sent,
    ``answers`` must come back; ``patience`` is for how many seconds it is tried again. ``forced``: it is asked as a
    tester is, so the address may be the one that users have.
    """

    url: str | Mapping[str, str]
    status: int = 200
    within: float = 5.0
    contains: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 30.0
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A hook that looks at the dark version, and fails when it is not fit to be seen."""

    command: str | tuple[str, ...]


CheckConfig = HttpCheck | CommandCheck


class Moment(StrEnum):
    """When a hook is asked or told: Flagger's names, and what they mean there."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ROLLOUT = "rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    POST_ROLLOUT = "post-rollout"
    ROLLBACK = "rollback"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookConfig:
    """A command or an address (one of the two) that is asked at a moment; each answer takes ``timeout`` at most.

    ``wait``: for how long a confirm-rollout hook may keep the deployment waiting. ``failure_limit``: how many
    failures of a rollout hook are allowed.
    """

    when: Moment
    name: str
    command: str | tuple[str, ...] | None = None
    url: str | None = None
    secret_env: str | None = None
    timeout: float = 10.0
    wait: float = 1800.0
    failure_limit: int = 2


class Topic(StrEnum):
    """What a message to people is about."""

    START = "start"
    DECISION = "decision"
    NEEDS_PERSON = "needs_person"
    NEEDS_HANDS = "needs_hands"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyConfig:
    """Who hears of what: ``to`` names the environment variable that holds the address."""

    to: str
    on: frozenset[Topic] = frozenset(Topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherMetric:
    """A metric beside the errors: what is wanted, of whom, and at which path of the file that stands."""

    path: str
    wanted: Wanted
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertWishes:
    """What is opened when a version is taken back; ``labels`` are the issue's."""

    issue: bool = False
    pull_request: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubWishes:
    """What GitHub is told beside the comment. ``environment_url`` may hold ``{{slot}}`` and ``{{version}}``."""

    deployments: bool = True
    status: bool = True
    environment_url: str | None = None
    on_revert: RevertWishes = RevertWishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file, resolved. ``metrics`` is the source of the errors, alone; ``further`` are the others.

    ``document`` is the file as it was written, with the environment it was resolved for: JSON values that
    ``from_document`` reads to the same configuration.
    """

    plan: RolloutPlan
    deploy: deploy.Options
    metrics: tuple[Options, ...]
    further: tuple[FurtherMetric, ...] = ()
    verify: tuple[CheckConfig, ...] = ()
    github: GitHubWishes = GitHubWishes()
    hooks: tuple[HookConfig, ...] = ()
    notify: tuple[NotifyConfig, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
