"""Flags, shares and leases become one immutable snapshot. Pure: no clock, no database, no listener.

From memory a snapshot only ever narrows: a deadline that has passed since the store was read may take users back
to stable before that is recorded, but none sends more users to a canary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import structlog

from flagserver.lists import holding, may_visit, targeting
from flagserver.store.cohorts import Cohorting, Segment
from flagserver.store.flags import FlagRecord, Kind
from flagserver.store.rollouts import RolloutRecord
from flagserver.wire import encode
from rampgate.bucketing import BUCKETING
from rampgate.evaluation import CompiledFlag, compile_flag
from rampgate.flags import read
from rampgate.machine import handle, share
from rampgate.machine.state import Deadline, State, running
from rampgate.plan import WHOLE
from rampgate.problem import Problem

log = structlog.get_logger("flagserver.publish")

HEARTBEAT = 15.0
"""Seconds between heartbeats where no rollout asks for more."""

FOREVER = float("inf")

SERVER_WRITES = ("targeting", "defaultVariant")
"""What of a flag with slots only the server writes."""

NO_SHARED_RULES = "the rule itself: a flag is kept alone, without $evaluators; `flagserver import` writes them out"
"""What is allowed where a flag refers to a shared rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was last read of one environment: its flags, its unfinished rollouts, newest first, and what lists share."""

    environment: str
    revision: int
    flags_revision: int = 0
    flags: tuple[FlagRecord, ...] = ()
    rollouts: tuple[RolloutRecord, ...] = ()
    cohorting: Cohorting = field(default_factory=Cohorting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One environment's snapshot. It holds until ``valid_until``, when a deadline passes that narrows a share.

    ``changed`` says what differs from the snapshot before it, whose version is ``previous``. ``by_time``: a flag may
    ask for the time. ``kept`` is for those who answer from it: what they made of a flag, for as long as neither the
    flag nor its rollout changes.
    """

    environment: str
    version: str
    revision: int
    flags: Mapping[str, Mapping[str, Any]]
    rollouts: Mapping[str, Mapping[str, Any]]
    body: bytes
    heartbeat: float
    valid_until: float
    cut_off: bool
    by_time: bool = False
    previous: str = ""
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    kept: dict[str, object] = field(default_factory=dict, repr=False, compare=False)
    _compiled: dict[str, CompiledFlag] = field(default_factory=dict, repr=False, compare=False)

    def compiled(self, key: str) -> CompiledFlag | None:
        """The flag, ready to be evaluated; compiled when first asked for. ``None``: there is no such flag."""
        found = self._compiled.get(key)
        if found is None and key in self.flags:
            flag = read({"flags": {key: self.flags[key]}}).flags.get(key)
            if flag is not None:
                found = self._compiled[key] = compile_flag(flag)
        return found


def publish(held: Held, now: float, *, cut_off: bool = False, before: Published | None = None) -> Published:
    """The snapshot of an environment.

    Args:
        held: what was last read of it.
        now: the moment, in seconds since the epoch, on the clock of the deadlines.
        cut_off: the store cannot be read, so that what is held may be outdated.
        before: the snapshot so far; what it has in common with the new one is kept.
    """
    ramping = {record.plan.flag: record for record in held.rollouts}
    standing = {key: stands(record, now, cut_off=cut_off) for key, record in ramping.items()}
    flags = {
        one.key: document(one, ramping.get(one.key), standing.get(one.key), held.cohorting.segments)
        for one in held.flags
    }
    rollouts = {
        key: _entry(record, standing[key], held.cohorting.force_key)
        for key, record in sorted(ramping.items())
        if not record.state.retirement_begun
    }
    said = {"environment": held.environment, "bucketing": BUCKETING, "flags": flags, "rollouts": rollouts}
    version = blake2b(encode(said), digest_size=12).hexdigest()
    later = [due.at for record in ramping.values() for due in running(record.state).values() if due.at > now]
    old: Mapping[str, Mapping[str, Any]] = {} if before is None else before.flags
    changed = {key: flag for key, flag in flags.items() if old.get(key) != flag}
    compiled: dict[str, CompiledFlag] = {}
    kept: dict[str, object] = {}
    if before is not None:
        same = flags.keys() - changed.keys()
        compiled = {key: one for key, one in before._compiled.copy().items() if key in same}
        as_before = {key for key in same if before.rollouts.get(key) == rollouts.get(key)}
        kept = {key: one for key, one in before.kept.copy().items() if key in as_before}
    body = encode({"version": version, **said})
    return Published(
        environment=held.environment,
        version=version,
        revision=held.revision,
        flags=flags,
        rollouts=rollouts,
        body=body,
        by_time=b"$flagd" in body,
        heartbeat=min([HEARTBEAT, *(entry["heartbeat"] for entry in rollouts.values())]),
        valid_until=min(later, default=FOREVER),
        cut_off=cut_off,
        previous=before.version if before else "",
        changed=changed,
        removed=tuple(key for key in old if key not in flags),
        kept=kept,
        _compiled=compiled,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a rollout stands at a moment: the canary's share that may be served, and the state that says so; without
    one nothing but the share is known."""

    share: int
    state: State | None


def document(
    flag: FlagRecord, record: RolloutRecord | None, standing: Standing | None, segments: Mapping[str, Segment]
) -> dict[str, Any]:
    """The flag as an ordinary flagd flag: a ramp is a `fractional` by user, the canary's share first, lists before it.

    Users without a targeting key are on stable until the share is whole: nothing tells one of them from another.
    At a share of nothing nobody is on the canary, listed or not.
    """
    if flag.kind is Kind.PLAIN or flag.slots is None:
        return flag.document
    slots = flag.slots
    written = {"state": "ENABLED", "variants": default_variants(flag.kind, slots.stable.name, slots.idle.name)}
    written |= flag.document
    written["defaultVariant"] = slots.stable.name
    if record is None or standing is None:
        return written
    stable, canary, part = record.stable.name, record.canary.name, standing.share
    written["defaultVariant"] = canary if part >= WHOLE else stable
    if part > 0:
        rule = targeting(salt(record), canary, stable, part, holding(flag.lists, standing.state), segments)
        if rule is not None:
            written["targeting"] = rule
    return written


def salt(record: RolloutRecord) -> str:
    """What shuffles the users of this rollout: its own, so that not always the same ones go first, or the plan's."""
    return f"{record.plan.salt or record.id}:"


def default_variants(kind: Kind, stable: str, idle: str) -> dict[str, Any]:
    """The variants of a flag whose document names none."""
    if kind is Kind.RELEASE:
        return {"off": False, "on": True}
    return {name: name for name in sorted((stable, idle))}


def stands(record: RolloutRecord, now: float, *, cut_off: bool = False) -> Standing:
    """How a rollout stands now, from what is held: its share is never more than the state says.

    One that cannot be worked out is logged and served as nothing: the other flags must go on.
    """
    try:
        return _stands(record, now, cut_off=cut_off)
    except Exception:
        log.exception("rollout_unreadable", rollout=record.id, flag=record.plan.flag)
        return Standing(share=0, state=None)


def served_share(record: RolloutRecord, now: float, *, cut_off: bool = False) -> int:
    """The canary's share that may be served now."""
    return stands(record, now, cut_off=cut_off).share


def _stands(record: RolloutRecord, now: float, *, cut_off: bool) -> Standing:
    state = record.state
    said = share(record.plan, state)
    due = [name for name, one in running(state).items() if one.at <= now]
    if state.retirement_begun or not due:
        return Standing(share=said, state=state)
    if cut_off and due != [Deadline.LOCK]:
        # Once its delay is over the old version may be gone, and nobody here would know.
        return Standing(share=said if Deadline.RETIRE in due else 0, state=None)
    after = handle(record.plan, state, None, now)[-1][1].state
    return Standing(share=said if after.retirement_begun else min(said, share(record.plan, after)), state=after)


def problems(key: str, kind: Kind, body: Mapping[str, Any], slots: tuple[str, str] | None) -> tuple[Problem, ...]:
    """Everything that is wrong with a flag's document, by flagd's rules and ours; paths start at ``flag``."""
    found: list[Problem] = []
    written = dict(body)
    if slots is not None:
        for name in SERVER_WRITES:
            if name in body:
                found.append(Problem(f"flag.{name}", "given", f"nothing: the server writes it for a {kind} flag"))
                del written[name]
        wanted = default_variants(kind, *slots)
        variants = written.setdefault("variants", wanted)
        written.setdefault("state", "ENABLED")
        if isinstance(variants, dict) and set(variants) != set(wanted):
            names = ", ".join(wanted)
            found.append(Problem("flag.variants", ", ".join(map(str, variants)), f"exactly the slots: {names}"))
    prefix = f"flags.{key}"
    for one in read({"flags": {key: written}}).problems:
        path = "flag" + one.path.removeprefix(prefix) if one.path.startswith(prefix) else one.path
        shared = path.endswith(".$ref")
        found.append(Problem(path, one.value, NO_SHARED_RULES if shared else one.allowed, None if shared else one.hint))
    return tuple(found)


def _entry(record: RolloutRecord, standing: Standing, force_key: str | None) -> dict[str, Any]:
    visited = force_key is not None and may_visit(standing.state)
    return {
        "rollout": record.id,
        "attempt": record.state.attempt,
        "stable": record.stable.name,
        "canary": record.canary.name,
        "staleAfter": record.plan.stale_after,
        "poll": record.plan.poll,
        "heartbeat": record.plan.heartbeat,
        **({"hashKey": record.hash_key} if record.hash_key else {}),
        **({"forceKey": force_key} if visited else {}),
    }
