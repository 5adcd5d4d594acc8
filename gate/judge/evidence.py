"""All evidence of harm in one sum: errors, missing traffic, and every further metric.

E is a weighted sum of e-values, each with its share of the capital, and so one itself, however they hang together
(no part needs its own alpha). The largest part names the culprit.
"""

from dataclasses import dataclass, replace
from math import inf, log

from gate.judge import alone, further, harm, promotion, traffic, words
from gate.judge.counters import Batch, Interval, plus
from gate.judge.eprocess import Stakes, sum_of_logs
from gate.judge.state import Alarm, JudgeState
from rampgate.criteria import ERRORS, TRAFFIC, MetricKind
from rampgate.evidence import Reading, Sample, VerdictReason
from rampgate.plan import WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How the capital is divided: errors, traffic, and all further metrics together."""

    errors: float
    traffic: float
    further: float


ALONE, TOGETHER = Division(errors=0.94, traffic=0.06, further=0.0), Division(errors=0.54, traffic=0.06, further=0.4)
"""Without, and with, further metrics."""

BASELINE = 0.02
"""The part of alpha that is kept, without a hold-back, for having taken stable's earlier rate for too low."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the sum: its name, its weight, its evidence in nats, and the same without the burst guard."""

    name: str
    weight: float
    log_e: float
    raw: float


def threshold(state: JudgeState) -> float:
    """ln of what E must reach to revert."""
    return -log(state.settings.alpha * (1.0 if state.hold_back else 1.0 - BASELINE))


def log_e(state: JudgeState) -> float:
    """ln E, the evidence of harm of every kind."""
    return sum_of_logs(log(part.weight) + part.log_e for part in _parts(state))


def suspicion(state: JudgeState) -> float:
    """ln E without the burst guard. One poll may not revert; but it may well keep a step from being left."""
    return sum_of_logs(log(part.weight) + part.raw for part in _parts(state))


def tested(state: JudgeState) -> float:
    """The weights of the further metrics that are tested, together: values are for fixed limits alone."""
    return sum(one.weight for one in state.settings.metrics if one.kind is not MetricKind.VALUE)


def _division(state: JudgeState) -> Division:
    return TOGETHER if tested(state) > 0.0 else ALONE


def _parts(state: JudgeState) -> tuple[Part, ...]:
    division, whole = _division(state), tested(state)
    # Stable has users, or it has none: the two games of errors follow each other, and their capital is one.
    later = state.alone.capital
    return (
        Part(ERRORS, division.errors, state.harm.log_e + later.log_e, state.harm.raw + later.raw),
        Part(TRAFFIC, division.traffic, state.traffic.capital.log_e, state.traffic.capital.raw),
        *(
            Part(
                one.name,
                division.further * one.weight / whole,
                further.log_e(metric, one),
                further.log_e(metric, one, guarded=False),
            )
            for one, metric in zip(state.settings.metrics, state.further, strict=True)
            if one.kind is not MetricKind.VALUE
        ),
    )


def weigh(state: JudgeState, interval: Interval, reading: Reading, *, settled_at: float) -> JudgeState:
    """Take an interval into the evidence: traffic at once, the rest when it makes a batch; and raise the alarm.

    ``settled_at``: nothing that began before counts, in seconds since the epoch.
    """
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
    if state.settings.metrics:
        state = replace(state, further=_further(state, reading, settled_at))
    if state.alarm is None and log_e(state) >= threshold(state):
        state = replace(state, alarm=_alarm(state, interval))
    return state


def _further(state: JudgeState, reading: Reading, settled_at: float) -> tuple[further.Further, ...]:
    """Every further metric with this reading; bet on where both arms have users."""
    whole, found = tested(state), []
    for one, before in zip(state.settings.metrics, state.further, strict=True):
        metric = further.take(before, one, reading.metrics.get(one.name), at=reading.at, settled_at=settled_at)
        if 0 < state.share < WHOLE and one.kind is not MetricKind.VALUE:
            cap = _cap(state, _division(state).further * one.weight / whole)
            terms = further.Terms(step=state.step, limit=state.promotion.limit, stakes=_stakes(state), cap=cap)
            found.append(further.weigh(metric, one, terms))
        else:
            found.append(metric)
    return tuple(found)


def _stakes(state: JudgeState) -> Stakes:
    return Stakes(steps=state.steps, planned=state.planned_polls)


def _traffic(state: JudgeState, stable: int, canary: int) -> traffic.Traffic:
    return traffic.weigh(
        state.traffic,
        stable=stable,
        canary=canary,
        share=state.share,
        step=state.step,
        stakes=traffic.stakes(state.steps, state.planned_polls),
        cap=_cap(state, _division(state).traffic),
        even=state.even,
    )


def _close(state: JudgeState) -> JudgeState:
    """A batch is full: into the evidence with it."""
    batch, settings = state.batch, state.settings
    state = replace(state, batch=Batch())
    if state.share == WHOLE:
        delta = settings.alpha * BASELINE
        stakes = Stakes(steps=1, planned=state.planned_polls)
        cap = _cap(state, _division(state).errors)
        weighed = alone.weigh(state.alone, batch.canary, floor=settings.floor, delta=delta, stakes=stakes, cap=cap)
        return replace(state, alone=weighed)
    state = replace(
        state,
        weather=state.weather.seen(batch.stable, settings.floor),
        alone=alone.remember(state.alone, batch.stable),
    )
    if state.share == 0:
        return state
    # Once a source has left users out it may do so when there are many: from then on requests are counted.
    users = batch.of_users() if state.users else None
    state, batch = replace(state, users=users is not None), users or batch
    return replace(
        state,
        # Tempered by what was known before this batch.
        promotion=promotion.seen(state.promotion, batch, state.harm.dispersion.factor),
        harm=harm.weigh(
            state.harm,
            batch,
            margin=settings.margin,
            floor=settings.floor,
            stakes=_stakes(state),
            step=state.step,
            cap=_cap(state, _division(state).errors),
        ),
    )


def _cap(state: JudgeState, weight: float) -> float:
    """What one batch may add to a part of this weight, in nats.

    Fewer than ``min_intervals`` batches never reach the threshold; and not every one of them has to be at its cap.
    """
    fewest = state.settings.min_intervals
    if fewest <= 1:
        return inf
    return (threshold(state) - log(weight)) / (fewest - 0.5)


def _alarm(state: JudgeState, interval: Interval) -> Alarm:
    alarm = _found(state, interval)
    excluded = promotion.excluded(state.promotion, state.settings.beta) if state.share < WHOLE else None
    return replace(alarm, text=words.whole(alarm.text, words.known(excluded, state.settings.beta)))


def _found(state: JudgeState, interval: Interval) -> Alarm:
    culprit = max(_parts(state), key=lambda part: log(part.weight) + part.log_e)
    if culprit.name == TRAFFIC:
        stable, canary = interval.requests or (0, 0)
        text = words.missing_traffic(stable, canary, state.share)
        return Alarm(reason=VerdictReason.TRAFFIC_MISSING, text=text, culprit=TRAFFIC)
    if culprit.name == ERRORS:
        text = f"{words.rates(state.stable, state.canary)}."
        if state.share == WHOLE:
            text = words.alone(Sample(requests=state.alone.requests, errors=state.alone.errors), state.canary)
        return Alarm(reason=VerdictReason.ERRORS_HIGHER, text=text, culprit=ERRORS)
    number = next(place for place, one in enumerate(state.settings.metrics) if one.name == culprit.name)
    text = f"{further.sentence(state.further[number], state.settings.metrics[number])}."
    return Alarm(reason=VerdictReason.METRIC_WORSE, text=text, culprit=culprit.name)
