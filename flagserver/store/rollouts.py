"""Rollouts and their history as kept. Decides nothing: `flagserver.rollouts` does, by the state machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
import structlog

from flagserver import wire
from flagserver.store.engine import Tx
from flagserver.store.tables import rollout_events, rollouts
from rampgate.machine import next_deadline, share
from rampgate.machine.events import Event
from rampgate.machine.state import REFUSE_VERSION, Action, Because, Phase, Refusal, State, Transition, Verb
from rampgate.plan import RolloutPlan, UsersFollow
from rampgate.rollout import Entry, Rollout, Slot, plan_hash

log = structlog.get_logger("flagserver.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """One rollout's row. ``attempt_at`` is when its attempt began; ``number`` orders rollouts by age;
    ``hash_key`` hides users in what clients report of them; ``beyond`` is what a newer server's state says that this
    one does not understand, and keeps."""

    id: str
    number: int = 0
    key: str
    plan: RolloutPlan
    version: str
    canary: Slot
    stable: Slot
    state: State
    by: str
    created_at: float
    attempt_at: float
    updated_at: float
    sha: str | None = None
    repository: str | None = None
    pull_request: int | None = None
    run_url: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    superseded_by: str | None = None
    refuses_version: bool = False
    allowed_by: str | None = None
    hash_key: str | None = field(default=None, repr=False)
    repository_id: str | None = None
    beyond: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether this version is refused on account of this rollout."""
        return self.refuses_version and self.allowed_by is None

    def rollout(self, now: float, state: State | None = None) -> Rollout:
        """The rollout as the wire shows it, in this state or its own."""
        state = state or self.state
        return Rollout(
            id=self.id, key=self.key, plan=self.plan, version=self.version, canary=self.canary, stable=self.stable,
            state=state, share=share(self.plan, state), created_at=self.created_at, now=now, by=self.by, sha=self.sha,
            repository=self.repository, pull_request=self.pull_request, run_url=self.run_url, config=self.config,
            superseded_by=self.superseded_by, plan_hash=plan_hash(self.plan), repository_id=self.repository_id,
        )  # fmt: skip


_KNOWN = frozenset(one.name for one in fields(State))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The first answer to an event id, for whoever sends it again."""

    at: float
    verb: Verb
    because: tuple[Because, ...]
    actions: tuple[Action, ...]
    refusal: Refusal | None
    state: State | None
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rollouts a list asks for; ``None`` asks for any.

    ``since`` and ``until`` bound when it was asked for, in seconds since the epoch; ``before`` is the number of the
    last one on the page before. ``of`` is a repository's number and name: rollouts from before the number was kept go
    by the name.
    """

    environment: str | None = None
    flag: str | None = None
    repository: str | None = None
    pull_request: int | None = None
    sha: str | None = None
    active: bool | None = None
    needs_hands: bool | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 50
    of: tuple[str, str] | None = None


def load(tx: Tx, rollout_id: str) -> RolloutRecord | None:
    return _first(tx, sa.select(rollouts).where(rollouts.c.id == rollout_id))


def by_key(tx: Tx, environment: str, flag: str, key: str) -> RolloutRecord | None:
    return _first(tx, _of_flag(environment, flag).where(rollouts.c.key == key))


def last_of_version(tx: Tx, environment: str, flag: str, version: str) -> RolloutRecord | None:
    """The newest rollout of this version."""
    return _first(tx, _of_flag(environment, flag).where(rollouts.c.version == version))


def refused(tx: Tx, environment: str, flag: str) -> tuple[RolloutRecord, ...]:
    """The newest rollouts of the versions that are refused, the latest first."""
    newest = sa.select(sa.func.max(rollouts.c.number)).where(
        rollouts.c.environment == environment, rollouts.c.flag == flag
    )
    where = (rollouts.c.number.in_(newest.group_by(rollouts.c.version)), rollouts.c.refuses_version.is_(True))
    statement = sa.select(rollouts).where(*where, rollouts.c.allowed_by.is_(None))
    return tuple(_record(row) for row in tx.all(statement.order_by(rollouts.c.number.desc())))


def allow(tx: Tx, environment: str, flag: str, version: str, by: str) -> None:
    """Note who allows the version again."""
    of_version = (rollouts.c.environment == environment, rollouts.c.flag == flag, rollouts.c.version == version)
    tx.run(sa.update(rollouts).where(*of_version, rollouts.c.refuses_version.is_(True)).values(allowed_by=by))


def unfinished(tx: Tx, environment: str, flag: str | None = None) -> tuple[RolloutRecord, ...]:
    """Rollouts that have not ended, newest first; all of them, or an error: none may be overlooked."""
    statement = sa.select(rollouts).where(rollouts.c.environment == environment, rollouts.c.active.is_(True))
    if flag is not None:
        statement = statement.where(rollouts.c.flag == flag)
    return tuple(_record(row) for row in tx.all(statement.order_by(rollouts.c.number.desc())))


def readable(tx: Tx, environment: str | None = None) -> tuple[RolloutRecord, ...]:
    """Rollouts that have not ended, newest first, without those that cannot be read: the others must go on.

    ``None``: of every environment.
    """
    statement = sa.select(rollouts).where(rollouts.c.active.is_(True)).order_by(rollouts.c.number.desc())
    if environment is not None:
        statement = statement.where(rollouts.c.environment == environment)
    found = []
    for row in tx.all(statement):
        try:
            found.append(_record(row))
        except Exception:
            log.exception("rollout_unreadable", rollout=row.id, flag=row.flag)
    return tuple(found)


def left_over(tx: Tx, environment: str, flag: str) -> tuple[RolloutRecord, ...]:
    """Rollouts that have ended with something left to do, whether hands are at work on it or awaited."""
    waits = sa.or_(rollouts.c.needs_hands.is_(True), rollouts.c.next_deadline.is_not(None))
    ended = sa.select(rollouts).where(
        rollouts.c.environment == environment, rollouts.c.flag == flag, rollouts.c.active.is_(False), waits
    )
    return tuple(_record(row) for row in tx.all(ended.order_by(rollouts.c.number)))


def highest_fence(tx: Tx, environment: str, flag: str) -> int:
    """The highest lease number that the flag's rollouts may have given: at least the minutes since the epoch.

    A database that was restored has forgotten its last leases; the machines they deployed to refuse lower ones.
    """
    return max(int(tx.run(_most(rollouts.c.fence, environment, flag)).scalar_one() or 0), int(tx.now // 60))


def clear_at(tx: Tx, environment: str, flag: str) -> float:
    """The moment from which no client can still be on a canary of the flag's rollouts."""
    return float(tx.run(_most(rollouts.c.clear_at, environment, flag)).scalar_one() or 0.0)


def _most(column: sa.Column[Any], environment: str, flag: str) -> sa.Select[Any]:
    return sa.select(sa.func.max(column)).where(rollouts.c.environment == environment, rollouts.c.flag == flag)


def due(tx: Tx, moment: float) -> tuple[str, ...]:
    """Ids of the rollouts with a deadline that is due, the oldest deadline first."""
    statement = sa.select(rollouts.c.id).where(rollouts.c.next_deadline <= moment).order_by(rollouts.c.next_deadline)
    return tuple(row[0] for row in tx.all(statement))


def next_due(tx: Tx) -> float | None:
    """The earliest deadline of all rollouts."""
    row = tx.one(sa.select(sa.func.min(rollouts.c.next_deadline)))
    return None if row is None else row[0]


def find(tx: Tx, wanted: Wanted) -> tuple[RolloutRecord, ...]:
    """Rollouts that are as wanted, newest first."""
    statement = sa.select(rollouts).order_by(rollouts.c.number.desc()).limit(wanted.limit)
    for name in ("environment", "flag", "repository", "pull_request", "sha", "active", "needs_hands"):
        value = getattr(wanted, name)
        if value is not None:
            statement = statement.where(rollouts.c[name] == value)
    if wanted.of is not None:
        number, name = wanted.of
        named = sa.and_(rollouts.c.repository_id.is_(None), sa.func.lower(rollouts.c.repository) == name.lower())
        statement = statement.where(sa.or_(rollouts.c.repository_id == number, named))
    if wanted.since is not None:
        statement = statement.where(rollouts.c.created_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(rollouts.c.created_at < wanted.until)
    if wanted.before is not None:
        statement = statement.where(rollouts.c.number < wanted.before)
    return tuple(_record(row) for row in tx.all(statement))


def ended(
    tx: Tx,
    *,
    environment: str | None = None,
    flag: str | None = None,
    phase: Phase | None = None,
    before: int | None = None,
    limit: int = 50,
) -> tuple[RolloutRecord, ...]:
    """Rollouts that have ended, newest first; ``before`` is the number of the last one of the page before."""
    statement = sa.select(rollouts).where(rollouts.c.active.is_(False))
    wanted = {"environment": environment, "flag": flag, "phase": phase.value if phase else None}
    for name, value in wanted.items():
        if value is not None:
            statement = statement.where(rollouts.c[name] == value)
    if before is not None:
        statement = statement.where(rollouts.c.number < before)
    return tuple(_record(row) for row in tx.all(statement.order_by(rollouts.c.number.desc()).limit(limit)))


def insert(tx: Tx, record: RolloutRecord) -> None:
    tx.run(sa.insert(rollouts).values(id=record.id, created_at=record.created_at, **_values(record)))


def update(tx: Tx, record: RolloutRecord) -> None:
    """Write all but the plan, which no event changes: an older server's would lack what a newer one put there."""
    values = {name: value for name, value in _values(record).items() if name != "plan"}
    tx.run(sa.update(rollouts).where(rollouts.c.id == record.id).values(values))


def replan(tx: Tx, record: RolloutRecord) -> None:
    """Write the plan of an attempt that brought another one."""
    tx.run(sa.update(rollouts).where(rollouts.c.id == record.id).values(plan=wire.text(wire.PLAN, record.plan)))


def append(
    tx: Tx,
    record: RolloutRecord,
    happened: Sequence[tuple[Event, Transition]],
    actors: Sequence[str],
    event_id: str | None = None,
) -> None:
    """Write history: each event with who said it; ``event_id`` is the last one's. It is told by the rollout's own
    clock: a transaction that waited for another began before what that one wrote."""
    last = sa.select(sa.func.coalesce(sa.func.max(rollout_events.c.number), 0))
    number = tx.run(last.where(rollout_events.c.rollout == record.id)).scalar_one()
    for index, ((event, transition), actor) in enumerate(zip(happened, actors, strict=True), start=1):
        final = index == len(happened)
        state = transition.state
        tx.run(
            sa.insert(rollout_events).values(
                rollout=record.id, number=number + index, event_id=event_id if final else None,
                at=record.updated_at, actor=actor, event=wire.text(wire.EVENT, event), verb=transition.verb.value,
                phase=state.phase.value, step=state.step, share=share(record.plan, state), revision=state.revision,
                attempt=state.attempt, because=wire.text(wire.BECAUSE, transition.because),
                actions=wire.text(wire.ACTIONS, transition.actions),
                refusal=wire.text(wire.REFUSAL, transition.refusal) if transition.refusal else None,
                state=wire.text(wire.STATE, state) if final and event_id is not None else None,
            )
        )  # fmt: skip


def kept_answer(tx: Tx, rollout_id: str, event_id: str) -> Kept | None:
    """What this event id was answered the first time."""
    found = sa.select(rollout_events).where(
        rollout_events.c.rollout == rollout_id, rollout_events.c.event_id == event_id
    )
    row = tx.one(found)
    if row is None:
        return None
    return Kept(
        at=row.at,
        verb=Verb(row.verb),
        because=wire.stored(wire.BECAUSE, row.because),
        actions=wire.stored(wire.ACTIONS, row.actions),
        refusal=wire.stored(wire.REFUSAL, row.refusal) if row.refusal else None,
        state=wire.stored(wire.STATE, row.state) if row.state else None,
        event=wire.stored(wire.EVENT, row.event),
    )


def history(tx: Tx, rollout_id: str, after: int, limit: int) -> tuple[Entry, ...]:
    """The entries after this number, oldest first."""
    statement = sa.select(rollout_events).where(rollout_events.c.rollout == rollout_id, rollout_events.c.number > after)
    return tuple(_entry(row) for row in tx.all(statement.order_by(rollout_events.c.number).limit(limit)))


def telling(tx: Tx, rollout_id: str, latest: int = 400) -> tuple[Entry, ...]:
    """The entries that tell a long rollout, oldest first: how it began, all that moved it, and the ``latest`` ones."""
    mine = rollout_events.c.rollout == rollout_id
    last = tx.run(sa.select(sa.func.max(rollout_events.c.number)).where(mine)).scalar_one() or 0
    number = rollout_events.c.number
    told = sa.or_(number <= 20, number > last - latest, rollout_events.c.verb != Verb.HOLD.value)
    return tuple(_entry(row) for row in tx.all(sa.select(rollout_events).where(mine, told).order_by(number)))


def _of_flag(environment: str, flag: str) -> sa.Select[Any]:
    statement = sa.select(rollouts).where(rollouts.c.environment == environment, rollouts.c.flag == flag)
    return statement.order_by(rollouts.c.number.desc()).limit(1)


def _values(record: RolloutRecord) -> dict[str, Any]:
    state = record.state
    deadline = next_deadline(state)
    return {
        "environment": record.plan.environment,
        "flag": record.plan.flag,
        "key": record.key,
        "version": record.version,
        "plan": wire.text(wire.PLAN, record.plan),
        "canary_name": record.canary.name,
        "stable_name": record.stable.name,
        "stable_version": record.stable.version,
        "asked_by": record.by,
        "sha": record.sha,
        "repository": record.repository,
        "repository_id": record.repository_id,
        "pull_request": record.pull_request,
        "run_url": record.run_url,
        "config": wire.encode(record.config).decode(),
        "state": _with(record.beyond, wire.text(wire.STATE, state)),
        "phase": state.phase.value,
        "active": not state.phase.is_final,
        "needs_hands": state.needs_hands,
        "refuses_version": record.refuses_version or state.reason in REFUSE_VERSION,
        "next_deadline": deadline[1].at if deadline else None,
        "fence": state.fence,
        "clear_at": _clear_at(record),
        "attempt_at": record.attempt_at,
        "updated_at": record.updated_at,
        "superseded_by": record.superseded_by,
        "hash_key": record.hash_key,
        "allowed_by": record.allowed_by,
    }


def _clear_at(record: RolloutRecord) -> float:
    state = record.state
    follow_flag = record.plan.users_follow is UsersFollow.FLAG
    if state.phase is Phase.SUPERSEDED and state.exposed and follow_flag:
        # It ended at once, without a revert of its own: clients that are cut off follow within staleAfter.
        return max(state.clear_at, state.since + record.plan.stale_after + record.plan.drain)
    return state.clear_at


def _first(tx: Tx, statement: sa.Select[Any]) -> RolloutRecord | None:
    row = tx.one(statement)
    return None if row is None else _record(row)


def _record(row: sa.Row[Any]) -> RolloutRecord:
    return RolloutRecord(
        id=row.id, number=row.number, key=row.key, plan=wire.stored(wire.PLAN, row.plan), version=row.version,
        canary=Slot(name=row.canary_name, version=row.version),
        stable=Slot(name=row.stable_name, version=row.stable_version),
        state=wire.stored(wire.STATE, row.state), by=row.asked_by, created_at=row.created_at,
        attempt_at=row.attempt_at, updated_at=row.updated_at, sha=row.sha, repository=row.repository,
        pull_request=row.pull_request, run_url=row.run_url, config=wire.decode(row.config.encode()),
        superseded_by=row.superseded_by, refuses_version=row.refuses_version, hash_key=row.hash_key,
        allowed_by=row.allowed_by, repository_id=row.repository_id, beyond=_beyond(row.state),
    )  # fmt: skip


def _beyond(state: str) -> dict[str, Any]:
    return {name: value for name, value in wire.decode(state.encode()).items() if name not in _KNOWN}


def _with(beyond: Mapping[str, Any], state: str) -> str:
    return wire.encode({**wire.decode(state.encode()), **beyond}).decode() if beyond else state


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        number=row.number, at=row.at, actor=row.actor, event=wire.stored(wire.EVENT, row.event), verb=Verb(row.verb),
        phase=Phase(row.phase), step=row.step, share=row.share, revision=row.revision, attempt=row.attempt,
        because=wire.stored(wire.BECAUSE, row.because),
        refusal=wire.stored(wire.REFUSAL, row.refusal) if row.refusal else None,
    )  # fmt: skip
