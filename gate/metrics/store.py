"""A store that is asked in queries: what differs from one to the next, and what is made of the numbers it gives.

What a metric is made of is said here once for all stores: ``FIGURES``. Only whole answers count: a figure that is
missing beside others ends the reading as ``Down``.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from gate.fetch import Visit
from gate.foreign import cut
from gate.metrics.asking import (
    ARMS,
    Login,
    What,
    answered,
    both_arms,
    count_of,
    empty,
    unreadable,
)
from gate.metrics.keys import AbsentErrors
from gate.metrics.source import Question, Wanted
from rampgate.criteria import ERRORS, MetricKind
from rampgate.evidence import (
    ArmName,
    Counters,
    Histogram,
    Measure,
    Measured,
    Moments,
    Reading,
    SourceDown,
    Value,
)
from rampgate.plan import seconds

FIGURES: Mapping[MetricKind, tuple[str, ...]] = {
    MetricKind.ERRORS: ("requests", "errors"),
    MetricKind.COUNT: ("requests", "events"),
    MetricKind.LATENCY: ("requests",),
    MetricKind.MEAN: ("count", "sum", "squares"),
    MetricKind.VALUE: ("value",),
}
"""What each kind is made of, the figure first without which an arm is absent. Latency has one more for each bound."""

BUCKETS = "buckets"
"""The one query that a whole histogram comes from, where a store has such."""


def main(requests: str, errors: str) -> Wanted:
    """What every rollout is judged by. Errors first: what is counted in between is no error yet."""
    return Wanted(name=ERRORS, kind=MetricKind.ERRORS, queries={"errors": errors, "requests": requests})


def place_of(path: str, figure: str) -> str:
    """Where a figure's query stands in the configuration."""
    inside = figure if not figure[:1].isdigit() else f"within.{seconds(float(figure))}"
    return f"{path}.queries.{inside}"


Named = tuple[str, ArmName]
Texts = Mapping[Named, object]
"""What is asked for each figure of each arm; as text, it is what people read."""


class Store(Protocol):
    """What differs from store to store. What cannot be believed raises ``Down``."""

    kind: str
    timeout: float
    absent_errors: AbsentErrors
    hint: str

    def login(self) -> Login: ...

    def moment(self, question: Question) -> float:
        """The moment that figures are read up to, in seconds since the epoch."""
        ...

    def texts(self, question: Question) -> Texts:
        """Every query for both arms, with its values."""
        ...

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:
        """How to find each figure; nothing where there is no series."""
        ...


Spread = Callable[[Visit, Question, object], Histogram | None]
"""How a store that can finds a whole histogram with one query."""


class StoreSource:
    """Both arms' requests and errors out of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, question: Question) -> Reading | SourceDown:
        store = self._store

        def read(visit: Visit) -> Reading:
            texts = store.texts(question)
            number = store.numbers(visit, question, texts)

            def count(what: What, arm: ArmName) -> int | None:
                found = number((what, arm))
                return None if found is None else count_of(found, str(texts[what, arm]))

            return both_arms(
                store.moment(question),
                count,
                lambda what, arm: str(texts[what, arm]),
                absent_errors=store.absent_errors,
                hint=store.hint,
            )

        return answered(store.kind, question, store.timeout, store.login, read)


class StoreGauge:
    """Both arms' figures of one further metric out of a store."""

    def __init__(self, store: Store, wanted: Wanted, spread: Spread | None = None) -> None:
        self._store = store
        self._wanted = wanted
        self._spread = spread

    def read(self, question: Question) -> Measured | SourceDown:
        store = self._store

        def read(visit: Visit) -> Measured:
            texts = store.texts(question)
            for (figure, arm), text in texts.items():
                if arm is ArmName.CANARY and str(text) == str(texts[figure, ArmName.STABLE]):
                    shown = cut(str(text), 300)
                    raise unreadable(
                        f"the {figure} query is the same for both arms, so nothing tells them apart: {shown}"
                    )
            if self._spread is not None and BUCKETS in self._wanted.queries:
                found = {arm: self._spread(visit, question, texts[BUCKETS, arm]) for arm in ARMS}
                return measured(found.get, str(texts[BUCKETS, ArmName.CANARY]), store.moment(question))
            number, shown = store.numbers(visit, question, texts), str(next(iter(texts.values())))
            return measured(lambda arm: self._measure(arm, number, texts), shown, store.moment(question))

        return answered(store.kind, question, store.timeout, store.login, read)

    def _measure(self, arm: ArmName, number: Callable[[Named], float | None], texts: Texts) -> Measure | None:
        """One arm's part. What is a part of the whole is asked for first: what comes in between is no part yet."""
        kind = self._wanted.kind
        whole, *_ = FIGURES[kind]
        others = [figure for figure in self._wanted.queries if figure != whole]
        found = {figure: number((figure, arm)) for figure in (*others, whole)}
        if found[whole] is None:
            return None
        for figure in others:
            if found[figure] is None:
                if self._store.absent_errors is AbsentErrors.UNKNOWN or kind is MetricKind.MEAN:
                    text = f"the {figure} query has no series for {arm}: {cut(str(texts[figure, arm]), 300)}"
                    raise empty(f"{text}; {self._store.hint}" if kind is not MetricKind.MEAN else text)
                found[figure] = 0.0
        return measure_of(kind, {figure: value for figure, value in found.items() if value is not None}, "the query")


def measured(arm: Callable[[ArmName], Measure | None], shown: str, at: float | None = None) -> Measured:
    """Both arms' parts, up to this moment. Raises ``Down`` where neither has any."""
    parts = {one: arm(one) for one in ARMS}
    if all(part is None for part in parts.values()):
        raise empty(f"there is no series for either arm: {cut(shown, 300)}")
    return Measured(stable=parts[ArmName.STABLE], canary=parts[ArmName.CANARY], at=at)


def measure_of(kind: MetricKind, found: Mapping[str, float], shown: str) -> Measure:
    """What the figures make; for latency, the ones beside the requests are named by their bounds in seconds.

    Raises ``Down`` for what is no count where one must be.
    """
    match kind:
        case MetricKind.VALUE:
            return Value(value=found["value"])
        case MetricKind.MEAN:
            return Moments(count=count_of(found["count"], shown), sum=found["sum"], squares=found["squares"])
        case MetricKind.LATENCY:
            within = sorted((float(name), value) for name, value in found.items() if name != "requests")
            return Histogram(
                bounds=tuple(bound for bound, _ in within),
                counts=tuple(count_of(value, shown) for _, value in within),
                total=count_of(found["requests"], shown),
            )
        case _:
            part = found[FIGURES[kind][1]]
            return Counters(requests=count_of(found["requests"], shown), errors=count_of(part, shown))
