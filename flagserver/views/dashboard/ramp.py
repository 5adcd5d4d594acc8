"""A rollout as its page shows it: values worked out once, ready for a template. Pure; time comes in as a value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from urllib.parse import quote, urlsplit

from flagserver.views.dashboard.drawing import Curve, Seen
from flagserver.views.dashboard.said import (
    TONES,
    Line,
    Safety,
    Tone,
    coming,
    deadlines,
    following,
    notices,
    safety,
    short,
)
from rampgate import figures
from rampgate.evidence import ArmName, Counters, Look, Sample
from rampgate.machine.events import Judged, Told
from rampgate.machine.moves import step_share
from rampgate.machine.state import ActionKind, Order, Phase, Reason, Verb
from rampgate.plan import WHOLE, RolloutPlan, percent
from rampgate.rollout import Entry, Rollout, Telemetry
from rampgate.way_back import told, way_back
from rampgate.wording import clock, count, headline_of, one_line, rate, reach, sentences, step_name

GRAIN = 15.0
"""Seconds to which a live picture's right end is rounded, so that a page that nothing happened on stays the same."""

LOOKS_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm's line in the table; figures are of the step that was judged last, users of the whole attempt."""

    name: str
    slot: str
    version: str
    requests: str
    errors: str
    rate: str
    active_users: str | None = None
    affected_users: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ramp: behind us, here, or ahead."""

    name: str
    place: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of what happened."""

    at: float
    what: str
    tone: Tone
    who: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One look as the table shows it."""

    at: float
    share: str
    stable: str
    canary: str
    harm: str
    word: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An order that a person may give now; ``refused`` says why it would do nothing, ``full`` that a promotion may go
    past all steps."""

    order: Order
    word: str
    name: str
    explained: str
    refused: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Everything on a rollout's page."""

    id: str
    environment: str
    flag: str
    version: str
    stable: str
    phase: Phase
    tone: Tone
    share: str
    headline: str
    slots: tuple[str, str]
    revision: int
    attempt: int
    is_over: bool
    safety: Safety
    coming: tuple[Line, ...]
    notices: tuple[Line, ...]
    way_back: tuple[Line, ...]
    deadlines: tuple[Line, ...]
    rungs: tuple[Rung, ...]
    judged_at: str
    arms: tuple[Arm, ...]
    dropped: int
    choices: tuple[Choice, ...]
    curve: Curve
    reverts_at: float | None
    told: tuple[Happening, ...]
    looks: tuple[Glance, ...]
    facts: tuple[tuple[str, str, str | None], ...]
    created_at: float
    needs_hands: bool
    in_place: bool


def ramp(rollout: Rollout, entries: Sequence[Entry], telemetry: Telemetry | None, now: float) -> Ramp:
    """Work out a rollout's page.

    Args:
        rollout: as it stands.
        entries: its history, oldest first; looks that only repeat may be missing.
        telemetry: what apps counted, where they count.
        now: seconds since the epoch, on the server's clock.
    """
    state, plan = rollout.state, rollout.plan
    looks = looks_of(rollout, entries)
    last = figures.of_this_step(looks)
    retiring = state.phase is Phase.COMPLETING and state.retirement_begun
    return Ramp(
        id=rollout.id, environment=plan.environment, flag=plan.flag,
        version=short(rollout.version), stable=short(rollout.stable.version or "the stable version"),
        phase=state.phase, tone=TONES[state.phase],
        share=figures.people_read(rollout, now, clock(figures.bake_ends(rollout), now)),
        headline=headline_of(
            state.phase, plan, retiring=retiring, baseline=state.baseline,
            unfinished=state.pending(ActionKind.ROLL, ActionKind.UNDO),
        ),
        slots=(rollout.stable.name, rollout.canary.name), revision=state.revision, attempt=state.attempt,
        is_over=state.phase.is_final, safety=safety(rollout, looks),
        coming=tuple(coming(rollout, looks, now)),
        notices=tuple(notices(rollout, now)), way_back=tuple(_way_back(rollout, entries, now)),
        deadlines=tuple(deadlines(rollout)), rungs=tuple(_rungs(rollout, entries, now)),
        judged_at=figures.judged_at(plan, last[-1]) if last else "",
        arms=tuple(_arms(rollout, last, telemetry)), dropped=figures.figures(last).dropped,
        choices=tuple(choices(rollout, now)), curve=curve(rollout, entries, looks, now),
        reverts_at=exp(looks[-1].verdict.threshold) if looks and looks[-1].verdict.threshold > 0 else None,
        told=tuple(_told(plan, entry) for entry in reversed(figures.notable(entries))),
        looks=tuple(_glance(plan, look) for look in reversed(looks[-LOOKS_SHOWN:])),
        facts=tuple(_facts(rollout)), created_at=rollout.created_at, needs_hands=state.needs_hands,
        in_place=plan.in_place,
    )  # fmt: skip


def _way_back(rollout: Rollout, entries: Sequence[Entry], now: float) -> Iterator[Line]:
    if (way := way_back(rollout, entries)) is not None:
        yield from (Line(lead=lead, text=text) for lead, text in told(way, now))


def looks_of(rollout: Rollout, entries: Sequence[Entry]) -> tuple[Look, ...]:
    """The looks of this attempt that counted, oldest first."""
    return tuple(
        entry.event.look
        for entry in entries
        if isinstance(entry.event, Judged) and entry.attempt == rollout.state.attempt and entry.refusal is None
    )


def _arms(rollout: Rollout, last: Sequence[Look], telemetry: Telemetry | None) -> Iterator[Arm]:
    found = figures.figures(last)
    samples: Mapping[ArmName, Sample] = {ArmName.STABLE: found.stable, ArmName.CANARY: found.canary}
    for name, sample in samples.items():
        slot = rollout.slot(name)
        version = rollout.version if name is ArmName.CANARY else (slot.version or "")
        counters = getattr(telemetry, name.value) if telemetry is not None else None
        yield Arm(
            name=name.value, slot=slot.name, version=short(version) if version else "–",
            requests=count(sample.requests), errors=count(sample.errors), rate=rate(sample.errors, sample.requests),
            active_users=_users(counters, counters.active_users if counters else None),
            affected_users=_users(counters, counters.affected_users if counters else None),
        )  # fmt: skip


def _users(counters: Counters | None, number: int | None) -> str | None:
    return None if counters is None or number is None or not counters.active_users else count(number)


def _rungs(rollout: Rollout, entries: Sequence[Entry], now: float) -> Iterator[Rung]:
    """The steps with when they began."""
    state, plan, begun = rollout.state, rollout.plan, figures.entered(rollout, entries)
    for number in range(plan.last + 1):
        name = step_name(plan, number)
        if number not in begun:
            back = state.phase.is_final or state.phase is Phase.REVERTING
            held = f"{percent(plan.hold_back)} held back" if number == plan.last and plan.hold_back else "ahead"
            yield Rung(name=name, place="ahead", when="not reached" if back else held)
        else:
            here = number == state.step and state.phase in figures.ON_THE_RAMP
            yield Rung(name=name, place="here" if here else "behind", when=clock(begun[number], now))


def choices(rollout: Rollout, now: float) -> Iterator[Choice]:
    """The orders that mean something now, the one for emergencies first."""
    state = rollout.state
    if state.phase.is_final or state.retirement_begun or state.phase is Phase.REVERTING:
        return
    stable = short(rollout.stable.version or "stable")
    back = "Every target is put back on" if rollout.plan.in_place else "Everybody goes back, at once, to"
    explained = f"{back} {stable}." if state.baseline else "There is no version to go back to."
    yield Choice(order=Order.REVERT, word="abort", name="Abort", explained=explained)
    if not state.phase.is_judged:
        return
    if state.phase is Phase.PAUSED:
        yield Choice(order=Order.RESUME, word="resume", name="Resume", explained="The ramp goes on by its evidence.")
    else:
        explained = "Nothing widens; it is judged on, and harm still reverts it."
        yield Choice(order=Order.PAUSE, word="pause", name="Pause", explained=explained)
    refused = _kept_from_widening(rollout, now)
    goes_to = following(rollout)
    last = state.step >= rollout.plan.last
    explained = "Nobody is held back any more." if last else f"{_whom(rollout, goes_to)} get it now, without the proof."
    yield Choice(
        order=Order.ADVANCE, word="promote", name="Promote" if last else f"Promote to {goes_to}", explained=explained,
        refused=refused, full=not last,
    )  # fmt: skip


def _whom(rollout: Rollout, goes_to: str) -> str:
    if rollout.plan.switches:
        return "All users"
    return goes_to if rollout.plan.in_place else f"{goes_to} of users"


def _kept_from_widening(rollout: Rollout, now: float) -> str:
    state = rollout.state
    if state.is_locked(now) and state.lock is not None:
        return f"Locked by {state.lock.by}: {state.lock.reason}"
    if not state.up:
        return "The new version is not known to be up."
    return "The batch is still being replaced." if state.pending(ActionKind.ROLL) else ""


def curve(rollout: Rollout, entries: Sequence[Entry], looks: Sequence[Look], now: float) -> Curve:
    """The ramp on its axis of time."""
    state, plan = rollout.state, rollout.plan
    mine = [entry for entry in entries if entry.attempt == state.attempt]
    begins = mine[0].at if mine else rollout.created_at
    shares: list[tuple[float, int]] = [(begins, 0)]
    for entry in mine:
        if entry.share != shares[-1][1]:
            shares.append((entry.at, entry.share))
    if shares[-1][1] != rollout.share:
        shares.append((now, rollout.share))
    over = state.phase.is_final
    latest = max(mine[-1].at if mine else now, begins + 60.0) if over else max(now, begins)
    ahead = () if over else tuple(_ahead(rollout, now))
    past = max(latest - begins, 120.0)
    until = min(ahead[-1][0] + 0.05 * past, latest + past) if ahead else latest
    ends = latest if over else GRAIN * (until // GRAIN + 1)
    return Curve(
        begins=begins, ends=ends, now=None if over else GRAIN * (now // GRAIN), shares=tuple(shares), ahead=ahead,
        seen=tuple(_seen(look) for look in looks), marks=tuple(step.share for step in plan.steps),
        whose="targets" if plan.in_place else "users",
    )  # fmt: skip


def _ahead(rollout: Rollout, now: float) -> Iterator[tuple[float, int]]:
    """The stairs to come if every step leaves as soon as it has baked."""
    state, plan = rollout.state, rollout.plan
    if not state.phase.is_judged or state.phase is Phase.PAUSED:
        return
    at = max(now, figures.bake_ends(rollout))
    for number in range(state.step + 1, plan.last + 1):
        yield at, step_share(plan, number)
        at += plan.step(number).bake
    yield at, WHOLE


def _seen(look: Look) -> Seen:
    def pair(sample: Sample | None) -> tuple[int, int] | None:
        return None if sample is None else (sample.requests, sample.errors)

    verdict = look.verdict
    harm = verdict.log_e / verdict.threshold if verdict.threshold > 0 else None
    return Seen(at=look.at, harm=harm, stable=pair(look.stable), canary=pair(look.canary))


_TOLD_TONES = {Verb.ADVANCE: Tone.MOVING, Verb.COMPLETE: Tone.GOOD, Verb.REVERT: Tone.BAD, Verb.PAUSE: Tone.ASKING}


def _told(plan: RolloutPlan, entry: Entry) -> Happening:
    what = f"{entry.verb} · {entry.phase}" + (f" {reach(plan, entry.share)}" if entry.share else "")
    why, tone = (
        sentences(one.text for one in entry.because) or entry.event.type,
        _TOLD_TONES.get(entry.verb, Tone.QUIET),
    )
    if entry.refusal is not None:
        what, why, tone = "refused", entry.refusal.text, Tone.QUIET
    if any(one.reason is Reason.WIDENED_BY_POLICY for one in entry.because):
        what += ", by policy"
    who = entry.event.by if isinstance(entry.event, Told) else entry.actor
    return Happening(at=entry.at, what=what, tone=tone, who=one_line(who, 80), why=one_line(why, 400))


def _glance(plan: RolloutPlan, look: Look) -> Glance:
    def arm(sample: Sample | None) -> str:
        return "none" if sample is None else f"{count(sample.errors)} of {count(sample.requests)}"

    harm = figures.harm(look)
    return Glance(
        at=look.at, share=step_name(plan, 0) if look.step == 0 else reach(plan, look.share), stable=arm(look.stable),
        canary=arm(look.canary), harm="–" if harm is None else f"{100 * min(harm, 1.0):.0f} %",
        word=look.verdict.word.value.replace("_", " "), text=look.verdict.text,
    )  # fmt: skip


def _facts(rollout: Rollout) -> Iterator[tuple[str, str, str | None]]:
    """What else is known: a name, a text, and where it leads (https addresses alone)."""
    state, plan = rollout.state, rollout.plan
    yield "version", rollout.version, None
    if rollout.sha and rollout.sha != rollout.version:
        yield "commit", rollout.sha, None
    if rollout.repository:
        yield "repository", rollout.repository, None
    if rollout.pull_request is not None:
        yield "pull request", f"#{rollout.pull_request}", pull_url(rollout)
    if rollout.run_url:
        target = web(rollout.run_url)
        yield "run", "the job's log" if target else rollout.run_url, target
    yield "asked for by", rollout.by, None
    yield "driven by", state.lease.holder if state.lease else "nobody", None
    yield "strategy", plan.strategy.value, None
    for slot, word in figures.colours(rollout):
        yield slot.name, f"{short(slot.version)}, {word}" if slot.version else word, None
    if state.attempt > 1:
        yield "attempt", str(state.attempt), None
    if rollout.superseded_by:
        yield "superseded by", rollout.superseded_by, f"/ui/rollouts/{quote(rollout.superseded_by, safe='')}"
    yield "revision", str(state.revision), None


def web(url: str) -> str | None:
    """The address, if it is one of https and nothing else; other schemes run code or lead astray."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and not any(sign in url for sign in " \"'<>\\^`{|}")
    return url if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and plain else None


def pull_url(rollout: Rollout) -> str | None:
    """The pull request's page, on the host whose job asked for the rollout."""
    run = web(rollout.run_url or "")
    head, found, _ = (run or "").partition(f"/{rollout.repository}/actions/")
    return f"{head}/{rollout.repository}/pull/{rollout.pull_request}" if run and found and rollout.repository else None
