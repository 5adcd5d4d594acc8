"""Several metrics, their weights and limits, and steps with policies of their own: what is read, what is refused."""

from typing import Any

import pytest
import yaml

from gate.config import Config, load
from gate.errors import ConfigError
from gate.metrics import PrometheusOptions
from gate.metrics.prometheus import Unit
from rampgate.criteria import Better, Limit, MetricKind, MetricSettings
from rampgate.plan import Budget, Policy
from rampgate.problem import Problem

QUERIES = {"requests": "sum(n{slot='{{slot}}'})", "errors": "sum(x{slot='{{slot}}'})"}
ERRORS = {"errors": "prometheus", "url": "http://prometheus:9090", "tokenEnv": "PROM", "queries": QUERIES}
BUCKETS = {"buckets": "sum by (le) (d_bucket{slot='{{slot}}'})"}
LATENCY = {"latency": "prometheus", "queries": BUCKETS}
PAID = {"failures": "prometheus", "name": "paid", "queries": QUERIES}
ORDERS = {
    "count": "prometheus", "name": "orders", "better": "higher",
    "queries": {"requests": "sum(n{slot='{{slot}}'})", "events": "sum(o{slot='{{slot}}'})"},
}  # fmt: skip
CPU = {"value": "prometheus", "name": "cpu", "queries": {"value": "avg(rate(c{slot='{{slot}}'}[1m]))"}}
BASKET = {"mean": "command", "name": "basket", "command": "./basket.sh"}


def config(*metrics: dict[str, Any], **more: Any) -> Config:
    document = {"flag": "shop", "environment": "production", "deploy": {"none": True}, "metrics": list(metrics), **more}
    return load(yaml.safe_dump(document), where="rampgate.yml")


def refused(*metrics: dict[str, Any], **more: Any) -> dict[str, Problem]:
    with pytest.raises(ConfigError) as caught:
        config(*metrics, **more)
    return {problem.path: problem for problem in caught.value.problems}


def test_the_common_case_has_no_further_metrics() -> None:
    found = config({"errors": "flagserver"})
    assert (found.further, found.plan.judge.metrics) == ((), ())


def test_every_kind_is_read_with_its_settings_wherever_it_stands() -> None:
    found = config(LATENCY | {"margin": 1.5}, ERRORS, PAID | {"floor": 0.01}, ORDERS, CPU, BASKET)
    names = [(one.path, one.wanted.name, one.wanted.kind) for one in found.further]
    assert names == [
        ("metrics[0]", "latency", MetricKind.LATENCY),
        ("metrics[2]", "paid", MetricKind.ERRORS),
        ("metrics[3]", "orders", MetricKind.COUNT),
        ("metrics[4]", "cpu", MetricKind.VALUE),
        ("metrics[5]", "basket", MetricKind.MEAN),
    ]
    latency, paid, orders, cpu, basket = found.plan.judge.metrics
    assert latency == MetricSettings(name="latency", kind=MetricKind.LATENCY, margin=1.5, weight=0.25)
    assert (paid.floor, orders.better, basket.weight) == (0.01, Better.HIGHER, 0.25)
    assert cpu.kind is MetricKind.VALUE


def test_what_a_further_metric_leaves_out_is_asked_for_as_the_errors_are() -> None:
    first, second = config(ERRORS, LATENCY | {"unit": "ms"}, PAID | {"url": "http://other:9090"}).further
    assert first.options == PrometheusOptions(url="http://prometheus:9090", token_env="PROM", unit=Unit.MILLISECONDS)
    assert second.options == PrometheusOptions(url="http://other:9090", token_env="PROM")


def test_latency_may_be_counted_bound_by_bound() -> None:
    within = {"250ms": "sum(a{slot='{{slot}}'})", "1s": "sum(b{slot='{{slot}}'})"}
    (found,) = config(ERRORS, LATENCY | {"queries": {"requests": "sum(n{slot='{{slot}}'})", "within": within}}).further
    assert set(found.wanted.queries) == {"requests", "0.25", "1.0"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((None, None), (0.5, 0.5)),
        (("60%", "40%"), (0.6, 0.4)),
        ((60, None), (0.6, 0.4)),
    ],
)
def test_weights_are_parts_of_a_whole_and_the_rest_is_shared(
    weights: tuple[Any, ...], expected: tuple[float, ...]
) -> None:
    given = [
        one | ({} if weight is None else {"weight": weight})
        for one, weight in zip((LATENCY, PAID), weights, strict=True)
    ]
    assert [one.weight for one in config(ERRORS, *given, CPU).plan.judge.metrics[:2]] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metrics", "path", "words"),
    [
        ([LATENCY, LATENCY], "metrics[2].name", "of its own"),
        ([PAID | {"name": "errors"}], "metrics[1].name", "of its own"),
        ([LATENCY | {"weight": 50}], "metrics", "100 %"),
        ([LATENCY | {"weight": 100}, PAID], "metrics", "left for the others"),
        ([LATENCY | {"weight": 120}], "metrics[1].weight", "percentage"),
        ([{"name": "x", "queries": {}}], "metrics[1]", "one of errors, latency"),
        ([{"latency": "promtheus"}], "metrics[1].latency", "one of flagserver, prometheus"),
        ([{"mean": "flagserver"}], "metrics[1].mean", "one of prometheus"),
        ([LATENCY | {"mean": "prometheus"}], "metrics[1]", "one of them"),
        ([LATENCY | {"better": "lower"}], "metrics[1].better", "no meaning for latency"),
        ([LATENCY | {"margni": 2}], "metrics[1].margni", "margin"),
        ([LATENCY | {"margin": 0.5}], "metrics[1].margin", "from 1 to 10"),
        ([CPU | {"weight": 100}], "metrics[1].weight", "fixed limits alone"),
        ([LATENCY | {"queries": {}}], "metrics[1].queries.buckets", "sum by (le)"),
        ([LATENCY | {"queries": {"requests": QUERIES["requests"]}}], "metrics[1].queries.within", "250ms"),
        ([LATENCY | {"queries": BUCKETS | {"sum": "x"}}], "metrics[1].queries.sum", "buckets"),
        (
            [LATENCY | {"queries": {"buckets": "sum(rate(x{slot='{{slot}}'}[1m]))"}}],
            "metrics[1].queries.buckets",
            "raw",
        ),
        ([LATENCY | {"queries": {"buckets": "sum by (le) (d_bucket)"}}], "metrics[1].queries.buckets", "{{slot}}"),
        (
            [LATENCY | {"queries": {"requests": QUERIES["requests"], "within": {"fast": "sum(a{slot='{{slot}}'})"}}}],
            "metrics[1].queries.within.fast",
            "a duration",
        ),
        (
            [PAID | {"queries": {"requests": {"a": "b"}, "errors": "x{slot='{{slot}}'}"}}],
            "metrics[1].queries.requests",
            "",
        ),
        (
            [{"latency": "influxdb", "queries": {"buckets": "x"}}],
            "metrics[1].queries.buckets",
            "one of requests, within",
        ),
        ([{"latency": "influxdb", "queries": {}}], "metrics[1].url", "answers"),
        ([{"latency": "flagserver", "queries": {"buckets": "x"}}], "metrics[1].queries.buckets", "no queries"),
        ([BASKET | {"queries": {"sum": "x"}}], "metrics[1].queries.sum", "RAMPGATE_METRIC"),
        ([BASKET | {"command": "./x {{slot}}"}], "metrics[1].command", "environment"),
        ([{"errors": "flagserver"}], "metrics[1].errors", "once"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_path(metrics: list[dict[str, Any]], path: str, words: str) -> None:
    assert words in refused(ERRORS, *metrics)[path].allowed


def test_all_problems_of_all_metrics_come_at_once() -> None:
    found = refused(ERRORS | {"url": "x"}, LATENCY | {"margni": 1}, PAID | {"queries": {}}, CPU | {"floor": 0.1})
    assert set(found) == {
        "metrics[0].url", "metrics[1].margni", "metrics[2].queries.requests", "metrics[2].queries.errors",
        "metrics[3].floor",
    }  # fmt: skip
    assert "one {errors: …}" in refused(BASKET)["metrics"].allowed


def test_limits_hold_on_any_metric_in_its_own_measure() -> None:
    limits = [
        {"max": "2%"},
        {"metric": "latency", "max": "500ms", "failureLimit": 3},
        {"metric": "cpu", "max": 0.8, "inconclusiveLimit": 2, "consecutiveErrorLimit": 1},
        {"metric": "latency", "success": "p90 <= 250ms"},
    ]
    found = config(ERRORS, LATENCY, CPU, limits=limits).plan.judge.limits
    assert found == (
        Limit(failure="result > 0.02"),
        Limit(metric="latency", failure="p99 > 0.5", failure_limit=3),
        Limit(metric="cpu", failure="result > 0.8", inconclusive_limit=2, consecutive_error_limit=1),
        Limit(metric="latency", success="p90 <= 250ms"),
    )


@pytest.mark.parametrize(
    ("limit", "path", "words"),
    [
        ({"metric": "latncy", "max": "1s"}, "limits[0].metric", "one of errors, latency, cpu"),
        ({"metric": "latency", "max": "2%"}, "limits[0].max", "500ms"),
        ({"metric": "cpu", "max": "500ms"}, "limits[0].max", "a number"),
        ({"max": "500ms"}, "limits[0].max", "2%"),
        ({"max": "soon"}, "limits[0].max", "a duration such as 500ms"),
    ],
)
def test_limits_that_fit_no_metric_are_refused(limit: dict[str, Any], path: str, words: str) -> None:
    assert words in refused(ERRORS, LATENCY, CPU, limits=[limit])[path].allowed


def test_a_limit_on_a_metric_that_cannot_be_read_is_no_second_problem() -> None:
    assert set(refused(ERRORS, LATENCY | {"margni": 1}, limits=[{"metric": "latency", "max": "1s"}])) == {
        "metrics[1].margni"
    }


def test_a_step_has_its_own_time_out_and_its_own_way_with_too_little_data() -> None:
    own = {"share": 10, "timeout": "2h", "inconclusive": {"then": "promoteIfNoEvidence"}}
    found = config(ERRORS, steps=[own, 100], policies={"inconclusive": {"after": "20m"}}).plan
    assert found.timeout(1) == 7200.0
    assert found.step(1).inconclusive == Budget(seconds=1200.0, then=Policy.PROMOTE_IF_NO_EVIDENCE)
    assert found.timeout(2) == found.step_timeout
    assert found.step(2).inconclusive is None


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ({"share": 10, "bake": "1h", "timeout": "30m"}, "steps[0].bake"),
        ({"share": 10, "timeout": "0s"}, "steps[0].timeout"),
        ({"share": 10, "timeout": "20m", "confirm": {"timeout": "1h"}}, "steps[0].confirm.timeout"),
        ({"share": 10, "inconclusive": {"after": "0s"}}, "steps[0].inconclusive.after"),
        ({"share": 10, "inconclusive": {"then": "promote"}}, "steps[0].inconclusive.then"),
    ],
)
def test_what_a_step_cannot_be_is_refused_by_its_path(step: dict[str, Any], path: str) -> None:
    assert path in refused(ERRORS, steps=[step, 100])
