"""Rampgate: releases that undo themselves.

This package holds the words that the gate, the flag server and an app share, and the client that an app
imports. It depends on ``mmh3`` alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rampgate.client import Assignment, Details, FlagClient

__all__ = ["Assignment", "Details", "FlagClient"]


def __getattr__(name: str) -> object:
    """The client is loaded when it is asked for: the gate and the server import this package without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import rampgate.client  # noqa: PLC0415

    return getattr(rampgate.client, name)
