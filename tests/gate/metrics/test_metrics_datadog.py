"""Datadog as a source: what it documents its API to answer, which its own client reads as well."""

import json
from typing import Any

import pytest
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.v1.api.metrics_api import MetricsApi

from gate.metrics import DatadogOptions, Source
from gate.metrics.keys import AbsentErrors
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import CANARY, QUESTION, SECRET, STABLE, SourceContract, asking_for, means
from tests.gate.metrics.scripted import Asked, Reply, Script, ScriptedServer, scripted

REQUESTS = "sum:shop.requests{env:prod,version:{{version}}}.as_count()"
ERRORS = "sum:shop.errors{env:prod,version:{{version}}}.as_count()"
ENVIRON = {"DD_API_KEY": SECRET, "DD_APP_KEY": SECRET + "-app"}
STOP, HOURS, START = 1_699_999_860, 1_699_999_200, 1_699_995_600 - 3600


def _source(url: str, **options: Any) -> Source:
    given = {"requests": REQUESTS, "errors": ERRORS, "timeout": 1.5} | options
    return DatadogOptions(url=url, **given).source(means(ENVIRON))


def _answer(asked: Asked, points: dict[str, list[tuple[int, float | None]]], **more: Any) -> Reply:
    """As the API documents it: series by query, each with the interval and the points that its rollup has."""
    queries = [one + ")" for one in asked.query["query"].split("),") if one]
    series = []
    for index, query in enumerate(queries):
        name, _, rest = query.partition("{")
        version = rest.partition("version:")[2].partition("}")[0]
        length = int(query.rpartition("rollup(sum, ")[2].rstrip(")"))
        found = points.get(f"{name.rpartition('.')[2]} {version} {length}")
        if found is not None:
            series.append(_series(index, length, found))
    return Reply(body=json.dumps({"status": "ok", "res_type": "time_series", "series": series} | more).encode())


def _series(index: int, length: int, points: list[tuple[int, float | None]]) -> dict[str, Any]:
    return {
        "query_index": index,
        "interval": length,
        "metric": "shop.requests",
        "aggr": "sum",
        "scope": "env:prod",
        "tag_set": [],
        "start": 0,
        "end": 0,
        "length": len(points),
        "pointlist": [[at * 1000.0, value] for at, value in points],
    }


def _points(stable: Counters, canary: Counters) -> dict[str, list[tuple[int, float | None]]]:
    found: dict[str, list[tuple[int, float | None]]] = {}
    for version, arm in (("v1", stable), ("v2", canary)):
        for name, count in (("requests", arm.requests), ("errors", arm.errors)):
            found[f"{name} {version} 3600"] = [(HOURS - 3600, float(count - min(3, count)))]
            found[f"{name} {version} 60"] = [(HOURS, float(min(3, count))), (HOURS + 60, None), (STOP, 900.0)]
    return found


class _DatadogKind:
    at = float(STOP)

    def source(self, url: str) -> Source:
        return _source(url)

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            assert asked.path == "/api/v1/query"
            return _answer(asked, _points(stable, canary))

        return answer


class TestDatadog(SourceContract):
    kind = _DatadogKind()

    def test_whole_hours_and_then_whole_minutes_are_asked_for_up_to_one_moment(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        assert [(one.query["from"], one.query["to"]) for one in server.asked] == [
            (str(START), str(HOURS - 1)),
            (str(HOURS), str(STOP - 1)),
        ]
        assert server.asked[0].query["query"].count(".rollup(sum, 3600)") == 4
        assert server.asked[1].query["query"].count(".rollup(sum, 60)") == 4
        assert server.asked[0].headers["dd-api-key"] == SECRET
        assert server.asked[0].headers["dd-application-key"] == SECRET + "-app"

    def test_no_series_are_absence_and_not_zero(self, server: ScriptedServer) -> None:
        points = _points(STABLE, CANARY)
        server.script = lambda asked: _answer(asked, {key: value for key, value in points.items() if "v1" in key})
        assert self.kind.source(server.url).read(QUESTION) == Reading(at=STOP, stable=STABLE, canary=None)

    def test_errors_without_a_series_may_be_said_to_be_none(self, server: ScriptedServer) -> None:
        points = {key: value for key, value in _points(STABLE, CANARY).items() if "errors" not in key}
        server.script = lambda asked: _answer(asked, points)
        assert "absentErrors: zero" in self.down(server.url, VerdictReason.SOURCE_EMPTY).text
        answer = _source(server.url, absent_errors=AbsentErrors.ZERO).read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.canary == Counters(requests=1_000, errors=0)

    @pytest.mark.parametrize(
        "series",
        [
            [_series(0, 300, [(HOURS, 1.0)])],
            [_series(0, 60, [(HOURS + 7, 1.0)])],
            [_series(0, 60, [(HOURS, 1.0)]), _series(0, 60, [(HOURS, 2.0)])],
            [_series(9, 60, [(HOURS, 1.0)])],
            [{"pointlist": [[1, 2]]}],
            [_series(0, 60, []) | {"pointlist": [[HOURS * 1000, "7"]]}],
            [_series(0, 60, []) | {"pointlist": 7}],
            ["x"],
        ],
    )
    def test_what_is_not_one_series_of_whole_intervals_is_no_evidence(
        self, server: ScriptedServer, series: Any
    ) -> None:
        server.script = lambda asked: _answer(asked, _points(STABLE, CANARY), series=series)
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    @pytest.mark.parametrize("more", [{"status": "error", "error": "no such metric"}, {"error": "timed out"}])
    def test_an_error_in_an_answer_is_no_evidence(self, server: ScriptedServer, more: dict[str, str]) -> None:
        server.script = lambda asked: _answer(asked, _points(STABLE, CANARY), **more)
        assert more["error"] in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_limit_that_was_reached_is_told_in_its_own_words(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(status=429, body=b'{"errors":["Rate limit of 1600 requests in 3600 seconds"]}')
        assert "Rate limit" in self.down(server.url, VerdictReason.SOURCE_UNREACHABLE).text

    @pytest.mark.parametrize(
        ("version", "tag"),
        [
            ("V2.0-rc", "v2.0-rc"),
            ("v2} OR version:{*", "v2_or_version:_"),
            ("v2,version:v1", "v2_version:v1"),
            ("*", None),
            ("", None),
            ('"} or vector(1)', "_or_vector_1"),
            ("a" * 201, None),
        ],
    )
    def test_a_version_becomes_what_datadog_makes_of_a_tag(
        self, server: ScriptedServer, version: str, tag: str | None
    ) -> None:
        answer = self.kind.source(server.url).read(asking_for(version))
        if tag is None:
            assert isinstance(answer, SourceDown)
            assert server.asked == []
        else:
            wanted = f"sum:shop.errors{{env:prod,version:{tag.rstrip('_')}}}.as_count().rollup(sum, 3600)"
            assert wanted in server.asked[0].query["query"]


def test_datadogs_own_client_reads_what_these_tests_answer() -> None:
    with scripted() as server:
        server.script = _DatadogKind().good(STABLE, CANARY)
        settings = Configuration(host=server.url, api_key={"apiKeyAuth": "a", "appKeyAuth": "b"})
        with ApiClient(settings) as client:
            query = REQUESTS.replace("{{version}}", "v2") + ".rollup(sum, 3600)"
            answer = MetricsApi(client).query_metrics(_from=START, to=STOP, query=query)
    assert answer.status == "ok"
    (series,) = answer.series
    assert (series.query_index, series.interval) == (0, 3600)
    assert [point.value for point in series.pointlist] == [[(HOURS - 3600) * 1000.0, 997.0]]


@pytest.mark.parametrize(
    "query",
    [
        "avg:shop.requests{version:{{version}}}.as_count()",
        "sum:shop.requests{version:{{version}}}",
        "sum:shop.requests{version:{{version}}}.as_rate()",
        "sum:shop.requests{version:{{version}}} by {host}.as_count()",
        "sum:a{version:{{version}}}.as_count(),sum:b{*}.as_count()",
        "sum:shop.requests{*}.as_count()",
        "sum:{{version}}{*}.as_count()",
        "",
    ],
)
def test_what_is_not_one_count_for_one_arm_is_refused(query: str) -> None:
    options = DatadogOptions(requests=query, errors=ERRORS)
    assert {one.path for one in options.problems("m")} == {"m.queries.requests"}


def test_good_options_have_no_problems_and_name_their_secrets() -> None:
    options = DatadogOptions(requests=REQUESTS, errors=ERRORS, site="datadoghq.eu")
    assert list(options.problems("m")) == []
    assert options.credentials() == ("DD_API_KEY", "DD_APP_KEY")
    bad = DatadogOptions(requests=REQUESTS, errors=ERRORS, site="evil/x", interval=7.0, url="ftp://x")
    assert {one.path for one in bad.problems("m")} == {"m.site", "m.interval", "m.url"}
