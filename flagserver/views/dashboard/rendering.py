"""Templates and vendored files, read from the package once. What is not markup by our own hand is escaped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flagserver.views.dashboard.drawing import Curve, evidence_picture, rates_picture, share_picture
from flagserver.views.dashboard.said import short
from rampgate import figures
from rampgate.plan import percent
from rampgate.wording import clock, count, one_line

MOST_SHOWN = 20_000
"""Characters of a JSON value on a page."""

_TYPES: Mapping[str, str] = {
    "rampgate.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A vendored file; ``version`` is made from its content, so that it may be cached for ever."""

    body: bytes
    type: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every vendored file by its name."""
    found = {}
    for name, kind in _TYPES.items():
        body = (files("flagserver") / "static" / name).read_bytes()
        found[name] = Asset(body=body, type=kind, version=sha256(body).hexdigest()[:12])
    return found


def asset_url(name: str) -> str:
    return f"/ui/static/{assets()[name].version}/{name}"


def render(template: str, **values: Any) -> str:
    """A page of the dashboard as HTML."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("flagserver"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals |= {
        "asset": asset_url, "headline": _headline, "share_picture": _shares, "evidence_picture": _evidence,
        "rates_picture": _rates, "shown": _shown, "left_to_do": figures.left_to_do,
    }  # fmt: skip
    made.filters |= {
        "clock": clock, "exact": _exact, "iso": _iso, "percent": percent, "count": count, "one_line": one_line,
        "short": short,
    }  # fmt: skip
    return made


def _headline(words: str, version: str, stable: str, share: str) -> Markup:
    """A headline of ours with other people's names in it."""
    code = Markup("<code>{}</code>")
    number, bracket, held = share.partition(" (")
    said = Markup('<b>{}</b><span class="soft">{}</span>').format(number, bracket + held)
    return Markup(words).format(version=code.format(version), stable=code.format(stable), share=said)


def _shares(curve: Curve, version: str, **options: Any) -> Markup:
    return Markup(share_picture(curve, version, **options))


def _evidence(curve: Curve, reverts_at: float) -> Markup:
    return Markup(evidence_picture(curve, reverts_at=reverts_at))


def _rates(curve: Curve) -> Markup:
    return Markup(rates_picture(curve))


def _shown(value: Any) -> str:
    """A JSON value for people to read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)[:MOST_SHOWN]


def _exact(at: float, now: float) -> str:
    return clock(at, now, exact=True)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
