"""PromQL's way to quote: a value goes into a label matcher's string, and nowhere else.

Source: the Prometheus documentation, "Querying basics", string literals and label matchers (RE2 syntax).
"""

import re
from collections.abc import Iterator

from gate.metrics.queries import TIMES, Language, Placeholder, Query, Writer, quoted_meta
from rampgate.problem import Problem

_MATCHER = re.compile(r"(=~|!~|!=|(?<![=!<>])=)\s*$")
_CALCULATED = re.compile(
    r"\b(rate|irate|increase|delta|idelta|deriv|avg|\w+_over_time|histogram_quantile|quantile|changes|resets)\s*(?:\(|by\b|without\b)",
    re.IGNORECASE,
)


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


def _expression(value: str) -> str:
    return escaped(quoted_meta(value))


def _writer(text: str, start: int, token: str) -> Writer | None:
    match = _MATCHER.search(text[:start])
    if token[:1] not in ("'", '"') or match is None:
        return None
    return _expression if match[1] in ("=~", "!~") else escaped


LANGUAGE = Language(
    token=re.compile(r"""#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|["'`]""", re.DOTALL),
    writer=_writer,
    where='placeholders stand in a label matcher\'s quotes: {version="{{version}}"}',
    takes=frozenset(Placeholder) - TIMES,
)


def read(text: str) -> Query:
    """Take a query apart.

    Raises:
        ValueError: a placeholder stands where no value may; ``problems`` says where.
    """
    return LANGUAGE.read(text)


def problems(text: str, path: str, *, raw: bool = True) -> Iterator[Problem]:
    """Everything that makes a query one that cannot be asked once per arm, or that counts nothing (``raw``)."""
    yield from LANGUAGE.problems(text, path)
    if raw and (found := _CALCULATED.search(LANGUAGE.bare(text))) is not None:
        why = "raw counters, such as sum(http_requests_total{…}): Rampgate takes differences between polls itself"
        yield Problem(path, f"{found[1]}(…)", why)
