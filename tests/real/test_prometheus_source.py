"""The Prometheus source against the program itself: counters, restarts, absence, silence."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gate.metrics import Means, PrometheusOptions, Question, Wanted
from rampgate.criteria import MetricKind
from rampgate.evidence import Counters, Histogram, Measured, Reading, SourceDown, Value, VerdictReason
from rampgate.rollout import Slot, Telemetry
from tests.real.prometheus import PATIENCE, Prometheus, Shop, prometheus, shop

EVIL = '"} or vector(1) #\\'
REQUESTS = 'sum(http_requests_total{version="{{version}}"})'
ERRORS = 'sum(http_requests_total{version="{{version}}",code=~"5.."}) or vector(0)'


class _NoTelemetry:
    def telemetry(self, rollout_id: str) -> Telemetry:
        raise AssertionError(f"nobody asked for {rollout_id}")


class Town:
    """Two shops, one of each version, and the Prometheus that watches them."""

    def __init__(self, stable: Shop, canary: Shop, server: Prometheus) -> None:
        self.stable, self.canary, self.server = stable, canary, server

    def read(self, canary: str | None = None, stable: str | None = None, **options: Any) -> Reading | SourceDown:
        options = {"requests": REQUESTS, "errors": ERRORS, "timeout": 2.0} | options
        given = PrometheusOptions(url=self.server.url, **options)
        assert not list(given.problems("metrics[0]"))
        return given.source(Means(telemetry=_NoTelemetry(), environ={})).read(self.question(canary, stable))

    def question(self, canary: str | None = None, stable: str | None = None) -> Question:
        return Question(
            rollout_id="r1",
            flag="shop",
            environment="production",
            attempt=1,
            stable=Slot(name="blue", version=stable or self.stable.version),
            canary=Slot(name="green", version=canary or self.canary.version),
            since=time.time(),
            at=time.time(),
        )

    def becomes(self, stable: Counters | None, canary: Counters | None) -> Reading:
        """Reads after each scrape until the counts are these."""
        until = time.monotonic() + PATIENCE
        while True:
            reading = self.read()
            if isinstance(reading, Reading) and (reading.stable, reading.canary) == (stable, canary):
                return reading
            assert time.monotonic() < until, reading
            self.stable.await_scrape()


def _down(answer: Reading | SourceDown, reason: VerdictReason) -> str:
    assert isinstance(answer, SourceDown), answer
    assert answer.reason is reason, answer
    return answer.text


@contextmanager
def _town(folder: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        stable, canary = (stack.enter_context(shop(*names)) for names in (("v1", "blue"), (EVIL, "green")))
        stable.counts, canary.counts = dict(OPENING[0]), dict(OPENING[1])
        yield Town(stable, canary, stack.enter_context(prometheus(folder, stable, canary)))


OPENING = {"200": 900, "500": 9}, {"200": 100}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    # Prometheus takes five seconds to find its first target: one for all tests that leave it running.
    with _town(tmp_path_factory.mktemp("prometheus")) as town:
        yield town


@pytest.fixture
def town(shared: Town) -> Town:
    shared.stable.counts, shared.canary.counts = dict(OPENING[0]), dict(OPENING[1])
    shared.becomes(STABLE, CANARY)
    return shared


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Town]:
    with _town(tmp_path) as town:
        town.becomes(STABLE, CANARY)
        yield town


STABLE, CANARY = Counters(requests=909, errors=9), Counters(requests=100, errors=0)


def test_raw_counters_of_both_arms_are_read_through_growth_and_restart(town: Town) -> None:
    town.canary.counts = {"200": 140, "503": 3}
    town.becomes(STABLE, Counters(requests=143, errors=3))
    town.canary.counts = {"200": 2}
    town.becomes(STABLE, Counters(requests=2, errors=0))


def test_a_histogram_and_a_value_are_read_as_further_metrics(town: Town) -> None:
    options = PrometheusOptions(url=town.server.url, timeout=2.0)
    means = Means(telemetry=_NoTelemetry(), environ={})
    question = town.question()
    buckets = {"buckets": 'sum by (le) (took_seconds_bucket{version="{{version}}"})'}
    found = options.gauge(means, Wanted(name="latency", kind=MetricKind.LATENCY, queries=buckets)).read(question)
    assert isinstance(found, Measured), found
    assert found.stable == Histogram(bounds=(0.1, 1.0), counts=(454, 909), total=909)
    assert found.canary == Histogram(bounds=(0.1, 1.0), counts=(50, 100), total=100)
    quick = 'sum(took_seconds_bucket{version="{{version}}",le="0.1"})'
    share = {"value": quick + ' / sum(http_requests_total{version="{{version}}"})'}
    value = options.gauge(means, Wanted(name="quick", kind=MetricKind.VALUE, queries=share)).read(question)
    assert isinstance(value, Measured)
    assert value.canary == Value(value=0.5)


def test_what_is_not_there_is_absent_or_down_and_never_zero(town: Town) -> None:
    reading = town.read(canary="v9")
    assert isinstance(reading, Reading)
    assert (reading.stable, reading.canary) == (STABLE, None)
    assert "v9" in _down(town.read(canary="v9", stable="v8"), VerdictReason.SOURCE_EMPTY)
    without = ERRORS.removesuffix(" or vector(0)")
    assert "or vector(0)" in _down(town.read(errors=without), VerdictReason.SOURCE_EMPTY)


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ('http_requests_total{slot=~"blue|{{slot}}"}', "series"),
        ('sum(http_requests_total{slot="{{slot}}"}) * 0 / 0', "nan"),
        ('sum(http_requests_total{slot="{{slot}}"}) / 7', "counter"),
        ('sum(http_requests_total{slot="{{slot}}"}))', "HTTP 400"),
        ('scalar(sum(http_requests_total{slot="{{slot}}"}))', "not series"),
        ('http_requests_total{slot="{{slot}}"}[5s]', "not series"),
    ],
)
def test_what_is_no_count_is_no_evidence(town: Town, requests: str, words: str) -> None:
    assert words in _down(town.read(requests=requests), VerdictReason.SOURCE_UNREADABLE)


def test_a_slot_is_matched_by_a_regular_expression_as_it_is_written(town: Town) -> None:
    reading = town.read(
        requests='sum(http_requests_total{version=~"{{version}}|none"})',
        errors='sum(http_requests_total{version=~"{{version}}",code="500"}) or vector(0)',
    )
    assert isinstance(reading, Reading)
    assert (reading.stable, reading.canary) == (STABLE, CANARY)


def test_a_canary_that_is_gone_is_soon_absent(doomed: Town) -> None:
    doomed.canary.shutdown()
    doomed.canary.socket.close()
    doomed.becomes(STABLE, None)


def test_prometheus_killed_or_frozen_is_down_and_comes_back(doomed: Town) -> None:
    doomed.server.send(signal.SIGSTOP)
    assert "did not answer within 500ms" in _down(doomed.read(timeout=0.5), VerdictReason.SOURCE_UNREACHABLE)
    doomed.server.send(signal.SIGCONT)
    doomed.becomes(STABLE, CANARY)
    doomed.server.kill()
    _down(doomed.read(), VerdictReason.SOURCE_UNREACHABLE)
    doomed.stable.counts = {"200": 1_000, "500": 10}
    doomed.server.start()
    doomed.becomes(Counters(requests=1_010, errors=10), CANARY)
