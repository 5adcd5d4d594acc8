"""What a hook is told: by its environment, or as the JSON that is posted."""

import json
from dataclasses import dataclass
from typing import Any

from gate.config import HookConfig
from gate.deploy import DeployAction, Work
from gate.deploy.command import values
from rampgate.plan import WHOLE
from rampgate.rollout import Entry, Rollout
from rampgate.wording import sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question to one hook. ``entry`` is what an event hook is told of; ``number`` tells questions apart."""

    hook: HookConfig
    rollout: Rollout
    number: str
    entry: Entry | None = None

    @property
    def message(self) -> str:
        """What the message is called; the same when the same thing is told twice."""
        return f"{self.rollout.id}:{self.rollout.state.attempt}:{self.hook.name}:{self.number}"


def environment(asked: Asked) -> dict[str, str]:
    """What deploy hooks are told, and at which moment of the rollout this is."""
    rollout, state = asked.rollout, asked.rollout.state
    work = Work(
        action=DeployAction.STATUS,
        slot=rollout.canary.name,
        version=rollout.version,
        fence=state.lease.fence if state.lease else 0,
        environment=rollout.plan.environment,
        flag=rollout.plan.flag,
        rollout_id=rollout.id,
    )
    told = values(work) | {
        "RAMPGATE_ACTION": "hook",
        "RAMPGATE_HOOK": asked.hook.when.value,
        "RAMPGATE_PHASE": state.phase.value,
        "RAMPGATE_STEP": str(state.step),
        "RAMPGATE_SHARE": _percent(rollout.share),
        "RAMPGATE_REASON": state.reason.value,
    }
    if asked.entry is not None:
        told |= {"RAMPGATE_EVENT": asked.entry.event.type, "RAMPGATE_REASON": _reason(asked.entry)}
    return told


def document(asked: Asked) -> bytes:
    """What is posted."""
    rollout, state = asked.rollout, asked.rollout.state
    told: dict[str, Any] = {
        "hook": asked.hook.name,
        "when": asked.hook.when.value,
        "rollout": rollout.id,
        "environment": rollout.plan.environment,
        "flag": rollout.plan.flag,
        "version": rollout.version,
        "slot": rollout.canary.name,
        "stable": {"slot": rollout.stable.name, "version": rollout.stable.version},
        "sha": rollout.sha,
        "pull_request": rollout.pull_request,
        "run_url": rollout.run_url,
        "attempt": state.attempt,
        "revision": state.revision,
        "phase": state.phase.value,
        "step": state.step,
        "steps": rollout.plan.last,
        "share": float(_percent(rollout.share)),
        "reason": state.reason.value,
        "text": state.text,
    }
    if (entry := asked.entry) is not None:
        told["event"] = {
            "number": entry.number,
            "at": entry.at,
            "type": entry.event.type,
            "verb": entry.verb.value,
            "phase": entry.phase.value,
            "step": entry.step,
            "share": float(_percent(entry.share)),
            "reason": _reason(entry),
            "text": sentences(one.text for one in entry.because),
        }
    return json.dumps(told, ensure_ascii=False).encode()


def _reason(entry: Entry) -> str:
    return entry.because[-1].reason.value if entry.because else ""


def _percent(share: int) -> str:
    return f"{share * 100 / WHOLE:.3f}".rstrip("0").rstrip(".")
