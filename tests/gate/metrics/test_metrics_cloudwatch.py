"""CloudWatch as a source: an emulator that keeps metrics, and a server that misbehaves."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from gate.metrics import CloudWatchOptions, Question, Source
from gate.metrics.keys import AbsentErrors
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import CANARY, QUESTION, SECRET, STABLE, SourceContract, asking_for, means
from tests.gate.metrics.scripted import Asked, Reply, Script, ScriptedServer, scripted

ENVIRON = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
STOP, HOURS, START = 1_699_999_860, 1_699_999_200, 1_699_995_600 - 3600


def _source(url: str, environ: dict[str, str] | None = None, **options: Any) -> Source:
    given = {
        "region": "eu-west-1",
        "namespace": "Shop",
        "dimensions": {"Version": "{{version}}"},
        "requests": "Requests",
        "errors": "Errors",
        "timeout": 1.0,
    }
    return CloudWatchOptions(url=url, **(given | options)).source(means(environ or ENVIRON))


def _results(asked: Asked, arms: dict[str, Counters], **more: Any) -> Reply:
    """As the API documents it, in its JSON: half of every count before the hour, half after."""
    sent = json.loads(asked.body)
    results = []
    for query in sent["MetricDataQueries"]:
        metric = query["MetricStat"]["Metric"]
        arm = arms[metric["Dimensions"][0]["Value"]]
        count = arm.errors if metric["MetricName"] == "Errors" else arm.requests
        values = [count // 2] if query["MetricStat"]["Period"] == 3600 else [0, count - count // 2]
        found = {"Id": query["Id"], "Label": "x", "Values": values, "StatusCode": "Complete"}
        results.append(found | {"Timestamps": [sent["StartTime"]] * len(values)} | more)
    return _json({"MetricDataResults": results, "Messages": []})


def _json(answer: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(answer).encode(), content_type="application/x-amz-json-1.0")


class _CloudWatchKind:
    at = float(STOP)

    def source(self, url: str) -> Source:
        return _source(url)

    def good(self, stable: Counters, canary: Counters) -> Script:
        return lambda asked: _results(asked, {"v1": stable, "v2": canary})


class TestCloudWatch(SourceContract):
    kind = _CloudWatchKind()

    def test_whole_hours_and_then_minutes_are_asked_for_up_to_one_moment(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        sent = [json.loads(asked.body) for asked in server.asked]
        assert [(one["StartTime"], one["EndTime"]) for one in sent] == [(START, HOURS), (HOURS, STOP)]
        assert [{each["MetricStat"]["Period"] for each in one["MetricDataQueries"]} for one in sent] == [{3600}, {60}]
        assert server.asked[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
        assert SECRET not in str(server.asked)

    def test_a_session_token_is_sent_and_new_credentials_are_used(self, server: ScriptedServer) -> None:
        environ = dict(ENVIRON)
        source = CloudWatchOptions(
            region="eu-west-1", namespace="Shop", dimensions={"Version": "{{version}}"}, requests="Requests",
            errors="Errors", url=server.url,
        ).source(given := means(environ))  # fmt: skip
        source.read(QUESTION)
        assert isinstance(given.environ, dict)
        given.environ["AWS_SESSION_TOKEN"] = "later"
        source.read(QUESTION)
        assert [asked.headers.get("x-amz-security-token") for asked in server.asked] == [None, None, "later", "later"]

    @pytest.mark.parametrize(
        "more", [{"StatusCode": "PartialData"}, {"StatusCode": "InternalError"}, {"Id": "m0"}, {"Values": ["7"]}]
    )
    def test_what_is_not_complete_is_no_evidence(self, server: ScriptedServer, more: dict[str, Any]) -> None:
        server.script = lambda asked: _results(asked, {"v1": STABLE, "v2": CANARY}, **more)
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    @pytest.mark.parametrize("values", [[-1], [0.3], [1e300]])
    def test_only_a_count_is_taken(self, server: ScriptedServer, values: list[float]) -> None:
        server.script = lambda asked: _results(asked, {"v1": STABLE, "v2": CANARY}, Values=values, Timestamps=[STOP])
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    @pytest.mark.parametrize(
        ("status", "code", "reason"),
        [
            (400, "ThrottlingException", VerdictReason.SOURCE_UNREACHABLE),
            (403, "AccessDenied", VerdictReason.SOURCE_UNREADABLE),
            (400, "ValidationError", VerdictReason.SOURCE_UNREADABLE),
            (500, "InternalServiceFault", VerdictReason.SOURCE_UNREACHABLE),
        ],
    )
    def test_an_error_is_told_by_its_code(
        self, server: ScriptedServer, status: int, code: str, reason: VerdictReason
    ) -> None:
        server.script = lambda _: _json({"__type": code, "message": f"no {SECRET}"}, status)
        self.down(server.url, reason)

    def test_a_version_is_a_value_and_nothing_else(self, server: ScriptedServer) -> None:
        evil = '"} or vector(1)'
        server.script = lambda asked: _results(asked, {"v1": STABLE, evil: CANARY})
        answer = self.kind.source(server.url).read(asking_for(evil))
        assert answer == Reading(at=STOP, stable=STABLE, canary=CANARY)

    def test_each_slot_may_have_its_own_value(self, server: ScriptedServer) -> None:
        dimensions = {"TargetGroup": {"blue": "v1", "green": "v2"}}
        assert _source(server.url, dimensions=dimensions).read(QUESTION) == Reading(
            at=STOP, stable=STABLE, canary=CANARY
        )
        answer = _source(server.url, dimensions={"TargetGroup": {"blue": "v1"}}).read(QUESTION)
        assert isinstance(answer, SourceDown)
        assert "green" in answer.text


def test_credentials_that_are_missing_are_named_and_nobody_is_asked() -> None:
    with scripted() as server:
        answer = _source(server.url, {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}).read(QUESTION)
        assert isinstance(answer, SourceDown)
        assert "AWS_SECRET_ACCESS_KEY" in answer.text
        assert server.asked == []


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


class Shop:
    """What a shop of two versions reports to CloudWatch."""

    def __init__(self, url: str, namespace: str) -> None:
        # The emulator looks at dimensions alone, so what another test reported has to go.
        requests.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()
        self.namespace = namespace
        self.url = url
        self._client = boto3.client(
            "cloudwatch", region_name="eu-west-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
        )

    def reports(self, version: str, metric: str, value: float, at: int) -> None:
        data = {
            "MetricName": metric,
            "Dimensions": [{"Name": "Version", "Value": version}],
            "Timestamp": datetime.fromtimestamp(at, UTC),
            "Value": value,
        }
        self._client.put_metric_data(Namespace=self.namespace, MetricData=[data])

    def read(self, at: float, **options: Any) -> Reading | SourceDown:
        source = _source(self.url, namespace=self.namespace, **({"timeout": 10.0} | options))
        return source.read(Question(
            rollout_id="r", flag="shop", environment="p", attempt=1, stable=QUESTION.stable, canary=QUESTION.canary,
            since=QUESTION.since, at=at,
        ))  # fmt: skip


def test_an_emulator_is_read_as_it_counts_through_hours_and_minutes(emulator: str) -> None:
    shop = Shop(emulator, "Rising")
    for version, times in (("v1", 9), ("v2", 1)):
        for at in (HOURS - 1800, HOURS + 60, HOURS + 120, STOP - 60, STOP, STOP + 60):
            shop.reports(version, "Requests", 100.0 * times, at)
            shop.reports(version, "Errors", float(times), at)
    first, second = shop.read(QUESTION.at), shop.read(QUESTION.at + 60)
    assert first == Reading(
        at=STOP, stable=Counters(requests=3_600, errors=36), canary=Counters(requests=400, errors=4)
    )
    assert second == Reading(
        at=STOP + 60, stable=Counters(requests=4_500, errors=45), canary=Counters(requests=500, errors=5)
    )


def test_an_emulator_without_figures_is_empty_and_errors_may_be_said_to_be_none(emulator: str) -> None:
    shop = Shop(emulator, "Quiet")
    answer = shop.read(QUESTION.at)
    assert isinstance(answer, SourceDown)
    assert answer.reason is VerdictReason.SOURCE_EMPTY
    shop.reports("v1", "Requests", 5.0, STOP - 60)
    answer = shop.read(QUESTION.at)
    assert isinstance(answer, SourceDown)
    assert "absentErrors: zero" in answer.text
    assert shop.read(QUESTION.at, absent_errors=AbsentErrors.ZERO) == Reading(
        at=STOP, stable=Counters(requests=5, errors=0), canary=None
    )


def test_what_cannot_be_asked_is_refused() -> None:
    given: dict[str, Any] = {
        "region": "eu-west-1",
        "namespace": "AWS/ApplicationELB",
        "dimensions": {"TargetGroup": "targetgroup/{{slot}}/1"},
        "requests": "RequestCount",
        "errors": "HTTPCode_Target_5XX_Count",
    }
    assert list(CloudWatchOptions(**given).problems("m")) == []
    bad = given | {"dimensions": {"TargetGroup": "x"}, "period": 45.0, "requests": "{{start}}"}
    assert {one.path for one in CloudWatchOptions(**bad).problems("m")} == {
        "m.dimensions",
        "m.period",
        "m.queries.requests",
    }
