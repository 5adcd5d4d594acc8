"""Metrics beside the errors: latency, means, other failures, affected users; and what each does to a step."""

import json
import random
from dataclasses import dataclass, field, replace

import pytest

from gate.judge import Situation, begin, from_json, judge, latency, to_json
from gate.judge.counters import Batch
from gate.judge.simulate import poisson
from rampgate.criteria import Better, JudgeSettings, MetricKind, MetricSettings
from rampgate.evidence import (
    Counters,
    Histogram,
    Look,
    Measured,
    Moments,
    Reading,
    Sample,
    SourceDown,
    VerdictReason,
    VerdictWord,
)

BOUNDS = (0.1, 0.25, 0.5, 1.0)
LATENCY = MetricSettings(name="latency", kind=MetricKind.LATENCY)
SIZE = MetricSettings(name="size", kind=MetricKind.MEAN, margin=1.1)
LOST = MetricSettings(name="lost carts", kind=MetricKind.ERRORS)


@dataclass
class Arm:
    """Everything that one arm counts."""

    requests: int = 0
    within: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))
    sums: list[float] = field(default_factory=lambda: [0, 0.0, 0.0])
    lost: int = 0

    def add(self, requests, shares, mean, lost):
        self.requests += requests
        for place, share in enumerate(shares):
            self.within[place] += round(requests * share)
        self.sums = [self.sums[0] + requests, self.sums[1] + requests * mean, self.sums[2] + requests * mean**2 * 1.5]
        self.lost += lost

    def measures(self):
        return {
            "latency": Histogram(bounds=BOUNDS, counts=tuple(self.within), total=self.requests),
            "size": Moments(count=int(self.sums[0]), sum=self.sums[1], squares=self.sums[2]),
            "lost carts": Counters(requests=self.requests, errors=self.lost),
        }


USUAL = (0.80, 0.95, 0.99, 1.0)


class Shop:
    """A rollout in its first step, whose errors are always alike."""

    def __init__(self, *metrics, step=1):
        self.state = begin(JudgeSettings(metrics=metrics), steps=3, planned_polls=60)
        self.names, self.arms, self.now, self.step = [one.name for one in metrics], (Arm(), Arm()), 0.0, step
        self.looks, self.situations = [], []
        for arm in self.arms:
            arm.add(10_000, USUAL, 10.0, 100)
        self.look()

    def reading(self) -> Reading:
        stable, canary = (arm.measures() for arm in self.arms)
        counters = [Counters(requests=arm.requests, errors=arm.requests // 100) for arm in self.arms]
        metrics = {name: Measured(stable=stable[name], canary=canary[name]) for name in self.names}
        return Reading(at=self.now, stable=counters[0], canary=counters[1], metrics=metrics)

    def look(self, reading: Reading | None = None) -> Look:
        situation = Situation(step=self.step, share=10_000 if self.step == 1 else 50_000, last=False, settled_at=0.0)
        self.state, look = judge(self.state, situation, reading or self.reading())
        self.looks.append(look)
        self.situations.append(situation)
        return look

    def poll(self, shares=USUAL, mean=10.0, lost=10) -> Look:
        self.now += 15.0
        self.arms[0].add(9000, USUAL, 10.0, 90)
        self.arms[1].add(1000, shares, mean, lost)
        return self.look()


def test_a_slower_canary_is_found_and_named_with_its_bound():
    shop = Shop(LATENCY)
    for _ in range(6):
        look = shop.poll(shares=(0.5, 0.80, 0.95, 1.0))
        if look.verdict.word is VerdictWord.REGRESSED:
            break

    assert (look.verdict.reason, look.verdict.culprit) == (VerdictReason.METRIC_WORSE, "latency")
    assert look.verdict.text.startswith("latency above 100ms: 50 % (1000 of 2000) on the canary against 20 %")


def test_a_new_slow_tail_is_found_where_stable_has_none():
    shop = Shop(LATENCY)
    words = [shop.poll(shares=(0.80, 0.95, 0.98, 0.98)).verdict.word for _ in range(8)]

    assert VerdictWord.REGRESSED in words


@pytest.mark.parametrize(
    ("metric", "worse", "culprit"), [(SIZE, {"mean": 14.0}, "size"), (LOST, {"lost": 40}, "lost carts")]
)
def test_any_other_metric_reverts_too_by_its_name(metric, worse, culprit):
    shop = Shop(LATENCY, metric)
    for _ in range(20):
        look = shop.poll(**worse)
        if look.verdict.word is VerdictWord.REGRESSED:
            break

    assert (look.verdict.reason, look.verdict.culprit) == (VerdictReason.METRIC_WORSE, culprit)
    assert look.verdict.text.startswith(culprit)


def test_a_step_is_left_when_errors_and_every_metric_are_known_to_be_well():
    shop = Shop(LATENCY, SIZE, LOST)
    words = []
    while VerdictWord.HEALTHY not in words:
        words.append(shop.poll().verdict.word)
        assert len(words) < 40

    assert words[:4] == [VerdictWord.INCONCLUSIVE] * 4
    assert VerdictWord.REGRESSED not in words


@pytest.mark.parametrize("broken", ["missing", "other buckets", "nonsense", "another kind", "began again"])
def test_a_metric_that_cannot_be_compared_is_never_taken_for_well(broken):
    shop = Shop(LATENCY)
    for _ in range(20):
        shop.poll()
    assert shop.looks[-1].verdict.word is VerdictWord.HEALTHY

    shop.now += 15.0
    shop.arms[0].add(9000, USUAL, 10.0, 90)
    shop.arms[1].add(1000, USUAL, 10.0, 10)
    reading = shop.reading()
    good = reading.metrics["latency"]
    canary = {
        "missing": None,
        "other buckets": Histogram(bounds=(0.1, 1.0), counts=(1, 2), total=3),
        "nonsense": Histogram(bounds=BOUNDS, counts=(9, 8, 7, 6), total=3),
        "another kind": Counters(requests=4, errors=1),
        "began again": Histogram(bounds=BOUNDS, counts=(1, 2, 3, 4), total=4),
    }[broken]
    look = shop.look(replace(reading, metrics={"latency": replace(good, canary=canary)}))

    assert look.verdict.word is VerdictWord.INCONCLUSIVE
    assert look.verdict.text.startswith("latency: ")
    for _ in range(3):
        shop.poll()
    assert shop.looks[-1].verdict.word is VerdictWord.HEALTHY


def test_each_step_brings_its_own_evidence_of_every_metric():
    shop = Shop(LATENCY)
    while shop.looks[-1].verdict.word is not VerdictWord.HEALTHY:
        shop.poll()
    shop.step = 2

    assert shop.look().verdict.word is VerdictWord.INCONCLUSIVE
    assert shop.state.further[0].fresh == 0
    assert shop.state.further[0].harms[0].batches > 0


def test_what_was_judged_replays_through_json_with_every_kind_of_metric():
    shop, rng = Shop(LATENCY, SIZE, LOST), random.Random(7)
    for _ in range(25):
        shop.poll(shares=(0.78, 0.94, 0.99, 1.0), mean=rng.uniform(9, 11), lost=rng.randint(5, 16))
    state = begin(JudgeSettings(metrics=(LATENCY, SIZE, LOST)), steps=3, planned_polls=60)
    for look, situation in zip(shop.looks, shop.situations, strict=True):
        state = from_json(json.loads(json.dumps(to_json(state), allow_nan=False)))
        state, again = judge(state, situation, look.reading)
        assert again == look


def test_bounds_are_chosen_from_what_stable_has_shown_and_few():
    assert latency.choose(499, (100, 499)) == ()
    assert latency.choose(10_000, (5_000, 8_500, 9_900, 10_000)) == (1, 2, 3)
    many = tuple(8_000 + 100 * number for number in range(21))
    assert len(latency.choose(10_000, many)) == latency.MOST
    assert latency.choose(10_000, many)[0] == 0


def test_a_quantile_is_a_bound_that_is_kept_and_never_a_guess():
    assert latency.quantile(BOUNDS, (50, 90, 99, 99), 100, 0.9) == 0.25
    assert latency.quantile(BOUNDS, (50, 90, 98, 98), 100, 0.99) is None


def test_affected_users_are_judged_where_the_source_counts_them(ramp_of):
    """A storm of one user's retries is one affected user."""

    def judged(users):
        state, counts = ramp_of().state, [[0, 0, 0], [0, 0, 0]]
        situation, words = Situation(step=1, share=10_000, last=False, settled_at=0.0), []
        for number in range(12):
            for arm, (n, x, u) in zip(counts, ((900, 9, 9), (100, 40, 1)), strict=True):
                arm[:] = [arm[0] + n, arm[1] + x, arm[2] + u]
            stable, canary = (
                Counters(requests=n, errors=x, affected_users=u if users(number) else None) for n, x, u in counts
            )
            state, look = judge(state, situation, Reading(at=float(number), stable=stable, canary=canary))
            words.append(look.verdict.word)
        return words

    assert VerdictWord.REGRESSED not in judged(lambda _: True)
    assert VerdictWord.REGRESSED in judged(lambda _: False)
    assert VerdictWord.REGRESSED in judged(lambda number: number < 3)


def test_users_take_the_place_of_requests_only_where_both_arms_have_them_and_they_can_be():
    def batch(**canary):
        stable = Sample(requests=90, errors=9, active_users=50, affected_users=5)
        return Batch(stable=stable, canary=Sample(requests=10, errors=4, **canary)).of_users()

    assert batch() is None
    assert batch(affected_users=11) is None
    assert batch(active_users=6, affected_users=7) is None
    whole = batch(active_users=6, affected_users=2)
    assert (whole.canary.requests, whole.canary.errors, whole.stable.requests) == (6, 2, 50)
    part = batch(affected_users=2)
    assert (part.canary.requests, part.canary.errors, part.stable.requests) == (10, 2, 90)


ORDERS = MetricSettings(name="orders", kind=MetricKind.COUNT, better=Better.HIGHER)


class Till:
    """A rollout whose errors are well, with events and a quantity of which more is better."""

    def __init__(self, *metrics, seed=0):
        self.rng, self.state = random.Random(seed), begin(JudgeSettings(metrics=metrics), steps=3, planned_polls=60)
        self.metrics, self.now, self.sums = metrics, 0.0, [[0, 0, 0.0, 0.0], [0, 0, 0.0, 0.0]]
        self.poll()

    def reading(self):
        arms = [Counters(requests=n, errors=n // 100) for n, *_ in self.sums]
        found = {}
        for metric in self.metrics:
            if metric.kind is MetricKind.COUNT:
                found[metric.name] = [Counters(requests=n, errors=events) for n, events, *_ in self.sums]
            else:
                found[metric.name] = [
                    Moments(count=n, sum=total, squares=squares) for n, _, total, squares in self.sums
                ]
        metrics = {name: Measured(stable=both[0], canary=both[1]) for name, both in found.items()}
        return Reading(at=self.now, stable=arms[0], canary=arms[1], metrics=metrics)

    def poll(self, fewer=1.0):
        self.now += 15.0
        for arm, requests, part in ((self.sums[0], 900, 1.0), (self.sums[1], 100, fewer)):
            events = poisson(self.rng, 3.0 * requests * part)
            values = [self.rng.expovariate(1.0) * part for _ in range(requests)]
            arm[:] = [
                arm[0] + requests, arm[1] + events, arm[2] + sum(values), arm[3] + sum(one * one for one in values)
            ]  # fmt: skip
        situation = Situation(step=1, share=10_000, last=False, settled_at=0.0)
        self.state, look = judge(self.state, situation, self.reading())
        return look.verdict


BASKET = MetricSettings(name="basket", kind=MetricKind.MEAN, better=Better.HIGHER)


@pytest.mark.parametrize("metric", [ORDERS, BASKET])
def test_where_more_is_good_a_canary_that_has_less_is_found_and_one_that_has_more_is_well(metric):
    worse = Till(metric)
    words = [worse.poll(fewer=0.5) for _ in range(30)]
    assert VerdictWord.REGRESSED in {verdict.word for verdict in words}
    assert words[-1].culprit == metric.name
    better = Till(metric)
    found = [better.poll(fewer=1.5).word for _ in range(30)]
    assert VerdictWord.REGRESSED not in found
    assert VerdictWord.HEALTHY in found


def test_events_may_outnumber_requests_and_are_told_by_the_request():
    till = Till(replace(ORDERS, better=Better.LOWER))
    while (verdict := till.poll(fewer=3.0)).word is not VerdictWord.REGRESSED:
        assert till.now < 3000.0
    assert verdict.text.startswith("orders: ")
    assert "a request on the canary against" in verdict.text


def test_healthy_arms_are_seldom_reverted_for_what_is_better_when_higher():
    reverted = 0
    for seed in range(60):
        till = Till(ORDERS, seed=seed)
        reverted += any(till.poll().word is VerdictWord.REGRESSED for _ in range(20))
    assert reverted <= 3


@pytest.mark.parametrize("step", [0, 1])
def test_a_metric_whose_source_is_down_is_no_good_news_and_admits_no_policy(step):
    shop = Shop(LATENCY)
    for _ in range(10):
        shop.poll()
    assert shop.looks[-1].verdict.no_harm
    down = SourceDown(at=shop.now, reason=VerdictReason.SOURCE_UNREACHABLE, text="prometheus: it answers HTTP 503")
    shop.now += 15.0
    reading = replace(shop.reading(), metrics={"latency": down})
    situation = Situation(step=step, share=10_000 * step, last=False, settled_at=0.0)
    _, look = judge(shop.state, situation, reading)

    verdict = look.verdict
    assert (verdict.word, verdict.reason) == (VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_UNREACHABLE)
    assert verdict.text == "latency: prometheus: it answers HTTP 503"
    assert not verdict.no_harm


def test_harm_is_found_by_errors_while_a_metric_is_down():
    shop = Shop(LATENCY)
    down = SourceDown(at=0.0, reason=VerdictReason.SOURCE_UNREACHABLE, text="gone")
    for _ in range(6):
        shop.now += 15.0
        shop.arms[0].add(9000, USUAL, 10.0, 90)
        shop.arms[1].add(1000, USUAL, 10.0, 10)
        canary = shop.reading().canary
        worse = Counters(requests=canary.requests, errors=canary.requests // 4)
        look = shop.look(replace(shop.reading(), canary=worse, metrics={"latency": down}))
    assert (look.verdict.word, look.verdict.culprit) == (VerdictWord.REGRESSED, "errors")


def test_a_metric_that_lags_behind_compares_nothing_from_before_the_step():
    """Its figures go up to a minute ago, so the first ones after the step are of the step before."""
    shop = Shop(LOST)
    settled = 100.0
    for _ in range(20):
        shop.now += 15.0
        shop.arms[0].add(900, USUAL, 10.0, 9)
        shop.arms[1].add(100, USUAL, 10.0, 90 if shop.now <= settled else 1)
        lost = shop.reading().metrics["lost carts"]
        if shop.now - 60.0 > 0.0:
            reading = replace(shop.reading(), metrics={"lost carts": replace(lost, at=shop.now - 60.0)})
            shop.state, look = judge(
                shop.state, Situation(step=1, share=10_000, last=False, settled_at=settled), reading
            )
    assert shop.state.further[0].here_canary[0] == 100 * 9
    assert look.verdict.word is not VerdictWord.REGRESSED


def test_what_is_excluded_stands_in_every_verdict_and_none_is_longer_than_the_server_takes():
    shop = Shop(LATENCY, LOST)
    for number in range(8):
        text = shop.poll().verdict.text
        assert "excluded at 95 %" in text or "excludes no regression yet" in text, number
    down = SourceDown(at=0.0, reason=VerdictReason.SOURCE_UNREADABLE, text="x" * 5000)
    shop.now += 15.0
    assert len(shop.look(replace(shop.reading(), metrics={"latency": down})).verdict.text) <= 1900
