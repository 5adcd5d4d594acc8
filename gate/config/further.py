"""The metrics beside the errors: what each is made of, whom it asks, and how it weighs.

What a further metric leaves out of how to ask is taken from the errors' metric, where both have the same source.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from gate.config.faults import faults
from gate.config.models import File, FurtherKeys
from gate.config.sources import KINDS, connection, further_model, word_of
from gate.config.values import FurtherMetric
from gate.config.words import duration, listed
from gate.metrics import SOURCES, Options, Wanted
from gate.metrics.store import BUCKETS, FIGURES
from rampgate.criteria import MetricKind, MetricSettings
from rampgate.plan import WHOLE, percent
from rampgate.problem import Problem

MOST_BOUNDS = 30
_SAYS: Mapping[str, str] = {
    "requests": "A query for the count of all requests",
    "errors": "A query for the count of those that failed",
    "events": "A query for the count of what is to be compared",
    "count": "A query for how many values there were",
    "sum": "A query for their sum",
    "squares": "A query for the sum of their squares",
    "value": "A query for the figure",
    "within": "Queries for the requests that took at most so long, such as {250ms: …, 1s: …}",
}
_UNFIT: Mapping[MetricKind, tuple[str, ...]] = {
    MetricKind.ERRORS: ("better",),
    MetricKind.COUNT: (),
    MetricKind.LATENCY: ("better",),
    MetricKind.MEAN: ("floor",),
    MetricKind.VALUE: ("margin", "floor", "weight", "better"),
}
"""Keys without a meaning for a kind: a value is for fixed limits alone, a mean has no rate."""


@dataclass(frozen=True, slots=True)
class Further:
    """The further metrics that can be read, what the judge is to know of each, and everything that is wrong.

    ``places`` are where in the file's list the settings stand.
    """

    metrics: tuple[FurtherMetric, ...]
    settings: tuple[MetricSettings, ...]
    places: tuple[int, ...]
    problems: tuple[Problem, ...]
    unread: bool


def further_of(file: File) -> Further:
    """Read the metrics beside the errors."""
    problems: list[Problem] = []
    metrics: list[FurtherMetric] = []
    settings: list[MetricSettings] = []
    weights: list[int | None] = []
    places: list[int] = []
    unread = False
    for index, given in enumerate(list(file.metrics)):
        if not isinstance(given, dict):
            continue
        path = f"metrics[{index}]"
        try:
            keys = _keys(given)
        except ValidationError as error:
            model = further_model(_source(given), FurtherKeys)
            problems += [fault.problem for fault in faults(error, root=model, above=("metrics", index))]
            unread = True
            continue
        words = [word for word in KINDS if getattr(keys, word, None) is not None]
        if len(words) != 1:
            problems.append(Problem(path, " and ".join(words), "one of them: a metric is one thing"))
            continue
        word, kind = words[0], KINDS[words[0]]
        problems += _unfit(keys, kind, path)
        problems += (found := _Asked(keys, kind, str(getattr(keys, word)), path)).problems(file)
        wanted = Wanted(name=keys.name or word, kind=kind, queries=found.queries)
        options = found.options(file)
        if options is not None:
            if not found.wrong:
                problems += options.problems_of(wanted, path)
            metrics.append(FurtherMetric(path=path, wanted=wanted, options=options))
        one = MetricSettings(name=wanted.name, kind=kind, margin=keys.margin, floor=keys.floor, better=keys.better)
        settings.append(one)
        places.append(index)
        weights.append(keys.weight)
    tested = [place for place, one in enumerate(settings) if one.kind is not MetricKind.VALUE]
    parts, wrong = _parts([weights[place] for place in tested])
    for place, part in zip(tested, parts, strict=True):
        settings[place] = replace(settings[place], weight=part)
    return Further(tuple(metrics), tuple(settings), tuple(places), (*problems, *([] if unread else wrong)), unread)


def _source(given: Mapping[str, Any]) -> str:
    return str(given[word_of(given) or ""])


def _keys(given: Mapping[str, Any]) -> FurtherKeys:
    """The keys as the source has them. Raises ``ValidationError``."""
    keys = further_model(_source(given), FurtherKeys).model_validate(given)
    assert isinstance(keys, FurtherKeys)
    return keys


def _unfit(keys: FurtherKeys, kind: MetricKind, path: str) -> Iterator[Problem]:
    word = next(word for word, one in KINDS.items() if one is kind)
    for name in _UNFIT[kind]:
        if name in keys.model_fields_set:
            why = "a value is for fixed limits alone" if kind is MetricKind.VALUE else f"it has no meaning for {word}"
            yield Problem(f"{path}.{name}", "this key", f"no such key: {why}")


def _parts(weights: list[int | None]) -> tuple[list[float], list[Problem]]:
    """Each metric's part; those without a weight share what is left alike."""
    if not weights:
        return [], []
    given = sum(weight for weight in weights if weight is not None)
    free = sum(weight is None for weight in weights)
    alike = [1.0 / len(weights)] * len(weights)
    if (free and given >= WHOLE) or (not free and given != WHOLE):
        allowed = "less than 100 %, so that something is left for the others" if free else "100 %"
        return alike, [Problem("metrics", f"weights of {percent(given)} in all", allowed)]
    if low := next((weight for weight in weights if weight is not None and weight < WHOLE // 1000), None):
        return alike, [Problem("metrics", f"a weight of {percent(low)}", "at least 0.1 %")]
    left = (WHOLE - given) / free if free else 0.0
    return [(left if weight is None else weight) / WHOLE for weight in weights], []


class _Asked:
    """Whom a further metric asks, and what."""

    def __init__(self, keys: FurtherKeys, kind: MetricKind, source: str, path: str) -> None:
        self._keys = keys
        self._kind = SOURCES[source]
        self._source = source
        self._path = path
        self.wrong: list[Problem] = []
        self.queries = self._read(kind)

    def options(self, file: File) -> Options | None:
        """The source's options; ``None`` where something is missing."""
        main = next((one for one in file.metrics if getattr(one, "errors", None) == self._source), None)
        given: dict[str, Any] = {}
        for one in connection(self._kind):
            if one.name in self._keys.model_fields_set:
                given[one.name] = getattr(self._keys, one.name)
            elif main is not None:
                given[one.name] = getattr(main, one.name)
            elif one.default is MISSING and one.default_factory is MISSING:
                return None
        return self._kind(**given)

    def problems(self, file: File) -> Iterator[Problem]:
        """What is missing or unknown; what is asked itself is the source's to look at."""
        yield from self.wrong
        main = any(getattr(one, "errors", None) == self._source for one in file.metrics)
        for one in connection(self._kind):
            needed = one.default is MISSING and one.default_factory is MISSING and not main
            if needed and one.name not in self._keys.model_fields_set:
                field = type(self._keys).model_fields[one.name]
                allowed = (field.description or "a value").rstrip(".")
                yield Problem(f"{self._path}.{field.alias or one.name}", "nothing", allowed)

    def _read(self, kind: MetricKind) -> dict[str, str]:
        """The queries by their figures, and what is wrong with them on the way."""
        given = dict(self._keys.queries)  # type: ignore[attr-defined]
        if not any(one.name == "requests" for one in fields(self._kind)):  # type: ignore[arg-type]
            return {name: str(text) for name, text in given.items()}
        names = [*FIGURES[kind], *(["within"] if kind is MetricKind.LATENCY else [])]
        if kind is MetricKind.LATENCY and getattr(self._kind, BUCKETS, False) and not given.keys() & set(names):
            names = [BUCKETS]
        found: dict[str, str] = {}
        for name, text in given.items():
            where = f"{self._path}.queries.{name}"
            if name not in names:
                self.wrong.append(Problem(where, "this key", listed(names)))
            elif name == "within":
                found |= self._bounds(text, where)
            elif not isinstance(text, str):
                self.wrong.append(Problem(where, "a mapping", "a query"))
            else:
                found[name] = text
        for name in names:
            if name not in given:
                said = _SAYS.get(name, "A query for the buckets: sum by (le) (…_bucket{…})")
                self.wrong.append(Problem(f"{self._path}.queries.{name}", "nothing", said))
        return found

    def _bounds(self, given: Any, where: str) -> dict[str, str]:
        if not isinstance(given, dict) or not 0 < len(given) <= MOST_BOUNDS:
            self.wrong.append(Problem(where, "this", f"1 to {MOST_BOUNDS} durations, each with a query"))
            return {}
        found: dict[str, str] = {}
        for text, query in given.items():
            try:
                bound = duration(text)
            except PydanticCustomError as error:
                context: Mapping[str, Any] = error.context or {}
                self.wrong.append(Problem(f"{where}.{text}", repr(text), context["allowed"], context["hint"]))
                continue
            if bound <= 0 or repr(bound) in found:
                self.wrong.append(Problem(f"{where}.{text}", repr(text), "durations above 0s, each once"))
            found[repr(bound)] = query
        return found
