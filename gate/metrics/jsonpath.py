"""How an address and a JMESPath expression take values: percent-encoded, or as a literal in place of a raw string.

Sources: RFC 3986 (percent-encoding), and the JMESPath specification, "Raw String Literals" and "Literal Expressions".
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from gate.metrics.asking import Span
from gate.metrics.queries import MOST_QUERY, PLAIN, TIMES, Language, Placeholder, UnwritableError, Values, Writer, shown
from rampgate.problem import Problem

_HOST = re.compile(r"https?://[^/?#{}@\s]+(?=[/?])")


def url_value(value: str) -> str:
    """The value as it stands in a path or a query. Dots alone would be a way up, so they are refused."""
    if not value.strip("."):
        raise UnwritableError(f"{value!r} is nothing that an address can hold; {{{{slot}}}} can stand for it")
    return quote(value, safe="", errors="replace")


def _url_writer(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    host = _HOST.match(text)
    return url_value if host is not None and start >= host.end() else None


URL = Language(
    token=re.compile(r"(?!)"),
    writer=_url_writer,
    where="placeholders stand after the host, in the path or in the query: https://stats.example.com/{{version}}",
)


def url_problems(text: str, path: str, *, per_arm: bool) -> Iterator[Problem]:
    """Everything wrong with an address that may hold placeholders."""
    yield from URL.problems(text, path, per_arm=per_arm)
    try:
        parts = urlsplit(re.sub(r"\{\{.*?\}\}", "x", text))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and parts.username is None and not parts.fragment and text.isprintable() and " " not in text
    except ValueError:
        good = False
    if not good:
        yield Problem(path, "this address", "an address such as https://stats.example.com/counts, without user and #")


def epochs(span: Span) -> dict[Placeholder, str | None]:
    """Times as whole seconds since the epoch."""
    return {
        Placeholder.START: f"{span.start:.0f}",
        Placeholder.STOP: f"{span.stop:.0f}",
        Placeholder.WINDOW: f"{span.stop - span.start:.0f}",
    }


def _inside(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    return str if token[:1] == "'" and len(token) > 1 else None


EXPRESSION = Language(
    token=re.compile(r"""'(?:\\'|[^'])*'|"(?:\\.|[^"\\])*"|`(?:\\`|[^`])*`|["'`]"""),
    writer=_inside,
    where="placeholders stand in single quotes: arms[?version=='{{version}}'] | [0].requests",
    takes=frozenset(Placeholder) - TIMES,
)


def expression_problems(text: str, path: str) -> Iterator[Problem]:
    """Everything wrong with a JMESPath expression that may hold placeholders."""
    found = list(EXPRESSION.problems(text, path, per_arm=False))
    yield from found
    if found:
        return
    try:
        compiled(filled(text, dict.fromkeys(Placeholder, "x")))
    except ValueError as error:
        yield Problem(path, shown(text), f"a JMESPath expression ({str(error).splitlines()[0]})")


def filled(text: str, known: Values) -> str:
    """The expression with its values.

    A raw string with a placeholder becomes a JSON literal, because a raw string cannot hold a backslash at its end.

    Raises:
        UnwritableError: a value is not known.
    """

    def literal(match: re.Match[str]) -> str:
        token = match[0]
        if token[0] != "'" or "{{" not in token:
            return token
        value = PLAIN.read(token[1:-1].replace("\\'", "'")).of(known)
        return "`" + json.dumps(value).replace("`", "\\u0060") + "`"

    return EXPRESSION.token.sub(literal, text)


@cache
def compiled(text: str) -> Any:
    """The expression, ready for documents.

    Raises:
        ValueError: it is none.
    """
    # Late: few need it.
    import jmespath  # noqa: PLC0415
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    if len(text) > 4 * MOST_QUERY:
        raise ValueError("too long")
    try:
        return jmespath.compile(text)
    except (JMESPathError, ValueError, RecursionError) as error:
        raise ValueError(str(error) or "nested too deeply") from None
