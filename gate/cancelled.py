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

HURRY = 1.2
"""Seconds for each of at most three calls, and then for telling people."""


class Farewell(StrEnum):
    """What came of it: ``said`` nothing, ``reverted`` or ``detached``."""

    NOTHING = "nothing"
    REVERTED = "reverted"
    DETACHED = "detached"


def said_farewell(gate: Gate, rollout: Rollout, wish: OnCancel, say: Callable[[str], None]) -> tuple[Farewell, Rollout]:
    """Take the users back, or let a follower go on, as ``wish`` says; never raises a ``RampgateError``.

    Where no follower is there, users are taken back: a rollout that nobody drives must not keep them.

    Returns what came of it, and the rollout as the flag server told it last; ``rollout`` itself where it told nothing.
    """
    server = gate.server.hurried(HURRY)
    try:
        rollout = server.rollout(rollout.id)
        lease = rollout.state.lease
        if wish is OnCancel.HOLD or lease is None or lease.holder != gate.holder:
            return Farewell.NOTHING, rollout
        event: Event = Cancelled(fence=lease.fence, text="The job was cancelled.")
        done = Farewell.REVERTED
        if wish is OnCancel.DETACH:
            event, done = Detached(fence=lease.fence), Farewell.DETACHED
        try:
            answer = server.post(rollout.id, event, f"{lease.fence}:{event.type}")
        except FlagServerRefusedError as error:
            if wish is not OnCancel.DETACH:
                raise
            say(f"The rollout is reverted: {error}")
            text = f"The job was cancelled, and could not let go. {error.what}"
            event = Cancelled(fence=lease.fence, text=text)
            answer, done = server.post(rollout.id, event, f"{lease.fence}:{event.type}"), Farewell.REVERTED
        return (done if answer.refusal is None else Farewell.NOTHING), answer.rollout
    except RampgateError as error:
        say(f"The flag server was not told, and ends the rollout by itself when the lease lapses: {error}")
        return Farewell.NOTHING, rollout
