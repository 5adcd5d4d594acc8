"""From a reading to a verdict: the one call of a gate's tick.

Order matters: harm found is not taken back; what could not be read is never taken for good news; what is not known
to be well holds. Nothing here depends on how regularly it is called.
"""

from dataclasses import replace
from math import log

from gate.judge import harm, promotion, traffic, words
from gate.judge.counters import NOTHING, Batch, Gap, Interval, Tally, plus, take
from gate.judge.eprocess import Stakes, add_logs
from gate.judge.state import Alarm, JudgeState, Situation
from rampgate.evidence import Counters, Look, Reading, SourceDown, Verdict, VerdictReason, VerdictWord
from rampgate.plan import JudgeSettings

ERRORS, TRAFFIC = 0.9, 0.1
"""How the capital is divided. E is the sum of the parts, so alpha bounds false reverts of every kind together."""

PATIENCE = 3
"""Polls that a canary without a series is waited for: many sources have none before the first request."""


def begin(settings: JudgeSettings, *, steps: int, planned_polls: int) -> JudgeState:
    """A judge that has seen nothing, for a rollout of ``steps`` steps and about ``planned_polls`` polls in all.

    A wrong ``planned_polls`` costs speed, never validity.
    """
    return JudgeState(
        settings=settings,
        steps=steps,
        planned_polls=planned_polls,
        promotion=promotion.Promotion(limit=settings.exclude[0]),
    )


def judge(state: JudgeState, situation: Situation, reading: Reading | SourceDown) -> tuple[JudgeState, Look]:
    """Judge one poll: the state to go on with, and the look to show and to keep."""
    if (situation.step, situation.share) != (state.step, state.share):
        state = _enter(state, situation)
    if isinstance(reading, SourceDown):
        state, interval = replace(state, clean=0), Interval(gap=Gap.ABSENT)
        verdict = _verdict(state, VerdictWord.SOURCE_DOWN, reading.reason, reading.text)
    else:
        since = state.tally.at
        state, interval = _take(state, situation, reading)
        state = _weigh(state, situation, interval)
        verdict = _say(state, situation, reading, interval, reading.at - (since or reading.at))
    if state.alarm is not None:
        verdict = _verdict(state, VerdictWord.REGRESSED, state.alarm.reason, state.alarm.text)
    look = Look(
        at=reading.at,
        step=situation.step,
        share=situation.share,
        reading=reading,
        stable=interval.stable,
        canary=interval.canary,
        verdict=verdict,
    )
    return state, look


def evidence(state: JudgeState) -> float:
    """ln E, the evidence of harm of every kind: the weighted sum of the parts, valid however they hang together."""
    return add_logs(log(ERRORS) + state.harm.log_e, log(TRAFFIC) + state.traffic.capital.log_e)


def _enter(state: JudgeState, situation: Situation) -> JudgeState:
    """A new step or share: evidence of harm goes on, evidence of health begins again, no interval spans the two."""
    return replace(
        state,
        step=situation.step,
        share=situation.share,
        promotion=promotion.Promotion(limit=state.settings.exclude[0 if situation.step <= 1 else 1]),
        tally=Tally(rate=state.tally.rate),
        batch=Batch(),
        stable=NOTHING,
        canary=NOTHING,
        polls=0,
        clean=0,
        absences=0,
    )


def _take(state: JudgeState, situation: Situation, reading: Reading) -> tuple[JudgeState, Interval]:
    """Difference the counters, and keep account of a canary that has no series."""
    if situation.share == 0 and reading.canary is None:
        reading = replace(reading, canary=Counters(requests=0, errors=0))
    elif reading.canary is not None and situation.share > 0:
        state = replace(state, seen=True)
    settling = state.tally.at is None or state.tally.at < situation.settled_at
    absent_is_none = state.seen or state.absences >= PATIENCE
    tally, interval = take(state.tally, reading, anew=settling, absent_is_none=absent_is_none)
    waited = interval.gap is Gap.ABSENT and reading.canary is None and not state.seen
    return replace(state, tally=tally, absences=state.absences + waited), interval


def _weigh(state: JudgeState, situation: Situation, interval: Interval) -> JudgeState:
    """Take an interval into the evidence: traffic at once, errors when they make a batch."""
    threshold = -log(state.settings.alpha)
    if situation.share > 0 and interval.requests is not None:
        stable, canary = interval.requests
        weighed = traffic.weigh(
            state.traffic,
            stable=stable,
            canary=canary,
            share=situation.share,
            step=situation.step,
            stakes=_stakes(state),
            cap=harm.guard(threshold - log(TRAFFIC), state.settings.min_intervals),
        )
        state = replace(state, traffic=weighed)
    if interval.stable is not None and interval.canary is not None:
        state = replace(
            state,
            batch=state.batch.plus(interval.stable, interval.canary),
            stable=plus(state.stable, interval.stable),
            canary=plus(state.canary, interval.canary),
        )
        if state.batch.is_full or (situation.share == 0 and state.batch.is_large):
            state = _close(state, situation)
    state = _raise_alarm(state, situation, interval)
    return _count(state, interval)


def _close(state: JudgeState, situation: Situation) -> JudgeState:
    batch, settings = state.batch, state.settings
    state = replace(state, batch=Batch(), weather=state.weather.seen(batch.stable))
    if situation.share == 0:
        return state
    # Tempered by what was known before this batch.
    proved = promotion.seen(state.promotion, batch, state.harm.dispersion.factor)
    weighed = harm.weigh(
        state.harm,
        batch,
        margin=settings.margin,
        floor=settings.floor,
        stakes=_stakes(state),
        step=situation.step,
        cap=harm.guard(-log(settings.alpha) - log(ERRORS), settings.min_intervals),
    )
    return replace(state, promotion=proved, harm=weighed)


def _raise_alarm(state: JudgeState, situation: Situation, interval: Interval) -> JudgeState:
    if state.alarm is not None or evidence(state) < -log(state.settings.alpha):
        return state
    if log(ERRORS) + state.harm.log_e >= log(TRAFFIC) + state.traffic.capital.log_e:
        text = words.rates(state.stable, state.canary) + "."
        return replace(state, alarm=Alarm(reason=VerdictReason.ERRORS_HIGHER, text=text))
    stable, canary = interval.requests or (0, 0)
    text = words.missing_traffic(stable, canary, situation.share)
    return replace(state, alarm=Alarm(reason=VerdictReason.TRAFFIC_MISSING, text=text))


def _count(state: JudgeState, interval: Interval) -> JudgeState:
    """Polls of this step that brought the canary traffic, and how many of them in one clean stretch."""
    if interval.gap is Gap.LATE:
        return state
    if interval.stable is None or interval.canary is None or evidence(state) >= 1.0:
        return replace(state, clean=0)
    if interval.canary.requests == 0 or state.weather.is_bad(state.settings.floor):
        return state
    return replace(state, polls=state.polls + 1, clean=state.clean + 1)


def _say(state: JudgeState, situation: Situation, reading: Reading, interval: Interval, elapsed: float) -> Verdict:
    """The verdict on a reading, harm found aside."""
    missing = words.absent(reading.stable is not None, reading.canary is not None)
    if reading.stable is None:
        return _verdict(state, VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_EMPTY, missing)
    if situation.share == 0:
        text = "The source answers, and nobody is on the canary yet."
        return _verdict(state, VerdictWord.HEALTHY, VerdictReason.VERIFIED, text)
    if reading.canary is None and state.seen:
        return _verdict(state, VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_EMPTY, missing)
    if reading.canary is None:
        return _collecting(state, missing)
    if interval.stable is None or interval.canary is None:
        return _collecting(state, words.GAPS[interval.gap or Gap.FIRST])
    if interval.stable.requests + interval.canary.requests == 0:
        return _verdict(state, VerdictWord.NO_TRAFFIC, VerdictReason.NO_TRAFFIC, words.silent(elapsed))
    if interval.canary.requests == 0:
        # What went before may prove it well; but to widen takes fresh evidence, and this is the first sign of a crash.
        return _collecting(state, words.missing_traffic(interval.stable.requests, 0, situation.share))
    return _weighed(state, situation)


def _weighed(state: JudgeState, situation: Situation) -> Verdict:
    """The verdict on valid data."""
    settings = state.settings
    ratio = promotion.excluded(state.promotion, settings.beta)
    figures = f"{words.rates(state.stable, state.canary)}; {words.exclusion(ratio, settings.beta)}."
    hold, well = VerdictWord.INCONCLUSIVE, VerdictWord.HEALTHY
    if evidence(state) >= 1.0:
        return _verdict(state, hold, VerdictReason.HARM_BUILDING, f"Harm may be building up: {figures}")
    if state.weather.is_bad(settings.floor):
        text = f"Stable itself fails more than before, so both arms are held, not blamed: {figures}"
        return _verdict(state, hold, VerdictReason.BOTH_ARMS_BAD, text)
    if situation.last:
        if state.clean >= settings.min_polls:
            return _verdict(state, well, VerdictReason.BAKED, figures)
    elif state.polls >= settings.min_polls and promotion.log_e(state.promotion, settings.floor) >= -log(settings.beta):
        return _verdict(state, well, VerdictReason.NOT_WORSE, figures)
    return _collecting(state, figures)


def _collecting(state: JudgeState, text: str) -> Verdict:
    return _verdict(state, VerdictWord.INCONCLUSIVE, VerdictReason.COLLECTING, text)


def _verdict(state: JudgeState, word: VerdictWord, reason: VerdictReason, text: str) -> Verdict:
    """With the evidence as it stands, which every verdict carries."""
    log_e = evidence(state)
    return Verdict(
        word=word,
        reason=reason,
        text=text,
        log_e=log_e,
        threshold=-log(state.settings.alpha),
        excluded=promotion.excluded(state.promotion, state.settings.beta),
        no_harm=log_e < 0.0 and state.alarm is None,
        culprit=_CULPRITS.get(reason),
    )


_CULPRITS = {VerdictReason.ERRORS_HIGHER: "errors", VerdictReason.TRAFFIC_MISSING: "traffic"}


def _stakes(state: JudgeState) -> Stakes:
    return Stakes(steps=state.steps, planned=state.planned_polls)
