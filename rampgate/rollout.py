"""A rollout as the flag server keeps it and the gate reads it: the plan, the release, the state, the answers.

Values only. Both sides validate the same classes; what goes over HTTP is their JSON, field by field.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from rampgate.evidence import ArmName, Counters, Histogram, Look
from rampgate.machine.events import Event
from rampgate.machine.state import Action, Because, Phase, Reason, Refusal, State, Verb
from rampgate.plan import RolloutPlan
from rampgate.wire import STRICT

ROLLBACK = "rollback:"
"""What the key of a rollout begins with that was started as the way back to an earlier version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One of a flag's two places for a version, and the version it holds (``None``: none known)."""

    __pydantic_config__ = STRICT

    name: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Which slot is stable, and which one takes the next version. They trade places when a rollout promotes."""

    __pydantic_config__ = STRICT

    stable: Slot
    idle: Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRollout:
    """What a gate asks for.

    ``key`` makes the request idempotent (repository, run and SHA): the same key answers with the same rollout,
    and a finished one that may be resumed is resumed. ``stable`` is the stable slot as the gate found it, and
    ``baseline`` whether the gate found it up; a slot that has traded places meanwhile refuses the request.
    ``config`` is the gate's own configuration, kept for a follower; ``override`` is the reason for trying a
    version again that regressed or was aborted. ``ref`` is the branch: a newer commit of it takes an older one's
    place in the queue. ``repository_id`` is GitHub's number of the repository, which it keeps when it is renamed; of a
    job's session the server knows it.
    """

    __pydantic_config__ = STRICT

    key: str
    plan: RolloutPlan
    version: str
    stable: Slot
    baseline: bool
    by: str
    sha: str | None = None
    repository: str | None = None
    pull_request: int | None = None
    run_url: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    override: str | None = None
    ref: str | None = None
    repository_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One release's ramp. ``share`` is the canary's, in 1/100 000; ``now`` is the server's clock at the answer.

    ``plan_hash`` tells plans apart: two rollouts with the same one were judged by the same rules.
    """

    __pydantic_config__ = STRICT

    id: str
    key: str
    plan: RolloutPlan
    version: str
    canary: Slot
    stable: Slot
    state: State
    share: int
    created_at: float
    now: float
    by: str
    sha: str | None = None
    repository: str | None = None
    pull_request: int | None = None
    run_url: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    superseded_by: str | None = None
    plan_hash: str = ""
    repository_id: str | None = None

    @property
    def is_rollback(self) -> bool:
        return self.key.startswith(ROLLBACK)

    def slot(self, arm: ArmName) -> Slot:
        return self.canary if arm is ArmName.CANARY else self.stable


def plan_hash(plan: RolloutPlan) -> str:
    """What names a plan by all that it says: 16 hex digits of the SHA-256 of its JSON with sorted keys."""
    return sha256(json.dumps(asdict(plan), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An event on its way to the server. ``id`` makes it idempotent: the second time repeats the first answer."""

    __pydantic_config__ = STRICT

    id: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server made of a posted event, and the rollout as it then stood."""

    __pydantic_config__ = STRICT

    verb: Verb
    rollout: Rollout
    because: tuple[Because, ...] = ()
    actions: tuple[Action, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a rollout's history: what happened, who said it, and where it left the rollout."""

    __pydantic_config__ = STRICT

    number: int
    at: float
    actor: str
    event: Event
    verb: Verb
    phase: Phase
    step: int
    share: int
    revision: int
    attempt: int
    because: tuple[Because, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What apps counted on each arm of a rollout since its attempt began: cumulative, at one moment.

    ``stable_latency`` and ``canary_latency`` hold the requests that were timed, always in the same buckets.
    """

    __pydantic_config__ = STRICT

    at: float
    stable: Counters
    canary: Counters
    dropped: int = 0
    stable_latency: Histogram | None = None
    canary_latency: Histogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What apps counted for one variant of a flag in one whole minute, from ``at`` on; outside a rollout ``rollout``
    and ``attempt`` are ``None``. Users are ``None`` where a client could not say who they were.
    """

    __pydantic_config__ = STRICT

    at: float
    variant: str
    requests: int
    errors: int
    exposures: int
    rollout: str | None = None
    attempt: int | None = None
    active_users: int | None = None
    affected_users: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLook:
    """A look as the flag server accepted it: ``number`` is its entry in the history, ``revision`` what the gate saw."""

    __pydantic_config__ = STRICT

    number: int
    at: float
    actor: str
    attempt: int
    revision: int
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a rollout, from 1, and the plan by which it was judged; ``None``: nobody wrote it down."""

    __pydantic_config__ = STRICT

    attempt: int
    plan: RolloutPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedVersion:
    """A version that is not tried again unless a person says why: its last rollout, and how that ended."""

    __pydantic_config__ = STRICT

    version: str
    rollout: str
    reason: Reason
    text: str
    at: float
    sha: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Who waits for a flag: the ``position`` among those who do, from 1, ``since`` when, and ``until`` when the place
    is kept if nobody asks again; moments are seconds since the epoch.
    """

    __pydantic_config__ = STRICT

    environment: str
    flag: str
    key: str
    position: int
    version: str
    by: str
    since: float
    until: float
    repository: str | None = None
    pull_request: int | None = None
    ref: str | None = None
    run_url: str | None = None
