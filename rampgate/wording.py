"""Text, numbers and moments as people read them, in the comment as on the dashboard. Knows no markup and no rollout."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rampgate.plan import Policy

THEN: Mapping[Policy, str] = {
    Policy.REVERT: "everybody goes back to stable",
    Policy.HOLD: "it holds, and waits for a person",
    Policy.ASK: "a person is asked",
    Policy.COMPLETE: "it goes on to the end",
    Policy.PROMOTE: "it goes on",
    Policy.PROMOTE_IF_NO_EVIDENCE: "it goes on if there is no sign of harm",
}
"""What follows when a deadline passes, as the second half of a sentence."""


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


def ratio(value: float) -> str:
    """``×1.5``, rounded up, so that nothing looks better excluded than it is."""
    shown = f"{-(-value * 10 // 1) / 10:.1f}" if value < 10 else f"{-(-value // 1):.0f}"
    return f"×{shown.removesuffix('.0')}"
