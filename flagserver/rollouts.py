"""Every change of a rollout, through one door: load, apply due deadlines, decide, save, publish.

One transaction each; what it did is in memory and on its way to clients before the caller has the answer.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import assert_never

import structlog

from flagserver import chronicle, freeze, hub, line
from flagserver.admission import Found, Resume, Same, Start, admit, slots_after
from flagserver.errors import ConflictError, NotAllowedError, NotFoundError, StoreGoneError
from flagserver.live import Live
from flagserver.meters import Meters
from flagserver.store import Store, Tx, flags, locks, rollouts
from flagserver.store.flags import FlagRecord, Kind
from flagserver.store.locks import LockRecord
from flagserver.store.rollouts import RolloutRecord, Wanted
from rampgate.machine import begin, handle, next_deadline
from rampgate.machine.events import (
    Attached,
    CarriedOut,
    Created,
    DeadlinePassed,
    Event,
    Locked,
    Resumed,
    Superseded,
    Told,
    Unlocked,
)
from rampgate.machine.state import REFUSE_VERSION, State, Transition
from rampgate.rollout import Answer, Entry, NewRollout, Posted, Rollout

CLOCK = "clock"
"""The actor of passed deadlines."""

AGAIN = 1.0
"""Seconds until a rollout that could not be settled is tried again."""

_OURS = (Created, Resumed, DeadlinePassed, Superseded, Locked, Unlocked)
"""Events that only the server says."""

Beside = Callable[[Tx, RolloutRecord], None]
"""What a caller wants done in the transaction that changed a rollout."""

log = structlog.get_logger("flagserver.rollouts")


class Rollouts:
    """The rollouts of all environments."""

    def __init__(self, store: Store, live: Live, listeners: hub.Hub, meters: Meters) -> None:
        self._store = store
        self._live = live
        self._hub = listeners
        self._meters = meters
        self._heeded: tuple[LockRecord, ...] | None = None

    def create(self, new: NewRollout, actor: str, beside: Beside | None = None) -> tuple[Rollout, bool]:
        """Create the rollout that is asked for, or find or resume the one that serves instead.

        ``beside`` is done in the same transaction; what it raises undoes all of it.

        Returns:
            The rollout, and whether it is a new one.

        Raises:
            InvalidError: the plan or the request has problems.
            ConflictError: what is there stands in its way; the code says what.
            StoreGoneError: the database cannot be used.
        """
        touched: list[str] = []
        refusal: ConflictError | None = None
        with self._store.write() as tx:
            try:
                record, is_new = self._create(tx, new, actor, touched)
                if beside is not None:
                    beside(tx, record)
            except ConflictError as error:
                # Deadlines that were due stay applied, although the request is refused.
                refusal = error
                if error.code == "queued_behind":
                    error.place = asdict(line.join(tx, new))
        self._committed(touched)
        if refusal is not None:
            raise refusal
        return record.rollout(tx.now), is_new

    def apply(
        self, rollout_id: str, posted: Posted, actor: str, beside: Beside | None = None, *, at: float | None = None
    ) -> Answer:
        """Apply an event; the same event id again changes nothing and has the first answer.

        ``beside`` is done in the transaction of an event that is accepted; what it raises undoes all of it. ``at`` is
        the moment at which it was obeyed, in seconds since the epoch, where that was before it could be recorded.

        Raises:
            NotAllowedError: the event is one that only the server says.
            NotFoundError: there is no such rollout.
            ConflictError: this event id was used for another event.
            StoreGoneError: the database cannot be used.
        """
        if isinstance(posted.event, _OURS):
            raise NotAllowedError(f"Only the server says `{posted.event.type}`.", code="event_not_yours")
        touched: list[str] = []
        with self._store.write() as opened:
            tx = opened if at is None else replace(opened, now=min(at, opened.now))
            record = self._locked(tx, rollout_id)
            kept = rollouts.kept_answer(tx, rollout_id, posted.id)
            if kept is not None:
                if not _is_same(kept.event, posted.event):
                    text = f"The event id {posted.id} was used for another event ({kept.event.type}); take a new one."
                    raise ConflictError(text, code="event_id_taken", about=rollout_id)
                shown = record.rollout(kept.at, kept.state)
                return Answer(
                    verb=kept.verb, rollout=shown, because=kept.because, actions=kept.actions, refusal=kept.refusal
                )
            record, last = self._advance(tx, record, posted.event, actor, touched, posted.id)
            assert last is not None
            if beside is not None and last.refusal is None:
                beside(tx, record)
            now = tx.now
        self._committed(touched)
        return Answer(
            verb=last.verb, rollout=record.rollout(now), because=last.because, actions=last.actions,
            refusal=last.refusal,
        )  # fmt: skip

    def read(self, rollout_id: str) -> Rollout:
        """The rollout as it stands: no deadline that is due is left unapplied.

        Raises:
            NotFoundError: there is no such rollout.
            StoreGoneError: the database cannot be used.
        """
        with self._store.read() as tx:
            record = rollouts.load(tx, rollout_id)
        if record is None:
            raise NotFoundError(f"There is no rollout {rollout_id}.", code="rollout_not_found")
        if _is_due(record, self._store.now()):
            record = self._settle_one(rollout_id) or record
        return record.rollout(self._store.now())

    def find(self, wanted: Wanted) -> tuple[tuple[Rollout, ...], int | None]:
        """The rollouts that are as wanted, newest first, every due deadline applied, and where the next page begins."""
        self.settle()
        with self._store.read() as tx:
            found = rollouts.find(tx, wanted)
        now = self._store.now()
        following = found[-1].number if len(found) == wanted.limit else None
        return tuple(record.rollout(now) for record in found), following

    def history(self, rollout_id: str, after: int = 0, limit: int = 100) -> tuple[Entry, ...]:
        """What happened to the rollout after this entry, oldest first."""
        with self._store.read() as tx:
            return rollouts.history(tx, rollout_id, after, limit)

    def settle(self, spare: float = 0.0) -> float | None:
        """Apply every deadline that is due.

        Args:
            spare: seconds by which a deadline must be late, for whoever leaves it to another first.

        Returns:
            When the next one is to be applied, in seconds since the epoch; ``None``: none runs.

        Raises:
            StoreGoneError: the database cannot be used.
        """
        self.heed_locks(CLOCK)
        with self._store.read() as tx:
            due = rollouts.due(tx, self._store.now() - spare)
            following = rollouts.next_due(tx)
        if not due:
            return following + spare if following is not None else None
        failed = [rollout_id for rollout_id in due if not self._settled(rollout_id)]
        if failed:
            return self._store.now() + AGAIN
        with self._store.read() as tx:
            following = rollouts.next_due(tx)
        return following + spare if following is not None else None

    def heed_locks(self, by: str) -> None:
        """Tell the unfinished rollouts of locks that have begun, changed or gone since this was last looked at.

        Nothing widens meanwhile: every event is preceded by what its rollout has not heard of its locks.

        Args:
            by: whose doing it is.

        Raises:
            StoreGoneError: the database cannot be used.
        """
        now = self._store.now()
        with self._store.read() as tx:
            held = tuple(one for one in locks.that_last(tx, now) if one.holds(now))
            if held == self._heeded:
                return
            unfinished = rollouts.readable(tx)
        for record in unfinished:
            self._settled(record.id, by)
        self._heeded = held

    def _settled(self, rollout_id: str, locker: str = CLOCK) -> bool:
        try:
            self._settle_one(rollout_id, locker)
        except StoreGoneError:
            raise
        except Exception:
            # One rollout that cannot be settled must not keep the others from their deadlines.
            log.exception("settle_failed", rollout=rollout_id)
            return False
        return True

    def _settle_one(self, rollout_id: str, locker: str = CLOCK) -> RolloutRecord | None:
        touched: list[str] = []
        with self._store.write() as tx:
            record = self._locked(tx, rollout_id)
            record, _ = self._advance(tx, record, None, CLOCK, touched, locker=locker)
        self._committed(touched)
        return record

    def _locked(self, tx: Tx, rollout_id: str) -> RolloutRecord:
        record = rollouts.load(tx, rollout_id)
        if record is not None:
            # Always the flag first: whoever creates or changes a rollout of it waits here.
            flags.lock(tx, record.plan.environment, record.plan.flag)
            record = rollouts.load(tx, rollout_id)
        if record is None:
            raise NotFoundError(f"There is no rollout {rollout_id}.", code="rollout_not_found")
        return record

    def _create(self, tx: Tx, new: NewRollout, actor: str, touched: list[str]) -> tuple[RolloutRecord, bool]:
        environment, key = new.plan.environment, new.plan.flag
        flags.lock(tx, environment, key)
        for one in (*rollouts.unfinished(tx, environment, key), *rollouts.left_over(tx, environment, key)):
            self._advance(tx, one, None, CLOCK, touched)
        found = Found(
            flag=flags.load(tx, environment, key),
            by_key=rollouts.by_key(tx, environment, key, new.key),
            of_version=rollouts.last_of_version(tx, environment, key, new.version),
            unfinished=next(iter(rollouts.unfinished(tx, environment, key)), None),
            left_over=rollouts.left_over(tx, environment, key),
            ahead=line.ahead(tx, new),
        )
        admitted = admit(new, found)
        line.leave(tx, new)
        match admitted:
            case Same(record=record):
                return record, False
            case Resume() as resume:
                return self._resume(tx, new, resume, actor, touched), False
            case Start() as start:
                return self._start(tx, new, start, found.flag, actor, touched), True
            case other:
                assert_never(other)

    def _start(
        self, tx: Tx, new: NewRollout, start: Start, flag: FlagRecord | None, actor: str, touched: list[str]
    ) -> RolloutRecord:
        rollout_id = f"ro_{secrets.token_hex(8)}"
        self._supersede(tx, start.supersedes, rollout_id, new, touched)
        if start.frees is not None:
            rollouts.update(tx, replace(start.frees, key=f"{start.frees.key[:270]}#{start.frees.id}"))
        kind = Kind(new.plan.kind.value)
        flag = flag or FlagRecord(
            environment=new.plan.environment, key=new.plan.flag, kind=kind, document={}, slots=None, updated_at=tx.now
        )
        flags.save(tx, replace(flag, slots=start.slots))
        fence = rollouts.highest_fence(tx, new.plan.environment, new.plan.flag)
        clear_at = rollouts.clear_at(tx, new.plan.environment, new.plan.flag)
        lock = freeze.lock_over(tx, new.plan.environment, new.plan.flag, tx.now)
        event = Created(baseline=new.baseline, by=new.by, fence=fence, not_before=clear_at, lock=lock, plan=new.plan)
        transition = begin(new.plan, event, tx.now)
        record = RolloutRecord(
            id=rollout_id, key=new.key, plan=new.plan, version=new.version, canary=start.slots.idle,
            stable=start.slots.stable, state=transition.state, by=new.by, created_at=tx.now, attempt_at=tx.now,
            updated_at=tx.now, sha=new.sha, repository=new.repository, repository_id=new.repository_id,
            pull_request=new.pull_request, run_url=new.run_url, config=new.config, hash_key=secrets.token_hex(16),
        )  # fmt: skip
        rollouts.insert(tx, record)
        rollouts.append(tx, record, [(event, transition)], [actor])
        chronicle.asked(tx, record, actor, "rollout.created", new.override)
        touched.append(rollout_id)
        return record

    def _resume(self, tx: Tx, new: NewRollout, resume: Resume, actor: str, touched: list[str]) -> RolloutRecord:
        record = resume.record
        self._supersede(tx, resume.supersedes, record.id, new, touched)
        flag = flags.load(tx, record.plan.environment, record.plan.flag)
        assert flag is not None
        assert flag.slots is not None
        held = flag.slots.idle.version == record.version
        # Another version may have been in the slot meanwhile: then it is deployed anew.
        state = record.state if held else replace(record.state, deployed=False)
        record = replace(
            record, key=new.key, plan=new.plan, state=state, by=new.by, sha=new.sha or record.sha,
            repository=new.repository or record.repository, run_url=new.run_url or record.run_url,
            repository_id=new.repository_id or record.repository_id,
            pull_request=new.pull_request or record.pull_request, config=new.config, superseded_by=None,
        )  # fmt: skip
        idle = replace(flag.slots.idle, version=record.version)
        flags.save(tx, replace(flag, slots=replace(flag.slots, idle=idle)))
        fence = rollouts.highest_fence(tx, record.plan.environment, record.plan.flag)
        clear_at = rollouts.clear_at(tx, record.plan.environment, record.plan.flag)
        event = Resumed(by=new.by, baseline=new.baseline, fence=fence, not_before=clear_at, plan=new.plan)
        record, last = self._advance(tx, record, event, actor, touched)
        assert last is not None
        if last.refusal is not None:
            raise ConflictError(last.refusal.text, code="rollout_in_progress", about=record.id)
        rollouts.replan(tx, record)
        chronicle.asked(tx, record, actor, "rollout.resumed", new.override)
        return record

    def _supersede(
        self, tx: Tx, others: tuple[RolloutRecord, ...], by: str, new: NewRollout, touched: list[str]
    ) -> None:
        for one in others:
            event = Superseded(by=f"the rollout of {new.version}")
            self._advance(tx, replace(one, superseded_by=by), event, new.by, touched)

    def _advance(
        self,
        tx: Tx,
        record: RolloutRecord,
        event: Event | None,
        actor: str,
        touched: list[str],
        event_id: str | None = None,
        locker: str = CLOCK,
    ) -> tuple[RolloutRecord, Transition | None]:
        """Apply its locks, what is due and then the event; nothing is written where nothing happened."""
        # A database's clock can step back; a rollout's never does.
        now = max(tx.now, record.updated_at)
        lock = freeze.lock_over(tx, record.plan.environment, record.plan.flag, now)
        told = freeze.unheard(record, lock, now, locker)
        state = told[-1][1].state if told else record.state
        happened = (*told, *handle(record.plan, state, event, now))
        if not happened:
            return record, None
        state, actors = record.state, []
        refuses = record.refuses_version
        for said, transition in happened:
            self._move_slots(tx, record, said, state, transition)
            who, via = (actor, event_id) if said is event else (CLOCK, None)
            who = locker if isinstance(said, Locked | Unlocked) else who
            actors.append(who)
            chronicle.decided(tx, record, state, said, transition, who, via)
            tx.at_the_end(partial(self._meters.decided, record.plan.environment, record.plan.flag, transition.verb))
            state = transition.state
            refuses = refuses or state.reason in REFUSE_VERSION
        attempt_at = now if state.attempt != record.state.attempt else record.attempt_at
        saved = replace(record, state=state, refuses_version=refuses, updated_at=now, attempt_at=attempt_at)
        rollouts.update(tx, saved)
        rollouts.append(tx, saved, happened, actors, event_id)
        flags.touch(tx, record.plan.environment)
        touched.append(record.id)
        return saved, happened[-1][1]

    def _move_slots(self, tx: Tx, record: RolloutRecord, event: Event, before: State, transition: Transition) -> None:
        retired = transition.state.retirement_begun and not before.retirement_begun
        if not retired and not isinstance(event, CarriedOut):
            return
        flag = flags.load(tx, record.plan.environment, record.plan.flag)
        if flag is None or flag.slots is None:
            return
        moved = slots_after(flag.slots, record, event, before, transition)
        if moved != flag.slots:
            flags.save(tx, replace(flag, slots=moved))

    def _committed(self, touched: list[str]) -> None:
        if not touched:
            return
        try:
            self._live.refresh()
        except StoreGoneError:
            log.warning("published_later", why="the store could be written but not read")
        for rollout_id in touched:
            self._hub.tell(hub.rollout(rollout_id))
        self._hub.tell(hub.DEADLINES)


def _is_same(first: Event, again: Event) -> bool:
    """Whether an event is the one that was sent under this id; what its sender reads anew each time may differ."""
    if isinstance(first, Told) and isinstance(again, Told):
        return (first.order, first.by) == (again.order, again.by)
    if isinstance(first, Attached) and isinstance(again, Attached):
        return first.holder == again.holder
    return first == again


def _is_due(record: RolloutRecord, now: float) -> bool:
    deadline = next_deadline(record.state)
    return deadline is not None and deadline[1].at <= now
