"""Graphite as a source: counters as they are, sums only where every interval is still there."""

import json
from typing import Any

import pytest

from gate.metrics import GraphiteOptions, Source
from gate.metrics.graphite import Stores
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import QUESTION, SECRET, SourceContract, asking_for, means
from tests.gate.metrics.scripted import Asked, Reply, Script, ScriptedServer, scripted

REQUESTS = "sumSeries(shop.{{version}}.*.requests)"
ERRORS = "sumSeries(shop.{{version}}.*.errors)"
STOP, START = 1_699_999_990, 1_699_995_400


def _source(url: str, environ: dict[str, str] | None = None, **options: Any) -> Source:
    given = {"requests": REQUESTS, "errors": ERRORS, "stores": Stores.COUNTERS, "timeout": 1.5} | options
    return GraphiteOptions(url=url, **given).source(means(environ))


def _series(*points: tuple[object, int]) -> dict[str, Any]:
    return {"target": "shop", "tags": {}, "datapoints": [list(point) for point in points]}


def _body(*series: Any) -> bytes:
    return json.dumps(series).encode()


def _count(asked: Asked, arms: dict[str, Counters]) -> int:
    target = asked.query["target"]
    return int(getattr(arms[target.split(".")[1]], "requests" if "requests" in target else "errors"))


class _CountersKind:
    at = float(STOP)

    def source(self, url: str) -> Source:
        return _source(url, {"G_TOKEN": SECRET}, token_env="G_TOKEN")

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            assert asked.path == "/render"
            count = _count(asked, {"v1": stable, "v2": canary})
            return Reply(body=_body(_series((0, STOP - 30), (count, STOP - 20), (None, STOP - 10), (count + 9, STOP))))

        return answer


class TestCounters(SourceContract):
    kind = _CountersKind()

    def test_a_counter_is_its_last_value_before_the_moment_of_both_arms(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series((5.0, STOP - 200), (None, STOP - 100), (7, STOP))))
        answer = self.kind.source(server.url).read(QUESTION)
        assert answer == Reading(at=STOP, stable=Counters(requests=5, errors=5), canary=Counters(requests=5, errors=5))
        assert {(one.query["from"], one.query["until"]) for one in server.asked} == {(str(STOP - 320), str(STOP))}

    def test_a_value_of_long_ago_is_no_series(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series((5.0, STOP - 400), (None, STOP - 10))))
        self.down(server.url, VerdictReason.SOURCE_EMPTY)

    def test_several_series_are_not_added_up_by_guess(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series((1, STOP - 10)), _series((2, STOP - 10))))
        assert "sumSeries" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    @pytest.mark.parametrize("value", ["7", True, 0.5, -1, [1], {}])
    def test_only_a_count_is_taken(self, server: ScriptedServer, value: object) -> None:
        server.script = lambda _: Reply(body=_body(_series((value, STOP - 10))))
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    @pytest.mark.parametrize(
        "body",
        [
            b'[{"target":"x"}]',
            b'[{"datapoints":[[1]]}]',
            b'[{"datapoints":[[1,"soon"]]}]',
            b"[7]",
            b'[{"datapoints":{}}]',
        ],
    )
    def test_points_that_are_none_are_no_evidence(self, server: ScriptedServer, body: bytes) -> None:
        server.script = lambda _: Reply(body=body)
        self.down(server.url)

    def test_an_endless_value_is_no_count(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b'[{"datapoints":[[NaN,%d]]}]' % (STOP - 10))
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_a_version_with_dots_is_asked_for_as_clients_write_it(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series((1, STOP - 10))))
        self.kind.source(server.url).read(asking_for("v1.2.3"))
        assert server.asked[1].query["target"] == "sumSeries(shop.v1_2_3.*.errors)"

    @pytest.mark.parametrize("version", ["v2.*x", "*", "{v1,v2}", "v2) , randomWalk('x'", 'v"', "", "v 2", "é"])
    def test_a_version_that_a_path_cannot_name_asks_nothing(self, server: ScriptedServer, version: str) -> None:
        answer = self.kind.source(server.url).read(asking_for(version))
        assert isinstance(answer, SourceDown)
        assert answer.reason is VerdictReason.SOURCE_EMPTY
        assert server.asked == []


TAGGED = {
    "requests": "sumSeries(seriesByTag('name=requests', 'version={{version}}'))",
    "errors": "sumSeries(seriesByTag('name=errors', 'version=~^{{version}}$'))",
}


def test_a_tags_value_is_asked_for_as_it_is_and_a_patterns_by_its_letters() -> None:
    with scripted() as server:
        server.script = lambda _: Reply(body=_body(_series((1, STOP - 10))))
        _source(server.url, **TAGGED).read(asking_for("v1.2 (rc)"))
    targets = [asked.query["target"] for asked in server.asked]
    assert "'version=~^v1\\.2 \\(rc\\)$'" in targets[1]
    assert "'version=v1.2 (rc)'" in targets[3]


@pytest.mark.parametrize("version", ["~.*", "v2'), randomWalk('x", 'a"b', "a;b", "a\\", "", "a\nb", "é"])
def test_a_version_that_no_tag_can_hold_asks_nothing(version: str) -> None:
    with scripted() as server:
        answer = _source(server.url, **TAGGED).read(asking_for(version))
        assert isinstance(answer, SourceDown)
        assert server.asked == []


class _SumsKind:
    at = float(STOP)

    def source(self, url: str) -> Source:
        return _source(url, {"G_TOKEN": SECRET}, token_env="G_TOKEN", stores=Stores.SUMS)

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            count = _count(asked, {"v1": stable, "v2": canary})
            points: list[tuple[object, int]] = [(None, at) for at in range(START - 10, STOP + 10, 10)]
            points[0] = (1_000, points[0][1])
            points[1] = (count - min(count, 3), points[1][1])
            points[-2] = (min(count, 3), points[-2][1])
            points[-1] = (500, points[-1][1])
            return Reply(body=_body(_series(*points)))

        return answer


class TestSums(SourceContract):
    kind = _SumsKind()

    def test_only_whole_intervals_within_the_window_are_added_up(self, server: ScriptedServer) -> None:
        answer = self.kind.source(server.url).read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.at == STOP
        assert server.asked[0].query["from"] == str(START - 10)

    def test_points_that_were_rolled_up_are_no_sums(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series(*((1, at) for at in range(START - 40, STOP, 60)))))
        assert "60 s apart" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_store_that_keeps_too_little_would_let_sums_fall(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_body(_series(*((1, at) for at in range(START + 600, STOP, 10)))))
        assert "keeps less" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_sum_that_is_no_count_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(
            body=_body(_series(*((0.25 if at == START else 1, at) for at in range(START, STOP, 10))))
        )
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)


def test_what_cannot_be_asked_is_refused() -> None:
    options = {"url": "http://g", "requests": REQUESTS, "errors": ERRORS, "stores": Stores.COUNTERS}
    assert list(GraphiteOptions(**options).problems("m")) == []
    bad = options | {"requests": "shop.requests", "errors": "shop.{{start}}", "interval": 0.5}
    assert {one.path for one in GraphiteOptions(**bad).problems("m")} == {
        "m.queries.requests",
        "m.queries.errors",
        "m.interval",
    }
