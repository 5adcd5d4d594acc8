"""Text, numbers and moments as people read them; and other people's text made harmless in Markdown.

Nothing here knows what a rollout is.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_SIGNS = re.compile(r"([\\`*_\[\]|~$])")
_REFERENCE = re.compile(r"#(?=\d)|(?<=\b[Gg][Hh])-(?=\d)")
_LINK = re.compile(r":(?=//)|(?<=\b[Ww][Ww][Ww])\.|(?<=\b[Mm][Aa][Ii][Ll][Tt][Oo]):")
_UNSEEN = "\u200b"
"""A space without width: it keeps `@name`, `#1` and addresses from becoming links, and nobody is called."""


def plain(text: str, most: int = 300) -> str:
    """Other people's text as one line of Markdown that shows it and does nothing."""
    text = one_line(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SIGNS.sub(r"\\\1", text).replace("@", f"@{_UNSEEN}")
    text = _REFERENCE.sub(lambda match: match[0] + _UNSEEN, text)
    return _LINK.sub(lambda match: match[0] + _UNSEEN, text)


def code(text: str, most: int = 80) -> str:
    """Other people's text as code, fit for a table too."""
    text = one_line(text, most).replace("|", "¦")
    if not text:
        return "–"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def one_line(text: str, most: int) -> str:
    """One line of what can be seen, cut with a sign where something is missing."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def sentences(texts: Iterable[str]) -> str:
    """Texts one after the other, with a full stop wherever one would run into the next."""
    said = [text.strip() for text in texts if text.strip()]
    ended = [text if text.endswith((".", "!", "?", "…", ":")) else f"{text}." for text in said[:-1]]
    return " ".join([*ended, *said[-1:]])


def count(number: int) -> str:
    """``12345`` → ``12 345``, with a narrow space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def rate(errors: int, requests: int) -> str:
    """An error rate with two significant digits, or a dash where nothing was asked."""
    if requests == 0:
        return "–"
    value = 100 * errors / requests
    digits = 0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f} %" if value else "0 %"


def clock(at: float, now: float, *, exact: bool = False) -> str:
    """A moment, as short as it can be told from ``now``: the time of day (UTC), with the day when that is another."""
    moment, present = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    time = f"{moment:%H:%M:%S}" if exact else f"{moment:%H:%M}"
    return time if abs(moment - present) < timedelta(hours=20) else f"{moment:%d %b} {time}"


def bar(part: float, width: int = 20) -> str:
    """A bar that is full at 1; anything above 0 shows."""
    filled = min(width, max(round(part * width), 1 if part > 0 else 0))
    return "█" * filled + "░" * (width - filled)


def ratio(value: float) -> str:
    """``×1.5``, rounded up, so that nothing looks better excluded than it is."""
    shown = f"{-(-value * 10 // 1) / 10:.1f}" if value < 10 else f"{-(-value // 1):.0f}"
    return f"×{shown.removesuffix('.0')}"
