"""Which versions a flag can be rolled back to: those that were promoted there before the one that serves now."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rampgate.machine.state import Phase
from rampgate.rollout import Rollout, Slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A version that served everybody once; ``sha`` where its rollout knew it."""

    version: str
    sha: str | None = None


_SHORTEST = 7
"""Characters of a SHA that are enough to name it."""


class History(Protocol):
    """What is asked of the flag server. Raises `RampgateError` where there is no answer."""

    def find(self, *, environment: str | None = None, flag: str | None = None) -> tuple[Rollout, ...]:
        """Rollouts that fit, newest first."""

    def slots(self, environment: str, flag: str) -> Slots | None:
        """Which slot of the flag is stable, and what each holds."""


def earlier(server: History, environment: str, flag: str) -> tuple[Earlier, ...]:
    """The versions that served everybody before the one that does now, the latest first.

    Each promoted rollout names two: its own, and the one that it took the place of.
    """
    slots = server.slots(environment, flag)
    found: dict[str, Earlier] = {}
    for one in server.find(environment=environment, flag=flag):
        if one.state.phase is Phase.PROMOTED:
            found.setdefault(one.version, Earlier(version=one.version, sha=one.sha))
            if one.stable.version:
                found.setdefault(one.stable.version, Earlier(version=one.stable.version))
    if slots is not None and slots.stable.version is not None:
        found.pop(slots.stable.version, None)
    return tuple(found.values())


def is_meant(wanted: str, names: Iterable[str | None]) -> bool:
    """Whether somebody who says ``wanted`` means one of these: it is its name, or the beginning of its SHA."""
    return any(
        name is not None and (name == wanted or (len(wanted) >= _SHORTEST and name.startswith(wanted)))
        for name in names
    )
