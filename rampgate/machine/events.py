"""What can happen to a rollout: values, one class an event, told apart on the wire by ``type``.

``fence`` is the number of the sender's lease. ``revision`` is the state that the sender saw; only a revert is
accepted with an older one.
"""

from dataclasses import dataclass
from typing import Literal

from rampgate.evidence import Look
from rampgate.machine.state import Deadline, Lock, Order
from rampgate.plan import RolloutPlan
from rampgate.wire import STRICT

LONGEST_NAME, LONGEST_TEXT = 300, 2000
"""Characters of a name and of a sentence in an event: a flag server refuses longer ones, and unprintable ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A rollout was asked for.

    ``baseline``: the stable slot is known to be up. ``fence`` is the highest lease number that the flag's earlier
    rollouts gave, ``not_before`` the moment from which the idle slot is free of users of an earlier canary. ``plan``
    is what this attempt is judged by; ``None``: nobody wrote it down.
    """

    __pydantic_config__ = STRICT

    baseline: bool
    by: str
    fence: int = 0
    not_before: float = 0.0
    lock: Lock | None = None
    plan: RolloutPlan | None = None
    type: Literal["created"] = "created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A gate asks for the lease. ``replaces`` names a holder that is known to be dead (an earlier attempt)."""

    __pydantic_config__ = STRICT

    holder: str
    replaces: str | None = None
    type: Literal["attached"] = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """The holder gives the lease back, for a follower to take within one lease's time."""

    __pydantic_config__ = STRICT

    fence: int
    type: Literal["detached"] = "detached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A later run takes up a rollout that ended for want of a gate, a source, traffic or an answer.

    ``fence``, ``not_before`` and ``plan`` are as in ``Created``; the plan may be another than the attempt's before.
    """

    __pydantic_config__ = STRICT

    by: str
    baseline: bool = True
    fence: int = 0
    not_before: float = 0.0
    plan: RolloutPlan | None = None
    type: Literal["resumed"] = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The new version runs in the canary's slot; nobody is sent there yet."""

    __pydantic_config__ = STRICT

    fence: int
    action: int
    text: str = ""
    type: Literal["deployed"] = "deployed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The canary's slot was found up, and passed what the plan verifies dark."""

    __pydantic_config__ = STRICT

    fence: int
    action: int
    text: str = ""
    type: Literal["verified"] = "verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A look with its verdict, on the step and revision that the gate saw. Accepted, it renews the lease."""

    __pydantic_config__ = STRICT

    fence: int
    revision: int
    attempt: int
    look: Look
    type: Literal["judged"] = "judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A person's order. ``revision`` is the state that the person saw, where it is known."""

    __pydantic_config__ = STRICT

    order: Order
    by: str
    text: str = ""
    revision: int | None = None
    type: Literal["told"] = "told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The gate's job was cancelled and its plan says revert."""

    __pydantic_config__ = STRICT

    fence: int
    text: str = ""
    type: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """A deadline of the state has passed. Only the clock says this; no sender may."""

    __pydantic_config__ = STRICT

    what: Deadline
    type: Literal["deadline_passed"] = "deadline_passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookProgressed:
    """A hook of this action is still at work: renews the lease, up to the hook's own deadline."""

    __pydantic_config__ = STRICT

    fence: int
    action: int
    type: Literal["hook_progressed"] = "hook_progressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """An action is done."""

    __pydantic_config__ = STRICT

    fence: int
    action: int
    text: str = ""
    type: Literal["carried_out"] = "carried_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailed:
    """An action could not be done; ``text`` says why and holds no secret."""

    __pydantic_config__ = STRICT

    fence: int
    action: int
    text: str
    type: Literal["hook_failed"] = "hook_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementBegun:
    """From here on the old version may be gone: deadlines and commands complete forward."""

    __pydantic_config__ = STRICT

    fence: int
    type: Literal["retirement_begun"] = "retirement_begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """A newer rollout of the same flag takes the slot: users go to stable, and what is left to do there is its."""

    __pydantic_config__ = STRICT

    by: str
    type: Literal["superseded"] = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A freeze begins."""

    __pydantic_config__ = STRICT

    lock: Lock
    type: Literal["locked"] = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """A freeze was lifted."""

    __pydantic_config__ = STRICT

    by: str
    type: Literal["unlocked"] = "unlocked"


Event = (
    Created
    | Attached
    | Detached
    | Resumed
    | Deployed
    | Verified
    | Judged
    | Told
    | Cancelled
    | DeadlinePassed
    | HookProgressed
    | CarriedOut
    | HookFailed
    | RetirementBegun
    | Superseded
    | Locked
    | Unlocked
)

BY_GATES = (Attached, Deployed, Verified, Judged, HookProgressed, CarriedOut, HookFailed)
"""What only a living gate says."""
