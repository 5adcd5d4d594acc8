"""InfluxDB as a source: InfluxQL by 1.x' API, Flux by 2.x', and what everything else on that port might answer."""

import base64
import json
import re
from typing import Any

import pytest

from gate.metrics import InfluxOptions, Source
from gate.metrics.keys import AbsentErrors
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import QUESTION, SECRET, SourceContract, asking_for, means
from tests.gate.metrics.scripted import Asked, Reply, Script, ScriptedServer, scripted

WHERE = """FROM "http" WHERE "version" = '{{version}}' AND time >= {{start}} AND time < {{stop}}"""
REQUESTS, ERRORS = f'SELECT sum("requests") {WHERE}', f'SELECT sum("errors") {WHERE}'
FLUX = """from(bucket: "shop") |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._field == "%s" and r.version == "{{version}}") |> group() |> sum()"""
FLUX_REQUESTS, FLUX_ERRORS = FLUX % "requests", FLUX % "errors"


def _source(url: str, environ: dict[str, str] | None = None, **options: Any) -> Source:
    given = {"requests": REQUESTS, "errors": ERRORS, "database": "shop", "timeout": 1.5} | options
    if "org" in options:
        given = {"requests": FLUX_REQUESTS, "errors": FLUX_ERRORS, "timeout": 1.5} | options
    return InfluxOptions(url=url, **given).source(means(environ))


def _found(query: str, arms: dict[str, Counters]) -> int:
    version = re.search(r"""version"? ={1,2} ['"](\w+)""", query)
    assert version is not None, query
    what = "requests" if '"requests"' in query else "errors"
    return int(getattr(arms[version[1]], what))


def _result(*series: Any, **more: Any) -> bytes:
    return json.dumps({"results": [{"statement_id": 0, "series": list(series)} | more]}).encode()


def _sum(value: object) -> bytes:
    return _result({"name": "http", "columns": ["time", "sum"], "values": [[0, value]]})


class _InfluxQLKind:
    at = 1_699_999_990.0

    def source(self, url: str) -> Source:
        return _source(url, {"INFLUX_TOKEN": SECRET}, token_env="INFLUX_TOKEN")

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            assert (asked.path, asked.query["db"]) == ("/query", "shop")
            return Reply(body=_sum(_found(asked.query["q"], {"v1": stable, "v2": canary})))

        return answer


class TestInfluxQL(SourceContract):
    kind = _InfluxQLKind()

    def test_both_arms_are_summed_over_one_window_from_an_hour_before_the_rollout(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        queries = [asked.query["q"] for asked in server.asked]
        assert len(queries) == 4
        assert queries[0] == ERRORS.replace("{{version}}", "v1").replace("{{start}}", "1699995400s").replace(
            "{{stop}}", "1699999990s"
        )
        assert {query.partition("time >=")[2] for query in queries} == {" 1699995400s AND time < 1699999990s"}

    def test_an_hour_later_the_window_begins_where_it_began(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_sum(5))
        self.kind.source(server.url).read(asking_for("v2", at=QUESTION.at + 3600))
        assert "time >= 1699995400s AND time < 1700003590s" in server.asked[0].query["q"]

    def test_no_points_are_absence_and_not_zero(self, server: ScriptedServer) -> None:
        server.script = lambda asked: Reply(body=_sum(7) if "'v1'" in asked.query["q"] else _result())
        answer = self.kind.source(server.url).read(QUESTION)
        assert answer == Reading(at=self.kind.at, stable=Counters(requests=7, errors=7), canary=None)

    def test_a_requests_query_that_finds_nothing_for_either_arm_is_named(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b'{"results":[{"statement_id":0}]}')
        assert 'SELECT sum("requests")' in self.down(server.url, VerdictReason.SOURCE_EMPTY).text

    def test_errors_that_are_not_found_are_unknown_unless_they_are_said_to_be_none(
        self, server: ScriptedServer
    ) -> None:
        server.script = lambda asked: Reply(body=_sum(7) if '"requests"' in asked.query["q"] else _result())
        assert "absentErrors: zero" in self.down(server.url, VerdictReason.SOURCE_EMPTY).text
        answer = _source(server.url, absent_errors=AbsentErrors.ZERO).read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.canary == Counters(requests=7, errors=0)

    @pytest.mark.parametrize("value", [-1, 0.5, "7", True, [7], {"a": 1}, 1e300])
    def test_only_a_count_is_taken(self, server: ScriptedServer, value: object) -> None:
        server.script = lambda _: Reply(body=_sum(value))
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_a_value_of_null_is_no_series(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_sum(None))
        self.down(server.url, VerdictReason.SOURCE_EMPTY)

    @pytest.mark.parametrize(
        "body",
        [
            _result({"name": "a", "columns": ["time", "n"], "values": [[0, 1]]}, {"name": "b"}),
            _result({"name": "a", "columns": ["time", "n"], "values": [[0, 1], [1, 2]]}),
            _result({"name": "a", "columns": ["time", "n", "m"], "values": [[0, 1, 2]]}),
            _result({"name": "a", "columns": ["time", "n"], "values": [[0, 1]], "partial": True}),
            _result({"name": "a", "columns": ["time", "n"], "values": [[0, 1]]}, partial=True),
            _result({"name": "a", "columns": 7, "values": None}),
            _result(error="query-timeout limit exceeded"),
            b'{"results":[]}',
            b'{"results":[{},{}]}',
            b'{"results":[7]}',
            b'{"results":[{"series":{}}]}',
        ],
    )
    def test_several_series_rows_columns_or_half_an_answer_are_no_evidence(
        self, server: ScriptedServer, body: bytes
    ) -> None:
        server.script = lambda _: Reply(body=body)
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE, VerdictReason.SOURCE_EMPTY)

    def test_a_version_cannot_leave_its_string(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_sum(7))
        self.kind.source(server.url).read(asking_for("v2' OR 1=1; DROP DATABASE shop; --"))
        assert "\"version\" = 'v2\\' OR 1=1; DROP DATABASE shop; --' AND" in server.asked[1].query["q"]

    def test_one_version_in_both_slots_tells_no_arm_from_the_other(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_sum(7))
        answer = self.kind.source(server.url).read(asking_for("v1"))
        assert isinstance(answer, SourceDown)
        assert "same for both arms" in answer.text


def _table(*values: str, column: str = "_value") -> bytes:
    rows = "".join(f",_result,0,{value}\r\n" for value in values)
    return f",result,table,{column}\r\n{rows}\r\n".encode()


class _FluxKind:
    at = 1_699_999_990.0

    def source(self, url: str) -> Source:
        return _source(url, {"INFLUX_TOKEN": SECRET}, token_env="INFLUX_TOKEN", org="acme & co")

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            assert (asked.path, asked.query) == ("/api/v2/query", {"org": "acme & co"})
            query = json.loads(asked.body)["query"]
            body = _table(str(_found(query, {"v1": stable, "v2": canary})))
            return Reply(body=body, content_type="text/csv; charset=utf-8")

        return answer


class TestFlux(SourceContract):
    kind = _FluxKind()

    def csv(self, server: ScriptedServer, body: bytes) -> None:
        server.script = lambda _: Reply(body=body, content_type="text/csv; charset=utf-8")

    def test_the_query_is_sent_as_the_api_wants_it(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        asked = server.asked[0]
        assert asked.headers["authorization"] == f"Token {SECRET}"
        assert asked.headers["accept"] == "application/csv"
        sent = json.loads(asked.body)
        assert sent["type"] == "flux"
        assert "range(start: 2023-11-14T20:56:40Z, stop: 2023-11-14T22:13:10Z)" in sent["query"]

    def test_an_answer_without_a_table_is_no_series(self, server: ScriptedServer) -> None:
        self.csv(server, b"\r\n")
        self.down(server.url, VerdictReason.SOURCE_EMPTY)

    @pytest.mark.parametrize(
        "body",
        [
            _table("1", "2"),
            _table("1") + _table("2"),
            _table("1", column="n"),
            _table("one"),
            _table("-1"),
            _table("NaN"),
            _table("1.5"),
            _table(""),
            b",result,table,_value\r\n,_result,0\r\n",
            b",result,table,_value\r\n,_result,0,12",
            b"error,reference\r\nfailed to initialize execute state: could not find bucket,897\r\n\r\n",
            b'"broken',
            b"\xff\xfe,\r\n",
        ],
    )
    def test_anything_but_one_count_is_no_evidence(self, server: ScriptedServer, body: bytes) -> None:
        self.csv(server, body)
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_an_error_in_the_middle_of_an_answer_is_told(self, server: ScriptedServer) -> None:
        self.csv(server, _table() + b"error,reference\r\ncould not find bucket,897\r\n\r\n")
        assert "could not find bucket" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_version_cannot_leave_its_string(self, server: ScriptedServer) -> None:
        self.csv(server, _table("7"))
        self.kind.source(server.url).read(asking_for('v2" or true or "${x}'))
        query = json.loads(server.asked[1].body)["query"]
        assert 'r.version == "v2\\x22 or true or \\x22\\x24\\x7bx\\x7d")' in query


def test_a_user_and_a_password_are_sent_as_basic_authentication() -> None:
    with scripted() as server:
        environ = {"U": "ann", "P": "pw"}
        _source(server.url, environ, user_env="U", password_env="P").read(QUESTION)
    assert server.asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"ann:pw").decode()


def _problems(**options: Any) -> dict[str, str]:
    given = {"url": "http://influx.example", "requests": REQUESTS, "errors": ERRORS, "database": "shop"} | options
    found = InfluxOptions(**given).problems("m")
    return {problem.path: str(problem) for problem in found}


def test_good_options_have_no_problems() -> None:
    assert _problems() == {}
    assert _problems(database=None, org="acme", requests=FLUX_REQUESTS, errors=FLUX_ERRORS) == {}


def test_everything_wrong_is_said_at_once() -> None:
    found = _problems(org="acme", requests="SELECT 1", errors=ERRORS.replace("'", ""), delay=-1, timeout=0)
    assert found.keys() == {"m", "m.queries.requests", "m.queries.errors", "m.delay", "m.timeout"}


def test_a_query_without_an_end_is_refused_because_the_arms_would_be_counted_up_to_different_moments() -> None:
    assert "{{stop}}" in _problems(requests=REQUESTS.replace("AND time < {{stop}}", ""))["m.queries.requests"]
