"""What a plan will see with the traffic there is now: asked of the source, before anything is released.

It says; only `strict` makes a refusal of it. What the figures mean is `gate.judge.forecast`'s business.
"""

from dataclasses import dataclass
from itertools import pairwise

from gate.config import Config
from gate.errors import MisuseError, RampgateError
from gate.judge import forecast as forecasting
from gate.judge.forecast import TrafficSeen
from gate.metrics import FlagServerOptions, Means, Question, build
from rampgate.evidence import Counters, SourceDown
from rampgate.plan import seconds
from rampgate.problem import Problem
from rampgate.rollout import Slot, Slots

HOURS = 3
"""How much of the past is looked at, unless told."""

MOST_POINTS = 7
"""At how many moments a source is asked, so that a restart loses one part of the past and not all of it."""

NOBODY = Slot(name="rampgate-forecast-nobody-runs-this", version="rampgate-forecast-nobody-runs-this")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The traffic, as far as it is known, what a plan makes of it, and why it is not known if it is not."""

    traffic: TrafficSeen | None
    lines: tuple[str, ...]
    brief: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def outlook(config: Config, means: Means, slots: Slots | None, *, now: float, hours: int = HOURS) -> Outlook:
    """Ask the errors' source for the last hours, and forecast.

    Args:
        config: the configuration.
        means: what sources may use.
        slots: what the flag's slots hold; ``None``: it was never released.
        now: the present, in seconds since the epoch.
        hours: how much of the past to ask for.
    """
    found = recent(config, means, slots, now=now, hours=hours)
    if isinstance(found, str):
        return nothing_known(found)
    return forecast_of(config, found, f"in the last {hours}h")


def nothing_known(why: str) -> Outlook:
    """No forecast, and why, as part of a sentence. In short it stands after a word that says what it is about."""
    return Outlook(traffic=None, lines=(f"No forecast: {why}.",), brief=(f"none: {why}.",))


def forecast_of(config: Config, traffic: TrafficSeen, since: str = "") -> Outlook:
    """What the plan sees with this traffic."""
    plan = config.plan
    steps = forecasting.forecast(plan, traffic)
    rate = f"{traffic.per_second:.4g} requests a second, of which {100 * traffic.error_rate:.3g} % fail"
    head = f"With {rate}{f' ({since})' if since else ''}, and a chance of 80 %:"
    return Outlook(
        traffic=traffic,
        lines=(head, *(f"  {line}" for line in forecasting.told(steps, plan.poll))),
        brief=tuple(forecasting.brief(plan, steps, f"{rate}{f' {since}' if since else ''}")),
        problems=tuple(forecasting.problems(plan, traffic)),
    )


def refuse_blind(where: str, config: Config, found: Outlook, *, strict: bool = False) -> None:
    """End here, if the plan is strict and cannot see what its steps have to exclude.

    Raises:
        MisuseError: with the whole forecast.
    """
    if found.problems and (strict or config.plan.judge.strict):
        listed = "\n".join((*(f"  {problem}" for problem in found.problems), *found.lines))
        raise MisuseError(f"{where}: this plan cannot see what its steps have to exclude.\n{listed}")


def recent(config: Config, means: Means, slots: Slots | None, *, now: float, hours: int) -> TrafficSeen | str:
    """The traffic of the last hours; or why nobody can say, as part of a sentence."""
    options, plan = config.metrics[0], config.plan
    since = now - 3600.0 * hours
    if isinstance(options, FlagServerOptions):
        return _counted(means, plan.environment, plan.flag, since, now)
    if not options.past:
        return "the source cannot be asked about the past; --rps and --error-rate say it"
    if slots is None or slots.stable.version is None:
        return "no version is known to be stable, so there is no traffic to ask for"
    points = min(hours, MOST_POINTS - 1)
    source = build(options, means)
    seen: list[tuple[float, Counters]] = []
    for number in range(points + 1):
        question = Question(
            rollout_id="forecast",
            flag=plan.flag,
            environment=plan.environment,
            attempt=1,
            stable=slots.stable,
            canary=NOBODY,
            since=since,
            at=since + number * (now - since) / points,
        )
        reading = source.read(question)
        if isinstance(reading, SourceDown):
            if number == points and not seen:
                return reading.text
        elif reading.stable is not None:
            seen.append((reading.at, reading.stable))
    return _risen(seen) or f"the source has no traffic of {slots.stable.version} in the last {hours}h"


def _counted(means: Means, environment: str, flag: str, since: float, now: float) -> TrafficSeen | str:
    """What the apps counted, whatever the variant."""
    try:
        minutes = means.telemetry.minutes(environment, flag, since=since)
    except RampgateError as error:
        return f"the flag server does not say what apps counted ({error.what.rstrip('.')})"
    requests, errors = sum(one.requests for one in minutes), sum(one.errors for one in minutes)
    if requests == 0:
        return f"the apps have counted nothing of {flag} in the last {seconds(round(now - since))}"
    length = now - max(since, min(one.at for one in minutes))
    return TrafficSeen(per_second=requests / max(60.0, length), error_rate=errors / requests)


def _risen(seen: list[tuple[float, Counters]]) -> TrafficSeen | None:
    """From counters at several moments; where one began again, or is not newer, that part is left out."""
    length, requests, errors = 0.0, 0, 0
    for (early, before), (late, after) in pairwise(seen):
        if late > early and after.requests >= before.requests and after.errors >= before.errors:
            length += late - early
            requests += after.requests - before.requests
            errors += after.errors - before.errors
    return TrafficSeen(per_second=requests / length, error_rate=min(1.0, errors / requests)) if requests else None
