"""What the flag server says of who gets what: where users stand, and the tokens of testers. Values only."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one user stands: what they get, and the smallest share with them, in 1/100 000; ``None``: not known."""

    user: str
    variant: str | None
    start: Annotated[int | None, Field(alias="from")]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Where users stand in a flag's rollout, or would under a salt; without either ``salt`` is ``None``."""

    flag: str
    rollout: str | None
    salt: str | None
    share: int | None
    users: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TesterToken:
    """A tester token as the server made it; ``expires`` in seconds since the epoch."""

    token: str = field(repr=False)
    id: str
    expires: float
