"""The judge's sentences: one for a person on a phone, with the figures it rests on. Never "safe"."""

from math import ceil

from gate.judge.counters import Gap
from gate.judge.limits import Held
from gate.judge.traffic import expected
from rampgate.criteria import Limit
from rampgate.evidence import Sample
from rampgate.plan import seconds


def rates(stable: Sample, canary: Sample) -> str:
    """Both arms' error rates in this step."""
    if stable.requests == 0 or canary.requests == 0:
        return f"{_count(canary.requests, 'request')} on the canary and {stable.requests} on stable so far"
    return (
        f"{_percent(canary)} of requests fail on the canary ({canary.errors} of {canary.requests}) "
        f"against {_percent(stable)} on stable ({stable.errors} of {stable.requests})"
    )


def alone(stable: Sample, canary: Sample) -> str:
    """The canary's error rate when nobody is left on stable."""
    if canary.requests == 0 or stable.requests == 0:
        return "Nobody is on stable, and nothing is known of it from before: there is nothing to compare with."
    return (
        f"{_percent(canary)} of requests fail on the canary ({canary.errors} of {canary.requests}) against "
        f"{_percent(stable)} on stable before; nobody is on stable now, so time and version cannot be told apart."
    )


def exclusion(ratio: float | None, beta: float) -> str:
    """The regressions that the data of this step exclude, rounded away from us."""
    if ratio is None:
        return "this step alone excludes no regression yet"
    shown = f"{ceil(ratio * 10 - 1e-9) / 10:.1f}" if ratio < 10 else f"{ceil(ratio)}"
    return f"more than ×{shown.removesuffix('.0')} excluded at {100 * (1 - beta):.3g} %"


def known(ratio: float | None, beta: float) -> str | None:
    """What is excluded, where anything is: for words on harm, of which nobody asks what is not known."""
    return None if ratio is None else exclusion(ratio, beta)


def missing_traffic(stable: int, canary: int, share: int) -> str:
    """A canary that does not get its share."""
    due = expected(stable, share)
    figure = f"{due:.0f}" if due >= 1 else f"{due:.1g}"
    return f"The canary got {_count(canary, 'request')} where {figure} were due beside stable's {stable}."


GAPS = {
    Gap.FIRST: "Counting starts here: nothing of this step has been compared yet.",
    Gap.LATE: "This reading is no newer than the last one: nothing was added.",
    Gap.NONSENSE: "The counters contradict themselves (more errors than requests, or fewer than before): "
    "this interval is dropped for both arms.",
    Gap.RESET: "A counter began again, and what it missed is not known: this interval is dropped for both arms.",
}


UNSEEN = "Everybody switches at once, and too little of stable was seen to compare with afterwards: it stays dark."


def silent(since: float) -> str:
    """Neither arm was asked anything."""
    return f"Neither stable nor the canary had a request in the last {seconds(round(since, 1))}."


def absent(stable: bool, canary: bool) -> str:
    """What the source had no series for."""
    if not stable and not canary:
        return "The source has no series for stable, and none for the canary."
    return f"The source has no series for {'the canary' if stable else 'stable'}."


def limit_broken(limit: Limit, failures: int) -> str:
    """A fixed limit that was broken too often."""
    return (
        f"The fixed limit on {limit.metric} ({_condition(limit)}) was broken {_count(failures, 'time')}, "
        f"and {limit.failure_limit} {'is' if limit.failure_limit == 1 else 'are'} allowed. No guarantee covers it."
    )


def limit_unread(limit: Limit, errors: int) -> str:
    """A fixed limit that nothing could be held to."""
    return f"The fixed limit on {limit.metric} ({_condition(limit)}) could not be measured {errors} times in a row."


def limit_unclear(limit: Limit, held: Held) -> str:
    """A fixed limit that keeps the step from being left."""
    return (
        f"The fixed limit on {limit.metric} ({_condition(limit)}) is not known to be kept: the last measurement was "
        f"{held.last}, {held.inconclusive} of all were inconclusive."
    )


LONGEST = 1900
"""Characters of a verdict: the flag server takes 2000."""


def whole(text: str, excluded: str | None) -> str:
    """A verdict's sentence, with what is excluded where it does not say so itself, and no longer than is taken."""
    if excluded is not None and excluded not in text:
        room = LONGEST - len(excluded) - 11
        text = text if len(text) <= room else f"{text[: room - 1].rstrip()}…"
        return f"{text.rstrip().removesuffix('.')}; errors: {excluded}."
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _condition(limit: Limit) -> str:
    said = [f"{name}: {text}" for name, text in (("success", limit.success), ("failure", limit.failure)) if text]
    return "; ".join(said) or "no condition"


def _percent(sample: Sample) -> str:
    percent = 100 * sample.errors / sample.requests
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
