"""What is said of a rollout, as plain text: where it stands, whether it is safe, what comes next and when.

The words are the pull request's comment's. Nothing here is markup; templates escape it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rampgate import figures
from rampgate.evidence import Look, VerdictReason, VerdictWord
from rampgate.machine.state import BUDGET_OF, ActionKind, Deadline, HeldBy, Phase, WidenedBy, running
from rampgate.rollout import Rollout
from rampgate.wording import follows, one_line, ratio, reach


class Tone(StrEnum):
    """How it looks: beside a colour each has a sign and a word of its own."""

    QUIET = "quiet"
    MOVING = "moving"
    ASKING = "asking"
    GOOD = "good"
    BAD = "bad"


TONES: Mapping[Phase, Tone] = {
    Phase.DEPLOYING: Tone.QUIET,
    Phase.VERIFYING: Tone.QUIET,
    Phase.DARK: Tone.QUIET,
    Phase.PROGRESSING: Tone.MOVING,
    Phase.WAITING: Tone.ASKING,
    Phase.PAUSED: Tone.ASKING,
    Phase.COMPLETING: Tone.MOVING,
    Phase.PROMOTED: Tone.GOOD,
    Phase.REVERTING: Tone.BAD,
    Phase.REVERTED: Tone.BAD,
    Phase.SUPERSEDED: Tone.QUIET,
    Phase.FAILED: Tone.BAD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sentence: its lead stands out; ``until`` is when the patience ends, ``then`` what follows, and ``unless`` what
    would keep it from following."""

    lead: str
    text: str = ""
    until: float | None = None
    then: str = ""
    unless: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """The answer to "is it safe?": one line, and the evidence of harm as a part of what reverts."""

    tone: Tone
    text: str
    detail: str = ""
    harm: float | None = None


def short(version: str) -> str:
    """A commit's first letters; any other version as it is, cut where it is long."""
    is_sha = len(version) == 40 and all(sign in "0123456789abcdef" for sign in version)
    return version[:9] if is_sha else one_line(version, 40)


HARM_BUILDING = 0.5
"""The part of what reverts from which the evidence is called building."""


def safety(rollout: Rollout, looks: Sequence[Look]) -> Safety:
    """Whether users are safe, in words that promise nothing that is not known."""
    state, stable = rollout.state, short(rollout.stable.version or "stable")
    if state.phase in (Phase.PROMOTED, Phase.SUPERSEDED):
        return Safety(tone=TONES[state.phase], text=state.text or state.reason.value)
    if (state.phase.is_final or state.phase is Phase.REVERTING) and not state.baseline:
        return Safety(tone=Tone.BAD, text="Nothing serves users", detail=state.text)
    if rollout.plan.in_place and state.pending(ActionKind.UNDO):
        text = f"Not yet: targets are still to be put back on {stable}"
        return Safety(tone=Tone.BAD, text=text, detail=state.text)
    if figures.not_restored(rollout):
        return Safety(tone=Tone.BAD, text=f"Users are on {stable}, which was not seen up", detail=state.text)
    if state.phase.is_final or state.phase is Phase.REVERTING:
        return Safety(tone=Tone.GOOD, text=f"Users are safe on {stable}", detail=state.text)
    if rollout.share == 0:
        return Safety(tone=Tone.GOOD, text="Nobody meets it yet", detail=f"All users are on {stable}.")
    look = looks[-1] if looks else None
    if look is None:
        return Safety(tone=Tone.ASKING, text="Not judged yet", detail="The first look is still to come.")
    return _judged(look, figures.harm(look))


def _judged(look: Look, harm: float | None) -> Safety:
    verdict = look.verdict
    match verdict.word:
        case VerdictWord.SOURCE_DOWN:
            return Safety(tone=Tone.ASKING, text="Not known: the metrics cannot be read", detail=verdict.text)
        case VerdictWord.NO_TRAFFIC:
            return Safety(tone=Tone.ASKING, text="Not known: there is no traffic", detail=verdict.text)
        case VerdictWord.REGRESSED:
            return Safety(tone=Tone.BAD, text="It does harm", detail=verdict.text, harm=harm)
        case _ if verdict.reason is VerdictReason.BOTH_ARMS_BAD:
            return Safety(tone=Tone.ASKING, text="Both versions fail", detail=verdict.text, harm=harm)
        case _ if harm is not None and harm >= HARM_BUILDING:
            return Safety(tone=Tone.BAD, text="Harm is building", detail=verdict.text, harm=harm)
        case _ if verdict.no_harm or not harm:
            return Safety(tone=Tone.GOOD, text="No sign of harm", detail=verdict.text, harm=harm)
        case _:
            return Safety(tone=Tone.GOOD, text="No clear sign of harm", detail=verdict.text, harm=harm)


def coming(rollout: Rollout, looks: Sequence[Look], now: float) -> Iterator[Line]:
    """What happens next, when, and what follows if nothing does. Nothing for a rollout that has ended."""
    state = rollout.state
    match state.phase:
        case Phase.DEPLOYING:
            yield _until(rollout, Deadline.DEPLOY, "Deploying", "nobody is sent there before it is up")
        case Phase.VERIFYING:
            yield _until(rollout, Deadline.VERIFY, "Verifying", "nobody is sent there before it passes")
        case Phase.DARK | Phase.PROGRESSING:
            yield from _step(rollout, looks, now)
        case Phase.WAITING:
            yield _until(rollout, Deadline.CONFIRM, f"Waits for a yes to go to {following(rollout)}")
        case Phase.PAUSED:
            yield _paused(rollout)
        case Phase.COMPLETING if state.retirement_begun:
            yield _until(rollout, Deadline.RETIRE, "The old version is being retired", left=True)
        case Phase.COMPLETING:
            due = state.deadlines.get(Deadline.RETIRE)
            text = "until then, abort still goes back at once"
            lead = "The old version can be put back" if rollout.plan.in_place else "The old version stays warm"
            text = "by an abort, until then" if rollout.plan.in_place else text
            yield Line(lead=lead, text=text, until=due.at if due else None)
        case Phase.REVERTING if rollout.plan.in_place:
            yield _until(rollout, Deadline.RETIRE, "Targets are being put back", left=True)
        case Phase.REVERTING:
            yield _until(rollout, Deadline.RETIRE, "The deployment is being undone", left=True)
        case _:
            return


def _step(rollout: Rollout, looks: Sequence[Look], now: float) -> Iterator[Line]:
    state, ends = rollout.state, figures.bake_ends(rollout)
    look = looks[-1] if looks and looks[-1].step == state.step else None
    if ends > now:
        yield Line(lead=f"To {following(rollout)}", text="not before", until=ends)
    else:
        yield Line(lead=f"To {following(rollout)}", text="as soon as the evidence allows it")
    if look is not None and look.step and state.step < rollout.plan.last:
        needed = rollout.plan.judge.exclude[0 if look.step <= 1 else 1]
        found = f"more than {ratio(look.verdict.excluded)}" if look.verdict.excluded else "nothing yet"
        yield Line(lead="Excluded", text=f"{found}; {ratio(needed)} is needed to go on")
    name = BUDGET_OF.get(look.verdict.word) if look is not None else None
    if look is not None and name is not None and name in state.deadlines:
        yield _until(rollout, name, f"Needs {_NAMES[name]}")


def _paused(rollout: Rollout) -> Line:
    said = rollout.state.text.rstrip(".")
    name = Deadline.HOLD if Deadline.HOLD in rollout.state.deadlines else Deadline.PAUSE
    match rollout.state.held_by:
        case HeldBy.POLICY:
            return _until(rollout, name, "Held by the plan", said, unless="resumed")
        case HeldBy.GATE_LOST:
            return _until(rollout, name, "Held: the gate fell silent", said, unless="resumed")
        case _:
            return _until(rollout, name, said, unless="resumed")


def _until(
    rollout: Rollout, name: Deadline, lead: str, text: str = "", *, left: bool = False, unless: str = ""
) -> Line:
    due = running(rollout.state).get(name)
    if due is None:
        return Line(lead=lead, text=text)
    then = "it is left to the next run" if left else follows(due.then, rollout.plan, baseline=rollout.state.baseline)
    return Line(lead=lead, text=text, until=due.at, then=then, unless=unless)


def following(rollout: Rollout) -> str:
    """The share that comes next, as people read it."""
    plan, step = rollout.plan, rollout.state.step
    if step >= plan.last:
        return "every target, for good" if plan.in_place else "everybody, for good"
    return "the switch" if plan.switches else reach(plan, plan.step(step + 1).share)


def notices(rollout: Rollout, now: float) -> Iterator[Line]:
    """Locks, hands that are missing, policies that widened: what must not be overlooked."""
    state = rollout.state
    if state.lock is not None and state.lock.holds(now) and not state.phase.is_final:
        scope = f" ({state.lock.scope})" if state.lock.scope else ""
        text = f"by {state.lock.by}{scope}: {state.lock.reason}. Going back is still possible"
        yield Line(lead="Locked", text=text, until=state.lock.until)
    if state.widened_by is WidenedBy.POLICY:
        yield Line(lead="Widened by the plan's policy", text="not by evidence and not by a person")
    if not state.baseline:
        yield Line(lead="First deploy", text="there was no stable version to compare with")
    for action in state.actions:
        if action.failed is not None:
            yield Line(lead=f"Could not {action.kind} {action.arm}", text=action.failed)
    if state.needs_hands and state.phase.is_final:
        yield Line(lead="Left to do", text=f"{figures.left_to_do(rollout)}; the next run finishes it first")
    elif state.lease is None and not state.phase.is_final:
        due = state.deadlines.get(Deadline.LEASE)
        then = follows(due.then, rollout.plan, baseline=state.baseline) if due else ""
        yield Line(lead="No gate is driving it", until=due.at if due else None, then=then)


_NAMES: Mapping[Deadline, str] = {
    Deadline.LEASE: "word from the gate",
    Deadline.STEP: "the step",
    Deadline.CONFIRM: "a person's yes",
    Deadline.PAUSE: "the pause",
    Deadline.HOLD: "the hold",
    Deadline.DEPLOY: "the deployment",
    Deadline.VERIFY: "the verification",
    Deadline.RETIRE: "the old version's end",
    Deadline.BUDGET_INCONCLUSIVE: "enough data",
    Deadline.BUDGET_NO_TRAFFIC: "traffic",
    Deadline.BUDGET_SOURCE_DOWN: "the metrics",
}


def deadlines(rollout: Rollout) -> Iterator[Line]:
    """Every silence that has an end, the nearest first, and what then happens; a clock that a lock stops is no such."""
    for name, due in sorted(running(rollout.state).items(), key=lambda item: item[1].at):
        if name is not Deadline.LOCK:
            then = follows(due.then, rollout.plan, baseline=rollout.state.baseline)
            yield Line(lead=_NAMES[name], until=due.at, then=then)
