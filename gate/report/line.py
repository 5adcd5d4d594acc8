"""The log: one line per tick, `key=value`; and the annotations, one per decision."""

import json
from collections.abc import Mapping
from typing import Any

from gate.foreign import harmless
from gate.runner_files import Level, annotation
from rampgate.evidence import Look
from rampgate.figures import harm
from rampgate.machine.state import Phase
from rampgate.plan import percent
from rampgate.rollout import Entry, Rollout
from rampgate.wording import one_line, sentences


def tick(rollout: Rollout, look: Look | None) -> str:
    """The log line of one tick; ``look`` is ``None`` where nothing was judged."""
    state = rollout.state
    values: dict[str, Any] = {
        "rollout": rollout.id,
        "phase": state.phase,
        "step": f"{state.step}/{rollout.plan.last}",
        "share": percent(rollout.share).replace(" ", ""),
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
    where = f"{percent(entry.share)} of users" if entry.share else "nobody"
    text = f"{rollout.version} is {entry.phase}, {where} on it. {why}"
    return annotation(level, one_line(text, 1000), title=f"{rollout.plan.environment}: {entry.phase}")
