"""The InfluxDB source against the program itself: sums, absence, silence, and versions that would be queries."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.metrics import InfluxOptions
from gate.metrics.keys import AbsentErrors
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import asking_for, means
from tests.real.influxdb import InfluxDB, influxdb

EVIL = "v2\\' OR 1=1; DROP DATABASE shop; --"
WHERE = """FROM "http" WHERE "version" = '{{version}}' AND time >= {{start}} AND time < {{stop}}"""
QUERIES = {"requests": f'SELECT sum("requests") {WHERE}', "errors": f'SELECT sum("errors") {WHERE}'}
NOW = 1_700_000_000
DELAY = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    with influxdb(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


def _read(server: InfluxDB, canary: str, stable: str = "v1", at: float = NOW, **options: Any) -> Reading | SourceDown:
    given = InfluxOptions(url=server.url, **({"database": "shop", "timeout": 5.0} | QUERIES | options))
    assert not list(given.problems("metrics[0]"))
    return given.source(means()).read(asking_for(canary, stable, at))


def _down(answer: Reading | SourceDown, reason: VerdictReason) -> str:
    assert isinstance(answer, SourceDown), answer
    assert answer.reason is reason, answer
    return answer.text


@pytest.mark.parametrize("version", ["v2", EVIL, '"} or vector(1)', "v 2,=é"])
def test_points_of_both_arms_become_counters_whatever_the_version_is_called(server: InfluxDB, version: str) -> None:
    server.asks("DROP MEASUREMENT http")
    for name, times in (("v1", 9), (version, 1)):
        for at in range(NOW - 600, NOW + 60, 60):
            server.writes(name, "requests", 100 * times, at)
            server.writes(name, "errors", times, at)
    first, later = _read(server, version), _read(server, version, at=NOW + 30)
    assert first == Reading(
        at=NOW - DELAY, stable=Counters(requests=9_000, errors=90), canary=Counters(requests=1_000, errors=10)
    )
    assert later == Reading(
        at=NOW + 20, stable=Counters(requests=9_900, errors=99), canary=Counters(requests=1_100, errors=11)
    )


def test_what_is_not_there_is_absent_or_down_and_never_zero(server: InfluxDB) -> None:
    server.asks("DROP MEASUREMENT http")
    _down(_read(server, "v2"), VerdictReason.SOURCE_EMPTY)
    server.writes("v1", "requests", 7, NOW - 60)
    assert "absentErrors" in _down(_read(server, "v2"), VerdictReason.SOURCE_EMPTY)
    answer = _read(server, "v2", absent_errors=AbsentErrors.ZERO)
    assert answer == Reading(at=NOW - DELAY, stable=Counters(requests=7, errors=0), canary=None)


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (QUERIES["requests"] + " GROUP BY code", "series"),
        (QUERIES["requests"].replace("sum", "mean"), "counter"),
        (QUERIES["requests"].replace("SELECT sum(", "SELECT sum(("), "HTTP 400"),
        (QUERIES["requests"] + " GROUP BY time(1m)", "rows"),
        (QUERIES["requests"].replace('sum("requests")', 'sum("requests"), count("requests")'), "columns"),
    ],
)
def test_what_is_no_count_is_no_evidence(server: InfluxDB, requests: str, words: str) -> None:
    server.asks("DROP MEASUREMENT http")
    for code, count in (("a", 3), ("b", 4)):
        for version in ("v1", "v2"):
            server.writes(version, f'code="{code}",errors=1i,requests', count, NOW - 60 - ord(code))
    if "GROUP BY code" in requests:
        requests = requests.replace("GROUP BY code", 'GROUP BY "version"').replace(
            """ "version" = '{{version}}'""", """ "version" =~ /{{version}}|v1|v2/"""
        )
    answer = _read(server, "v2", requests=requests)
    assert words in _down(answer, VerdictReason.SOURCE_UNREADABLE)


def test_a_version_in_a_regular_expression_matches_itself_alone(server: InfluxDB) -> None:
    server.asks("DROP MEASUREMENT http")
    for version in ("v1", "v/2.+", "v/2xx"):
        server.writes(version, "errors=0i,requests", 5, NOW - 60)
    queries = {what: text.replace("= '{{version}}'", "=~ /^{{version}}$/") for what, text in QUERIES.items()}
    answer = _read(server, "v/2.+", **queries)
    assert isinstance(answer, Reading), answer
    assert answer.canary == Counters(requests=5, errors=0)


def test_a_server_that_is_frozen_is_down_and_comes_back(server: InfluxDB) -> None:
    server.asks("DROP MEASUREMENT http")
    for version in ("v1", "v2"):
        server.writes(version, "errors=0i,requests", 5, NOW - 60)
    server.send(signal.SIGSTOP)
    begun = time.monotonic()
    _down(_read(server, "v2", timeout=0.5), VerdictReason.SOURCE_UNREACHABLE)
    assert time.monotonic() - begun < 20
    server.send(signal.SIGCONT)
    assert isinstance(_read(server, "v2"), Reading)


def test_a_server_that_is_gone_is_down(tmp_path: Path) -> None:
    with influxdb(tmp_path) as gone:
        pass
    _down(_read(gone, "v2"), VerdictReason.SOURCE_UNREACHABLE)
