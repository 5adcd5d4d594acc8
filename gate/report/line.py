"""The log: one line per tick, `key=value`; and the annotations, one per decision."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gate.foreign import harmless
from gate.runner_files import Level, annotation
from rampgate.evidence import Look
from rampgate.figures import harm, reached
from rampgate.machine.state import Phase
from rampgate.rollout import Entry, Rollout
from rampgate.way_back import way_back
from rampgate.wording import moment, one_line, reach, sentences


def tick(rollout: Rollout, look: Look | None) -> str:
    """The log line of one tick; ``look`` is ``None`` where nothing was judged."""
    state = rollout.state
    values: dict[str, Any] = {
        "rollout": rollout.id,
        "phase": state.phase,
        "step": f"{state.step}/{rollout.plan.last}",
        "share": reached(rollout).replace(" %", "%"),
        "revision": state.revision,
    }
    if look is not None:
        weighed = harm(look)
        values |= {
            "stable": f"{look.stable.errors}/{look.stable.requests}" if look.stable else "none",
            "canary": f"{look.canary.errors}/{look.canary.requests}" if look.canary else "none",
            "verdict": look.verdict.word,
            "because": look.verdict.reason,
            "harm": f"{weighed:.2f}" if weighed is not None else "none",
            "excluded": f"{look.verdict.excluded:.2f}" if look.verdict.excluded else "none",
            "text": look.verdict.text,
        }
    else:
        values |= {"because": state.reason, "text": state.text}
    return pairs(values)


def pairs(values: Mapping[str, Any]) -> str:
    """``key=value`` for each; a value that is more than one word is quoted. Never a line that the runner obeys."""
    return " ".join(f"{key}={_value(str(value))}" for key, value in values.items())


def _value(text: str) -> str:
    text = harmless(one_line(text, 400))
    return text if text and all(sign not in text for sign in ' "=\\') else json.dumps(text, ensure_ascii=False)


def taken_back(rollout: Rollout, entries: Sequence[Entry]) -> str | None:
    """The log line of a way back that is over; ``None`` where there was none, or where it is still under way."""
    way = way_back(rollout, entries)
    if way is None or not rollout.state.phase.is_final:
        return None
    values: dict[str, Any] = {
        "rollout": rollout.id,
        "time_to_safe": "none" if way.time_to_safe is None else f"{way.time_to_safe:.1f}s",
        "since": way.since,
        "began_at": moment(way.began_at),
        "decided_at": moment(way.decided_at),
        "users_at": moment(way.users_at),
        "cut_off_by": moment(way.cut_off_by),
        "undone_at": moment(way.undone_at),
        "restored_at": moment(way.restored_at),
        "is_up": "unknown" if way.is_up is None else "yes" if way.is_up else "no",
    }
    return pairs(values)


_LEVELS: Mapping[Phase, Level] = {
    Phase.PROGRESSING: Level.NOTICE,
    Phase.COMPLETING: Level.NOTICE,
    Phase.PROMOTED: Level.NOTICE,
    Phase.WAITING: Level.WARNING,
    Phase.PAUSED: Level.WARNING,
    Phase.REVERTING: Level.ERROR,
    Phase.FAILED: Level.ERROR,
}


def decided(entry: Entry, before: Entry | None, rollout: Rollout) -> str | None:
    """The annotation for a line of history that moved the rollout; ``None`` where nothing was decided.

    Args:
        entry: the line.
        before: the line before it, if any.
        rollout: whose history it is.
    """
    if before is not None and (before.phase, before.step) == (entry.phase, entry.step):
        return None
    level = _LEVELS.get(entry.phase)
    if level is None or entry.refusal is not None:
        return None
    if before is not None and before.phase is Phase.REVERTING and entry.phase is not Phase.PROGRESSING:
        return None  # The revert itself was the decision; how it ended adds nothing.
    why = sentences(one.text for one in entry.because)
    plan = rollout.plan
    where = reach(plan, entry.share) + ("" if plan.in_place else " of users")
    if not entry.share:
        where = "no target" if plan.in_place else "nobody"
    if plan.in_place and entry.phase is Phase.REVERTING:
        where = "targets are being put back that are"
    text = f"{rollout.version} is {entry.phase}, {where} on it. {why}"
    return annotation(level, one_line(text, 1000), title=f"{rollout.plan.environment}: {entry.phase}")
