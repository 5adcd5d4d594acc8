"""The source that needs nothing further: what the SDKs in the apps counted and told the flag server."""

from collections.abc import Iterator
from dataclasses import dataclass

from gate.errors import FlagServerUnreachableError, RampgateError
from gate.foreign import cut, harmless
from gate.metrics.source import Means, Question, Source, TelemetryApi
from rampgate.evidence import Reading, SourceDown, VerdictReason
from rampgate.problem import Problem


class FlagServerSource:
    """Reads the telemetry of the rollout. The flag server counts both arms itself: an arm nobody met counts zero."""

    def __init__(self, api: TelemetryApi) -> None:
        self._api = api

    def read(self, question: Question) -> Reading | SourceDown:
        try:
            telemetry = self._api.telemetry(question.rollout_id)
        except FlagServerUnreachableError as error:
            return _down(question, VerdictReason.SOURCE_UNREACHABLE, error)
        except RampgateError as error:
            return _down(question, VerdictReason.SOURCE_UNREADABLE, error)
        counters = (telemetry.stable, telemetry.canary)
        if min(min(one.requests, one.errors) for one in counters) < 0:
            text = "telemetry: the flag server answers with counts below zero"
            return SourceDown(at=question.at, reason=VerdictReason.SOURCE_UNREADABLE, text=text)
        return Reading(at=telemetry.at, stable=telemetry.stable, canary=telemetry.canary)


def _down(question: Question, reason: VerdictReason, error: RampgateError) -> SourceDown:
    return SourceDown(at=question.at, reason=reason, text=f"telemetry: {cut(harmless(error.what), 300)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagServerOptions:
    """``metrics: [{errors: flagserver}]``: there is nothing to set."""

    def problems(self, path: str) -> Iterator[Problem]:  # noqa: ARG002
        return iter(())

    def credentials(self) -> tuple[str, ...]:
        return ()

    def source(self, means: Means) -> Source:
        return FlagServerSource(means.telemetry)
