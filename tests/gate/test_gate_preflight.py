"""Preflight: what would keep the judge from judging is said before anybody is exposed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gate.cli import main
from gate.config import Config, load
from gate.errors import Exit
from gate.preflight import NOBODY, Finding, Grade, checked, preflight
from rampgate.criteria import Limit
from rampgate.rollout import Slot, Slots
from tests.gate.metrics.contract import means
from tests.gate.metrics.scripted import Asked, Reply, ScriptedServer, scripted

SLOTS = Slots(stable=Slot(name="blue", version="v1"), idle=Slot(name="green", version="v0"))
PROMETHEUS = """
flag: shop
environment: production
deploy: {none: true}
metrics:
  - errors: prometheus
    url: URL
    queries:
      requests: sum(http_requests_total{version="{{version}}"})
      errors: sum(http_requests_total{version="{{version}}",code=~"5.."}) or vector(0)
"""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


def _config(server: ScriptedServer, text: str = PROMETHEUS) -> Config:
    return load(text.replace("URL", server.url), where="rampgate.yml")


def _findings(config: Config) -> tuple[Finding, ...]:
    return preflight(config, means(), SLOTS, version="v2", now=1_700_000_000.0)


def _counts(count: Callable[[str, str], int | list[int] | None]) -> Callable[[Asked], Reply]:
    """Answers by ``count(what, version)``; a list is several series. `or vector(0)` makes a zero of nothing."""

    def reply(asked: Asked) -> Reply:
        query = asked.query["query"]
        version = query.partition('version="')[2].partition('"')[0]
        found: Any = count("errors" if "5.." in query else "requests", version)
        if found is None and "vector(0)" in query:
            found = 0
        values = [] if found is None else found if isinstance(found, list) else [found]
        series = [{"metric": {}, "value": [0, str(value)]} for value in values]
        return Reply(
            body=json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()
        )

    return reply


def _sound(what: str, version: str) -> int | None:
    return {"v1": {"requests": 900, "errors": 9}}.get(version, {}).get(what)


def test_a_source_that_tells_its_arms_apart_has_nothing_to_be_said(server: ScriptedServer) -> None:
    server.script = _counts(_sound)
    assert _findings(_config(server)) == ()
    assert any(NOBODY in asked.query["query"] for asked in server.asked)


@pytest.mark.parametrize(
    ("count", "path", "words"),
    [
        (lambda *_: None, "metrics[0]", "no series for either arm"),
        (lambda *_: [1, 2], "metrics[0]", "2 series"),
        (lambda what, _: {"requests": 900, "errors": 9}[what], "metrics[0]", "no version label"),
        (lambda _, version: 5 if version == "v2" else None, "metrics[0]", "no data for the stable arm"),
        (lambda _, version: 900 if version == "v1" else None, "metrics[0].queries.errors", "all 900 requests"),
        (
            lambda what, version: {"requests": 9, "errors": 99}[what] if version == "v1" else None,
            "metrics[0].queries",
            "99 errors of 9 requests",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(
    server: ScriptedServer, count: Callable[[str, str], Any], path: str, words: str
) -> None:
    server.script = _counts(count)
    (finding,) = _findings(_config(server))
    assert (finding.path, finding.grade) == (path, Grade.REFUSED)
    assert words in finding.text


def test_a_source_that_is_away_is_refused() -> None:
    with scripted() as gone:
        config = _config(gone)
    (finding,) = _findings(config)
    assert finding.grade is Grade.REFUSED


def test_errors_that_were_never_seen_are_a_condition_that_may_never_fail(server: ScriptedServer) -> None:
    server.script = _counts(lambda what, version: 900 if (what, version) == ("requests", "v1") else None)
    (finding,) = _findings(_config(server))
    assert finding.grade is Grade.REMARK
    assert "cannot fail" in finding.text
    server.script = _counts(lambda what, version: {"requests": 900, "errors": 0}[what] if version == "v1" else None)
    (finding,) = _findings(_config(server))
    assert finding.grade is Grade.REMARK
    assert "make one happen" in finding.text


def test_zero_requests_for_a_version_that_nobody_runs_are_remarked(server: ScriptedServer) -> None:
    server.script = _counts(lambda what, version: {"requests": 900, "errors": 9}[what] if version == "v1" else 0)
    (finding,) = _findings(_config(server))
    assert finding.grade is Grade.REMARK
    assert "without traffic" in finding.text


WEB = """
flag: shop
environment: production
deploy: {none: true}
metrics: [{errors: web, url: 'URL/{{version}}', queries: {requests: n, errors: x}, absentErrors: zero}]
"""


def test_errors_that_are_none_only_by_configuration_are_remarked(server: ScriptedServer) -> None:
    server.script = lambda asked: Reply(body=b'{"n": 900}' if asked.path == "/v1" else b"{}")
    (finding,) = _findings(_config(server, WEB))
    assert finding.grade is Grade.REMARK
    assert "cannot fail" in finding.text


def test_the_flag_servers_own_counts_have_nothing_to_ask_before_a_rollout(server: ScriptedServer) -> None:
    text = "flag: shop\nenvironment: p\ndeploy: {none: true}\nmetrics: [{errors: flagserver}]\n"
    assert _findings(_config(server, text)) == ()
    assert server.asked == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(success="result <= 100%"), "cannot fail"),
        (Limit(failure="result > 1"), "cannot fail"),
        (Limit(success="result < 0"), "always fails"),
        (Limit(success="result <= 2%"), None),
        (Limit(failure="result > 2 * stable"), None),
        (Limit(metric="latency", success="result <= 100"), None),
    ],
)
def test_a_limit_that_no_error_rate_can_fail_is_refused(
    server: ScriptedServer, limit: Limit, words: str | None
) -> None:
    server.script = _counts(_sound)
    config = _config(server)
    plan = replace(config.plan, judge=replace(config.plan.judge, limits=(limit,)))
    found = _findings(replace(config, plan=plan))
    assert [finding.grade for finding in found] == ([] if words is None else [Grade.REFUSED])
    assert all(words in finding.text for finding in found if words)


class TestAtATerminal:
    def run(self, server: ScriptedServer, tmp_path: Path, *more: str) -> Result:
        file = tmp_path / "rampgate.yml"
        file.write_text(PROMETHEUS.replace("URL", server.url))
        return CliRunner().invoke(main, ["validate", str(file), "--preflight", "--stable", "v1", *more])

    def test_a_sound_source_leaves_the_file_sound(self, server: ScriptedServer, tmp_path: Path) -> None:
        server.script = _counts(_sound)
        done = self.run(server, tmp_path)
        assert (done.exit_code, "is sound" in done.output) == (Exit.DONE, True)

    def test_a_source_that_cannot_be_judged_by_ends_it_with_the_reason(
        self, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.script = _counts(lambda *_: [1, 2])
        done = self.run(server, tmp_path)
        assert done.exit_code == Exit.MISUSE
        assert "metrics[0]: prometheus: the query finds 2 series" in done.output


def test_a_flag_that_was_never_released_has_nothing_to_ask_about(server: ScriptedServer) -> None:
    assert "nothing to ask" in checked(_config(server), "rampgate.yml", means(), None)[0]


BUCKETS = """
  - latency: prometheus
    queries: {buckets: 'sum by (le) (d_bucket{version="{{version}}"})'}
limits:
  - {metric: latency, max: MOST}
"""
SPREAD = {"0.1": 500, "1": 890, "+Inf": 900}


def _with_latency(
    server: ScriptedServer, spread: Callable[[str], dict[str, int] | None], most: str = "500ms"
) -> tuple[Finding, ...]:
    sound = _counts(_sound)

    def reply(asked: Asked) -> Reply:
        query = asked.query["query"]
        if "d_bucket" not in query:
            return sound(asked)
        found = spread(query.partition('version="')[2].partition('"')[0]) or {}
        series = [{"metric": {"le": bound}, "value": [0, str(count)]} for bound, count in found.items()]
        body = {"status": "success", "data": {"resultType": "vector", "result": series}}
        return Reply(body=json.dumps(body).encode())

    server.script = reply
    return _findings(_config(server, PROMETHEUS + BUCKETS.replace("MOST", most)))


def test_a_sound_further_metric_has_nothing_to_be_said(server: ScriptedServer) -> None:
    assert _with_latency(server, lambda version: SPREAD if version == "v1" else None) == ()


@pytest.mark.parametrize(
    ("spread", "most", "path", "words"),
    [
        (lambda _: None, "1s", "metrics[1]", "no series for either arm"),
        (lambda version: SPREAD if version == "v2" else None, "1s", "metrics[1]", "no data for the stable arm"),
        (lambda _: SPREAD, "500ms", "metrics[1]", "no version label"),
        (
            {"v1": SPREAD, "v2": {"0.2": 1, "+Inf": 2}}.get,
            "500ms",
            "metrics[1]",
            "different buckets (0.1, 0.2, 1)",
        ),
        (
            lambda version: {"0.1": 9, "1": 5, "+Inf": 9} if version == "v1" else None,
            "500ms",
            "metrics[1]",
            "do not rise",
        ),
        (
            lambda version: {"0.1": 0, "1": 0, "+Inf": 900} if version == "v1" else None,
            "500ms",
            "metrics[1]",
            "none of 900 requests is within 1s",
        ),
        (lambda version: SPREAD if version == "v1" else None, "5s", "limits[0]", "cannot fail"),
        (lambda version: SPREAD if version == "v1" else None, "50ms", "limits[0]", "always fails"),
    ],
)
def test_a_further_metric_that_cannot_be_judged_is_refused_with_the_reason(
    server: ScriptedServer, spread: Callable[[str], dict[str, int] | None], most: str, path: str, words: str
) -> None:
    found = _with_latency(server, spread, most)
    refused = [(one.path, one.text) for one in found if one.grade is Grade.REFUSED]
    assert any(place == path and words in text for place, text in refused), found
