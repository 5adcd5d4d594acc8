"""How a source's options are written in the configuration: what each key is, said once, beside the option itself.

The configuration and its schema are made from these, so that a further source needs no line there.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class As(Enum):
    """How a value is written."""

    TEXT = auto()
    ADDRESS = auto()
    VARIABLE = auto()
    DURATION = auto()
    COMMAND = auto()
    CHOICE = auto()
    TEXT_BY_SLOT = auto()
    VARIABLES = auto()


@dataclass(frozen=True, slots=True)
class Key:
    """What an option is, in a sentence, and how it is written."""

    kind: As
    text: str


class AbsentErrors(StrEnum):
    """What it means where requests are counted and nothing is found for errors."""

    UNKNOWN = "unknown"
    ZERO = "zero"
