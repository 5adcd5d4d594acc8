"""May this rollout begin? Pure: from the request and what is there to a start, a resumption, or the one there is.

Refusals say what stands in the way and what would be allowed. Rules: SEMANTICS 2, 7 and 11.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from flagserver.errors import ConflictError, InvalidError
from flagserver.names import environment_problems, name_problems
from flagserver.store.flags import FlagRecord, Kind
from flagserver.store.queue import Place
from flagserver.store.rollouts import RolloutRecord
from rampgate.machine.events import CarriedOut, Event
from rampgate.machine.state import NOT_RESUMABLE, ActionKind, Phase, State, Transition
from rampgate.plan import FlagKind, Supersede, problems
from rampgate.problem import Problem
from rampgate.rollout import NewRollout, Slot, Slots

_COLOURS = ("blue", "green")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the store has: the flag, the rollout of this key, the newest of this version, the unfinished one, and
    the finished ones that left something to do. ``ahead``: who waits for the flag and comes first.
    """

    flag: FlagRecord | None = None
    by_key: RolloutRecord | None = None
    of_version: RolloutRecord | None = None
    unfinished: RolloutRecord | None = None
    left_over: tuple[RolloutRecord, ...] = ()
    ahead: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A new rollout may begin, in these slots, once these others are superseded, and one has given its key up."""

    slots: Slots
    supersedes: tuple[RolloutRecord, ...]
    frees: RolloutRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """One that ended, or is being undone by nobody, is taken up again, once these others are superseded."""

    record: RolloutRecord
    supersedes: tuple[RolloutRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """The rollout exists."""

    record: RolloutRecord


def admit(new: NewRollout, found: Found) -> Start | Resume | Same:
    """Say what the request leads to.

    Raises:
        InvalidError: the plan or the request has problems; all of them at once.
        ConflictError: something there stands in its way.
    """
    if wrong := (*problems(new.plan), *_request_problems(new)):
        raise InvalidError(problems=wrong, code="invalid_plan")
    refused = found.of_version is not None and found.of_version.refused and new.override is None
    by_key, frees = found.by_key, None
    if by_key is not None and _may_be_tried_again(new, by_key):
        by_key, frees = None, by_key
    there = by_key or (None if refused or _overridden(new, found) else found.of_version)
    if there is not None:
        if _resumable(new, there, found.flag):
            return _resume(new, there, found)
        if there is by_key or not there.state.phase.is_final:
            return Same(record=there)
    if refused and found.of_version is not None:
        state = found.of_version.state
        raise ConflictError(
            f"{new.version} is refused: its last rollout is {state.phase} ({state.reason}). "
            "Give `override` a reason to try it again.",
            code="version_refused",
        )
    slots = _slots(new, found.flag)
    return Start(slots=slots, supersedes=_others(new, found, None), frees=frees)


def _may_be_tried_again(new: NewRollout, record: RolloutRecord) -> bool:
    """Whether the rollout of this very key was refused, and a person has allowed its version since or does now."""
    allowed = record.allowed_by is not None or new.override is not None
    return record.state.phase.is_final and record.refuses_version and allowed


def _overridden(new: NewRollout, found: Found) -> bool:
    return found.of_version is not None and found.of_version.refuses_version and new.override is not None


def _resumable(new: NewRollout, record: RolloutRecord, flag: FlagRecord | None) -> bool:
    state = record.state
    if not state.phase.is_final and (state.phase is not Phase.REVERTING or state.lease is not None):
        return False
    if state.phase is Phase.PROMOTED or state.reason in NOT_RESUMABLE or record.refuses_version:
        return False
    if flag is None or flag.slots is None or flag.slots.idle.name != record.canary.name:
        return False
    same = (record.plan.kind, record.plan.strategy) == (new.plan.kind, new.plan.strategy)
    return same and record.version == new.version


def _resume(new: NewRollout, record: RolloutRecord, found: Found) -> Resume:
    if record.state.lease is not None:
        text = f"{record.state.lease.holder} is still undoing the deployment of {record.version}; ask again."
        raise ConflictError(text, code="rollout_in_progress", about=record.id)
    return Resume(record=record, supersedes=_others(new, found, record))


def _others(new: NewRollout, found: Found, but: RolloutRecord | None) -> tuple[RolloutRecord, ...]:
    """Those that give way, in the order in which they do; refused where the plan or they do not."""
    unfinished = found.unfinished if but is None or found.unfinished is None or found.unfinished.id != but.id else None
    left_over = tuple(one for one in found.left_over if but is None or one.id != but.id)
    if unfinished is None:
        at_work = next((one for one in left_over if one.state.lease is not None), None)
        if at_work is None and found.ahead and new.plan.supersede is not Supersede.REPLACE:
            _wait_for(new, found.ahead[-1])
        if at_work is None or new.plan.supersede is Supersede.REPLACE:
            # What awaits hands is theirs who deploy into the slot next, under every policy.
            for one in left_over:
                _same_way(new, one)
            return left_over
        unfinished = at_work
    state = unfinished.state
    about = f"Rollout {unfinished.id} of {unfinished.version} is {state.phase}"
    if new.plan.supersede is Supersede.QUEUE:
        raise ConflictError(f"{about}; ask again when it has ended.", code="queued_behind", about=unfinished.id)
    _same_way(new, unfinished)
    if new.plan.supersede is Supersede.REFUSE:
        text = f"{about}, and the plan says `supersede: refuse`."
        raise ConflictError(text, code="rollout_in_progress", about=unfinished.id)
    if state.retirement_begun:
        text = f"{about} and retires the old version; ask again when it has ended."
        raise ConflictError(text, code="rollout_in_progress", about=unfinished.id)
    return (unfinished, *left_over)


def _same_way(new: NewRollout, before: RolloutRecord) -> None:
    """Refuse to take over where one moves machines and the other users: neither could finish the other's deployment."""
    if new.plan.in_place == before.plan.in_place:
        return
    text = (
        f"Rollout {before.id} of {before.version} is {before.plan.strategy} and not finished; {new.plan.strategy} "
        "cannot take it over, since one moves machines and the other users. Let it end, or `/abort` it; what then "
        "waits for hands ends by `rampgate sweep` from the commit that it started with."
    )
    raise ConflictError(text, code="rollout_in_progress", about=before.id)


def _wait_for(new: NewRollout, before: Place) -> None:
    text = f"{before.version} of {before.by} waits for {new.plan.flag} and comes first"
    if new.plan.supersede is Supersede.REFUSE:
        raise ConflictError(f"{text}, and the plan says `supersede: refuse`.", code="rollout_in_progress")
    raise ConflictError(f"{text}; ask again.", code="queued_behind")


def _slots(new: NewRollout, flag: FlagRecord | None) -> Slots:
    """The slots as they stand when the rollout begins: its version is what the idle one will hold."""
    kind = Kind(new.plan.kind.value)
    if flag is None:
        idle = _other_name(new.plan.kind, new.stable.name)
        return Slots(stable=new.stable, idle=Slot(name=idle, version=new.version))
    if flag.kind is not kind or flag.slots is None:
        text = f"{flag.key} is a {flag.kind} flag; this plan is for a {kind} flag."
        raise ConflictError(text, code="kind_differs")
    stable, idle_slot = flag.slots.stable, flag.slots.idle
    if kind is Kind.RELEASE and stable.name == "on":
        raise ConflictError(f"{flag.key} is released: it is on for everybody, for good.", code="released")
    if stable.name != new.stable.name:
        text = f"The stable slot is {stable.name}, not {new.stable.name}: they have traded places. Read the flag again."
        raise ConflictError(text, code="slots_changed")
    if None not in (stable.version, new.stable.version) and stable.version != new.stable.version:
        text = (
            f"The record says that {stable.name} holds {stable.version}, the gate found {new.stable.version}. "
            "Read the flag again, or correct its slots."
        )
        raise ConflictError(text, code="slots_changed")
    held = replace(stable, version=stable.version or new.stable.version)
    return Slots(stable=held, idle=replace(idle_slot, version=new.version))


def slots_after(slots: Slots, record: RolloutRecord, event: Event, before: State, transition: Transition) -> Slots:
    """A flag's slots after an event: traded once the old version retires, a slot emptied once it was taken away."""
    if transition.state.retirement_begun and not before.retirement_begun and slots.stable.name == record.stable.name:
        # Where machines were replaced in place, nothing is left of the old version.
        left = None if record.plan.in_place else record.stable.version
        slots = Slots(stable=record.canary, idle=Slot(name=record.stable.name, version=left))
    if not isinstance(event, CarriedOut) or transition.refusal is not None:
        return slots
    kind = next((one.kind for one in before.actions if one.number == event.action), None)
    gone = {ActionKind.UNDO: record.canary, ActionKind.RETIRE: record.stable}.get(kind) if kind else None
    return replace(slots, idle=replace(slots.idle, version=None)) if slots.idle == gone else slots


def _other_name(kind: FlagKind, stable: str) -> str:
    """The idle slot of a flag that is not known yet."""
    names = ("off", "on") if kind is FlagKind.RELEASE else _COLOURS
    allowed = names[:1] if kind is FlagKind.RELEASE else names
    if stable not in allowed:
        text = f"a new {kind} flag's slots are {' and '.join(names)}; make the flag first to name them otherwise"
        raise InvalidError.of("stable.name", stable, text)
    return names[1] if stable == names[0] else names[0]


def _request_problems(new: NewRollout) -> Iterator[Problem]:
    yield from name_problems("plan.flag", new.plan.flag)
    yield from environment_problems("plan.environment", new.plan.environment)
    yield from name_problems("stable.name", new.stable.name)
    for path, text, most in (("key", new.key, 300), ("version", new.version, 300), ("by", new.by, 300)):
        if not 0 < len(text) <= most or not text.isprintable():
            yield Problem(path, repr(text[:80]), f"1 to {most} printable characters")
    for path, optional, most in (
        ("sha", new.sha, 100),
        ("repository", new.repository, 300),
        ("repository_id", new.repository_id, 40),
        ("run_url", new.run_url, 1000),
        ("ref", new.ref, 300),
        ("override", new.override, 1000),
        ("stable.version", new.stable.version, 300),
    ):
        if optional is not None and not (len(optional) <= most and optional.isprintable() and optional.strip()):
            yield Problem(path, repr(optional[:80]), f"1 to {most} printable characters")
    if new.pull_request is not None and not 0 < new.pull_request < 2**31:
        yield Problem("pull_request", str(new.pull_request), "a pull request's number")
