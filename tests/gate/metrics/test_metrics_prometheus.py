"""Prometheus as a source: what its query API answers, and what everything else on that port might."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from gate.metrics import Means, PrometheusOptions, Question, Source
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from rampgate.rollout import Slot, Telemetry
from tests.gate.metrics.contract import CANARY, QUESTION, SECRET, STABLE, SourceContract
from tests.gate.metrics.scripted import Asked, Reply, Script, ScriptedServer, scripted

REQUESTS = 'sum(http_requests_total{version="{{version}}"})'
ERRORS = 'sum(http_requests_total{version="{{version}}",status=~"5.."}) or vector(0)'


class _NoTelemetry:
    def telemetry(self, rollout_id: str) -> Telemetry:
        raise AssertionError(f"nobody asked for {rollout_id}")


def _source(url: str, environ: dict[str, str] | None = None, **options: Any) -> Source:
    options = {"requests": REQUESTS, "errors": ERRORS, "timeout": 1.5} | options
    return PrometheusOptions(url=url, **options).source(Means(telemetry=_NoTelemetry(), environ=environ or {}))


def _vector(*series: Any, **more: Any) -> bytes:
    result = [{"metric": {}, "value": [QUESTION.at, value]} for value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}} | more).encode()


def _answers(counts: Callable[[str, str], bytes]) -> Script:
    """By ``counts(what, version)``: what is ``requests`` or ``errors``."""

    def answer(asked: Asked) -> Reply:
        assert asked.path == "/api/v1/query"
        query = asked.query["query"]
        version = query.partition('version="')[2].partition('"')[0]
        return Reply(body=counts("errors" if "5.." in query else "requests", version))

    return answer


class _PrometheusKind:
    at = QUESTION.at

    def source(self, url: str) -> Source:
        return _source(url, {"PROM_TOKEN": SECRET}, token_env="PROM_TOKEN")

    def good(self, stable: Counters, canary: Counters) -> Script:
        arms = {"v1": stable, "v2": canary}
        return _answers(lambda what, version: _vector(str(getattr(arms[version], what))))


class TestPrometheus(SourceContract):
    kind = _PrometheusKind()

    def test_every_query_is_asked_once_per_arm_and_all_at_one_moment(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        assert [(asked.query["query"], asked.query["time"]) for asked in server.asked] == [
            (text.replace("{{version}}", version), "1700000000.250")
            for text in (ERRORS, REQUESTS)
            for version in ("v1", "v2")
        ]

    @pytest.mark.parametrize(
        ("value", "word"),
        [
            ("NaN", "nan"),
            ("+Inf", "inf"),
            ("-1", "counter"),
            ("0.2", "counter"),
            ("1e300", "counter"),
            (5, "read"),
            (None, "read"),
            ("", "read"),
            (["1"], "read"),
        ],
    )
    def test_only_a_counters_value_is_taken(self, server: ScriptedServer, value: object, word: str) -> None:
        server.script = lambda _: Reply(body=_vector(value))
        assert word in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_large_counts_may_come_in_scientific_notation(self, server: ScriptedServer) -> None:
        server.script = _answers(lambda what, _: _vector("1.25e+06" if what == "requests" else "3"))
        answer = self.kind.source(server.url).read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.canary == Counters(requests=1_250_000, errors=3)

    def test_several_series_are_not_added_up_by_guess(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("1", "2"))
        assert "2 series" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_no_series_for_either_arm_names_the_query(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector())
        text = self.down(server.url, VerdictReason.SOURCE_EMPTY).text
        assert REQUESTS.replace("{{version}}", "v2") in text

    def test_an_arm_without_requests_is_absent_while_the_other_counts(self, server: ScriptedServer) -> None:
        server.script = _answers(lambda _, version: _vector() if version == "v2" else _vector("7"))
        answer = self.kind.source(server.url).read(QUESTION)
        assert answer == Reading(at=QUESTION.at, stable=Counters(requests=7, errors=7), canary=None)

    def test_requests_without_an_error_series_are_not_free_of_errors(self, server: ScriptedServer) -> None:
        server.script = _answers(lambda what, _: _vector() if what == "errors" else _vector("7"))
        text = self.down(server.url, VerdictReason.SOURCE_EMPTY).text
        assert "or vector(0)" in text
        assert 'status=~"5.."' in text

    def test_a_warning_of_partial_data_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("7", warnings=["No StoreAPIs matched for this query"]))
        assert "partial" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_remark_on_the_query_does_not_matter(self, server: ScriptedServer) -> None:
        remark = "PromQL info: metric might not be a counter"
        server.script = lambda _: Reply(body=_vector("7", warnings=[remark], infos=["whatever"]))
        assert isinstance(self.kind.source(server.url).read(QUESTION), Reading)

    @pytest.mark.parametrize("kind", ["scalar", "string", "matrix", None, 7])
    def test_only_series_are_taken(self, server: ScriptedServer, kind: object) -> None:
        body = {"status": "success", "data": {"resultType": kind, "result": [QUESTION.at, "7"]}}
        server.script = lambda _: Reply(body=json.dumps(body).encode())
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_json_that_calls_itself_something_else_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("7"), content_type="text/html")
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_what_the_server_says_about_a_bad_query_is_passed_on_without_secrets(self, server: ScriptedServer) -> None:
        said = f"::error::parse error near {SECRET}\n"
        body = json.dumps({"status": "error", "errorType": "bad_data", "error": said}).encode()
        server.script = lambda _: Reply(status=400, body=body)
        text = self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text
        assert "HTTP 400" in text
        assert "parse error near ***" in text

    def test_an_error_in_an_answer_that_claims_success_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b'{"status":"error","errorType":"timeout","error":"query timed out"}')
        assert "timed out" in self.down(server.url, VerdictReason.SOURCE_UNREADABLE).text

    def test_a_drip_of_headers_ends_with_the_time_out(self, server: ScriptedServer) -> None:
        server.drips(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n")
        self.down(server.url, VerdictReason.SOURCE_UNREACHABLE)

    def test_a_drip_of_body_ends_with_the_time_out(self, server: ScriptedServer) -> None:
        server.drips(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ")
        self.down(server.url, VerdictReason.SOURCE_UNREACHABLE)

    def test_a_redirect_on_the_same_host_is_followed(self, server: ScriptedServer) -> None:
        good = server.script

        def moved(asked: Asked) -> Reply:
            if "moved" in asked.query:
                return good(asked)
            query = asked.query["query"].replace('"', "%22").replace(" ", "%20")
            return Reply(status=302, headers={"Location": f"/api/v1/query?moved=1&query={query}"})

        server.script = moved
        assert isinstance(self.kind.source(server.url).read(QUESTION), Reading)

    def test_redirects_in_a_circle_end(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(status=302, headers={"Location": "/api/v1/query"})
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)
        assert len(server.asked) == 4

    def test_a_server_that_stumbles_once_is_asked_again(self, server: ScriptedServer) -> None:
        good = server.script
        server.script = lambda asked: Reply(status=503) if len(server.asked) == 1 else good(asked)
        assert isinstance(self.kind.source(server.url).read(QUESTION), Reading)

    def test_a_path_before_the_api_is_kept(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("7"))
        _source(server.url + "/prometheus/").read(QUESTION)
        assert {asked.path for asked in server.asked} == {"/prometheus/api/v1/query"}

    def test_a_version_cannot_leave_its_string(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("7"))
        canary = Slot(name="green", version='"} or vector(1)')
        asked = Question(
            rollout_id="r",
            flag="f",
            environment="e",
            attempt=1,
            stable=QUESTION.stable,
            canary=canary,
            since=1.0,
            at=1.0,
        )
        _source(server.url).read(asked)
        assert server.asked[3].query["query"] == 'sum(http_requests_total{version="\\x22} or vector(1)"})'

    def test_an_arm_of_unknown_version_is_asked_for_by_slot_or_not_at_all(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_vector("7"))
        asked = Question(
            rollout_id="r",
            flag="f",
            environment="e",
            attempt=1,
            stable=Slot(name="blue"),
            canary=QUESTION.canary,
            since=1.0,
            at=1.0,
        )
        answer = _source(server.url).read(asked)
        assert isinstance(answer, SourceDown)
        assert answer.reason is VerdictReason.SOURCE_EMPTY
        assert server.asked == []
        by_slot = {"requests": 'sum(n{slot="{{slot}}"})', "errors": 'sum(x{slot="{{slot}}"})'}
        assert isinstance(_source(server.url, **by_slot).read(asked), Reading)


class TestCredentials:
    def test_a_bearer_token_comes_from_the_environment_anew_at_each_reading(self) -> None:
        environ = {"PROM_TOKEN": "first"}
        with scripted() as server:
            source = _source(server.url, environ, token_env="PROM_TOKEN")
            server.script = lambda _: Reply(body=_vector("7"))
            source.read(QUESTION)
            environ["PROM_TOKEN"] = "second\n"
            source.read(QUESTION)
        assert [asked.headers["authorization"] for asked in server.asked[3:5]] == ["Bearer first", "Bearer second"]

    def test_basic_authentication_comes_from_the_environment(self) -> None:
        environ = {"PROM_USER": "ann", "PROM_PASSWORD": "pä:ss"}
        with scripted() as server:
            _source(server.url, environ, user_env="PROM_USER", password_env="PROM_PASSWORD").read(QUESTION)
        kind, _, login = server.asked[0].headers["authorization"].partition(" ")
        assert kind == "Basic"
        assert base64.b64decode(login).decode() == "ann:pä:ss"

    def test_a_netrc_file_is_not_read(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password pass\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with scripted() as server:
            _source(server.url).read(QUESTION)
        assert "authorization" not in server.asked[0].headers

    @pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x00b"])
    def test_a_missing_or_broken_token_is_said_by_the_name_of_its_variable(self, value: str) -> None:
        with scripted() as server:
            answer = _source(server.url, {"PROM_TOKEN": value}, token_env="PROM_TOKEN").read(QUESTION)
        assert isinstance(answer, SourceDown)
        assert answer.reason is VerdictReason.SOURCE_UNREACHABLE
        assert "PROM_TOKEN" in answer.text
        assert server.asked == []

    @pytest.mark.parametrize("echo", ["body", "content type", "location"])
    def test_a_server_that_repeats_the_token_does_not_bring_it_into_the_log(self, echo: str) -> None:
        long = "x" * 180 + SECRET
        replies = {
            "body": Reply(status=400, body=json.dumps({"status": "error", "error": long}).encode()),
            "content type": Reply(body=b"{}", content_type=f"text/{SECRET}"),
            "location": Reply(status=302, headers={"Location": f"https://other.example/{SECRET}?t={SECRET}"}),
        }
        with scripted() as server:
            server.script = lambda _: replies[echo]
            answer = _source(server.url, {"PROM_TOKEN": SECRET}, token_env="PROM_TOKEN").read(QUESTION)
        assert isinstance(answer, SourceDown)
        assert SECRET[:6] not in answer.text


class TestOptions:
    def problems(self, **options: Any) -> list[str]:
        given = {"url": "https://prom.example", "requests": REQUESTS, "errors": ERRORS} | options
        return [problem.path for problem in PrometheusOptions(**given).problems("metrics[0]")]

    def test_good_options_have_no_problems(self) -> None:
        assert self.problems() == []
        assert self.problems(url="http://10.0.0.1:9090/prometheus", token_env="T") == []

    @pytest.mark.parametrize(
        "url",
        [
            "prom.example",
            "ftp://prom.example",
            "http://",
            "http://user:pw@prom.example",
            "https://prom.example?token=1",
            "https://prom.example:99999",
            "http://[",
        ],
    )
    def test_an_address_that_is_none_or_holds_a_secret_is_refused(self, url: str) -> None:
        assert self.problems(url=url) == ["metrics[0].url"]

    def test_a_password_in_the_address_is_not_repeated(self) -> None:
        options = PrometheusOptions(url="http://user:hunter2@prom.example", requests=REQUESTS, errors=ERRORS)
        assert "hunter2" not in "".join(map(str, options.problems("metrics[0]")))

    def test_all_problems_come_at_once(self) -> None:
        found = self.problems(url="x", requests="up", errors="rate(x[5m])", user_env="U", timeout=0)
        assert set(found) == {
            f"metrics[0]{end}" for end in ("", ".url", ".queries.requests", ".queries.errors", ".timeout")
        }

    def test_the_variables_that_hold_secrets_are_named(self) -> None:
        options = PrometheusOptions(url="x", requests="", errors="", user_env="U", password_env="P")
        assert options.credentials() == ("U", "P")


def test_the_contract_reads_different_arms() -> None:
    assert STABLE != CANARY
