"""Semantic versions, ordered as https://semver.org/ section 11 says, and read as leniently as flagd does."""

import re

_VERSION = re.compile(
    r"(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*))?(?:\.(0|[1-9][0-9]*))?"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)

Identifier = tuple[int, int, str]
Version = tuple[int, int, int, tuple[int, tuple[Identifier, ...]]]
"""Compares as versions do. A release sorts after all of its pre-releases; build metadata does not count."""


def parse_version(text: str) -> Version | None:
    """Read a version; a leading ``v`` and missing minor or patch numbers are forgiven. ``None``: no version."""
    match = _VERSION.fullmatch(text[1:] if text[:1] in ("v", "V") else text)
    if match is None:
        return None
    major, minor, patch, before = match.groups()
    identifiers = () if before is None else tuple(_identifier(part) for part in before.split("."))
    return int(major), int(minor or 0), int(patch or 0), (int(before is None), identifiers)


def _identifier(part: str) -> Identifier:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
