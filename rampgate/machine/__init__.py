"""The rollout state machine: one pure function decides, whatever happens and wherever it comes from.

`state.py` holds the values, `events.py` what can happen, `moves.py` how a state becomes the next one, and
`decide.py` which move an event makes (with `judged.py`, `told.py` and `deadlines.py` for its larger cases).
"""

from rampgate.machine.decide import begin, decide, handle
from rampgate.machine.moves import share, step_share
from rampgate.machine.state import State, Transition, next_deadline

__all__ = ["State", "Transition", "begin", "decide", "handle", "next_deadline", "share", "step_share"]
