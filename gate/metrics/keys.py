"""Words that several sources share in their options."""

from enum import StrEnum


class AbsentErrors(StrEnum):
    """What it means where requests are counted and nothing is found for errors."""

    UNKNOWN = "unknown"
    ZERO = "zero"
