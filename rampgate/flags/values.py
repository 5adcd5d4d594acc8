"""Flags as values. Nothing here reads a document or evaluates a rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rampgate.problem import Problem

MetadataValue = bool | int | float | str


class FlagState(StrEnum):
    """Whether a flag is served. A disabled flag leaves every app with its own default."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class ValueType(StrEnum):
    """What the variants of a flag are; a flag has one type."""

    BOOLEAN = "boolean"
    STRING = "string"
    NUMBER = "number"
    OBJECT = "object"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag of a flagd document.

    ``default_variant`` is a key of ``variants``, or ``None``: the app's own default counts. ``targeting`` is JSON
    logic as written, ``None`` where there is none; a ``$ref`` in it names one of ``evaluators``, the document's
    shared rules. ``extra`` keeps properties that mean nothing to us, so that they survive a round trip. The
    mappings are read only by agreement: whoever needs another flag makes one with ``dataclasses.replace``.
    """

    key: str
    variants: Mapping[str, object]
    state: FlagState = FlagState.ENABLED
    default_variant: str | None = None
    targeting: Mapping[str, object] | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    evaluators: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSet:
    """A document, read: the flags that are sound, and what is wrong with the rest.

    A flag with a problem is not in ``flags``. ``metadata`` belongs to the set; a flag's own overrides it.
    """

    flags: Mapping[str, Flag] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    evaluators: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


def value_type(value: object) -> ValueType | None:
    """The type of one variant's value; ``None`` for what no flag can hold."""
    match value:
        case bool():
            return ValueType.BOOLEAN
        case str():
            return ValueType.STRING
        case int() | float():
            return ValueType.NUMBER
        case Mapping():
            return ValueType.OBJECT
        case _:
            return None
