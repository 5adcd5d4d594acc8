"""What a deployer is asked, and what it answers. It changes what runs in a slot; where users go is not its business.

Every answer is a value: a hook that fails, hangs or lies is the world's doing and never an exception.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from rampgate.problem import Problem
from rampgate.rollout import Slot


class DeployAction(StrEnum):
    """``ensure``: this version runs in the slot. ``retire``: nothing needs to run there. ``status``: does it?"""

    ENSURE = "ensure"
    RETIRE = "retire"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing to do to one slot, at most ``seconds`` long; doing it twice changes nothing more.

    ``fence`` is the lease's number: whoever has seen a higher one refuses. ``share`` is, for a rolling
    deployment, the share of targets (in 1/100 000) that must run the version afterwards; ``target`` is the one
    target that this work is about, where there are several. ``drain``: how many seconds
    requests under way have before what runs there is ended. ``former`` is, for a rolling deployment, the slot and
    the version that a target goes back to.
    """

    action: DeployAction
    slot: str
    version: str
    fence: int
    environment: str
    flag: str
    rollout_id: str
    share: int | None = None
    target: str | None = None
    former: Slot | None = None
    drain: float = 0.0
    seconds: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It is so. For ``status``: the slot is up, and runs ``version`` (``None``: the deployer cannot say which)."""

    text: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUp:
    """Only for ``status``: the deployer knows that the slot is not up."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It could not be done, or nobody knows whether it was. ``tail``: the last lines of the hook's output."""

    text: str
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """``keep_going`` said no; nothing of the hook runs any more."""

    text: str
    tail: tuple[str, ...] = ()


Deployment = Done | NotUp | Failed | Stopped


class Deployer(Protocol):
    """Carries one piece of work out."""

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        """Do it, within ``work.seconds``; ask ``keep_going`` all along, and stop when it says no.

        Raises only what ``keep_going`` raises, and then nothing of the hook runs any more either.
        """
        ...


def quiet(line: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where hooks run, and what of it they may see.

    ``environ`` is the gate's own environment, of which hooks get what is left after scrubbing; ``hidden`` names
    further variables that they must not get. ``say`` is told each line of their output, with ``secrets`` masked.
    ``keep_going`` is asked at least every ``every`` seconds; a hook told to end has ``grace`` seconds for it.
    """

    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    say: Callable[[str], None] = quiet
    secrets: Collection[str] = field(default=(), repr=False)
    hidden: Collection[str] = ()
    every: float = 1.0
    grace: float = 10.0


class Options(Protocol):
    """A deployer's part of the configuration, which makes the deployer."""

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:
        """Everything wrong with the options; ``path`` is where they stand in the configuration.

        ``targets`` are what a rolling deployment replaces, each in its place; without them (``None``) two slots stand
        side by side, and must not be one.
        """
        ...

    def credentials(self) -> tuple[str, ...]:
        """The environment variables that hold secrets: hooks do not get them, and logs do not show their values."""
        ...

    def deployer(self, workplace: Workplace) -> Deployer: ...


class Plain:
    """Options that have no secrets, and that cannot be wrong together."""

    __slots__ = ()

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:  # noqa: ARG002
        return iter(())

    def credentials(self) -> tuple[str, ...]:
        return ()
