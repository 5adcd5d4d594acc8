"""What happened to a rollout, as a table that folds: newest first, the oldest rows left out where there is no room."""

from collections.abc import Sequence

from gate.report.prose import advised, plain
from rampgate import figures
from rampgate.machine.state import Phase, Reason, Verb
from rampgate.plan import RolloutPlan
from rampgate.rollout import Entry, Rollout
from rampgate.wording import clock, one_line, reach, sentences


def history(rollout: Rollout, entries: Sequence[Entry], now: float, room: int) -> str:
    """The table, in at most about ``room`` characters; nothing where nothing fits."""
    kept = figures.notable(entries)
    taken_back = (entry for entry in kept if entry.phase is Phase.REVERTING and entry.verb is Verb.REVERT)
    reasons = frozenset(one.text for entry in taken_back for one in entry.because)
    rows: list[str] = []
    for number, entry in reversed(tuple(enumerate(kept))):
        row = _row(rollout, entry, kept[number - 1] if number else None, reasons, now)
        if room - len(row) - 1 < 0:
            break
        room -= len(row) + 1
        rows.append(row)
    if not rows:
        return ""
    left = len(kept) - len(rows)
    tail = [f"\n{left} earlier ones are not shown."] if left else []
    title = f"<details><summary>What happened ({len(kept)})</summary>"
    return "\n".join(
        [title, "", "| when (UTC) | what | who | why |", "|:--|:--|:--|:--|", *rows, *tail, "", "</details>"]
    )


def _row(rollout: Rollout, entry: Entry, before: Entry | None, reasons: frozenset[str], now: float) -> str:
    plan = rollout.plan
    what, why = _what(plan, entry, before), sentences(one.text for one in entry.because) or entry.event.type
    if entry.refusal is not None:
        what = "refused"
    elif before is not None and before.phase is Phase.REVERTING and entry.phase.is_final:
        # The reason stands where the users were taken back; here it would only stand again.
        undone = "Every target is put back." if plan.in_place else "The deployment is undone."
        why = sentences(one.text for one in entry.because if one.text not in reasons) or undone
    if any(one.reason is Reason.WIDENED_BY_POLICY for one in entry.because):
        what += " **by policy**"
    said = advised(rollout, entry.refusal.text, 240) if entry.refusal is not None else plain(why, 240)
    return f"| {clock(entry.at, now, exact=True)} | {what} | {plain(one_line(entry.actor, 60))} | {said} |"


def _what(plan: RolloutPlan, entry: Entry, before: Entry | None) -> str:
    share, everybody = reach(plan, entry.share), "every target" if plan.in_place else "everybody"
    match entry.phase, entry.verb:
        case Phase.PROGRESSING, Verb.ADVANCE:
            return "**everybody is switched over**" if plan.switches else f"**goes to {share}**"
        case Phase.PROGRESSING, _:
            return "stays switched over" if plan.switches else f"stays at {share}"
        case Phase.WAITING, _:
            return f"waits at {share}"
        case Phase.PAUSED, _:
            return f"paused at {share}"
        case Phase.COMPLETING, _:
            begins = before is None or before.phase is not Phase.COMPLETING
            return f"**goes to {everybody}**" if begins else f"{everybody} on it"
        case Phase.PROMOTED, _:
            return "**promoted**"
        case Phase.REVERTING, Verb.REVERT:
            return "**targets are put back**" if plan.in_place else "**everybody back**"
        case Phase.REVERTING, _:
            return "putting back" if plan.in_place else "undoing"
        case _:
            return str(entry.phase)
