"""Followers as they register and the flag server lists them: who goes on with rollouts that a job hands over.

Values only.
"""

from dataclasses import dataclass

from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What a follower says of itself: the ``flags`` that it has the hooks of, and which of its starts this is.

    ``instance`` tells two that run under one name apart: the second is refused while the first one is there.
    """

    __pydantic_config__ = STRICT

    flags: tuple[str, ...]
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """One that is there: ``since`` when, and ``until`` when it counts as such if it says nothing more.

    Moments are seconds since the epoch on the flag server's clock.
    """

    __pydantic_config__ = STRICT

    name: str
    environment: str
    flags: tuple[str, ...]
    since: float
    until: float
