"""How single values are written in the configuration: durations, shares, words, queries, addresses.

Each reader refuses with what is allowed and, where it can, with what was probably meant.
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from rampgate.plan import WHOLE, seconds

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?(?:(\d{1,6})ms)?", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?%?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
ARM_PLACEHOLDERS = ("slot", "version", "target")
RESERVED_VARIABLES = ("ACTIONS_", "GITHUB_", "INPUT_", "RAMPGATE_", "RUNNER_")

Word = TypeVar("Word", bound=StrEnum)


def refusal(allowed: str, hint: str | None = None) -> PydanticCustomError:
    """The error that becomes a problem with these words."""
    return PydanticCustomError("allowed", "{allowed}", {"allowed": allowed, "hint": hint})


def duration(value: Any) -> float:
    """Seconds from `30s`, `10m`, `1h30m`, `500ms`; a bare number is refused, because nobody knows its unit."""
    allowed = "a duration such as 30s, 10m, 1h30m or 500ms"
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refusal(allowed, f"{value}s")
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or match is None:
        raise refusal(allowed, _meant(value))
    hours, minutes, secs, millis = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + secs + millis / 1000


_UNITS = (("hours?|hrs?", "h"), ("minutes?|mins?", "m"), ("seconds?|secs?", "s"), ("msecs?|millis", "ms"))


def _meant(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    tidy = re.sub(r"\s|and|,", "", value.lower())
    for long, short in (
        ("hours?|hrs?", "h"),
        ("minutes?|mins?", "m"),
        ("seconds?|secs?", "s"),
        ("msecs?|millis", "ms"),
    ):
        tidy = re.sub(rf"(?<=\d)({long})", short, tidy)
    return tidy if tidy != value and tidy and _DURATION.fullmatch(tidy) else None


def share(value: Any) -> int:
    """1/100 000 of all users from `10`, `12.5` or `10%`."""
    allowed = "a percentage from 0 to 100 with at most 3 decimals, such as 10, 12.5 or 10%"
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    match = _SHARE.fullmatch(text)
    if match is None:
        raise refusal(allowed)
    exact = float(match[1]) * WHOLE / 100
    whole = round(exact)
    if abs(exact - whole) > 1e-6 or whole > WHOLE:
        raise refusal(allowed)
    return whole


def most(value: Any) -> str | float:
    """A percentage, a duration or a plain number: which of them it has to be, the metric says."""
    if isinstance(value, str):
        for reader in (share, duration):
            try:
                reader(value)
            except PydanticCustomError:
                continue
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise refusal("a percentage such as 2%, a duration such as 500ms, or a number")


def one_of(*words: Word) -> Any:
    """An annotation's metadata: the value is one of these words."""
    names = [word.value for word in words]

    def read(value: Any) -> Word:
        for word in words:
            if value == word.value:
                return word
        near: list[str] = get_close_matches(value, names, n=1) if isinstance(value, str) else []
        raise refusal(listed(names), near[0] if near else None)

    return BeforeValidator(read), WithJsonSchema({"enum": names}), PlainSerializer(str)


def number(low: float, high: float, *, whole: bool = False) -> Any:
    """An annotation's metadata: a number between these, both included."""

    def read(value: Any) -> float:
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not fits or not low <= value <= high:
            raise refusal(f"a {'whole ' if whole else ''}number from {low:g} to {high:g}")
        return int(value) if whole else float(value)

    kind = "integer" if whole else "number"
    return BeforeValidator(read), WithJsonSchema({"type": kind, "minimum": low, "maximum": high})


def _text(allowed: str, fits: Callable[[str], bool]) -> BeforeValidator:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not fits(value):
            raise refusal(allowed)
        return value

    return BeforeValidator(read)


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise refusal("text")
    return value


def command(value: Any) -> str | tuple[str, ...]:
    """A line for the shell, or a program and its arguments."""
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(part, str) and "\0" not in part for part in value)
        and value[0]
    ):
        return tuple(value)
    raise refusal("a line for the shell, or a list of a program and its arguments")


def address(value: Any) -> str:
    """An http or https address without a password in it."""
    allowed = "an address such as https://metrics.example.com, without user or password"
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        sound = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        sound = sound and parts is not None and parts.username is None and parts.password is None
        _port = parts.port if parts else None
    except ValueError:
        sound = False
    if not sound or not str(value).isprintable() or " " in str(value):
        raise refusal(allowed)
    return str(value)


def probe(value: Any) -> str | dict[str, str]:
    """The address of the dark version: with a placeholder, or one for each slot."""
    if isinstance(value, dict):
        return {str(slot): address(one) for slot, one in value.items()} if value else address(value)
    return page(value)


def page(value: Any) -> str:
    """An address that may hold placeholders."""
    # Placeholders are no part of an address until they are filled in.
    address(_PLACEHOLDER.sub("x", value) if isinstance(value, str) else value)
    placeholders(value)
    return str(value)


def placeholders(text: str) -> tuple[str, ...]:
    """The placeholders in a text; an unknown one is refused."""
    used: list[str] = _PLACEHOLDER.findall(text)
    for word in used:
        if word not in ARM_PLACEHOLDERS:
            near = get_close_matches(word, ARM_PLACEHOLDERS, n=1)
            raise refusal(
                "the placeholders {{version}}, {{slot}} and {{target}}", f"{{{{{near[0]}}}}}" if near else None
            )
    return tuple(used)


def yes(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise refusal("true or false")
    return value


def variable(value: Any) -> str:
    """The name of an environment variable that holds a secret; the runner's and our own are not for giving away."""
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise refusal("the name of an environment variable, such as PROMETHEUS_TOKEN")
    if value.upper().startswith(RESERVED_VARIABLES):
        raise refusal(
            "the name of a variable of your own, none of " + ", ".join(f"{each}*" for each in RESERVED_VARIABLES)
        )
    return value


def listed(names: list[str]) -> str:
    """``one of a, b, c``, or the one that there is."""
    return names[0] if len(names) == 1 else "one of " + ", ".join(names)


Duration = Annotated[
    float,
    BeforeValidator(duration),
    PlainSerializer(seconds),
    WithJsonSchema({"type": "string", "pattern": r"^(?=.)(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"}),
]
Share = Annotated[
    int,
    BeforeValidator(share),
    PlainSerializer(lambda value: value * 100 / WHOLE),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3})? ?%?$"},
            ]
        }
    ),
]
Most = Annotated[
    str | float,
    BeforeValidator(most),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d"}]}),
]
Name = Annotated[
    str,
    _text("a name of at most 100 letters, digits and . _ -", lambda text: bool(_NAME.fullmatch(text))),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"}),
]
Command = Annotated[
    str | tuple[str, ...],
    BeforeValidator(command),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
Address = Annotated[str, BeforeValidator(address), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Page = Annotated[str, BeforeValidator(page), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Probe = Annotated[
    str | dict[str, str],
    BeforeValidator(probe),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^https?://"},
                {
                    "type": "object",
                    "additionalProperties": {"type": "string", "pattern": "^https?://"},
                    "minProperties": 1,
                },
            ]
        }
    ),
]
Variable = Annotated[
    str, BeforeValidator(variable), WithJsonSchema({"type": "string", "pattern": f"^{_VARIABLE.pattern}$"})
]
Yes = Annotated[bool, BeforeValidator(yes), WithJsonSchema({"type": "boolean"})]
Line = Annotated[str, BeforeValidator(_line), WithJsonSchema({"type": "string", "minLength": 1})]
