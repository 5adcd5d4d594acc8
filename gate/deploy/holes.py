"""Placeholders in what the configuration says for every slot alike: ``{{slot}}`` and ``{{version}}``."""

import re
from collections.abc import Callable, Collection, Mapping

_HOLE = re.compile(r"\{\{\s*([\w.-]*)\s*\}\}")


def filled(text: str, known: Mapping[str, str], quoted: Callable[[str], str] = str) -> str:
    """The text with what is known in place of its placeholders; others stay as they are."""
    return _HOLE.sub(lambda hole: quoted(known[hole[1]]) if hole[1] in known else hole[0], text)


def unknown(text: str, known: Collection[str]) -> list[str]:
    """The placeholders in a text that are none of these."""
    return [name for name in _HOLE.findall(text) if name not in known]
