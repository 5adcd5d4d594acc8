"""The forecast from the traffic there is: asked of the source, told, and made a refusal of by a strict plan alone."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from gate.before import looked_ahead, tell_pull_request, validated
from gate.config import Config, load
from gate.errors import FlagServerUnreachableError, GitHubError, MisuseError, PreflightError
from gate.judge.forecast import TrafficSeen
from gate.metrics import Means
from gate.outlook import Outlook, forecast_of, outlook, recent, refuse_blind
from rampgate.rollout import Minute, Slot, Slots, Telemetry
from tests.gate.metrics.scripted import Asked, Reply, scripted

NOW = 1_700_000_000.0
SLOTS = Slots(stable=Slot(name="blue", version="v1"), idle=Slot(name="green"))
QUERIES = {"requests": "sum(n{version='{{version}}'})", "errors": "sum(x{version='{{version}}'})"}


def config(metric: dict[str, Any], **more: Any) -> Config:
    document = {"flag": "shop", "environment": "production", "deploy": {"none": True}, "metrics": [metric], **more}
    return load(yaml.safe_dump(document), where="rampgate.yml")


APPS = config({"errors": "flagserver"})


class Counting:
    """A flag server that counts: so many requests and errors a minute, for so long."""

    def __init__(self, *minutes: tuple[float, int, int]) -> None:
        self.found = minutes
        self.asked: list[tuple[str, str, float]] = []

    def telemetry(self, rollout_id: str) -> Telemetry:
        raise AssertionError(f"nobody asked for {rollout_id}")

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        assert until is None
        self.asked.append((environment, flag, since))
        return tuple(
            Minute(at=at, variant="blue", requests=requests, errors=errors, exposures=requests)
            for at, requests, errors in self.found
        )

    def slots(self, environment: str, flag: str) -> Slots:
        assert (environment, flag) == ("production", "shop")
        return SLOTS


class Silent(Counting):
    def minutes(self, *_: str, **__: float | None) -> tuple[Minute, ...]:
        raise FlagServerUnreachableError("The flag server does not answer.")

    def slots(self, *_: str) -> Slots:
        raise FlagServerUnreachableError("The flag server does not answer.")


def means(telemetry: Any) -> Means:
    return Means(telemetry=telemetry, environ={})


BUSY = tuple((NOW - 60.0 * back, 6_000, 60) for back in range(180, 0, -1))


def test_the_flag_server_tells_what_apps_counted_in_the_last_hours() -> None:
    counting = Counting(*BUSY)
    found = recent(APPS, means(counting), None, now=NOW, hours=3)
    assert found == TrafficSeen(per_second=100.0, error_rate=0.01)
    assert counting.asked == [("production", "shop", NOW - 3 * 3600)]


def test_an_app_that_began_to_count_an_hour_ago_is_not_taken_for_one_with_little_traffic() -> None:
    found = recent(APPS, means(Counting(*BUSY[-60:])), None, now=NOW, hours=24)
    assert isinstance(found, TrafficSeen)
    assert found.per_second == pytest.approx(100.0)


def test_where_nothing_was_counted_or_nobody_answers_there_is_no_forecast_and_no_failure() -> None:
    assert "counted nothing of shop in the last 3h" in outlook(APPS, means(Counting()), SLOTS, now=NOW).lines[0]
    assert "does not say" in outlook(APPS, means(Silent()), SLOTS, now=NOW).lines[0]


@pytest.mark.parametrize("restart", [False, True])
def test_a_store_with_a_past_is_asked_about_it(restart: bool) -> None:
    """A counter that begins again in between costs that part of the past, and no more."""

    def counts(asked: Asked) -> Reply:
        query, at = asked.query["query"], float(asked.query["time"])
        since = at - (NOW - 4 * 3600)
        if restart and since > 9_000:
            since -= 9_000
        count = 50 * since if "n{" in query else since
        series = [{"metric": {}, "value": [at, f"{count:.0f}"]}] if "'v1'" in query else []
        body = {"status": "success", "data": {"resultType": "vector", "result": series}}
        return Reply(body=json.dumps(body).encode())

    with scripted() as server:
        server.script = counts
        plan = config({"errors": "prometheus", "url": server.url, "queries": QUERIES})
        found = recent(plan, means(Counting()), SLOTS, now=NOW, hours=3)
    assert isinstance(found, TrafficSeen)
    assert found.per_second == pytest.approx(50.0)
    assert found.error_rate == pytest.approx(0.02)


def test_a_source_without_a_past_or_without_traffic_says_so() -> None:
    web = config({"errors": "web", "url": "http://x/{{version}}", "queries": {"requests": "n", "errors": "x"}})
    assert "--rps" in str(recent(web, means(Counting()), SLOTS, now=NOW, hours=3))
    with scripted() as server:
        server.script = lambda _: Reply(status=503)
        plan = config({"errors": "prometheus", "url": server.url, "queries": QUERIES})
        assert "HTTP 503" in str(recent(plan, means(Counting()), SLOTS, now=NOW, hours=3))
        assert "known to be stable" in str(recent(plan, means(Counting()), None, now=NOW, hours=3))


def test_a_forecast_is_one_line_a_step_and_one_or_two_in_short() -> None:
    found = forecast_of(APPS, TrafficSeen(per_second=100.0, error_rate=0.01), "in the last 3h")
    assert found.lines[0] == ("With 100 requests a second, of which 1 % fail (in the last 3h), and a chance of 80 %:")
    assert len(found.lines) == 4
    (brief,) = found.brief
    assert re.search(r"twice the errors are seen after about \S+ at 10 %, \S+ at 50 %, \S+ at 95 %\.", brief), brief
    assert found.problems == ()
    _, blind = forecast_of(APPS, TrafficSeen(per_second=0.1, error_rate=0.01)).brief
    assert blind.startswith("Not to be excluded in the time planned: 10 % (×3: ")


BLIND = TrafficSeen(per_second=0.1, error_rate=0.01)


def test_only_a_strict_plan_makes_a_refusal_of_it_with_the_whole_table() -> None:
    refuse_blind("rampgate.yml", APPS, forecast_of(APPS, BLIND))
    strict = config({"errors": "flagserver"}, strict=True)
    with pytest.raises(MisuseError, match=r"(?s)cannot see what.*steps\[0\]\.bake.*at 10 % for 5m") as caught:
        refuse_blind("rampgate.yml", strict, forecast_of(strict, BLIND))
    assert caught.value.exit == 2
    with pytest.raises(MisuseError):
        refuse_blind("rampgate.yml", APPS, forecast_of(APPS, BLIND), strict=True)


QUIET = tuple((at, 6, 0) for at, *_ in BUSY)


@pytest.mark.parametrize("strict", [False, True])
def test_a_release_is_told_the_forecast_and_a_strict_one_is_refused(strict: bool) -> None:
    said: list[str] = []
    plan = config({"errors": "flagserver"}, strict=strict)
    counting: Any = Counting(*QUIET)
    if strict:
        with pytest.raises(MisuseError):
            looked_ahead(plan, "rampgate.yml", counting, means(counting), said.append)
    else:
        looked_ahead(plan, "rampgate.yml", counting, means(counting), said.append)
    assert said[0].startswith("With 0.1 requests a second")


def test_a_flag_server_that_is_away_keeps_no_release_from_beginning() -> None:
    silent: Any = Silent()
    said: list[str] = []
    found = looked_ahead(config({"errors": "flagserver"}, strict=True), "x", silent, means(silent), said.append)
    assert found.traffic is None
    assert "No forecast" in said[0]
    (brief,) = found.brief
    assert brief.startswith("none: "), "the comment's line begins with Forecast already"


def test_validation_asks_the_sources_and_then_says_what_will_be_seen() -> None:
    with scripted() as server:
        server.script = lambda _: Reply(status=503)
        plan = config({"errors": "prometheus", "url": server.url, "queries": QUERIES})
        counting: Any = Counting()
        with pytest.raises(PreflightError):
            validated(plan, "x", counting, lambda: means(counting), lambda _: None)
    said: list[str] = []
    busy: Any = Counting(*BUSY)
    found = validated(APPS, "x", busy, lambda: means(busy), said.append)
    assert found.traffic is not None
    assert said[-4].startswith("With ")
    assert validated(APPS, "x", None, lambda: means(busy), said.append) == Outlook(traffic=None, lines=(), brief=())


class Told:
    """GitHub, as far as a comment goes."""

    def __init__(self, error: GitHubError | None = None) -> None:
        self.error = error
        self.comments: list[tuple[int, str, str]] = []

    def tell(self, pull_request: int, environment: str, body: str) -> int:
        if self.error is not None:
            raise self.error
        self.comments.append((pull_request, environment, body))
        return 1


def test_a_pull_request_is_told_in_a_comment_of_its_own() -> None:
    github: Any = Told()
    found = forecast_of(APPS, TrafficSeen(per_second=100.0, error_rate=0.01))
    tell_pull_request(github, 7, APPS, found, lambda _: None)
    ((number, environment, body),) = github.comments
    assert (number, environment) == (7, "production/forecast")
    assert "canary: dark → 10 % → 50 % → 100 %" in body
    assert "- With 100 requests a second" in body
    assert "×2 is seen in about" in body


def test_a_token_that_may_not_comment_is_no_failure() -> None:
    said: list[str] = []
    github: Any = Told(GitHubError("Resource not accessible by integration."))
    tell_pull_request(github, 7, APPS, replace(Outlook(traffic=None, lines=("x",), brief=())), said.append)
    assert "not told" in said[0]


def test_what_a_server_or_a_source_says_calls_nobody_on_the_pull_request() -> None:
    github: Any = Told()
    lines = ("No forecast: <b>@ada</b> fixes #1 at https://evil.example",)
    tell_pull_request(github, 7, APPS, Outlook(traffic=None, lines=lines, brief=()), lambda _: None)
    ((_, _, body),) = github.comments
    for dangerous in ("<b>", "@ada", "#1", "https://"):
        assert dangerous not in body
