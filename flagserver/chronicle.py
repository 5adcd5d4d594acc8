"""What is written down of a rollout's changes: each in the log, and each decision in the audit log."""

from collections.abc import Mapping
from typing import Any

import structlog

from flagserver.store import Tx, audit
from flagserver.store.rollouts import RolloutRecord
from rampgate.machine import share
from rampgate.machine.events import Event, Told
from rampgate.machine.state import State, Transition, Verb

log = structlog.get_logger("flagserver.rollouts")


def asked(tx: Tx, record: RolloutRecord, actor: str, action: str, why: str | None) -> None:
    """A rollout was asked for, or taken up again."""
    audit.record(
        tx, actor=f"{actor} for {record.by}", action=action, subject=record.id, environment=record.plan.environment,
        flag=record.plan.flag, rollout=record.id, after=_shown(record, record.state), why=why,
    )  # fmt: skip


def decided(
    tx: Tx, record: RolloutRecord, before: State, event: Event, transition: Transition, actor: str, via: str | None
) -> None:
    """An event was applied. A person's order is always in the audit log, obeyed or not; others where they decided."""
    _logged(record, event, transition, actor)
    told = isinstance(event, Told)
    if not told and (transition.verb is Verb.HOLD or transition.refusal is not None):
        return
    what = event.order.value if isinstance(event, Told) else transition.verb.value
    why = "; ".join(one.text for one in transition.because) or None
    if isinstance(event, Told) and transition.refusal is not None:
        what, why = f"{what}_refused", transition.refusal.text
    elif isinstance(event, Told):
        why = event.text or None
    audit.record(
        tx, actor=f"{actor} for {event.by}" if isinstance(event, Told) else actor, action=f"rollout.{what}", via=via,
        subject=record.id, environment=record.plan.environment, flag=record.plan.flag, rollout=record.id, why=why,
        before=_shown(record, before), after=_shown(record, transition.state),
    )  # fmt: skip


def _shown(record: RolloutRecord, state: State) -> Mapping[str, Any]:
    return {
        "version": record.version,
        "phase": state.phase,
        "step": state.step,
        "share": share(record.plan, state),
        "revision": state.revision,
    }


def _logged(record: RolloutRecord, event: Event, transition: Transition, actor: str) -> None:
    state = transition.state
    log.info(
        event.type, rollout=record.id, flag=record.plan.flag, environment=record.plan.environment, actor=actor,
        verb=transition.verb.value, phase=state.phase.value, step=state.step, revision=state.revision,
        because=[one.reason.value for one in transition.because],
        refused=transition.refusal.refused.value if transition.refusal else None,
    )  # fmt: skip
