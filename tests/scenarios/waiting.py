"""Waiting for what announces itself to nobody: often asked, and given up only where there must be a fault."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from gate.flagserver_api import FlagServer
from rampgate.rollout import Rollout

PATIENCE = 60.0
"""Seconds. Only a fault takes so long."""

Found = TypeVar("Found")


def until(look: Callable[[], Found]) -> Found:
    """Look until there is something; it."""
    limit = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < limit, "it did not happen"
        threading.Event().wait(0.02)
    return found


def until_rollout(api: FlagServer, rollout_id: str, ready: Callable[[Rollout], bool]) -> Rollout:
    """The rollout, once it is as wanted."""
    limit = time.monotonic() + PATIENCE
    rollout = api.rollout(rollout_id)
    while not ready(rollout):
        assert time.monotonic() < limit, f"it never came to that: {rollout.share} {rollout.state}"
        # Not every change is a new revision: a renewed lease is none.
        rollout = api.rollout(rollout_id, after=rollout.state.revision, wait=0.5)
    return rollout
