"""What the configuration file says, as values: what everything else in the gate works with.

Durations are seconds and shares 1/100 000. Nothing in here is a secret; where one is needed, the file names the
environment variable that holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gate import deploy
from gate.metrics import Options, Wanted
from rampgate.plan import RolloutPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """A page of the dark version that must answer. ``within``: the longest it may take, in seconds.

    ``url`` holds ``{{slot}}`` or ``{{version}}``, or maps each slot to its own address. ``headers`` are sent,
    ``answers`` must come back; ``patience`` is for how many seconds it is tried again.
    """

    url: str | Mapping[str, str]
    status: int = 200
    within: float = 5.0
    contains: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A hook that looks at the dark version, and fails when it is not fit to be seen."""

    command: str | tuple[str, ...]


CheckConfig = HttpCheck | CommandCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherMetric:
    """A metric beside the errors: what is wanted, of whom, and at which path of the file that stands."""

    path: str
    wanted: Wanted
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubWishes:
    """What GitHub is told beside the comment. ``environment_url`` may hold ``{{slot}}`` and ``{{version}}``."""

    deployments: bool = True
    status: bool = True
    environment_url: str | None = None


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
    document: Mapping[str, Any] = field(default_factory=dict)
