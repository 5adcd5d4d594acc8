"""From a reading to a verdict: the one call of a gate's tick.

Order matters: harm found is not taken back; what could not be read is never taken for good news; what is not known
to be well holds. Nothing here depends on how regularly it is called.
"""

from collections.abc import Mapping
from dataclasses import replace

from gate.judge import further, limits, promotion, words
from gate.judge.counters import NOTHING, Batch, Gap, Interval, Tally, take
from gate.judge.evidence import log_e, suspicion, threshold, weigh
from gate.judge.further import Further
from gate.judge.limits import Held, Measurement
from gate.judge.state import Alarm, JudgeState, Situation
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Counters, Look, Reading, Sample, SourceDown, Verdict, VerdictReason, VerdictWord
from rampgate.plan import WHOLE

PATIENCE = 3
"""Polls that a canary without a series is waited for: many sources have none before the first request."""

Finding = tuple[VerdictWord, VerdictReason, str]

_WEIGHED = (VerdictWord.HEALTHY, VerdictWord.INCONCLUSIVE)


def begin(
    settings: JudgeSettings, *, steps: int, planned_polls: int, hold_back: bool = True, even: bool = True
) -> JudgeState:
    """A judge that has seen nothing, for a rollout of ``steps`` steps and about ``planned_polls`` polls in all.

    A wrong ``planned_polls`` costs speed, never validity. ``hold_back``: some users stay on stable at the last step.
    ``even``: the flag splits the users, and not a balancer in front of machines.
    """
    return JudgeState(
        settings=settings,
        steps=steps,
        planned_polls=planned_polls,
        hold_back=hold_back,
        even=even,
        further=tuple(Further() for _ in settings.metrics),
        held=tuple(Held() for _ in settings.limits),
        promotion=promotion.Promotion(limit=settings.exclude[0]),
    )


def judge(state: JudgeState, situation: Situation, reading: Reading | SourceDown) -> tuple[JudgeState, Look]:
    """Judge one poll: the state to go on with, and the look to show and to keep."""
    if (situation.step, situation.share) != (state.step, state.share):
        state = _enter(state, situation)
    if isinstance(reading, SourceDown):
        interval = Interval(gap=Gap.ABSENT)
    else:
        before = state.tally.at
        anew = state.tally.at is None or state.tally.at < situation.settled_at
        state, interval = _take(state, situation, reading, anew)
        if interval.gap is not Gap.LATE:
            state = weigh(state, interval, reading, settled_at=situation.settled_at)
            state = _hold(state, interval, anew)
    state = _count(state, interval)
    excluded = promotion.excluded(state.promotion, state.settings.beta)
    if state.alarm is not None:
        finding = (VerdictWord.REGRESSED, state.alarm.reason, state.alarm.text)
    elif isinstance(reading, SourceDown):
        finding = (VerdictWord.SOURCE_DOWN, reading.reason, reading.text)
    else:
        finding = _unread(state, reading, interval, before) or _weighed(state, situation, excluded)
    return state, Look(
        at=reading.at,
        step=situation.step,
        share=situation.share,
        reading=reading,
        stable=interval.stable,
        canary=interval.canary,
        verdict=_verdict(state, finding, excluded),
        settled_at=situation.settled_at,
    )


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
        further=tuple(further.entered(metric) for metric in state.further),
    )


def _take(state: JudgeState, situation: Situation, reading: Reading, anew: bool) -> tuple[JudgeState, Interval]:
    """Difference the counters, and keep account of a canary that has no series."""
    # An arm that is to have no users has no counts, whatever its series say.
    if situation.share == 0:
        reading = replace(reading, canary=Counters(requests=0, errors=0))
    elif situation.share == WHOLE:
        reading = replace(reading, stable=Counters(requests=0, errors=0))
    seen = state.seen or (reading.canary is not None and situation.share > 0)
    tally, interval = take(state.tally, reading, anew=anew, absent_is_none=seen or state.absences >= PATIENCE)
    waited = interval.gap is Gap.ABSENT and reading.canary is None and not seen
    return replace(state, tally=tally, seen=seen, absences=state.absences + waited), interval


def _hold(state: JudgeState, interval: Interval, anew: bool) -> JudgeState:
    """Every fixed limit with one more measurement, of intervals in which the canary had users and was asked something.

    A limit that was broken more often than it allows raises the alarm.
    """
    if anew or state.share == 0 or not state.held:
        return state
    found = []
    for limit, held in zip(state.settings.limits, state.held, strict=True):
        figures = _measured(state, limit.metric, interval)
        found.append(held if figures == {} else limits.counted(held, limits.measure(limit, figures)))
    state = replace(state, held=tuple(found))
    for limit, held in zip(state.settings.limits, state.held, strict=True):
        if state.alarm is None and held.failures > limit.failure_limit:
            excluded = promotion.excluded(state.promotion, state.settings.beta)
            text = words.whole(words.limit_broken(limit, held.failures), words.known(excluded, state.settings.beta))
            alarm = Alarm(reason=VerdictReason.LIMIT_EXCEEDED, text=text, culprit=limit.metric)
            state = replace(state, alarm=alarm)
    return state


def _measured(state: JudgeState, metric: str, interval: Interval) -> Mapping[str, float] | None:
    """What a limit may name; empty where nothing was asked of the canary, ``None`` where nothing could be read."""
    if metric != "errors":
        pairs = zip(state.settings.metrics, state.further, strict=True)
        found = next(((one, kept) for one, kept in pairs if one.name == metric), None)
        return further.figures(found[1], found[0]) if found else None
    canary, stable = interval.canary, interval.stable
    if canary is None:
        return None
    if canary.requests == 0:
        return {}
    found_here = {"result": canary.errors / canary.requests, "requests": float(canary.requests)}
    if stable is not None and stable.requests:
        found_here["stable"] = stable.errors / stable.requests
    return found_here


def _count(state: JudgeState, interval: Interval) -> JudgeState:
    """Polls of this step that brought the canary traffic, and how many of them in one clean stretch."""
    if interval.gap is Gap.LATE:
        return state
    if interval.stable is None or interval.canary is None or suspicion(state) >= 1.0:
        return replace(state, clean=0)
    if interval.canary.requests == 0 or state.weather.is_bad(state.settings.floor):
        return state
    return replace(state, polls=state.polls + 1, clean=state.clean + 1)


def _unread(state: JudgeState, reading: Reading, interval: Interval, before: float | None) -> Finding | None:
    """What is said of a reading that brought no fresh evidence on the canary; ``None`` if it did."""
    missing = words.absent(reading.stable is not None, reading.canary is not None)
    empty = (VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_EMPTY, missing)
    if reading.stable is None and state.share < WHOLE:
        return empty
    for one, metric in zip(state.settings.metrics, state.further, strict=True):
        if metric.down is not None:
            return VerdictWord.SOURCE_DOWN, metric.down, f"{one.name}: {metric.trouble}"
    if state.share == 0 and not _leaves_unseen(state):
        text = "The source answers, and nobody is on the canary yet."
        return VerdictWord.HEALTHY, VerdictReason.VERIFIED, text
    if reading.canary is None:
        return empty if state.seen else _collecting(missing)
    if interval.stable is None or interval.canary is None:
        return _collecting(words.GAPS[interval.gap or Gap.FIRST])
    if interval.stable.requests + interval.canary.requests == 0:
        text = words.silent(reading.at - (before or reading.at))
        return VerdictWord.NO_TRAFFIC, VerdictReason.NO_TRAFFIC, text
    if state.share == 0:
        return _collecting(words.UNSEEN)
    if interval.canary.requests == 0:
        # What went before may prove it well; but to widen takes fresh evidence, and a crash begins like this.
        return _collecting(words.missing_traffic(interval.stable.requests, 0, state.share))
    return None


def _leaves_unseen(state: JudgeState) -> bool:
    """Whether everybody goes over at the next step, and too little of stable was seen to compare with afterwards."""
    return state.steps == 1 and not state.hold_back and state.alone.requests == 0


def _weighed(state: JudgeState, situation: Situation, excluded: float | None) -> Finding:
    """What is said of valid data."""
    settings = state.settings
    figures = _figures(state, excluded)
    if (unkept := _unkept(state)) is not None:
        return unkept
    if suspicion(state) >= 1.0:
        text = f"Harm may be building up: {figures}"
        return VerdictWord.INCONCLUSIVE, VerdictReason.HARM_BUILDING, text
    if state.weather.is_bad(settings.floor):
        text = f"Stable itself fails more than before, so both arms are held and none is blamed: {figures}"
        return VerdictWord.INCONCLUSIVE, VerdictReason.BOTH_ARMS_BAD, text
    if situation.share == WHOLE and (state.hold_back or state.alone.requests == 0):
        return _collecting(figures)
    if state.share < WHOLE and (behind := _behind(state, situation)) is not None:
        return _collecting(behind)
    if situation.last:
        if state.clean >= settings.min_polls:
            return VerdictWord.HEALTHY, VerdictReason.BAKED, figures
    elif state.polls >= settings.min_polls and promotion.is_well(state.promotion, settings.floor, settings.beta):
        return VerdictWord.HEALTHY, VerdictReason.NOT_WORSE, figures
    return _collecting(figures)


def _unkept(state: JudgeState) -> Finding | None:
    """What a fixed limit says against going on; ``None`` where all are kept."""
    for limit, held in zip(state.settings.limits, state.held, strict=True):
        if held.errors > limit.consecutive_error_limit:
            return VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_EMPTY, words.limit_unread(limit, held.errors)
        unclear = held.inconclusive > limit.inconclusive_limit
        if unclear or held.last in (Measurement.FAILED, Measurement.ERROR):
            return VerdictWord.INCONCLUSIVE, VerdictReason.LIMIT_UNCLEAR, words.limit_unclear(limit, held)
    return None


def _behind(state: JudgeState, situation: Situation) -> str | None:
    """The further metric that still keeps the step, in words; ``None`` where each is known to be well."""
    beta, polls = state.settings.beta, state.settings.min_polls
    for one, metric in zip(state.settings.metrics, state.further, strict=True):
        if not further.is_well(metric, one, beta=beta, last=situation.last, polls=polls):
            return f"{further.sentence(metric, one)}; not enough to go on yet."
    return None


def _figures(state: JudgeState, excluded: float | None) -> str:
    if state.share == WHOLE:
        return words.alone(Sample(requests=state.alone.requests, errors=state.alone.errors), state.canary)
    return f"{words.rates(state.stable, state.canary)}; {words.exclusion(excluded, state.settings.beta)}."


def _collecting(text: str) -> Finding:
    return VerdictWord.INCONCLUSIVE, VerdictReason.COLLECTING, text


def _verdict(state: JudgeState, finding: Finding, excluded: float | None) -> Verdict:
    """With the evidence as it stands, which every verdict carries, and what the step's data exclude."""
    word, reason, text = finding
    # Harm that was found keeps the words of that moment.
    told = state.alarm is None and word in _WEIGHED and 0 < state.share < WHOLE
    said = words.exclusion(excluded, state.settings.beta) if told else None
    return Verdict(
        word=word,
        reason=reason,
        text=words.whole(text, said),
        log_e=log_e(state),
        threshold=threshold(state),
        excluded=excluded,
        no_harm=suspicion(state) < 0.0 and state.alarm is None and not any(one.trouble for one in state.further),
        culprit=state.alarm.culprit if state.alarm is not None else None,
    )
