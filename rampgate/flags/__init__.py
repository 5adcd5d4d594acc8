"""Flags as flagd documents have them: read, checked, kept as values, written back. Nothing is evaluated here."""

from rampgate.flags.document import copied, read, write, write_flag
from rampgate.flags.values import Flag, FlagSet, FlagState, MetadataValue, ValueType, value_type

__all__ = [
    "Flag",
    "FlagSet",
    "FlagState",
    "MetadataValue",
    "ValueType",
    "copied",
    "read",
    "value_type",
    "write",
    "write_flag",
]
