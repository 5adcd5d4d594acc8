"""The source that needs nothing further: what the SDKs in the apps counted and told the flag server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from gate.errors import FlagServerUnreachableError, RampgateError
from gate.foreign import cut, harmless
from gate.metrics.source import Gauge, Means, Question, Source, TelemetryApi, Wanted
from rampgate.criteria import MetricKind
from rampgate.evidence import Measured, Reading, SourceDown, VerdictReason
from rampgate.problem import Problem
from rampgate.rollout import Telemetry


class FlagServerSource:
    """Reads the telemetry of the rollout. The flag server counts both arms itself: an arm nobody met counts zero."""

    def __init__(self, api: TelemetryApi) -> None:
        self._api = api

    def read(self, question: Question) -> Reading | SourceDown:
        telemetry = _telemetry(self._api, question)
        if isinstance(telemetry, SourceDown):
            return telemetry
        counters = (telemetry.stable, telemetry.canary)
        if min(min(one.requests, one.errors) for one in counters) < 0:
            text = "telemetry: the flag server answers with counts below zero"
            return SourceDown(at=question.at, reason=VerdictReason.SOURCE_UNREADABLE, text=text)
        return Reading(at=telemetry.at, stable=telemetry.stable, canary=telemetry.canary)


class FlagServerLatency:
    """Reads how long the requests took that the SDKs timed, always in the same buckets."""

    def __init__(self, api: TelemetryApi) -> None:
        self._api = api

    def read(self, question: Question) -> Measured | SourceDown:
        telemetry = _telemetry(self._api, question)
        if isinstance(telemetry, SourceDown):
            return telemetry
        stable, canary = telemetry.stable_latency, telemetry.canary_latency
        if stable is None or canary is None:
            text = "telemetry: the flag server tells no latencies; is it an older one?"
            return SourceDown(at=question.at, reason=VerdictReason.SOURCE_EMPTY, text=text)
        return Measured(stable=stable, canary=canary, at=telemetry.at)


def _telemetry(api: TelemetryApi, question: Question) -> Telemetry | SourceDown:
    try:
        return api.telemetry(question.rollout_id)
    except FlagServerUnreachableError as error:
        return _down(question, VerdictReason.SOURCE_UNREACHABLE, error)
    except RampgateError as error:
        return _down(question, VerdictReason.SOURCE_UNREADABLE, error)


def _down(question: Question, reason: VerdictReason, error: RampgateError) -> SourceDown:
    return SourceDown(at=question.at, reason=reason, text=f"telemetry: {cut(harmless(error.what), 300)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagServerOptions:
    """``metrics: [{errors: flagserver}]``: there is nothing to set."""

    gives: ClassVar[frozenset[MetricKind]] = frozenset({MetricKind.LATENCY})
    past: ClassVar[bool] = False

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        for figure in wanted.queries:
            yield Problem(f"{path}.queries.{figure}", "a query", "no queries: the SDKs count latency by themselves")

    def problems(self, path: str) -> Iterator[Problem]:  # noqa: ARG002
        return iter(())

    def credentials(self) -> tuple[str, ...]:
        return ()

    def source(self, means: Means) -> Source:
        return FlagServerSource(means.telemetry)

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:  # noqa: ARG002
        return FlagServerLatency(means.telemetry)
