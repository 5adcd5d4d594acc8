"""How InfluxDB's two query languages quote: InfluxQL (1.x, and 2.x' 1.x API) and Flux (2.x).

Sources: the InfluxDB documentation, "InfluxQL specification" (strings, identifiers, regular expressions, durations) and
"Flux lexical elements" (string and time literals); InfluxQL's own scanner for what its strings may escape.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from gate.metrics.asking import Span
from gate.metrics.queries import Language, Placeholder, Writer, has, quoted_meta, shown
from rampgate.problem import Problem


def influxql_string(value: str) -> str:
    """The value as it stands between InfluxQL's quotes, single (strings) or double (names)."""
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n"}
    return "".join(escapes.get(char, char) for char in _sound(value))


def _influxql_expression(value: str) -> str:
    return quoted_meta(_sound(value), also="/")


def _sound(value: str) -> str:
    """Without halves of surrogate pairs: they become a character that nothing is named."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value)


def _influxql_writer(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    if token[:1] in ("'", '"') and len(token) > 1:
        return influxql_string
    return _influxql_expression if token[:1] in ("=", "!") else None


def flux_string(value: str) -> str:
    """The value as it stands in a Flux string. Whatever is not plain goes in by its bytes, ``${`` among it."""
    plain = re.compile(r"[A-Za-z0-9_.:/@+ -]")
    return "".join(
        char if plain.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in _sound(value)
    )


def _flux_writer(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    # Inside ${…} a string holds an expression again.
    return flux_string if token[:1] == '"' and len(token) > 1 and "${" not in token else None


INFLUXQL = Language(
    token=re.compile(
        r"""--[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[=!]~\s*/(?:\\.|[^/\\\n])*/|["']""", re.DOTALL
    ),
    writer=_influxql_writer,
    where="placeholders stand in quotes (version = '{{version}}') or in a regular expression; times by themselves",
)
FLUX = Language(
    token=re.compile(r"""//[^\n]*|"(?:\\.|[^"\\])*"|["]""", re.DOTALL),
    writer=_flux_writer,
    where='placeholders stand in a string (r.version == "{{version}}"); times stand by themselves',
)


def influxql_times(span: Span) -> dict[Placeholder, str | None]:
    """Times as InfluxQL's durations since the epoch."""
    return {
        Placeholder.START: f"{span.start:.0f}s",
        Placeholder.STOP: f"{span.stop:.0f}s",
        Placeholder.WINDOW: f"{span.stop - span.start:.0f}s",
    }


def flux_times(span: Span) -> dict[Placeholder, str | None]:
    """Times as Flux's time and duration literals."""
    return {
        Placeholder.START: _moment(span.start),
        Placeholder.STOP: _moment(span.stop),
        Placeholder.WINDOW: f"{span.stop - span.start:.0f}s",
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def problems(language: Language, text: str, path: str) -> Iterator[Problem]:
    """Everything that makes a query one that cannot be asked once per arm and up to one moment."""
    yield from language.problems(text, path)
    if text.strip() and not has(text, Placeholder.STOP):
        allowed = "a query with {{stop}}, up to which both arms are counted: time >= {{start}} AND time < {{stop}}"
        yield Problem(path, shown(text), allowed)
