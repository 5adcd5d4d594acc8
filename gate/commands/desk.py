"""What obeying a comment needs and gives: whom it asks, and what it answers. Values and a port only."""

from dataclasses import dataclass
from typing import Protocol

from gate.commands.permissions import Denied
from gate.config import CommandRules
from gate.github.port import GitHub, Reaction
from rampgate.locks import HeldLock, NewLock
from rampgate.machine.events import Told
from rampgate.rollout import Answer, Entry, RefusedVersion, Rollout, Slots


class FlagServer(Protocol):
    """What answering needs of the flag server. Raises `RampgateError` where there is no answer."""

    def find(
        self,
        *,
        environment: str | None = None,
        flag: str | None = None,
        repository: str | None = None,
        pull_request: int | None = None,
        sha: str | None = None,
        limit: int = 50,
    ) -> tuple[Rollout, ...]:
        """Rollouts that fit, newest first."""

    def rollout(self, rollout_id: str) -> Rollout:
        """The rollout as it stands."""

    def entries(self, rollout_id: str) -> tuple[Entry, ...]:
        """The rollout's history, oldest first."""

    def slots(self, environment: str, flag: str) -> Slots | None:
        """Which slot of the flag is stable, and what each holds."""

    def post(self, rollout_id: str, event: Told, event_id: str) -> Answer:
        """Tell the server; the same ``event_id`` again repeats the first answer."""

    def lock(self, new: NewLock) -> HeldLock:
        """Make a lock; the same key gives the same one."""

    def locks(self, environment: str | None = None, flag: str | None = None) -> tuple[HeldLock, ...]:
        """The locks that cover the environment, the flag."""

    def unlock(self, lock_id: str, *, by: str, reason: str | None = None) -> None:
        """Lift a lock."""

    def refused_versions(self, environment: str, flag: str) -> tuple[RefusedVersion, ...]:
        """The versions that the flag refuses."""

    def allow(self, environment: str, flag: str, version: str, *, by: str, reason: str) -> None:
        """Let a refused version be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Whom to ask, and the rules of the default branch."""

    github: GitHub
    flagserver: FlagServer
    rules: CommandRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one rollout made of the order: ``obeyed``, or not, with the line that says so."""

    rollout: Rollout
    obeyed: bool
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """A rollout back to an earlier version that is to be started. ``key`` is the same for the same comment."""

    environment: str
    flag: str
    version: str
    sha: str | None
    key: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the comment was answered.

    ``needs_driver`` names rollouts whose deployment must be undone and nobody holds the lease: whoever runs this
    takes it and does so; ``back`` is likewise to be started. ``settled``: what was asked is done, or refused for
    good, and a run that is repeated gives this answer again. ``unsent`` is why GitHub did not take the reply; what was
    done is done all the same.
    """

    text: str
    reaction: Reaction | None
    results: tuple[Result, ...] = ()
    needs_driver: tuple[str, ...] = ()
    back: Back | None = None
    denied: Denied | None = None
    settled: bool = False
    unsent: str = ""


def done(text: str, reaction: Reaction = Reaction.DONE) -> Reply:
    """It is done."""
    return Reply(text=text, reaction=reaction, settled=True)


def refused(text: str, no: Denied | None = None) -> Reply:
    """It is not done, and said again it would not be either."""
    return Reply(text=text, reaction=Reaction.REFUSED, denied=no, settled=True)


def asked_back(text: str) -> Reply:
    """It is not clear what was meant, or nobody answered: the person has to say it again."""
    return Reply(text=text, reaction=Reaction.CONFUSED)
