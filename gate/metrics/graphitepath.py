"""How a Graphite target takes values: as part of a path's node, or in a function's string.

Graphite has no way to escape: what cannot be written as it is, is refused. Sources: the Graphite documentation, "The
Render URL API" (paths and wildcards) and "Graphite tag support" (which characters a tag's value may have).
"""

import re

from gate.metrics.queries import TIMES, Language, Placeholder, UnwritableError, Writer, quoted_meta, refusing

_NODE = re.compile(r"[A-Za-z0-9_.-]+")
_TAG_VALUE = re.compile(r"""[!#-&(-:<-\[\]-}][!#-&(-:<-\[\]-~ ]*""")
"""Printable ASCII without quotes, semicolon and backslash, and no ``~`` at the start, which would make it a pattern."""
_MATCHER = re.compile(r"=~")


def _node(value: str) -> str:
    if not _NODE.fullmatch(value):
        text = f"{value!r} is nothing that a Graphite path can name; {{{{slot}}}}, or a tag's value, can stand for it"
        raise UnwritableError(text)
    # Clients that send to Graphite write a dot within a name so, because dots part the nodes.
    return value.replace(".", "_")


_NO_TAG = "is nothing that a Graphite tag can hold; {{slot}} can stand for it"
_tag_value = refusing(_TAG_VALUE, _NO_TAG)
_tag_expression = refusing(_TAG_VALUE, _NO_TAG, quoted_meta)


def _writer(text: str, start: int, token: str) -> Writer | None:  # noqa: ARG001
    if not token:
        return _node
    if len(token) < 2:
        return None
    return _tag_expression if _MATCHER.search(token) else _tag_value


LANGUAGE = Language(
    token=re.compile(r"""'[^']*'|"[^"]*"|["']"""),
    writer=_writer,
    where="placeholders stand in a path's node, or in quotes: seriesByTag('version={{version}}')",
    takes=frozenset(Placeholder) - TIMES,
)
