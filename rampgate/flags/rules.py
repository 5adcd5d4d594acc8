"""Is this targeting well-formed? Every problem, with its path, by the rules of flagd's targeting schema.

Looks at a rule as written and never evaluates one. Source of the rules: json/targeting.yaml in
open-feature/flagd-schemas; where we are stricter or more lenient, docs/evaluation.md says why.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeGuard

from rampgate.flags.versions import parse_version
from rampgate.problem import Problem

ARGUMENTS: Mapping[str, tuple[int, int | None]] = {
    "var": (0, 2), "missing": (0, None), "missing_some": (2, 2),
    "if": (1, None), "?:": (1, None), "and": (1, None), "or": (1, None), "!": (1, 1), "!!": (1, 1),
    "==": (2, 2), "===": (2, 2), "!=": (2, 2), "!==": (2, 2),
    "<": (2, 3), "<=": (2, 3), ">": (2, 2), ">=": (2, 2),
    "+": (1, None), "-": (1, 2), "*": (2, None), "/": (2, 2), "%": (2, 2), "min": (1, None), "max": (1, None),
    "map": (2, 2), "filter": (2, 2), "reduce": (3, 3), "all": (2, 2), "some": (2, 2), "none": (2, 2),
    "merge": (1, None), "in": (2, 2), "cat": (1, None), "substr": (2, 3),
    "starts_with": (2, 2), "ends_with": (2, 2), "sem_ver": (3, 3), "fractional": (1, None),
}  # fmt: skip
"""Every operator, with the fewest and the most arguments it takes (``None``: any number)."""

RANGES = ("=", "!=", "<", "<=", ">", ">=", "~", "^")
"""What ``sem_ver`` compares with."""

MAX_DEPTH = 100
MAX_RULES = 10_000
MAX_WEIGHTS = (1 << 31) - 1
FLAGD_PROPERTIES = ("$flagd.flagKey", "$flagd.timestamp")


@dataclass(slots=True)
class Size:
    """What one walk has met so far, `$ref` followed: a document must not grow beyond bounds by reference."""

    rules: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Walk:
    names: Collection[str]
    sound: Mapping[str, Size]
    size: Size

    def argument(self, path: str, value: object, depth: int) -> Iterator[Problem]:
        """A rule, or a literal; an array is a literal whose members may be rules."""
        if isinstance(value, Mapping):
            yield from self.rule(path, value, depth)
        elif isinstance(value, list | tuple):
            if depth > MAX_DEPTH:
                yield _too_deep(path)
                return
            for number, member in enumerate(value):
                if not isinstance(member, str):
                    yield from self.argument(f"{path}[{number}]", member, depth + 1)
        elif not _is_primitive(value):
            yield Problem(path, show(value), "a rule, text, a finite number, true, false, null or an array")

    def rule(self, path: str, rule: Mapping[str, object], depth: int) -> Iterator[Problem]:
        """Exactly one operator, known, with as many arguments as it takes."""
        if len(rule) != 1:
            yield Problem(path, show(rule), "an object with exactly one operator")
            return
        if depth > MAX_DEPTH:
            yield _too_deep(path)
            return
        (name, given), *_ = rule.items()
        yield from self.grow(path, 1, depth)
        if self.size.rules > MAX_RULES:
            return
        if name == "$ref":
            yield from self.reference(path, given, depth)
            return
        place = f"{path}.{name}"
        if name not in ARGUMENTS:
            hint = nearest(name, ARGUMENTS)
            yield Problem(place, show(name), "one of the operators " + ", ".join(ARGUMENTS), hint)
            return
        arguments = list(given) if isinstance(given, list | tuple) else [given]
        fewest, most = ARGUMENTS[name]
        if len(arguments) < fewest or (most is not None and len(arguments) > most):
            yield Problem(place, f"{len(arguments)} arguments", _count(fewest, most))
            return
        check = _SPECIAL.get(name)
        if check is not None:
            yield from check(self, place, arguments, depth + 1)
            return
        for number, argument in enumerate(arguments):
            yield from self.argument(f"{place}[{number}]", argument, depth + 1)

    def reference(self, path: str, name: object, depth: int) -> Iterator[Problem]:
        place = f"{path}.$ref"
        if not isinstance(name, str):
            yield Problem(place, show(name), "the name of one of $evaluators")
        elif name not in self.names:
            allowed = "one of $evaluators: " + (", ".join(self.names) or "there are none")
            yield Problem(place, show(name), allowed, nearest(name, self.names))
        elif name not in self.sound:
            yield Problem(place, show(name), f"a sound rule: see $evaluators.{name}")
        elif depth + self.sound[name].depth > MAX_DEPTH:
            yield _too_deep(place)
        else:
            yield from self.grow(place, self.sound[name].rules, depth + self.sound[name].depth)

    def grow(self, path: str, rules: int, depth: int) -> Iterator[Problem]:
        """Count rules, and say so once when they are too many."""
        before = self.size.rules
        self.size.rules += rules
        self.size.depth = max(self.size.depth, depth)
        if before <= MAX_RULES < self.size.rules:
            yield Problem(path, "too many rules", f"at most {MAX_RULES} in one flag, shared ones counted")


def rule_problems(
    path: str,
    rule: Mapping[str, object],
    names: Collection[str] = (),
    sound: Mapping[str, Size] = MappingProxyType({}),
    size: Size | None = None,
) -> Iterator[Problem]:
    """Everything wrong with one rule.

    Args:
        path: where the rule stands, for the problems' paths.
        rule: JSON logic as written.
        names: the document's shared rules, and of these
        sound: the ones that may be referred to, with their sizes.
        size: grows by what the walk meets.
    """
    yield from _Walk(names, sound, size or Size()).rule(path, rule, 1)


def _variable(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    if not arguments:
        return
    name = arguments[0]
    if isinstance(name, str) and name.startswith("$flagd.") and name not in FLAGD_PROPERTIES:
        yield Problem(path, show(name), "one of " + ", ".join(FLAGD_PROPERTIES), nearest(name, FLAGD_PROPERTIES))
    elif isinstance(name, bool | list | tuple):
        yield Problem(path, show(name), "the name of an attribute, such as email or user.email")
    else:
        yield from walk.argument(path, name, depth)
    for default in arguments[1:]:
        yield from walk.argument(f"{path}[1]", default, depth)


def _missing(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    for number, name in enumerate(arguments):
        yield from _names(walk, f"{path}[{number}]", name, depth)


def _missing_some(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    count, names = arguments
    if isinstance(count, Mapping):
        yield from walk.rule(f"{path}[0]", count, depth)
    elif not _is_number(count):
        yield Problem(f"{path}[0]", show(count), "how many attributes must be there, a number")
    if isinstance(names, list | tuple):
        for number, name in enumerate(names):
            yield from _names(walk, f"{path}[1][{number}]", name, depth)
    elif isinstance(names, Mapping):
        yield from walk.rule(f"{path}[1]", names, depth)
    else:
        yield Problem(f"{path}[1]", show(names), "an array of names of attributes")


def _names(walk: _Walk, path: str, name: object, depth: int) -> Iterator[Problem]:
    if isinstance(name, Mapping):
        yield from walk.rule(path, name, depth)
    elif not isinstance(name, str):
        yield Problem(path, show(name), "the name of an attribute")


def _text_comparison(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    for number, argument in enumerate(arguments):
        if isinstance(argument, Mapping):
            yield from walk.rule(f"{path}[{number}]", argument, depth)
        elif not isinstance(argument, str):
            yield Problem(f"{path}[{number}]", show(argument), "text, or a rule that gives text")


def _version_comparison(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    for number in (0, 2):
        argument = arguments[number]
        if isinstance(argument, Mapping):
            yield from walk.rule(f"{path}[{number}]", argument, depth)
        elif not isinstance(argument, str) or parse_version(argument) is None:
            yield Problem(f"{path}[{number}]", show(argument), "a version such as 1.2.3, or a rule that gives one")
    if arguments[1] not in RANGES:
        yield Problem(f"{path}[1]", show(arguments[1]), "one of " + ", ".join(RANGES))


def _fractional(walk: _Walk, path: str, arguments: Sequence[object], depth: int) -> Iterator[Problem]:
    first = arguments[0]
    entries = list(enumerate(arguments))
    if not isinstance(first, list | tuple):
        entries = entries[1:]
        if isinstance(first, Mapping):
            yield from walk.rule(f"{path}[0]", first, depth)
        else:
            allowed = 'what to bucket by, a rule such as {"var": "email"}, or an entry [variant, weight]'
            yield Problem(f"{path}[0]", show(first), allowed)
    if not entries:
        yield Problem(path, "no entries", "at least one entry [variant, weight]")
    total = 0
    for number, entry in entries:
        place = f"{path}[{number}]"
        if not isinstance(entry, list | tuple) or not 1 <= len(entry) <= 2:
            yield Problem(place, show(entry), "an entry [variant, weight], or [variant] alone for the weight 1")
            continue
        yield from walk.argument(f"{place}[0]", entry[0], depth + 1)
        weight = entry[1] if len(entry) == 2 else 1
        if isinstance(weight, Mapping):
            yield from walk.rule(f"{place}[1]", weight, depth + 1)
        elif not _is_number(weight) or weight < 0 or weight != int(weight):
            yield Problem(f"{place}[1]", show(weight), "a whole number from 0 up, or a rule that gives one")
        else:
            total += int(weight)
    if total > MAX_WEIGHTS:
        yield Problem(path, f"weights that sum to {total}", f"a sum of at most {MAX_WEIGHTS}")


_Check = Callable[[_Walk, str, Sequence[object], int], Iterator[Problem]]
_SPECIAL: Mapping[str, _Check] = {
    "var": _variable,
    "missing": _missing,
    "missing_some": _missing_some,
    "starts_with": _text_comparison,
    "ends_with": _text_comparison,
    "sem_ver": _version_comparison,
    "fractional": _fractional,
}


def nearest(word: str, words: Collection[str]) -> str | None:
    """The allowed word that this one was probably meant to be."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it, and an app's import stays small

    return next(iter(get_close_matches(word, [str(one) for one in words], n=1)), None)


def show(value: object) -> str:
    """A value as it stands in a document, shortened for one line of a message."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _count(fewest: int, most: int | None) -> str:
    if most is None:
        return f"at least {fewest}"
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def _too_deep(path: str) -> Problem:
    return Problem(path, "too deeply nested", f"at most {MAX_DEPTH} rules within each other")


def _is_primitive(value: object) -> bool:
    return value is None or isinstance(value, bool | str) or _is_number(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Python's true and false are integers, JSON's are not; JSON has no infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
