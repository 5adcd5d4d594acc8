"""Locks as people make them and the flag server keeps them: who stops what from widening, why and until when.

Values only. A lock stops widening, never a revert; what it does to a rollout is in `machine/`.
"""

from dataclasses import dataclass

from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLock:
    """A lock that is asked for, or as it shall be. Moments are seconds since the epoch.

    It covers one ``flag`` in one ``environment``; without ``flag`` all of the environment's, without ``environment``
    the flag in all of them, without both everything. It holds from ``since`` (``None``: at once) until ``until``; only
    a lock with a ``name`` may be without an end. The same ``key`` gives the same lock.
    """

    __pydantic_config__ = STRICT

    reason: str
    by: str
    environment: str | None = None
    flag: str | None = None
    name: str | None = None
    since: float | None = None
    until: float | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLock:
    """A lock that holds (``holds``) or will. ``scope`` says in words what it covers."""

    __pydantic_config__ = STRICT

    id: str
    reason: str
    by: str
    scope: str
    holds: bool
    since: float
    until: float | None
    created_at: float
    environment: str | None = None
    flag: str | None = None
    name: str | None = None
    key: str | None = None
