"""How an option is written in the configuration: what each key is, said once, beside the option itself.

The configuration and its schema are made from these, so that a further source or deployer needs no line there.
"""

from dataclasses import dataclass
from enum import Enum, auto


class As(Enum):
    """How a value is written. A ``SLOT_…`` may hold ``{{slot}}`` or ``{{version}}``."""

    TEXT = auto()
    ADDRESS = auto()
    SLOT_ADDRESS = auto()
    VARIABLE = auto()
    DURATION = auto()
    COMMAND = auto()
    CHOICE = auto()
    YES = auto()
    TEXTS = auto()
    TEXT_BY_SLOT = auto()
    TEXT_BY_NAME = auto()
    VARIABLES = auto()


@dataclass(frozen=True, slots=True)
class Key:
    """What an option is, in a sentence, and how it is written."""

    kind: As
    text: str
