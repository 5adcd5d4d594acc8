"""Which versions a flag can be rolled back to: those that served everybody before the one that serves now.

Asked by `/rollback` and by `rampgate rollback`; what either says of the answer is its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rampgate.machine.state import Phase
from rampgate.rollout import Rollout, Slots

_LOOKED_AT = 200
_SHORTEST = 7
"""Characters of a SHA that are enough to name it."""


class History(Protocol):
    """What is asked of the flag server. Raises `RampgateError` where there is no answer."""

    def find(self, *, environment: str | None = None, flag: str | None = None, limit: int = 50) -> tuple[Rollout, ...]:
        """Rollouts that fit, newest first."""

    def slots(self, environment: str, flag: str) -> Slots | None:
        """Which slot of the flag is stable, and what each holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A version that served everybody once; ``sha`` where its rollout knew it."""

    version: str
    sha: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A flag's past in one environment.

    ``present`` is the version that serves there, which rollout ``of`` brought, if that is known. ``earlier`` begins
    with the version that ``present`` took the place of. ``under_way`` can still be aborted, which is the better way.
    """

    present: str | None
    of: Rollout | None
    earlier: tuple[Earlier, ...]
    under_way: Rollout | None


def past(server: History, environment: str, flag: str) -> Past:
    """What served everybody, as far as the flag server knows. Where nothing serves, there is nothing earlier."""
    slots = server.slots(environment, flag)
    present = slots.stable.version if slots is not None else None
    every = server.find(environment=environment, flag=flag, limit=_LOOKED_AT)
    under_way = next((one for one in every if not one.state.phase.is_final and not one.state.retirement_begun), None)
    through = [one for one in every if one.state.phase is Phase.PROMOTED or one.state.retirement_begun]
    of = next((one for one in through if one.version == present), None) if present is not None else None
    before = of.stable.version if of is not None else None
    names = [before, *(version for one in through for version in (one.version, one.stable.version))]
    shas = {one.version: one.sha for one in reversed(through) if one.sha is not None}
    found = dict.fromkeys(name for name in names if name is not None and name != present)
    earlier = tuple(Earlier(version=name, sha=shas.get(name)) for name in found) if present is not None else ()
    return Past(present=present, of=of, earlier=earlier, under_way=under_way)


def key_by_hand(server: History, environment: str, flag: str, version: str, by: str) -> str:
    """The key of a release by hand. Asked for twice it is one rollout; but once another version has come to serve
    since, it is a new one.
    """
    every = server.find(environment=environment, flag=flag, limit=_LOOKED_AT)
    last = next((one for one in every if one.state.phase is Phase.PROMOTED or one.state.retirement_begun), None)
    if last is None:
        return f"{by}:{version}"
    slots = server.slots(environment, flag)
    serves = slots is not None and slots.stable.version == last.version == version
    return last.key if serves else f"{by}:{last.id}:{version}"[:300]


def named(wanted: str, earlier: Iterable[Earlier]) -> tuple[Earlier, ...]:
    """Those that somebody who says ``wanted`` may mean: the one of that very name, or else all that begin so."""
    earlier = tuple(earlier)
    exact = tuple(one for one in earlier if one.version == wanted)
    return exact or tuple(one for one in earlier if is_meant(wanted, (one.version, one.sha)))


def is_meant(wanted: str, names: Iterable[str | None]) -> bool:
    """Whether somebody who says ``wanted`` means one of these: it is its name, or the beginning of its SHA."""
    return any(
        name is not None and (name == wanted or (len(wanted) >= _SHORTEST and name.startswith(wanted)))
        for name in names
    )
