"""The ramp as pictures: users' share, evidence of harm, error rates, above one axis of time. Pure: values in, SVG out.

Places along the axis are percentages and lines keep their width, so that one picture fits a phone and a wall; colours
and dashes are the style sheet's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from rampgate.plan import WHOLE, percent
from rampgate.wording import clock, rate

WIDE = 1000.0
"""Units across a picture's lines."""

POINTS = 120
"""How many points of a line are drawn at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look adds to the pictures. ``harm`` is the evidence as a part of what reverts, on the scale of log E."""

    at: float
    harm: float | None
    stable: tuple[int, int] | None
    canary: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A rollout's ramp on its axis of time, in seconds since the epoch.

    ``shares`` has each change of the canary's share, ``ahead`` the changes to come if all goes well and no step takes
    longer than its bake. ``now`` is ``None`` for a rollout that has ended.
    """

    begins: float
    ends: float
    now: float | None
    shares: tuple[tuple[float, int], ...]
    ahead: tuple[tuple[float, int], ...] = ()
    seen: tuple[Seen, ...] = ()
    marks: tuple[int, ...] = ()
    whose: str = "users"

    @property
    def latest(self) -> float:
        """Until when something is known."""
        return self.ends if self.now is None else self.now

    def across(self, at: float) -> float:
        """Where a moment lies: 0 to 1."""
        return min(1.0, max(0.0, (at - self.begins) / max(self.ends - self.begins, 1.0)))


def share_picture(curve: Curve, version: str, *, height: int = 150, labelled: bool = True) -> str:
    """The share of users on the new version, with the way that is still ahead dashed."""
    scale = _Scale(top=20.0 if labelled else 6.0, bottom=height - 4.0)
    body: list[str] = []
    for mark in curve.marks:
        y = scale.y(mark / WHOLE)
        body.append(_across("grid", y))
        if labelled:
            body.append(_text(100.0, y - 4, percent(mark), "label", anchor="end"))
    walked = _steps(curve, curve.shares, curve.latest, scale)
    shape = _path("area share", f"{walked} L{_x(curve, curve.latest)} {scale.bottom} L0 {scale.bottom} Z")
    lines = [shape, _path("line canary", walked)]
    if curve.ahead and curve.now is not None:
        start = (curve.now, curve.shares[-1][1] if curve.shares else 0)
        lines.append(_path("line ahead", _steps(curve, (start, *curve.ahead), curve.ends, scale)))
    body += [_lines(height, lines), *_now(curve, height)]
    if labelled:
        body.append(_text(0.0, 11, f"{curve.whose} on the new version", "name"))
    share = percent(curve.shares[-1][1]) if curve.shares else percent(0)
    return _svg(height, f"Share of {curve.whose} on {version} over time, now {share}", body)


def evidence_picture(curve: Curve, *, reverts_at: float, height: int = 104) -> str:
    """Evidence of harm (E, on a scale of logarithms) against what it must reach to revert.

    Args:
        curve: the ramp.
        reverts_at: the E that reverts.
        height: in pixels.
    """
    scale = _Scale(top=22.0, bottom=height - 6.0, low=-0.25, high=1.05)
    points = [(one.at, one.harm) for one in curve.seen if one.harm is not None]
    body = [
        _across("grid", scale.y(0.0)),
        _text(100.0, scale.y(0.0) - 4, "no sign of harm: E = 1", "label", anchor="end"),
        _across("limit", scale.y(1.0)),
        _text(100.0, scale.y(1.0) - 5, f"reverts at E = {reverts_at:.0f}", "label limit", anchor="end"),
        _text(0.0, 11, "evidence of harm", "name"),
    ]
    thinned = _thinned(points)
    walked = _line(curve, [(at, scale.y(min(1.05, max(-0.25, part)))) for at, part in thinned])
    body.append(_lines(height, [_path("line harm", walked)] if walked else []))
    body += _now(curve, height)
    if thinned:
        at, part = thinned[-1]
        body.append(_dot(curve, at, scale.y(min(1.05, max(-0.25, part))), "harm"))
    shown = f"{100 * min(1.0, max(0.0, points[-1][1])):.0f} % of what reverts" if points else "nothing weighed yet"
    return _svg(height, f"Evidence of harm over time: {shown}", body)


def rates_picture(curve: Curve, *, height: int = 120) -> str:
    """The part of requests that failed, on both arms, with the axis of time below."""
    axis = 18.0
    arms = {name: _rates(curve.seen, name) for name in ("stable", "canary")}
    most = _nice(max((value for points in arms.values() for _, value in points), default=0.0))
    scale = _Scale(top=22.0, bottom=height - axis, high=most)
    body = [
        _across("grid", scale.y(0.0)),
        _across("grid", scale.y(most)),
        _text(100.0, scale.y(most) - 5, f"{100 * most:g} %", "label", anchor="end"),
        _text(0.0, 11, "requests that fail", "name"),
    ]
    lines, dots = [], []
    for name, points in arms.items():
        walked = _line(curve, [(at, scale.y(value)) for at, value in points])
        if walked:
            lines.append(_path(f"line {name}", walked))
            dots.append(_dot(curve, points[-1][0], scale.y(points[-1][1]), name))
    body += [_lines(height, lines), *dots, *_now(curve, height - int(axis)), *_axis(curve, height)]
    return _svg(height, _rates_said(curve), body)


def _rates_said(curve: Curve) -> str:
    said = []
    for name in ("stable", "canary"):
        counted = [pair for one in curve.seen if (pair := getattr(one, name)) is not None]
        total = rate(sum(errors for _, errors in counted), sum(requests for requests, _ in counted))
        said.append(f"{total} on {name}")
    return f"Requests that fail over time: in all {' and '.join(said)}"


def _rates(seen: Sequence[Seen], name: str) -> list[tuple[float, float]]:
    """Rates of an arm; neighbouring looks are summed where there are more than can be drawn."""
    held = [(one.at, pair) for one in seen if (pair := getattr(one, name)) is not None]
    size = -(-len(held) // POINTS) or 1
    points = []
    for start in range(0, len(held), size):
        group = held[start : start + size]
        requests = sum(pair[0] for _, pair in group)
        if requests:
            points.append((group[-1][0], sum(pair[1] for _, pair in group) / requests))
    return points


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS`` of them: of each group the one with the most harm, and always the last."""
    size = -(-len(points) // POINTS) or 1
    kept = [max(points[start : start + size], key=lambda one: one[1]) for start in range(0, len(points), size)]
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _nice(most: float) -> float:
    """The least round figure that holds this one: 1, 2 or 5 times a power of ten."""
    if most <= 0.0:
        return 0.01
    size = 10.0
    while size > most:
        size /= 10.0
    return min(1.0, next(size * step for step in (1, 2, 5, 10) if size * step >= most * 0.999))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From values to places, the highest value on top."""

    top: float
    bottom: float
    low: float = 0.0
    high: float = 1.0

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(self.bottom - part * (self.bottom - self.top), 1)


def _steps(curve: Curve, changes: Sequence[tuple[float, int]], until: float, scale: _Scale) -> str:
    """Stairs: each share stays until the next one begins."""
    places = [(_x(curve, min(at, until)), scale.y(share / WHOLE)) for at, share in changes if at <= curve.ends]
    if not places:
        return f"M0 {scale.bottom}"
    first = f"M{places[0][0]} {places[0][1]}"
    stairs = "".join(f" H{here[0]} V{here[1]}" for _, here in pairwise(places))
    return f"{first}{stairs} H{_x(curve, until)}"


def _line(curve: Curve, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{'L' if number else 'M'}{_x(curve, at)} {y}" for number, (at, y) in enumerate(points))


def _x(curve: Curve, at: float) -> float:
    return round(WIDE * curve.across(at), 1)


def _now(curve: Curve, height: int) -> Iterator[str]:
    if curve.now is not None:
        x = _percent(curve, curve.now)
        yield f'<line class="now" x1="{x}" x2="{x}" y1="16" y2="{height}"/>'


def _axis(curve: Curve, height: int) -> Iterator[str]:
    yield _text(0.0, height - 3, clock(curve.begins, curve.latest), "label")
    if curve.now is None:
        yield _text(100.0, height - 3, clock(curve.ends, curve.begins), "label", anchor="end")
        return
    here = curve.across(curve.now)
    if here > 0.18:
        anchor = "end" if here > 0.9 else "middle"
        yield _text(100 * here, height - 3, "now", "label here", anchor=anchor)
    if here < 0.75:
        yield _text(100.0, height - 3, clock(curve.ends, curve.now), "label", anchor="end")


def _dot(curve: Curve, at: float, y: float, name: str) -> str:
    return f'<circle class="dot {name}" cx="{_percent(curve, at)}" cy="{y}" r="3.5"/>'


def _percent(curve: Curve, at: float) -> str:
    return f"{100 * curve.across(at):.2f}%"


def _across(name: str, y: float) -> str:
    return f'<line class="{name}" x1="0" x2="100%" y1="{y}" y2="{y}"/>'


def _text(x: float, y: float, text: str, name: str, *, anchor: str = "start") -> str:
    return f'<text class="{name}" x="{x:.2f}%" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(name: str, data: str) -> str:
    return f'<path class="{name}" d="{data}" vector-effect="non-scaling-stroke"/>'


def _lines(height: int, paths: Sequence[str]) -> str:
    inside = "".join(paths)
    return (
        f'<svg width="100%" height="{height}" viewBox="0 0 {WIDE:g} {height}" preserveAspectRatio="none">{inside}</svg>'
    )


def _svg(height: int, said: str, body: Sequence[str]) -> str:
    inside = "\n".join(part for part in body if part)
    return (
        f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}" role="img" '
        f'aria-label="{escape(said)}">\n{inside}\n</svg>'
    )
