"""The answers to commands in comments: Markdown, one or two lines each, and a status that fits a phone."""

from collections.abc import Iterator, Mapping, Sequence

from gate.report.page import headline
from gate.report.prose import advised, code, plain
from gate.report.targets import colours, targets
from gate.report.waiting import still_to_say, waiting
from rampgate.evidence import Look, Sample
from rampgate.figures import bake_ends, people_read
from rampgate.machine.state import Verb
from rampgate.plan import seconds
from rampgate.rollout import Answer, Rollout, Slots
from rampgate.wording import clock, count


def obeyed(answer: Answer) -> str:
    """What an order did, or why it did nothing."""
    rollout = answer.rollout
    where = f"**{plain(rollout.plan.environment, 60)}** ({code(rollout.version, 40)})"
    if answer.refusal is not None:
        return " ".join([f"{where}: nothing was done.", _ended(advised(rollout, answer.refusal.text)), _now(rollout)])
    because = plain(" ".join(one.text for one in answer.because))
    why = [_ended(because)] if because else []
    done = (_DONE_IN_PLACE if rollout.plan.in_place else _DONE).get(answer.verb, _DONE[answer.verb])
    if answer.verb is Verb.REVERT and not rollout.state.baseline:
        done = "it is taken back; there is no version before it"
    return " ".join([f"{where}: {done}.", *why, _now(rollout)])


def _ended(text: str) -> str:
    return f"{text.rstrip('.')}."


_DONE: Mapping[Verb, str] = {
    Verb.HOLD: "done",
    Verb.ADVANCE: "it goes on",
    Verb.PAUSE: "it is paused",
    Verb.COMPLETE: "it goes to everybody",
    Verb.REVERT: "everybody is back on the stable version",
}

_DONE_IN_PLACE: Mapping[Verb, str] = {
    Verb.COMPLETE: "it goes to every target",
    Verb.REVERT: "targets are put back on the stable version, newest first",
}


def _now(rollout: Rollout) -> str:
    where = "on" if rollout.plan.in_place else "at"
    return f"It is {rollout.state.phase} {where} {people_read(rollout, rollout.now, _bake(rollout))}."


def _bake(rollout: Rollout) -> str:
    return clock(bake_ends(rollout), rollout.now)


def status(known: Sequence[tuple[Rollout, Sequence[Look]]]) -> str:
    """Where each rollout stands, by the newest of its looks, and why it waits."""
    if not known:
        return "No rollout is active here."
    blocks = []
    for rollout, looks in known:
        where = [*colours(rollout), *targets(rollout)]
        lines = [*where, *waiting(rollout, looks, rollout.now), *still_to_say(rollout, rollout.now)]
        listed = (f"- {line}" for line in (*_last(rollout, looks, lines), *lines))
        blocks.append("\n".join([headline(rollout, rollout.now), "", *listed]))
    return "\n\n".join(blocks)


def _last(rollout: Rollout, looks: Sequence[Look], said: Sequence[str]) -> Iterator[str]:
    """What was found last: the newest look, where looks still decide; else the sentence of the last decision."""
    state = rollout.state
    if not looks or not state.phase.is_judged:
        if state.text:
            yield f"**Last:** {plain(state.text)}"
        return
    look = looks[-1]
    arms = ((rollout.version, look.canary), (rollout.stable.version or "stable", look.stable))
    found = ", ".join(f"{code(name, 40)} {_counts(sample)}" for name, sample in arms)
    verdict = plain(look.verdict.text).rstrip(".")
    text = "" if any(verdict in line for line in said) else f": {verdict}"
    age = seconds(round(max(0.0, rollout.now - look.at)))
    yield f"**Last look** {age} ago: {found}; {plain(look.verdict.word)}{text}"


def _counts(sample: Sample | None) -> str:
    if sample is None:
        return "compared nothing"
    return f"{count(sample.errors)} errors in {count(sample.requests)} requests"


def standing(flag: str, slots: Slots) -> str:
    """What serves where no rollout is active: which slot is live, what each runs."""
    parts = (
        f"{plain(slot.name, 30)} {code(slot.version or '')} {word}"
        for slot, word in ((slots.stable, "live"), (slots.idle, "idle"))
    )
    return f"**{plain(flag, 60)}:** {' · '.join(parts)}"


def which(order: str, environments: Sequence[str]) -> str:
    """Several rollouts are active, and the order, as it was written, names none of them."""
    names = " or ".join(code(f"{order} {environment}") for environment in environments)
    return f"Several rollouts are active here, so nothing was done. Say which: {names}."


def no_rollout(environment: str | None) -> str:
    """The order met nothing."""
    where = f" in {plain(environment, 60)}" if environment else ""
    return f"No rollout of this pull request is active{where}, so nothing was done."


def commands(usages: Mapping[str, str]) -> str:
    """The help: each command's usage, and what it does."""
    rows = "\n".join(f"| `{usage}` | {text} |" for usage, text in usages.items())
    return f"| command | what it does |\n|:--|:--|\n{rows}\n\nA command is the first line of a new comment."
