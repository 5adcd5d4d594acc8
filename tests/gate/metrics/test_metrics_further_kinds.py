"""Further metrics: what each kind is made of, store by store, and what is never taken for a figure."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gate.metrics import (
    CommandOptions,
    FlagServerOptions,
    Gauge,
    GraphiteOptions,
    Means,
    PrometheusOptions,
    Question,
    Source,
    Wanted,
    WebOptions,
    build,
)
from gate.metrics.graphite import Stores
from gate.metrics.prometheus import Unit
from rampgate.criteria import MetricKind
from rampgate.evidence import (
    Counters,
    Histogram,
    Measured,
    Moments,
    Reading,
    SourceDown,
    Value,
    VerdictReason,
)
from rampgate.rollout import Minute, Telemetry
from tests.gate.metrics.contract import CANARY, QUESTION, STABLE, means
from tests.gate.metrics.scripted import Asked, Reply, ScriptedServer, scripted

BUCKETS = Wanted(
    name="latency", kind=MetricKind.LATENCY, queries={"buckets": 'sum by (le) (d_bucket{version="{{version}}"})'}
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


def _vector(*series: tuple[Mapping[str, str], object]) -> Reply:
    result = [{"metric": labels, "value": [QUESTION.at, value]} for labels, value in series]
    body = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return Reply(body=json.dumps(body).encode())


def _prometheus(url: str, wanted: Wanted, **options: Any) -> Measured | SourceDown:
    return PrometheusOptions(url=url, **options).gauge(means(), wanted).read(QUESTION)


def _down(found: Measured | SourceDown, *words: str) -> None:
    assert isinstance(found, SourceDown), found
    assert all(word in found.text for word in words), found.text


def _buckets(**counts: object) -> Reply:
    return _vector(*(({"le": bound.replace("_", ".").removeprefix("b")}, count) for bound, count in counts.items()))


GOOD = {"b0_1": "7", "b1": "9", "b+Inf": "10"}


@pytest.mark.parametrize(("unit", "bounds"), [(Unit.SECONDS, (0.1, 1.0)), (Unit.MILLISECONDS, (0.0001, 0.001))])
def test_one_query_finds_a_whole_histogram_in_seconds(
    server: ScriptedServer, unit: Unit, bounds: tuple[float, ...]
) -> None:
    server.script = lambda asked: _buckets(**GOOD) if "v1" in asked.query["query"] else _vector()
    found = _prometheus(server.url, BUCKETS, unit=unit)
    assert found == Measured(stable=Histogram(bounds=bounds, counts=(7, 9), total=10), canary=None, at=QUESTION.at)
    assert [asked.query["time"] for asked in server.asked] == ["1700000000.250"] * 2


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (_vector(), "no series for either arm"),
        (_vector(({}, "7")), "no buckets"),
        (_vector(({"le": "1", "pod": "a"}, "7"), ({"le": "+Inf"}, "9")), "no buckets"),
        (_vector(({"le": "soon"}, "7")), "no bucket's bound"),
        (_vector(({"le": "1"}, "7"), ({"le": "1.0"}, "8")), "twice"),
        (_vector(({"le": "NaN"}, "7"), ({"le": "+Inf"}, "7")), "twice"),
        (_buckets(b1="7"), "+Inf"),
        (_vector(({"le": "+Inf"}, "7")), "+Inf"),
        (_buckets(**(GOOD | {"b1": "NaN"})), "nan"),
        (_buckets(**(GOOD | {"b1": "8.5"})), "counter"),
        (_buckets(**(GOOD | {"b1": 9})), "read"),
    ],
)
def test_what_is_no_histogram_is_no_evidence(server: ScriptedServer, reply: Reply, word: str) -> None:
    server.script = lambda _: reply
    _down(_prometheus(server.url, BUCKETS), word)


def _web(url: str, kind: MetricKind, figures: Mapping[str, object]) -> Measured | SourceDown:
    options = WebOptions(url=url + "/{{version}}")
    wanted = Wanted(name="x", kind=kind, queries={name: f'f."{name}"' for name in figures})
    return options.gauge(means(), wanted).read(QUESTION)


@pytest.mark.parametrize(
    ("kind", "figures", "measure"),
    [
        (MetricKind.ERRORS, {"requests": 10, "errors": 2}, Counters(requests=10, errors=2)),
        (MetricKind.COUNT, {"requests": 10, "events": 25}, Counters(requests=10, errors=25)),
        (MetricKind.VALUE, {"value": -0.75}, Value(value=-0.75)),
        (
            MetricKind.MEAN,
            {"count": 4, "sum": 2.5, "squares": 7.25},
            Moments(count=4, sum=2.5, squares=7.25),
        ),
        (
            MetricKind.LATENCY,
            {"requests": 10, "0.5": 9, "0.25": 4},
            Histogram(bounds=(0.25, 0.5), counts=(4, 9), total=10),
        ),
    ],
)
def test_every_kind_is_made_of_its_figures(
    server: ScriptedServer, kind: MetricKind, figures: Mapping[str, object], measure: Any
) -> None:
    server.script = lambda asked: Reply(body=json.dumps({"f": figures if asked.path == "/v1" else {}}).encode())
    assert _web(server.url, kind, figures) == Measured(stable=measure, canary=None, at=QUESTION.at)


@pytest.mark.parametrize(
    ("kind", "figures"),
    [
        (MetricKind.COUNT, {"requests": 10, "events": 2.5}),
        (MetricKind.COUNT, {"requests": 10, "events": -1}),
        (MetricKind.COUNT, {"requests": 10, "events": None}),
        (MetricKind.VALUE, {"value": "0.5"}),
        (MetricKind.VALUE, {"value": None}),
        (MetricKind.VALUE, {"value": [1, 2]}),
        (MetricKind.MEAN, {"count": 4.5, "sum": 2.5, "squares": 7.25}),
        (MetricKind.MEAN, {"count": 4, "sum": None, "squares": 7.25}),
        (MetricKind.MEAN, {"count": 4, "sum": 1e400, "squares": 7.25}),
        (MetricKind.LATENCY, {"requests": 10, "0.5": True}),
    ],
)
def test_half_a_metric_and_what_is_no_figure_are_no_evidence(
    server: ScriptedServer, kind: MetricKind, figures: Mapping[str, object]
) -> None:
    server.script = lambda _: Reply(body=json.dumps({"f": figures}).encode())
    _down(_web(server.url, kind, figures))


def test_a_value_from_graphite_is_what_was_said_last_however_counts_are_kept(server: ScriptedServer) -> None:
    points = [[0.25, 1_699_999_970], [0.75, 1_699_999_980], [None, 1_699_999_985]]
    server.script = lambda _: Reply(body=json.dumps([{"target": "x", "datapoints": points}]).encode())
    options = GraphiteOptions(url=server.url, stores=Stores.SUMS)
    wanted = Wanted(name="load", kind=MetricKind.VALUE, queries={"value": "shop.{{slot}}.load"})
    found = options.gauge(means(), wanted).read(QUESTION)
    assert isinstance(found, Measured)
    assert (found.stable, found.at) == (Value(value=0.75), 1_699_999_990.0)


@pytest.mark.parametrize("version", ['"} or vector(1)', "v2\\", "$(reboot)", "{{stable}}"])
def test_a_version_stays_in_its_place_in_further_queries_too(server: ScriptedServer, version: str) -> None:
    server.script = lambda _: _buckets(**GOOD)
    canary = QUESTION.canary.__class__(name="green", version=version)
    asked = Question(
        rollout_id="r", flag="f", environment="e", attempt=1, stable=QUESTION.stable, canary=canary, since=1.0, at=2.0
    )
    PrometheusOptions(url=server.url).gauge(means(), BUCKETS).read(asked)
    query = server.asked[-1].query["query"]
    plain = {'"': "\\x22", "\\": "\\\\"}
    assert query == BUCKETS.queries["buckets"].replace("{{version}}", "".join(plain.get(c, c) for c in version))


class TestCommand:
    def measured(self, kind: MetricKind, command: str) -> Measured | SourceDown:
        options = CommandOptions(command=command)
        return options.gauge(means({"PATH": os.environ["PATH"]}), Wanted(name="x", kind=kind)).read(QUESTION)

    @pytest.mark.parametrize(
        ("kind", "figures", "measure"),
        [
            (MetricKind.COUNT, {"requests": 10, "events": 25}, Counters(requests=10, errors=25)),
            (MetricKind.MEAN, {"count": 4, "sum": 2.5, "squares": 7}, Moments(count=4, sum=2.5, squares=7.0)),
            (
                MetricKind.LATENCY,
                {"bounds": [0.25, 1], "counts": [4, 9], "total": 10},
                Histogram(bounds=(0.25, 1.0), counts=(4, 9), total=10),
            ),
        ],
    )
    def test_it_prints_the_figures_of_the_metric_that_it_is_told(
        self, kind: MetricKind, figures: Mapping[str, Any], measure: Any
    ) -> None:
        said = json.dumps({"stable": figures, "canary": None})
        assert self.measured(kind, f"test $RAMPGATE_METRIC = x && echo '{said}'") == Measured(
            stable=measure, canary=None
        )

    @pytest.mark.parametrize(
        "figures",
        [
            {"requests": 1, "errors": 0},
            {"bounds": [1], "counts": [1, 2], "total": 3},
            {"bounds": 1, "counts": [1], "total": 3},
            {"bounds": ["1"], "counts": [1], "total": 3},
            {"bounds": [1], "counts": [0.5], "total": 3},
            {"bounds": [1], "counts": [1], "total": None},
            {"bounds": [1] * 1000, "counts": [1] * 1000, "total": 1},
            [],
        ],
    )
    def test_anything_else_is_no_evidence(self, figures: object) -> None:
        said = json.dumps({"stable": figures, "canary": figures})
        _down(self.measured(MetricKind.LATENCY, f"echo '{said}'"), "")

    def test_a_command_that_fails_is_no_evidence(self) -> None:
        _down(self.measured(MetricKind.VALUE, "echo broken >&2; exit 3"), "broken")
        _down(self.measured(MetricKind.VALUE, "echo '{\"stable\": 1}'"), "prints no")


class _Api:
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def telemetry(self, rollout_id: str) -> Telemetry:
        assert rollout_id == QUESTION.rollout_id
        return self._telemetry

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        raise AssertionError((environment, flag, since, until))


def test_the_flag_server_gives_the_latency_that_the_clients_counted() -> None:
    spread = Histogram(bounds=(0.1,), counts=(3,), total=4)
    telemetry = Telemetry(at=5.0, stable=STABLE, canary=CANARY, stable_latency=spread, canary_latency=spread)
    gauge = FlagServerOptions().gauge(Means(telemetry=_Api(telemetry)), Wanted(name="l", kind=MetricKind.LATENCY))
    assert gauge.read(QUESTION) == Measured(stable=spread, canary=spread, at=5.0)


class _Errors:
    """A source of errors, and of further metrics, that answers when it is told to."""

    def __init__(self, answer: Reading | SourceDown) -> None:
        self.answer = answer

    def read(self, question: Question) -> Reading | SourceDown:  # noqa: ARG002
        return self.answer


class _Slow:
    """Answers once as many are asked as there are: nobody waits for another."""

    def __init__(self, together: threading.Barrier) -> None:
        self._together = together

    def read(self, question: Question) -> Measured | SourceDown:  # noqa: ARG002
        self._together.wait(30)
        return Measured(stable=Value(value=1.0), canary=Value(value=2.0))


class _Broken:
    def read(self, question: Question) -> Measured | SourceDown:  # noqa: ARG002
        raise ZeroDivisionError


READING = Reading(at=1.0, stable=STABLE, canary=CANARY)


class _Options(PrometheusOptions):
    def source(self, means: Means) -> Source:  # noqa: ARG002
        return _Errors(READING)

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:  # noqa: ARG002
        return _Broken()


class TestAllTogether:
    def test_all_metrics_are_read_at_the_same_time(self) -> None:
        together = threading.Barrier(3)

        class _Both(_Options):
            def gauge(self, means: Means, wanted: Wanted) -> Gauge:  # noqa: ARG002
                return _Slow(together)

        options = _Both(url="http://x")
        wanted = [(Wanted(name=name, kind=MetricKind.VALUE), options) for name in ("a", "b", "c")]
        found = build(options, means(), wanted).read(QUESTION)
        assert isinstance(found, Reading)
        assert sorted(found.metrics) == ["a", "b", "c"]
        assert (found.at, found.stable, found.canary) == (1.0, STABLE, CANARY)

    def test_a_fault_in_one_is_no_evidence_of_it_and_harms_no_other(self) -> None:
        options = _Options(url="http://x")
        found = build(options, means(), [(Wanted(name="a", kind=MetricKind.VALUE), options)]).read(QUESTION)
        assert isinstance(found, Reading)
        broken = found.metrics["a"]
        assert isinstance(broken, SourceDown)
        assert (broken.reason, "ZeroDivisionError" in broken.text) == (VerdictReason.SOURCE_UNREADABLE, True)

    def test_errors_alone_need_no_company(self) -> None:
        assert isinstance(build(_Options(url="http://x"), means()), _Errors)


def test_a_value_may_be_calculated_by_its_store(server: ScriptedServer) -> None:
    seen: list[Asked] = []
    server.script = lambda asked: (seen.append(asked), _vector(({}, "7")))[1]
    wanted = Wanted(name="cpu", kind=MetricKind.VALUE, queries={"value": 'avg(rate(cpu{version="{{version}}"}[1m]))'})
    found = _prometheus(server.url, wanted)
    assert found == Measured(stable=Value(value=7.0), canary=Value(value=7.0), at=QUESTION.at)
    assert [asked.query["query"] for asked in seen] == [
        f'avg(rate(cpu{{version="{version}"}}[1m]))' for version in ("v1", "v2")
    ]
