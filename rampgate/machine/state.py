"""A rollout's state, as values: phase, step, deadlines, lease and the actions that wait for hands.

Nothing here decides; `decide.py` does. Moments are seconds since the epoch, on the clock of whoever applies
events (the flag server's database).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rampgate.evidence import ArmName, VerdictWord
from rampgate.plan import Policy
from rampgate.wire import STRICT


class Phase(StrEnum):
    DEPLOYING = "deploying"
    VERIFYING = "verifying"
    DARK = "dark"
    PROGRESSING = "progressing"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETING = "completing"
    PROMOTED = "promoted"
    REVERTING = "reverting"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def is_judged(self) -> bool:
        """Whether verdicts move a rollout in this phase."""
        return self in _JUDGED


_FINAL = frozenset({Phase.PROMOTED, Phase.REVERTED, Phase.SUPERSEDED, Phase.FAILED})
_JUDGED = frozenset({Phase.DARK, Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED})


class Verb(StrEnum):
    """What was decided."""

    HOLD = "hold"
    ADVANCE = "advance"
    PAUSE = "pause"
    COMPLETE = "complete"
    REVERT = "revert"


class Order(StrEnum):
    """What a person can say: /promote, /promote full, /abort, /pause, /resume."""

    ADVANCE = "advance"
    COMPLETE = "complete"
    REVERT = "revert"
    PAUSE = "pause"
    RESUME = "resume"


class Deadline(StrEnum):
    """What can run out. One event, ``DeadlinePassed``, serves them all."""

    LEASE = "lease"
    STEP = "step"
    CONFIRM = "confirm"
    PAUSE = "pause"
    HOLD = "hold"
    DEPLOY = "deploy"
    VERIFY = "verify"
    RETIRE = "retire"
    BUDGET_INCONCLUSIVE = "budget.inconclusive"
    BUDGET_NO_TRAFFIC = "budget.no_traffic"
    BUDGET_SOURCE_DOWN = "budget.source_down"
    LOCK = "lock"


STOPPED_BY_LOCK = frozenset({Deadline.STEP, Deadline.CONFIRM, Deadline.BUDGET_INCONCLUSIVE})
"""The clocks of going on: nobody can go on under a lock, so they stand still. Those of silence never do."""

BUDGET_OF: Mapping[VerdictWord, Deadline] = {
    VerdictWord.INCONCLUSIVE: Deadline.BUDGET_INCONCLUSIVE,
    VerdictWord.NO_TRAFFIC: Deadline.BUDGET_NO_TRAFFIC,
    VerdictWord.SOURCE_DOWN: Deadline.BUDGET_SOURCE_DOWN,
}


class Reason(StrEnum):
    """Why a rollout is where it is: a closed list, each with a row in docs/reasons.md."""

    CREATED = "created"
    ATTACHED = "attached"
    DETACHED = "detached"
    RESUMED = "resumed"
    DEPLOYED = "deployed"
    VERIFIED = "verified"
    HEALTHY = "healthy"
    BAKING = "baking"
    COLLECTING = "collecting"
    REPLACING = "replacing"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    CONFIRMATION_NEEDED = "confirmation_needed"
    PROMOTED_BY_PERSON = "promoted_by_person"
    WIDENED_BY_POLICY = "widened_by_policy"
    FIRST_DEPLOY = "first_deploy"
    PAUSED_BY_PERSON = "paused_by_person"
    RETIREMENT_BEGUN = "retirement_begun"
    CARRIED_OUT = "carried_out"
    NEEDS_HANDS = "needs_hands"
    PROMOTED = "promoted"
    REGRESSED = "regressed"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    GATE_LOST = "gate_lost"
    SOURCE_DOWN = "source_down"
    NO_TRAFFIC = "no_traffic"
    INCONCLUSIVE = "inconclusive"
    CONFIRM_EXPIRED = "confirm_expired"
    PAUSE_EXPIRED = "pause_expired"
    HOLD_EXPIRED = "hold_expired"
    STEP_EXPIRED = "step_expired"
    DEPLOY_FAILED = "deploy_failed"
    DEPLOY_EXPIRED = "deploy_expired"
    VERIFY_FAILED = "verify_failed"
    VERIFY_EXPIRED = "verify_expired"
    HOOK_FAILED = "hook_failed"


REFUSE_VERSION = frozenset({Reason.REGRESSED, Reason.ABORTED})
"""After these the same version is not tried again without an override (SEMANTICS 7)."""

NOT_RESUMABLE = REFUSE_VERSION | {Reason.SUPERSEDED}


class Refused(StrEnum):
    """Why an event changed nothing. A refusal is an answer, never an exception."""

    FINISHED = "finished"
    STALE = "stale"
    WRONG_PHASE = "wrong_phase"
    NOT_LEASE_HOLDER = "not_lease_holder"
    LEASE_HELD = "lease_held"
    LOCKED = "locked"
    NOT_UP = "not_up"
    TOO_EARLY = "too_early"
    RETIREMENT_BEGUN = "retirement_begun"
    UNKNOWN_ACTION = "unknown_action"
    NOT_RESUMABLE = "not_resumable"
    UNFOUNDED = "unfounded"


class WidenedBy(StrEnum):
    VERDICT = "verdict"
    PERSON = "person"
    POLICY = "policy"


class HeldBy(StrEnum):
    """Who stopped a paused rollout. Only a person's pause needs a person to end it."""

    PERSON = "person"
    POLICY = "policy"
    GATE_LOST = "gate_lost"


class ActionKind(StrEnum):
    """What hands must do. ``deploy``, ``roll`` and ``probe`` bring an arm up or look at it; ``undo`` and
    ``retire`` take one away.
    """

    DEPLOY = "deploy"
    VERIFY = "verify"
    ROLL = "roll"
    RETIRE = "retire"
    UNDO = "undo"
    PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One numbered thing to do to an arm's deployment, not before ``not_before``; safe to do twice.

    ``share`` is there in a rolling rollout alone: the share of targets that must run the arm's version afterwards; for
    ``undo`` that of those which may have been touched.
    """

    __pydantic_config__ = STRICT

    number: int
    kind: ActionKind
    arm: ArmName
    not_before: float = 0.0
    share: int | None = None
    failed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When a deadline passes, and what then happens."""

    __pydantic_config__ = STRICT

    at: float
    then: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who may act for the rollout. ``fence`` rises with every lease; a deployer refuses an older one."""

    __pydantic_config__ = STRICT

    holder: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A freeze: until then (``None``: until unlocked) nothing widens. It never stops a revert.

    ``id`` is the flag server's lock; ``scope`` says in words what it covers.
    """

    __pydantic_config__ = STRICT

    reason: str
    by: str
    until: float | None = None
    id: str | None = None
    scope: str | None = None

    def holds(self, now: float) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a rollout stands.

    ``revision`` rises with every change that a person could see, not with mere renewals; ``attempt`` rises when
    the rollout is resumed with new evidence. ``entered_at`` is when the step began, from which its bake counts.
    ``up``: the canary's slot is known to be up in this attempt; ``baseline``: the stable slot is known to be up.
    ``exposed``: users have been on the canary in this attempt. ``clear_at``: from then on no client of an earlier
    attempt can still be on it. ``ends_as``: what a revert under way ends in. ``locked_at``: since when a lock has held
    without a break.
    """

    __pydantic_config__ = STRICT

    phase: Phase
    step: int = 0
    revision: int = 1
    attempt: int = 1
    since: float = 0.0
    entered_at: float = 0.0
    reason: Reason = Reason.CREATED
    text: str = ""
    deadlines: Mapping[Deadline, Due] = field(default_factory=dict)
    lease: Lease | None = None
    fence: int = 0
    actions: tuple[Action, ...] = ()
    last_action: int = 0
    deployed: bool = False
    up: bool = False
    baseline: bool = True
    exposed: bool = False
    clear_at: float = 0.0
    retirement_begun: bool = False
    hurried: bool = False
    back_to: Phase | None = None
    held_by: HeldBy | None = None
    ends_as: Phase | None = None
    lock: Lock | None = None
    locked_at: float | None = None
    word: VerdictWord | None = None
    no_harm: bool = False
    judged_at: float | None = None
    widened_by: WidenedBy | None = None

    @property
    def needs_hands(self) -> bool:
        """Actions wait and nobody holds the lease. Users are safe; the deployment is unfinished."""
        return bool(self.actions) and self.lease is None

    def is_locked(self, now: float) -> bool:
        return self.lock is not None and self.lock.holds(now)

    def pending(self, *kinds: ActionKind) -> bool:
        return any(action.kind in kinds for action in self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """One reason of a decision, with a sentence for people."""

    __pydantic_config__ = STRICT

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why nothing changed, with a sentence for people that names what would be allowed."""

    __pydantic_config__ = STRICT

    refused: Refused
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What one event made of a state: the new state, the decision, its reasons, and newly demanded actions."""

    __pydantic_config__ = STRICT

    state: State
    verb: Verb
    because: tuple[Because, ...] = ()
    actions: tuple[Action, ...] = ()
    refusal: Refusal | None = None


def running(state: State) -> Mapping[Deadline, Due]:
    """The deadlines that run: under a lock its own end, and of the clocks that it stops only those that had passed."""
    if state.lock is None or state.phase.is_final:
        return state.deadlines
    since = state.locked_at if state.locked_at is not None else math.inf
    runs = {name: due for name, due in state.deadlines.items() if name not in STOPPED_BY_LOCK or due.at <= since}
    if state.lock.until is not None:
        runs[Deadline.LOCK] = Due(at=state.lock.until, then=Policy.HOLD)
    return runs


def next_deadline(state: State) -> tuple[Deadline, Due] | None:
    """The deadline that passes first, or ``None`` where none runs."""
    return min(running(state).items(), key=lambda item: (item[1].at, item[0]), default=None)
