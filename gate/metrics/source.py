"""What a metrics source is asked, and what it answers: both arms' raw counters at one moment, or why there are none.

A source never judges, never guesses and never raises for what the world does: what it cannot read is ``SourceDown``.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from rampgate.criteria import MetricKind
from rampgate.evidence import Measured, Reading, SourceDown
from rampgate.problem import Problem
from rampgate.rollout import Minute, Slot, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which two arms, of which rollout, at which moment (seconds since the epoch).

    ``since`` is when the rollout began: a source whose store keeps sums counts from a fixed moment before it.
    """

    rollout_id: str
    flag: str
    environment: str
    attempt: int
    stable: Slot
    canary: Slot
    since: float
    at: float


class Source(Protocol):
    """Reads raw cumulative counters."""

    def read(self, question: Question) -> Reading | SourceDown:
        """Both arms at one moment, which may lie before the question's where figures arrive late.

        An arm is ``None`` where the source has no series for it but has the other's.
        """
        ...


class Gauge(Protocol):
    """Reads one further metric."""

    def read(self, question: Question) -> Measured | SourceDown:
        """Both arms at one moment, as ``Source.read`` does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A further metric: its name, what it is made of, and the queries for that, by the figures' names.

    A query for the requests that took at most so many seconds is named by the number.
    """

    name: str
    kind: MetricKind
    queries: Mapping[str, str] = field(default_factory=dict)


class TelemetryApi(Protocol):
    """The part of the flag server that counts what apps report."""

    def telemetry(self, rollout_id: str) -> Telemetry:
        """Both arms since the attempt began.

        Raises:
            gate.errors.RampgateError: the flag server did not answer, or refused.
        """
        ...

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        """What was counted of a flag by minute and variant; moments in seconds since the epoch.

        Raises:
            gate.errors.RampgateError: the flag server did not answer, or refused.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What sources may use: the flag server, the environment with their credentials, and where commands run."""

    telemetry: TelemetryApi
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    folder: Path = Path()


class Options(Protocol):
    """A source's part of the configuration, which makes the source.

    ``gives`` are the kinds of further metrics that it has, ``past``: it can be asked about moments that have passed.
    """

    gives: ClassVar[frozenset[MetricKind]]
    past: ClassVar[bool]

    def problems(self, path: str) -> Iterator[Problem]:
        """Everything wrong with the options; ``path`` is where they stand in the configuration."""
        ...

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        """Everything wrong with the options and the queries of a further metric."""
        ...

    def credentials(self) -> tuple[str, ...]:
        """The environment variables that hold secrets: hooks do not get them, and logs do not show their values."""
        ...

    def source(self, means: Means) -> Source: ...

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        """What reads a further metric of a kind that it gives."""
        ...
