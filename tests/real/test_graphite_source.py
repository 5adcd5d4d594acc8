"""The Graphite source against the programs themselves: counters, sums, roll-up, absence."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gate.metrics import GraphiteOptions, Question
from gate.metrics.graphite import Stores
from gate.metrics.keys import AbsentErrors
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from rampgate.rollout import Slot
from tests.gate.metrics.contract import means
from tests.real.graphite import Graphite, graphite
from tests.real.prometheus import PATIENCE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphite]:
    with graphite(tmp_path_factory.mktemp("graphite")) as server:
        yield server


def _now() -> int:
    # Whole intervals of the near past: Graphite keeps nothing older than its retention.
    return int(time.time()) // 60 * 60 - 120


def _read(server: Graphite, top: str, now: int, **options: Any) -> Reading | SourceDown:
    given: dict[str, Any] = {
        "requests": f"sumSeries({top}.{{{{version}}}}.*.requests)",
        "errors": f"sumSeries({top}.{{{{version}}}}.*.errors)",
        "stores": Stores.COUNTERS,
        "timeout": 20.0,
    }
    made = GraphiteOptions(url=server.url, **(given | options))
    assert not list(made.problems("metrics[0]"))
    stable, canary = Slot(name="blue", version="v1.0"), Slot(name="green", version="v1.1")
    question = Question(
        rollout_id="r", flag="shop", environment="p", attempt=1, stable=stable, canary=canary, since=now - 600, at=now
    )
    return made.source(means()).read(question)


def _becomes(server: Graphite, top: str, now: int, expected: Reading, **options: Any) -> None:
    """Reads until it is so: between carbon's memory and its file a point is out of sight for a moment."""
    until = time.monotonic() + PATIENCE
    while (reading := _read(server, top, now, **options)) != expected:
        assert time.monotonic() < until, reading


def _says(server: Graphite, words: str, top: str, now: int, **options: Any) -> SourceDown:
    """Reads until it is down for this reason."""
    until = time.monotonic() + PATIENCE
    while not isinstance(answer := _read(server, top, now, **options), SourceDown) or words not in answer.text:
        assert time.monotonic() < until, answer
    return answer


def test_counters_of_several_hosts_are_read_at_one_moment(server: Graphite) -> None:
    now = _now()
    server.reports(*(
        (f"counters.v1_{minor}.host{host}.{what}", times * (10 - minor), now - 30)
        for minor in (0, 1) for host in (1, 2) for what, times in (("requests", 100), ("errors", 1))
    ))  # fmt: skip
    _becomes(
        server,
        "counters",
        now,
        Reading(at=now - 10, stable=Counters(requests=2_000, errors=20), canary=Counters(requests=1_800, errors=18)),
    )


def _sums(server: Graphite, top: str, now: int) -> None:
    points = [
        (f"{top}.v1_{minor}.host1.{what}", count, at)
        for minor in (0, 1)
        for what, count in (("requests", 10.0 - minor), ("errors", 1.0))
        for at in range(now - 5 * 60, now + 20, 10)
    ]
    server.reports(*points)


def test_sums_rise_by_what_each_interval_counted(server: Graphite) -> None:
    now = _now()
    _sums(server, "sums", now)
    first = Reading(at=now - 10, stable=Counters(requests=290, errors=29), canary=Counters(requests=261, errors=29))
    _becomes(server, "sums", now, first, stores=Stores.SUMS)
    made = {"stores": Stores.SUMS, "delay": 0.0}
    _becomes(
        server,
        "sums",
        now,
        Reading(at=now, stable=Counters(requests=300, errors=30), canary=Counters(requests=270, errors=30)),
        **made,
    )


def test_a_retention_that_rolls_up_within_the_window_is_told(server: Graphite) -> None:
    now = _now()
    _sums(server, "short", now)
    answer = _says(server, "60 s apart", "short", now, stores=Stores.SUMS)
    assert answer.reason is VerdictReason.SOURCE_UNREADABLE


def test_what_is_not_there_is_absent_or_down_and_never_zero(server: Graphite) -> None:
    now = _now()
    answer = _read(server, "nothing", now)
    assert isinstance(answer, SourceDown)
    assert answer.reason is VerdictReason.SOURCE_EMPTY
    server.reports(("half.v1_0.host1.requests", 7.0, now - 30))
    _says(server, "absentErrors", "half", now)
    _becomes(
        server,
        "half",
        now,
        Reading(at=now - 10, stable=Counters(requests=7, errors=0), canary=None),
        absent_errors=AbsentErrors.ZERO,
    )


def test_several_series_and_a_target_that_is_none_are_no_evidence(server: Graphite) -> None:
    now = _now()
    server.reports(*((f"many.v1_{minor}.host{host}.requests", 5.0, now - 30) for minor in (0, 1) for host in (1, 2)))
    for requests, words in (
        ("many.{{version}}.*.requests", "2 series"),
        ("sumSeries(many.{{version}}", "no series for either arm"),
    ):
        _says(server, words, "many", now, requests=requests, errors="many.{{version}}.x.errors")
