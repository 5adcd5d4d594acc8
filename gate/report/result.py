"""What the step hands on: the decision, its exit code, and all of it as JSON with a version of its own."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from gate.errors import Exit, FlagServerRefusedError, ProblemsError, RampgateError
from rampgate import figures
from rampgate.evidence import ArmName, Look, Sample
from rampgate.machine.state import Phase, Reason
from rampgate.plan import WHOLE
from rampgate.rollout import Entry, Rollout
from rampgate.way_back import way_back
from rampgate.wording import one_line

SCHEMA = 1
"""Raised when a key changes its meaning or goes; a new key does not raise it."""


class Decision(StrEnum):
    """How a run of the gate ended: the output `decision`."""

    PROMOTED = "promoted"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    REFUSED = "refused"
    OBEYED = "obeyed"
    NOTHING = "nothing"
    ERROR = "error"


_OF_PHASE = {
    Phase.PROMOTED: Decision.PROMOTED,
    Phase.REVERTING: Decision.REVERTED,
    Phase.REVERTED: Decision.REVERTED,
    Phase.SUPERSEDED: Decision.SUPERSEDED,
    Phase.FAILED: Decision.FAILED,
}


def decision_of(rollout: Rollout) -> Decision:
    """How a rollout ended, or that it did not. A revert counts from the moment users are back."""
    ends_as = rollout.state.ends_as if rollout.state.phase is Phase.REVERTING else None
    return _OF_PHASE.get(ends_as or rollout.state.phase, Decision.UNFINISHED)


def exit_of(decision: Decision, *, fail_on_revert: bool = True) -> Exit:
    """The exit code of a run that ended like this; an error brings its own."""
    match decision:
        case Decision.PROMOTED | Decision.OBEYED | Decision.NOTHING:
            return Exit.DONE
        case Decision.REVERTED | Decision.SUPERSEDED:
            return Exit.REVERTED if fail_on_revert else Exit.DONE
        case Decision.FAILED | Decision.REFUSED:
            return Exit.NOT_RELEASED
        case Decision.UNFINISHED:
            return Exit.UNFINISHED
        case Decision.ERROR:
            return Exit.FAULT


def percentage(rollout: Rollout) -> str:
    """The share of users on the new version, as a number: ``95``, ``12.5``."""
    return f"{rollout.share * 100 / WHOLE:.3f}".rstrip("0").rstrip(".")


def rollout_url(server: str, rollout_id: str) -> str:
    """The rollout's page on the flag server's dashboard."""
    return f"{server.rstrip('/')}/ui/rollouts/{rollout_id}"


def outputs(
    rollout: Rollout,
    looks: Sequence[Look],
    entries: Sequence[Entry],
    *,
    server: str,
    reason: Reason | None = None,
) -> dict[str, str]:
    """The step's six outputs for a rollout. ``server`` is the flag server's address; ``reason`` is why the step ended,
    where that is not why the rollout is where it is.
    """
    return {
        "decision": decision_of(rollout).value,
        "reason": (reason or rollout.state.reason).value,
        "result": result(rollout, looks, entries, server=server, reason=reason),
        "rollout-id": rollout.id,
        "percentage": percentage(rollout),
        "rollout-url": rollout_url(server, rollout.id),
    }


def outputs_without(decision: Decision, reason: str, text: str, problems: Sequence[str] = ()) -> dict[str, str]:
    """The step's six outputs where there is no rollout to speak of."""
    values = {**dict.fromkeys(_KEYS), "schema": SCHEMA, "decision": decision.value, "reason": reason}
    values |= {"text": one_line(text, 1000), "problems": [one_line(each, 500) for each in problems[:100]]}
    return {
        "decision": decision.value,
        "reason": reason,
        "result": _json(values),
        "rollout-id": "",
        "percentage": "",
        "rollout-url": "",
    }


def outputs_of_error(error: RampgateError) -> dict[str, str]:
    """The step's outputs for a run that ended in an error."""
    decision = Decision.REFUSED if error.exit is Exit.NOT_RELEASED else Decision.ERROR
    text = " ".join(part for part in (error.what, error.why, error.do) if part)
    found = error.problems if isinstance(error, ProblemsError | FlagServerRefusedError) else ()
    return outputs_without(decision, error.reason, text, [str(problem) for problem in found])


def result(
    rollout: Rollout, looks: Sequence[Look], entries: Sequence[Entry], *, server: str, reason: Reason | None = None
) -> str:
    """The output `result`: ASCII JSON, every key always there, what is not known ``null``."""
    state, plan = rollout.state, rollout.plan
    begun = figures.entered(rollout, entries)
    verdict = looks[-1].verdict if looks else None
    values = {
        "schema": SCHEMA,
        "decision": decision_of(rollout).value,
        "reason": (reason or state.reason).value,
        "text": one_line(state.text, 1000),
        "problems": [],
        "rollout": rollout.id,
        "url": rollout_url(server, rollout.id),
        "flag": plan.flag,
        "environment": plan.environment,
        "strategy": plan.strategy.value,
        "version": rollout.version,
        "sha": rollout.sha,
        "pull_request": rollout.pull_request,
        "by": rollout.by,
        "phase": state.phase.value,
        "step": state.step,
        "steps": [step.share * 100 / WHOLE for step in plan.steps],
        "percentage": rollout.share * 100 / WHOLE,
        "attempt": state.attempt,
        "revision": state.revision,
        "started_at": rollout.created_at,
        "step_began_at": {str(number): at for number, at in begun.items()},
        "since": state.since,
        "widened_by": state.widened_by.value if state.widened_by else None,
        "needs_hands": state.needs_hands,
        "superseded_by": rollout.superseded_by,
        "arms": {arm.value: _arm(rollout, arm, looks) for arm in ArmName},
        "verdict": None
        if verdict is None
        else {
            "word": verdict.word.value,
            "reason": verdict.reason.value,
            "text": one_line(verdict.text, 1000),
            "evidence_of_harm": figures.harm(looks[-1]),
            "excluded": verdict.excluded,
        },
        "way_back": _way_back(rollout, entries),
    }
    return _json(values)


def _way_back(rollout: Rollout, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """When users were safe, and when what was deployed was undone; moments in seconds since the epoch."""
    way = way_back(rollout, entries)
    if way is None:
        return None
    return {
        "time_to_safe": None if way.time_to_safe is None else round(way.time_to_safe, 3),
        "since": way.since.value,
        "began_at": way.began_at,
        "decided_at": way.decided_at,
        "exposed": way.exposed,
        "users_at": way.users_at,
        "cut_off_by": way.cut_off_by,
        "undone_at": way.undone_at,
        "restored_at": way.restored_at,
        "is_up": way.is_up,
    }


_KEYS = (
    *("schema", "decision", "reason", "text", "problems", "rollout", "url", "flag", "environment", "strategy"),
    *("version", "sha", "pull_request", "by", "phase", "step", "steps", "percentage", "attempt", "revision"),
    *("started_at", "step_began_at", "since", "widened_by", "needs_hands", "superseded_by", "arms", "verdict"),
    "way_back",
)


def _arm(rollout: Rollout, arm: ArmName, looks: Sequence[Look]) -> dict[str, Any]:
    """One arm, with all it was asked while users were on the ramp in this attempt."""
    found = figures.figures(looks)
    sample: Sample = found.canary if arm is ArmName.CANARY else found.stable
    slot = rollout.slot(arm)
    version = rollout.version if arm is ArmName.CANARY else slot.version
    return {"slot": slot.name, "version": version, "requests": sample.requests, "errors": sample.errors}


def _json(values: dict[str, Any]) -> str:
    return json.dumps({key: values[key] for key in _KEYS}, ensure_ascii=True, allow_nan=False)
