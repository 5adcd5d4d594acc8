"""PromQL queries with placeholders: a version or a slot goes into a label matcher's value, and nowhere else.

No parser of PromQL: only its strings and comments are told apart, which is what keeps a value inside its string.
Source: the Prometheus documentation, "Querying basics", string literals and label matchers (RE2 syntax).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from rampgate.plan import Problem
from rampgate.rollout import Slot

MOST_QUERY = 4_000
_HOLE = re.compile(r"\{\{\s*([\w.-]*)\s*\}\}")
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|["'`]""", re.DOTALL)
_MATCHER = re.compile(r"(=~|!~|!=|(?<![=!<>])=)\s*$")
_CALCULATED = re.compile(
    r"\b(rate|irate|increase|delta|idelta|deriv|avg|\w+_over_time|histogram_quantile|quantile|changes|resets)\s*(?:\(|by\b|without\b)",
    re.IGNORECASE,
)


class Placeholder(StrEnum):
    VERSION = "version"
    SLOT = "slot"


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a value goes; ``regex`` says that the matcher around it takes its string for a regular expression."""

    placeholder: Placeholder
    regex: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query, taken apart once."""

    parts: tuple[str | Hole, ...]

    def needs(self, placeholder: Placeholder) -> bool:
        return any(isinstance(part, Hole) and part.placeholder is placeholder for part in self.parts)

    def of(self, slot: Slot) -> str:
        """The query for one slot. Every value stays inside its string, whatever it holds."""
        return "".join(part if isinstance(part, str) else _filled(part, slot) for part in self.parts)


def _filled(hole: Hole, slot: Slot) -> str:
    value = slot.name if hole.placeholder is Placeholder.SLOT else slot.version or ""
    return escaped(quoted_meta(value) if hole.regex else value)


def quoted_meta(value: str) -> str:
    """The regular expression (RE2) that matches exactly this value; Go's ``regexp.QuoteMeta``."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value)


def escaped(value: str) -> str:
    """The value as it stands between the quotes, single or double, of a PromQL string."""
    # The other quote's escape is an error in either kind of string; by its number a quote is right in both.
    plain = {"\\": "\\\\", '"': "\\x22", "'": "\\x27", "\n": "\\n"}
    return "".join(plain.get(c) or (c if c.isprintable() else _coded(c)) for c in value)


def _coded(char: str) -> str:
    try:
        return "".join(f"\\x{byte:02x}" for byte in char.encode())
    except UnicodeEncodeError:  # half of a surrogate pair is no character: it becomes one that nothing is named
        return "\\ufffd"


def read(text: str) -> Query:
    """Take a query apart.

    Raises:
        ValueError: a placeholder stands where no value may; ``problems`` says where.
    """
    parts: list[str | Hole] = []
    done = 0
    for hole, token_start, quote in _holes(text):
        regex = _matcher(text, token_start)
        if quote not in ("'", '"') or regex is None or hole[1] not in set(Placeholder):
            raise ValueError(f"a placeholder that no value may take: {hole[1]}")
        parts += [text[done : hole.start()], Hole(Placeholder(hole[1]), regex)]
        done = hole.end()
    return Query((*parts, text[done:]))


def _holes(text: str) -> Iterator[tuple[re.Match[str], int, str]]:
    """Each placeholder, where the token around it begins, and that token's first character (nothing: no token)."""
    tokens = [(match.start(), match.end(), match[0][0]) for match in _TOKEN.finditer(text)]
    for hole in _HOLE.finditer(text):
        inside = [(start, sign) for start, end, sign in tokens if start < hole.start() < end]
        yield hole, *(inside[0] if inside else (hole.start(), ""))


def _matcher(text: str, string_start: int) -> bool | None:
    """Whether the string that begins here is a matcher's regular expression; ``None``: it is no matcher's value."""
    match = _MATCHER.search(text[:string_start])
    return None if match is None else match[1] in ("=~", "!~")


def problems(text: str, path: str) -> Iterator[Problem]:
    """Everything that makes a query one that cannot be asked once per arm, or that counts nothing."""
    shown = repr(text if len(text) <= 120 else text[:119] + "…")
    if not text.strip() or len(text) > MOST_QUERY:
        yield Problem(path, shown, f"a query of 1 to {MOST_QUERY} characters")
        return
    holes = list(_holes(text))
    for hole, start, sign in holes:
        if hole[1] not in set(Placeholder):
            near = get_close_matches(hole[1], [*Placeholder], n=1, cutoff=0.5)
            allowed = "{{version}} and {{slot}} are the placeholders"
            yield Problem(path, hole[0], allowed, f"{{{{{near[0]}}}}}" if near else None)
        elif sign not in ("'", '"') or _matcher(text, start) is None:
            yield Problem(path, hole[0], 'placeholders stand in a label matcher\'s quotes: {version="{{version}}"}')
    if not holes:
        yield Problem(path, shown, "a query with {{version}} or {{slot}}, which is asked once per arm")
    bare = _TOKEN.sub(lambda match: '""' if match[0][0] != "#" else " ", text)
    if '""' not in bare and any(sign in bare for sign in "\"'`"):
        yield Problem(path, shown, "strings that are closed")
    if (found := _CALCULATED.search(bare)) is not None:
        why = "raw counters, such as sum(http_requests_total{…}): Rampgate takes differences between polls itself"
        yield Problem(path, f"{found[1]}(…)", why)
