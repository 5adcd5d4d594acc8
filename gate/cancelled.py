"""What a cancelled job says last: the runner kills it within ten seconds, and asks nobody whether it was done.

Every call here has little time of its own. Whatever is not said, the flag server does by itself when the lease lapses.
"""

from collections.abc import Callable
from enum import StrEnum

from gate.errors import FlagServerRefusedError, RampgateError
from gate.inputs import OnCancel
from gate.release import Gate
from rampgate.machine.events import Cancelled, Detached, Event
from rampgate.rollout import Rollout

HURRY = 1.3
"""Seconds for each of at most three calls."""


class Farewell(StrEnum):
    """What came of it: ``said`` nothing, ``reverted`` or ``detached``."""

    NOTHING = "nothing"
    REVERTED = "reverted"
    DETACHED = "detached"


def said_farewell(gate: Gate, rollout: Rollout, wish: OnCancel, say: Callable[[str], None]) -> Farewell:
    """Take the users back, or let a follower go on, as ``wish`` says; never raises a ``RampgateError``.

    Where no follower is there, users are taken back: a rollout that nobody drives must not keep them.
    """
    if wish is OnCancel.HOLD:
        return Farewell.NOTHING
    server = gate.server.hurried(HURRY)
    text = "The job was cancelled."
    try:
        lease = server.rollout(rollout.id).state.lease
        if lease is None or lease.holder != gate.holder:
            return Farewell.NOTHING
        fence = lease.fence

        def post(event: Event) -> bool:
            return server.post(rollout.id, event, f"{fence}:{event.type}").refusal is None

        if wish is OnCancel.DETACH:
            try:
                return Farewell.DETACHED if post(Detached(fence=fence)) else Farewell.NOTHING
            except FlagServerRefusedError as error:
                text = f"The job was cancelled, and could not let go. {error.what}"
                say(f"The rollout is reverted: {error}")
        return Farewell.REVERTED if post(Cancelled(fence=fence, text=text)) else Farewell.NOTHING
    except RampgateError as error:
        say(f"The flag server was not told, and ends the rollout by itself when the lease lapses: {error}")
        return Farewell.NOTHING
