"""What a session may: less than its role. Pure; the bindings themselves are kept and checked in `sessions.py`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flagserver.errors import NotAllowedError
from rampgate.machine.events import (
    Attached,
    Cancelled,
    CarriedOut,
    Detached,
    Event,
    HookFailed,
    HookProgressed,
    Told,
)
from rampgate.machine.state import Order
from rampgate.rollout import NewRollout, Rollout

EVERY_FLAG = "*"

_NARROW = (Attached, Cancelled, CarriedOut, Detached, HookFailed, HookProgressed)
"""What never widens: to hold the lease, to give it back, and to do and undo what a decision demanded."""

_CALMING = frozenset({Order.REVERT, Order.PAUSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a job's session may, and which job it is.

    ``flags`` are names, or ``*`` alone. ``widens``: its job runs in an environment that the policy names, or the
    policy names none. ``rollout`` is the one that the session is bound to, once it is.
    """

    policy: str
    repository: str
    repository_id: str
    owner_id: str
    run_id: str
    run_attempt: str
    actor: str
    event: str
    sha: str
    flags: tuple[str, ...]
    widens: bool
    rollout: str | None = None

    @property
    def run(self) -> str:
        """The run, as GitHub's addresses name it."""
        return f"{self.repository}/actions/runs/{self.run_id}/attempts/{self.run_attempt}"

    @property
    def job(self) -> str:
        """The job as the audit log names it."""
        return f"{self.repository} run {self.run_id} attempt {self.run_attempt} ({self.event}) by {self.actor}"

    def covers(self, flag: str, repository: str | None, repository_id: str | None) -> bool:
        """Whether a rollout of this flag, by this repository, is this session's to see."""
        return self._is_mine(repository, repository_id) and self._knows(flag)

    def check_flag(self, flag: str) -> None:
        """Raises: NotAllowedError: the policy does not name the flag."""
        if not self._knows(flag):
            what = "every flag" if flag == EVERY_FLAG else flag
            text = f"The trust policy {self.policy} admits this job to {', '.join(self.flags)}, not to {what}."
            raise NotAllowedError(text, code="session_flag")

    def check_create(self, new: NewRollout) -> None:
        """Raises: NotAllowedError: the job may not ask for this rollout."""
        self.check_flag(new.plan.flag)
        self._check_repository(new.repository, None)
        if new.repository_id is not None:
            self._check_repository(new.repository, new.repository_id)
        self._check_widens("asking for a rollout")

    def check_read(self, rollout: Rollout) -> None:
        """Raises: NotAllowedError: the rollout is another repository's, or of a flag that the policy does not name."""
        self.check_flag(rollout.plan.flag)
        self._check_repository(rollout.repository, rollout.repository_id)

    def check_say(self, rollout: Rollout, event: Event) -> None:
        """Raises: NotAllowedError: the job may not say this of this rollout."""
        self.check_read(rollout)
        self.check_bound(self.rollout, rollout.id)
        if isinstance(event, _NARROW) or (isinstance(event, Told) and event.order in _CALMING):
            return
        what = event.order.value if isinstance(event, Told) else event.type
        self._check_widens(f"`{what}`, which may widen,")

    def check_lock(self, flag: str | None, *, lifts: bool) -> None:
        """Raises: NotAllowedError: the lock covers flags that the policy does not name, or lifting it may widen."""
        self.check_flag(EVERY_FLAG if flag is None else flag)
        if lifts:
            self._check_widens("lifting a lock")

    def check_visit(self, flag: str) -> None:
        """Raises: NotAllowedError: the job may not send testers to an arm of this flag."""
        self.check_flag(flag)
        self._check_widens("a tester token")

    def check_allow(self, flag: str) -> None:
        """Raises: NotAllowedError: the job may not let a refused version of this flag be tried again."""
        self.check_flag(flag)
        self._check_widens("allowing a refused version")

    def check_place(self, repository: str | None, repository_id: str | None) -> None:
        """Raises: NotAllowedError: the place in the line is another repository's."""
        if not self._is_mine(repository, repository_id):
            text = f"The job is of {self.repository}, the place in the line of {repository or 'no repository'}."
            raise NotAllowedError(text, code="session_repository")

    @staticmethod
    def check_bound(bound: str | None, rollout_id: str) -> None:
        """Raises: NotAllowedError: the session has begun to steer another rollout."""
        if bound not in (None, rollout_id):
            text = f"This session steers rollout {bound} and no other. Exchange a new token for {rollout_id}."
            raise NotAllowedError(text, code="session_bound")

    def shown(self) -> Mapping[str, Any]:
        """All of it as plain values; none is a secret."""
        return {**asdict(self), "flags": list(self.flags)}

    @classmethod
    def read(cls, document: Mapping[str, Any], rollout: str | None) -> "Grant":
        """A grant as it was shown, bound to this rollout."""
        return cls(**{**document, "flags": tuple(document["flags"]), "rollout": rollout})

    def _knows(self, flag: str) -> bool:
        return flag in self.flags or self.flags == (EVERY_FLAG,)

    def _is_mine(self, repository: str | None, repository_id: str | None) -> bool:
        """By the number, which outlives a rename; by the name where nobody gave the number."""
        if repository_id is not None:
            return repository_id == self.repository_id
        return repository is not None and repository.casefold() == self.repository.casefold()

    def _check_repository(self, repository: str | None, repository_id: str | None) -> None:
        if not self._is_mine(repository, repository_id):
            text = f"The job is of {self.repository}, the rollout of {repository or 'no repository'}."
            raise NotAllowedError(text, code="session_repository")

    def _check_widens(self, what: str) -> None:
        if not self.widens:
            text = (
                f"For {what} the trust policy {self.policy} wants the claim `environment`: this job runs in no "
                "environment of the repository. It may abort, pause and read."
            )
            raise NotAllowedError(text, code="session_environment")
