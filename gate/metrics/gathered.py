"""All metrics of a rollout as one source: the errors, and the further ones read beside them at the same time."""

import threading
from collections.abc import Mapping

from gate.metrics.source import Gauge, Question, Source
from rampgate.evidence import Measured, Reading, SourceDown, VerdictReason


class Gathered:
    """One reading takes as long as the slowest source, not as all of them: the lease runs meanwhile."""

    def __init__(self, errors: Source, further: Mapping[str, Gauge]) -> None:
        self._errors = errors
        self._further = further

    def read(self, question: Question) -> Reading | SourceDown:
        found: dict[str, Measured | SourceDown] = {}

        def measure(name: str, gauge: Gauge) -> None:
            try:
                found[name] = gauge.read(question)
            except Exception as error:
                text = f"a fault in the source itself: {type(error).__name__}"
                found[name] = SourceDown(at=question.at, reason=VerdictReason.SOURCE_UNREADABLE, text=text)

        # Daemons, so that a cancelled job does not wait for them: users go back first.
        threads = [threading.Thread(target=measure, args=one, daemon=True) for one in self._further.items()]
        for thread in threads:
            thread.start()
        reading = self._errors.read(question)
        for thread in threads:
            thread.join()
        if isinstance(reading, SourceDown):
            return reading
        return Reading(at=reading.at, stable=reading.stable, canary=reading.canary, metrics=found)
