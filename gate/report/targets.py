"""What runs where, in a line, as the record tells: a blue-green rollout's colours, a rolling one's targets. Pure."""

from collections.abc import Iterator, Sequence

from gate.report.prose import code, plain
from rampgate import figures
from rampgate.machine.moves import step_share
from rampgate.machine.state import ActionKind, Phase
from rampgate.plan import Strategy, targets_of
from rampgate.rollout import Rollout

_SHOWN = 6


def colours(rollout: Rollout) -> Iterator[str]:
    """What each colour of a blue-green rollout runs, and which is live. Nothing for other strategies."""
    found = figures.colours(rollout)
    if found:
        parts = (f"{plain(slot.name, 30)} {code(slot.version or '', 40)} {word}" for slot, word in found)
        yield f"**Colours:** {' · '.join(parts)}"


def targets(rollout: Rollout) -> Iterator[str]:
    """Which targets run which version, which are at work; and that users follow them. Nothing for other strategies."""
    plan, state = rollout.plan, rollout.state
    if plan.strategy is not Strategy.ROLLING or not plan.targets:
        return
    names, done, busy = plan.targets, 0, 0
    if state.phase is Phase.PROMOTED or (state.phase is Phase.COMPLETING and not state.pending(ActionKind.ROLL)):
        done = len(names)
    elif state.phase in (Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED, Phase.REVERTING):
        done = busy = targets_of(step_share(plan, state.step), len(names))
        if state.pending(ActionKind.ROLL):
            done = targets_of(step_share(plan, state.step - 1), len(names))
        elif state.pending(ActionKind.UNDO):
            done = 0
    elif undo := next((one for one in state.actions if one.kind is ActionKind.UNDO), None):
        busy = targets_of(undo.share or 0, len(names))
    if state.phase is Phase.SUPERSEDED:
        yield "**Targets:** the successor puts back those that still run this version"
        return
    busy = max(0, busy - done)
    old = rollout.stable.version or "nothing"
    names = tuple(plain(one, 100) for one in names)
    word = "being put back" if state.phase is Phase.REVERTING else "being replaced"
    word = f"may still run {code(rollout.version, 40)}" if state.phase.is_final else word
    parts = (
        f"{code(rollout.version, 40)} on {_names(names[:done])}" if done else "",
        f"{_names(names[done : done + busy])} {word}" if busy else "",
        f"{code(old, 40)} on {_names(names[done + busy :])}" if done + busy < len(names) else "",
    )
    yield f"**Targets:** {'; '.join(part for part in parts if part)}"
    if state.lease is None and not state.phase.is_final:
        yield "**Users follow the machines:** until a gate takes over, each target keeps what it runs"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
