"""All evidence of harm in one sum: errors beside stable, errors alone, missing traffic.

E is a weighted sum of e-values, each with its share of the capital, and so one itself, however they hang together
(no part needs its own alpha). A further metric is one more part.
"""

from dataclasses import replace
from math import inf, log

from gate.judge import alone, harm, promotion, traffic, words
from gate.judge.counters import Batch, Interval, plus
from gate.judge.eprocess import Stakes, sum_of_logs
from gate.judge.state import Alarm, JudgeState
from rampgate.evidence import Sample, VerdictReason
from rampgate.plan import WHOLE

WITH_HOLD_BACK = (0.9, 0.1, 0.0)
WITHOUT_HOLD_BACK = (0.7, 0.1, 0.2)
"""How the capital is divided: errors beside stable, traffic, errors alone."""

BASELINE = 0.1
"""The part of alpha that is kept, without a hold-back, for having taken stable's earlier rate for too low."""


def threshold(state: JudgeState) -> float:
    """ln of what E must reach to revert."""
    return -log(state.settings.alpha * (1.0 if state.hold_back else 1.0 - BASELINE))


def log_e(state: JudgeState) -> float:
    """ln E, the evidence of harm of every kind."""
    return sum_of_logs(_parts(state))


def suspicion(state: JudgeState) -> float:
    """ln E without the burst guard. One poll may not revert; but it may well keep a step from being left."""
    found = (state.harm.raw, state.traffic.capital.raw, state.alone.capital.raw)
    return sum_of_logs(weight + one for weight, one in zip(_weights(state), found, strict=True))


def _parts(state: JudgeState) -> tuple[float, ...]:
    found = (state.harm.log_e, state.traffic.capital.log_e, state.alone.capital.log_e)
    return tuple(weight + one for weight, one in zip(_weights(state), found, strict=True))


def _weights(state: JudgeState) -> tuple[float, ...]:
    return tuple(log(one) if one else -inf for one in (WITH_HOLD_BACK if state.hold_back else WITHOUT_HOLD_BACK))


def weigh(state: JudgeState, interval: Interval) -> JudgeState:
    """Take an interval into the evidence: traffic at once, errors when they make a batch; and raise the alarm."""
    if interval.requests is not None:
        state = replace(state, traffic=_traffic(state, *interval.requests))
    if interval.stable is not None and interval.canary is not None:
        state = replace(
            state,
            batch=state.batch.plus(interval.stable, interval.canary),
            stable=plus(state.stable, interval.stable),
            canary=plus(state.canary, interval.canary),
        )
        # At either end one arm has no users: there a batch is a large one.
        if state.batch.is_full if 0 < state.share < WHOLE else state.batch.is_large:
            state = _close(state)
    if state.alarm is None and log_e(state) >= threshold(state):
        state = replace(state, alarm=_alarm(state, interval))
    return state


def _traffic(state: JudgeState, stable: int, canary: int) -> traffic.Traffic:
    return traffic.weigh(
        state.traffic,
        stable=stable,
        canary=canary,
        share=state.share,
        step=state.step,
        stakes=Stakes(steps=state.steps, planned=state.planned_polls, start=traffic.START),
        cap=_cap(state, 1),
    )


def _close(state: JudgeState) -> JudgeState:
    """A batch is full: into the evidence with it."""
    batch, settings = state.batch, state.settings
    state = replace(state, batch=Batch())
    if state.share == WHOLE:
        delta = settings.alpha * BASELINE
        stakes = Stakes(steps=1, planned=state.planned_polls)
        cap = _cap(state, 2)
        weighed = alone.weigh(state.alone, batch.canary, floor=settings.floor, delta=delta, stakes=stakes, cap=cap)
        return replace(state, alone=weighed)
    state = replace(
        state,
        weather=state.weather.seen(batch.stable, settings.floor),
        alone=alone.remember(state.alone, batch.stable),
    )
    if state.share == 0:
        return state
    return replace(
        state,
        # Tempered by what was known before this batch.
        promotion=promotion.seen(state.promotion, batch, state.harm.dispersion.factor),
        harm=harm.weigh(
            state.harm,
            batch,
            margin=settings.margin,
            floor=settings.floor,
            stakes=Stakes(steps=state.steps, planned=state.planned_polls),
            step=state.step,
            cap=_cap(state, 0),
        ),
    )


def _cap(state: JudgeState, part: int) -> float:
    """What one batch may add to this part, in nats: fewer than ``min_intervals`` batches never reach the threshold."""
    weight = _weights(state)[part]
    if state.settings.min_intervals <= 1 or weight == -inf:
        return inf
    # A hair more than the exact fraction: two halves, added as floats, may fall short of the whole.
    return (threshold(state) - weight) / state.settings.min_intervals * (1.0 + 1e-9)


def _alarm(state: JudgeState, interval: Interval) -> Alarm:
    errors, missing, by_itself = _parts(state)
    if missing > max(errors, by_itself):
        stable, canary = interval.requests or (0, 0)
        text = words.missing_traffic(stable, canary, state.share)
        return Alarm(reason=VerdictReason.TRAFFIC_MISSING, text=text)
    if by_itself > errors:
        text = words.alone(Sample(requests=state.alone.requests, errors=state.alone.errors), state.canary)
    else:
        text = f"{words.rates(state.stable, state.canary)}."
    return Alarm(reason=VerdictReason.ERRORS_HIGHER, text=text)
