"""Queries with placeholders, in whichever language: a value goes where the language lets it be quoted, or nowhere.

No parser of any language: only its strings and comments are told apart, which is what keeps a value inside its string.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import partial

from gate.metrics.source import Question
from rampgate.evidence import ArmName
from rampgate.problem import Problem

MOST_QUERY = 4_000
_META = frozenset("\\.+*?()|[]{}^$")
_HOLE = re.compile(r"\{\{\s*([\w.-]*)\s*\}\}")


class Placeholder(StrEnum):
    """What may stand in double braces. The first three are the arm's that is asked for."""

    VERSION = "version"
    SLOT = "slot"
    ARM = "arm"
    STABLE = "stable"
    CANARY = "canary"
    FLAG = "flag"
    ENVIRONMENT = "environment"
    START = "start"
    STOP = "stop"
    WINDOW = "window"


OF_AN_ARM = frozenset({Placeholder.VERSION, Placeholder.SLOT, Placeholder.ARM})
TIMES = frozenset({Placeholder.START, Placeholder.STOP, Placeholder.WINDOW})

Writer = Callable[[str], str]
"""Writes a value as it stands at one place of a query. Raises ``UnwritableError`` where the language cannot."""

Values = Mapping[Placeholder, str | None]
"""What the placeholders stand for; ``None``: nobody knows."""


class UnwritableError(ValueError):
    """A value that a language has no way to write, or that is not known. The text says which."""


def values(question: Question, arm: ArmName) -> dict[Placeholder, str | None]:
    """What the placeholders stand for, the times apart: those are written as each language does."""
    slot = question.canary if arm is ArmName.CANARY else question.stable
    return {
        Placeholder.VERSION: slot.version,
        Placeholder.SLOT: slot.name,
        Placeholder.ARM: arm.value,
        Placeholder.STABLE: question.stable.version,
        Placeholder.CANARY: question.canary.version,
        Placeholder.FLAG: question.flag,
        Placeholder.ENVIRONMENT: question.environment,
    }


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a value goes, and how it is written there."""

    placeholder: Placeholder
    write: Writer


@dataclass(frozen=True, slots=True)
class Query:
    """A query, taken apart once."""

    parts: tuple[str | Hole, ...]

    def of(self, known: Values) -> str:
        """The query with its values, each kept where it belongs, whatever it holds.

        Raises:
            UnwritableError: a value is not known, or the language cannot write it.
        """
        return "".join(part if isinstance(part, str) else _written(part, known) for part in self.parts)


def _written(hole: Hole, known: Values) -> str:
    value = known[hole.placeholder]
    if value is None:
        other = f"; {{{{{Placeholder.SLOT}}}}} can" if hole.placeholder is Placeholder.VERSION else ""
        text = f"{{{{{hole.placeholder}}}}} cannot be asked for: nobody knows that version{other}"
        raise UnwritableError(text)
    return hole.write(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How one query language quotes.

    ``token`` finds its strings and comments (a quote alone is one that is never closed). ``writer`` is asked with the
    query, where the token around a placeholder begins, and that token (nothing: none is around it). ``where`` tells
    people where placeholders stand; ``takes`` are the ones there are. Times may stand outside strings as well.
    """

    token: re.Pattern[str]
    writer: Callable[[str, int, str], Writer | None]
    where: str
    takes: frozenset[Placeholder] = frozenset(Placeholder)

    def read(self, text: str) -> Query:
        """Take a query apart.

        Raises:
            ValueError: a placeholder stands where no value may; ``problems`` says where.
        """
        parts: list[str | Hole] = []
        done = 0
        for hole, start, token in self._holes(text):
            write = self._writer(text, hole, start, token)
            if write is None:
                raise ValueError(f"a placeholder that no value may take: {hole[1]}")
            parts += [text[done : hole.start()], Hole(Placeholder(hole[1]), write)]
            done = hole.end()
        return Query((*parts, text[done:]))

    def _holes(self, text: str) -> Iterator[tuple[re.Match[str], int, str]]:
        """Each placeholder, where the token around it begins, and that token."""
        tokens = list(self.token.finditer(text))
        for hole in _HOLE.finditer(text):
            inside = [(one.start(), one[0]) for one in tokens if one.start() < hole.start() < one.end()]
            yield hole, *(inside[0] if inside else (hole.start(), ""))

    def _writer(self, text: str, hole: re.Match[str], start: int, token: str) -> Writer | None:
        if hole[1] not in self.takes:
            return None
        return str if not token and hole[1] in TIMES else self.writer(text, start, token)

    def bare(self, text: str) -> str:
        """The query with its strings emptied and its comments gone."""
        return self.token.sub(lambda match: '""' if match[0][:1] in "\"'`" else " ", text)

    def problems(self, text: str, path: str, *, per_arm: bool = True) -> Iterator[Problem]:
        """Everything wrong with the placeholders; ``per_arm``: it must be another query for each arm."""
        if not text.strip() or len(text) > MOST_QUERY:
            yield Problem(path, shown(text), f"a query of 1 to {MOST_QUERY} characters")
            return
        holes = list(self._holes(text))
        for hole, start, token in holes:
            if hole[1] not in self.takes:
                yield unknown(hole[1], hole[0], path, self.takes)
            elif self._writer(text, hole, start, token) is None:
                yield Problem(path, hole[0], self.where)
        if per_arm and not {hole[1] for hole, _, _ in holes} & OF_AN_ARM and not _misspelt(holes, self.takes):
            yield Problem(path, shown(text), "a query with {{version}} or {{slot}}, which is asked once per arm")
        if not holes and any(one[0] in "\"'`" for one in self.token.finditer(text)):
            yield Problem(path, shown(text), "strings that are closed")


def _misspelt(holes: list[tuple[re.Match[str], int, str]], takes: frozenset[Placeholder]) -> bool:
    """Whether a placeholder is unknown: it is told of already, and may well be the one that is missing."""
    return any(hole[1] not in takes for hole, _, _ in holes)


def unknown(word: str, whole: str, path: str, takes: frozenset[Placeholder]) -> Problem:
    """The problem with a placeholder that there is not."""
    known = [one for one in Placeholder if one in takes]
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    allowed = "the placeholders are " + ", ".join(f"{{{{{one}}}}}" for one in known)
    return Problem(path, whole, allowed, f"{{{{{near[0]}}}}}" if near else None)


def has(text: str, *wanted: Placeholder) -> bool:
    """Whether one of these placeholders stands in the text."""
    return any(hole[1] in wanted for hole in _HOLE.finditer(text))


def shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:119] + "…")


def quoted_meta(value: str, also: str = "") -> str:
    """The regular expression (RE2, and Python's) that matches exactly this value; ``also`` is escaped as well."""
    return "".join(f"\\{char}" if char in _META or char in also else char for char in value)


def refusing(allowed: re.Pattern[str], why: str, then: Writer = str) -> Writer:
    """A writer for a place where values of one form alone can stand."""
    return partial(_refusing, allowed, why, then)


def _refusing(allowed: re.Pattern[str], why: str, then: Writer, value: str) -> str:
    if not allowed.fullmatch(value):
        raise UnwritableError(f"{value!r} {why}")
    return then(value)


PLAIN = Language(
    token=re.compile(r"(?!)"),
    writer=lambda *_: str,
    where="placeholders may stand anywhere",
    takes=frozenset(Placeholder) - TIMES,
)
"""Text that nobody parses: one value of a structured question. It needs no quoting."""
