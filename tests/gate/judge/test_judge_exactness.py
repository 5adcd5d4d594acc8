"""The guarantee, by exact enumeration: under the claim bet against, no bet has an expectation above 1."""

import random
from collections.abc import Callable
from itertools import product
from math import comb, exp, inf, isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.judge import harm, promotion, traffic
from gate.judge.alone import highest_mean
from gate.judge.counters import Batch
from gate.judge.eprocess import Dispersion, EProcess, Stakes, bet
from rampgate.evidence import Sample

HAIR = 1.0 + 1e-9
counts = st.integers(0, 6)
rates = st.floats(0.0, 1.0)
factors = st.floats(1.0, 8.0)


def chance(errors: int, requests: int, rate: float) -> float:
    return comb(requests, errors) * rate**errors * (1.0 - rate) ** (requests - errors)


def expectation(n: int, lc: float, m: int, ls: float, value: Callable[[int, int], float]) -> float:
    """Of ``value(x, y)``, over both arms' errors."""
    outcomes = product(range(n + 1), range(m + 1))
    return sum(chance(x, n, lc) * chance(y, m, ls) * value(x, y) for x, y in outcomes)


def batch(n: int, x: int, m: int, y: int) -> Batch:
    return Batch(canary=Sample(requests=n, errors=x), stable=Sample(requests=m, errors=y))


@given(n=counts, m=counts, ls=rates, part=rates, margin=st.floats(1.0, 3.0), effect=st.sampled_from(harm.EFFECTS))
def test_a_canary_within_the_margin_gives_no_evidence_of_harm_on_average(n, m, ls, part, margin, effect):
    lc = min(1.0, margin * ls) * part

    def value(x: int, y: int) -> float:
        return exp(harm.split_gains(n, x, m, y, margin, (effect,))[0])

    assert expectation(n, lc, m, ls, value) <= HAIR


@given(n=counts, m=counts, lc=rates, part=rates, limit=st.floats(1.0, 4.0), effect=st.floats(0.05, 3.0))
def test_a_canary_at_or_over_the_limit_gives_no_evidence_of_health_on_average(n, m, lc, part, limit, effect):
    def value(x: int, y: int) -> float:
        return exp(harm.split_gains(n, x, m, y, limit, (-effect,))[0])

    assert expectation(n, lc, m, lc / limit * part, value) <= HAIR


@given(n=counts, floor=st.floats(0.001, 1.0), part=rates, effect=st.sampled_from(harm.EFFECTS))
def test_a_canary_under_the_floor_gives_no_evidence_of_harm_on_average(n, floor, part, effect):
    value = expectation(n, floor * part, 0, 0.0, lambda x, _: exp(harm.floor_gains(n, x, floor, (effect,))[0]))

    assert value <= HAIR


@given(n=counts, m=counts, ls=st.floats(0.0, 0.5), factor=factors)
def test_promotion_at_the_limit_is_no_better_than_a_fair_bet(n, m, ls, factor):
    def value(x: int, y: int) -> float:
        seen = promotion.seen(promotion.Promotion(limit=2.0), batch(n, x, m, y), factor)
        return exp(promotion.log_e(seen, 0.001))

    if n + m:
        assert expectation(n, max(0.001, min(1.0, 2.0 * ls)), m, ls, value) <= HAIR


@given(total=st.integers(1, 12), share=st.sampled_from([1_000, 10_000, 50_000, 95_000]), over=rates)
def test_a_canary_that_gets_its_tolerated_share_is_not_missed_on_average(total, share, over):
    least = traffic.tolerated(share)
    got = least + (1.0 - least) * over

    def value(canary: int, _: int) -> float:
        seen = traffic.weigh(
            traffic.Traffic(),
            stable=total - canary,
            canary=canary,
            share=share,
            step=1,
            stakes=Stakes(steps=3, planned=10),
            cap=inf,
        )
        return exp(seen.capital.log_e)

    assert expectation(total, got, 0, 0.0, value) <= HAIR


@given(
    past=st.lists(st.tuples(st.integers(1, 8), counts, st.integers(1, 8), counts), max_size=6),
    n=st.integers(1, 5),
    m=st.integers(1, 5),
    ls=st.floats(0.0, 0.8),
    cap=st.sampled_from([0.1, 1.5, inf]),
    step=st.integers(1, 3),
)
def test_whatever_happened_before_the_next_batch_is_a_fair_bet_at_best(past, n, m, ls, cap, step):
    """The whole step: mixture, stake, tempering by what was learned, guard, and the smaller of two capitals' bets."""
    setting = {"margin": 1.2, "floor": 0.001, "stakes": Stakes(steps=3, planned=4), "cap": cap}
    known = harm.Harm()
    for a, b, c, d in past:
        known = harm.weigh(known, batch(a, min(a, b), c, min(c, d)), step=1, **setting)

    def after(x: int, y: int) -> harm.Harm:
        return harm.weigh(known, batch(n, x, m, y), step=step, **setting)

    lc = min(1.0, 1.2 * ls)
    raw = expectation(n, lc, m, ls, lambda x, y: exp(after(x, y).relative.raw - known.relative.raw))
    guarded = expectation(n, lc, m, ls, lambda x, y: exp(after(x, y).relative.log_e - known.relative.log_e))
    absolute = expectation(n, 0.001, m, ls, lambda x, y: exp(after(x, y).absolute.log_e - known.absolute.log_e))

    assert max(raw, guarded, absolute) <= HAIR


@given(
    steps=st.integers(1, 12),
    planned=st.integers(0, 200),
    news=st.lists(st.booleans(), max_size=300),
)
def test_no_schedule_stakes_more_than_there_is(steps, planned, news):
    stakes, reserve, ahead = Stakes(steps=steps, planned=planned), 1.0, steps - 1
    for number, new in enumerate(news):
        entering = new and ahead > 0 and number > 0
        ahead -= entering
        stake = stakes.at(number, reserve=reserve, new_step=entering)
        assert stake >= 0.0
        reserve -= stake
        assert reserve > 0.0


def test_capital_is_left_for_harm_that_begins_after_the_plan():
    stakes, reserve = Stakes(steps=3, planned=60), 1.0
    for number in range(60):
        reserve -= stakes.at(number, reserve=reserve, new_step=number in (20, 40))

    assert isclose(reserve, 0.1 + 0.06 / 60)


def test_one_batch_gives_the_value_that_the_formula_says():
    n, x, m, y, margin, effect = 100, 4, 900, 9, 1.2, 0.5
    canary_share = {q: n * q / (n * q + m) for q in (margin, margin * exp(effect))}
    by_hand = x * log(canary_share[margin * exp(effect)] / canary_share[margin]) + y * log(
        (1 - canary_share[margin * exp(effect)]) / (1 - canary_share[margin])
    )

    assert isclose(harm.split_gains(n, x, m, y, margin, (effect,))[0], by_hand, rel_tol=1e-12)


def test_two_batches_give_the_evidence_that_they_always_gave():
    """Figures worked out apart, with sums of plain floats: they must not change unseen."""
    stakes = Stakes(steps=3, planned=60)
    setting = {"margin": 1.2, "floor": 0.001, "stakes": stakes, "cap": inf, "step": 1}
    known = harm.weigh(harm.Harm(), batch(100, 6, 900, 9), **setting)
    known = harm.weigh(known, batch(110, 5, 890, 12), **setting)

    money, cash = [0.0] * 16, 1.0
    nats = [0.12 * (4.0 / 0.12) ** (j / 15) for j in range(16)]
    parts = [exp(-0.5 * (log(d / 0.48) / 0.5) ** 2) + 0.02 for d in nats]
    for stake, (n, x, m, y) in ((0.74, (100, 6, 900, 9)), (0.06 / 60, (110, 5, 890, 12))):
        cash -= stake
        for j in range(16):
            rho = 1.2 * exp(nats[j])
            money[j] = (money[j] + stake) * (rho / 1.2) ** x / ((n * rho + m) / (n * 1.2 + m)) ** (x + y)

    bets = sum(part * one for part, one in zip(parts, money, strict=True)) / sum(parts)
    assert isclose(exp(known.relative.log_e), cash + bets, rel_tol=1e-9)


def test_evidence_of_health_is_what_the_formula_says():
    limit, floor, n, x, m, y = 2.0, 0.001, 400, 4, 600, 9
    seen = promotion.seen(promotion.Promotion(limit=limit), batch(n, x, m, y), 1.0)

    ratios = [limit * exp(0.05 * (number - 85)) for number in range(156)]
    near = [exp(-(log(ratio) ** 2) / 2 / 0.2**2) for ratio in ratios]
    spread = [float(-3 <= log(ratio) <= 1) for ratio in ratios]
    likelihood = [ratio**x / (n * ratio + m) ** (x + y) for ratio in ratios]
    relative = sum(
        (0.8 * near[k] / sum(near) + 0.2 * spread[k] / sum(spread)) * likelihood[k] / likelihood[85] for k in range(85)
    )
    under = [0.12 * 25 ** (j / 15) for j in range(16)]
    absolute = sum(exp(-x * d + n * floor * (1 - exp(-d))) for d in under) / 16

    assert isclose(promotion.log_e(seen, floor), log(0.8 * relative + 0.2 * absolute), rel_tol=1e-9)


def test_no_size_of_number_breaks_the_arithmetic():
    process = EProcess()
    for gain in (700.0, -5000.0, 1e6, -1e9, 3.0):
        process = bet(process, (gain, -gain), stake=0.1, cap=1.5)

    assert -inf < process.log_e < inf
    assert all(-inf < one < inf for one in process.logs)


@given(scale=st.floats(1.0, 30.0), seed=st.integers(0, 50))
def test_scatter_is_learned_and_never_taken_for_less_than_chance(scale, seed):
    rng = random.Random(seed)
    dispersion = Dispersion()
    for _ in range(200):
        count = 50.0 + rng.gauss(0.0, (25.0 * scale) ** 0.5)
        dispersion = dispersion.seen(count, of=100, probability=0.5)

    assert dispersion.factor >= 1.0
    assert 0.55 * scale <= dispersion.factor <= 1.7 * scale


@pytest.mark.parametrize(("count", "delta"), [(0, 0.05), (3, 0.005), (40, 0.005), (5000, 0.005)])
def test_the_highest_mean_is_one_at_which_so_few_errors_are_rare(count, delta):
    mean = highest_mean(count, delta)
    term = total = exp(-mean) if mean < 600 else 0.0
    for number in range(1, count + 1):
        term *= mean / number
        total += term

    assert mean > count
    assert total <= delta * HAIR
    assert mean <= count + 6 * (count + 3) ** 0.5 + 6
