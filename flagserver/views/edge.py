"""For proxies: which variant, so which pool, this visitor gets. Answers 204 with headers; in doubt the stable variant.

nginx calls it by `auth_request`, Caddy and Traefik by forward auth, with the visitor's own headers. Nothing is written:
what was decided is counted in `/metrics`.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flagserver.auth import Role
from flagserver.errors import InvalidError
from flagserver.publish import Published
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served
from flagserver.views.said import counts, say
from rampgate.evaluation import Reason
from rampgate.forcing import NAME
from rampgate.problem import Problem
from rampgate.visits import carried

COOKIE = "rampgate-user"
"""The cookie that makes a visitor without a name of their own known again."""

YEAR = 365 * 86_400

OPTIONS = ("flag", "user", "cookie", "default", "secure", "environment")

MOST_FLAGS = 16
MOST_USER = 256
"""Characters of the longest user's key that is read."""

NO_USER = "NO_USER"
FLAG_NOT_FOUND = "FLAG_NOT_FOUND"

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TOKEN = re.compile(_NAME)
_SHOWN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the proxy's configuration wants decided.

    ``users`` are places where the visitor's key may stand, in order: ``("header" or "cookie", name)``; ``cookie`` is
    the sticky cookie's name, empty: none is set. ``default`` is the variant where no other can be told.
    """

    flags: tuple[str, ...]
    users: tuple[tuple[str, str], ...]
    cookie: str
    default: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom the decision is for. ``new``: they get the cookie with this answer."""

    key: str | None
    new: bool = False


def _decide(services: Services, call: Call) -> Reply:
    ask = _ask(tuple(call.query.items()))
    visitor = _visitor(ask, call.headers)
    tokens = _tokens(call.headers)
    published = services.live.current(call.environment())
    headers = [("Cache-Control", "no-store")]
    for number, flag in enumerate(ask.flags):
        variant, reason, counted = _one(services, published, flag, visitor, ask.default, tokens)
        shown = variant if _SHOWN.fullmatch(variant) else ""
        if number == 0:
            headers += [("Rampgate-Reason", reason), ("Rampgate-Counted", "true" if counted else "false")]
            headers += [("Rampgate-Variant", shown)] if shown else []
        if len(ask.flags) > 1 and shown:
            headers.append((f"Rampgate-Variant-{flag}", shown))
        cell = services.meters.edge.cell(published.environment, flag if reason != FLAG_NOT_FOUND else "", shown, reason)
        cell[0] += 1
    if visitor.key is not None and _SHOWN.fullmatch(visitor.key):
        headers.append(("Rampgate-User", visitor.key))
    if visitor.new:
        secure = "; Secure" if ask.secure else ""
        headers.append(
            ("Set-Cookie", f"{ask.cookie}={visitor.key}; Path=/; Max-Age={YEAR}; HttpOnly; SameSite=Lax{secure}")
        )
    return Reply(204, b"", tuple(headers))


def _one(
    services: Services, published: Published, flag: str, visitor: Visitor, default: str, tokens: str
) -> tuple[str, str, bool]:
    """The variant, why, and whether it is evidence."""
    if flag not in published.flags:
        return default, FLAG_NOT_FOUND, False
    if visitor.key is None:
        return _stable(published, flag) or default, NO_USER, False
    resolution = say(services, published, flag, {"targetingKey": visitor.key}, tokens).resolution
    if resolution.variant is None or resolution.reason is Reason.DISABLED:
        return _stable(published, flag) or default, resolution.reason.value, False
    return resolution.variant, resolution.reason.value, flag in published.rollouts and counts(resolution)


def _stable(published: Published, flag: str) -> str:
    """The variant that everybody had before; empty where the flag names none."""
    rollout = published.rollouts.get(flag)
    return str((rollout["stable"] if rollout else published.flags[flag].get("defaultVariant")) or "")


def _visitor(ask: Ask, headers: Mapping[str, str]) -> Visitor:
    cookies = _cookies(headers.get("cookie", ""))
    for place, name in ask.users:
        key = _text((headers if place == "header" else cookies).get(name, ""))
        if key:
            return Visitor(key)
    if not ask.cookie:
        return Visitor(None)
    known = _text(cookies.get(ask.cookie, ""))
    return Visitor(known) if known else Visitor(secrets.token_hex(16), new=True)


def _tokens(headers: Mapping[str, str]) -> str:
    """The tester tokens of the visitor's header and cookie; most requests have none."""
    cookie = headers.get("cookie", "")
    return carried({}, headers.get(NAME, ""), _cookies(cookie).get(NAME, "") if NAME in cookie else "")


def _cookies(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in header.split(";"):
        name, equals, value = one.strip().partition("=")
        if equals:
            found.setdefault(name, value.strip('"'))
    return found


def _text(value: str) -> str:
    """A header's value as the text that an app would hash: proxies pass bytes on, which are UTF-8 if anything."""
    if len(value) > MOST_USER:
        return ""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


@lru_cache(maxsize=256)
def _ask(query: tuple[tuple[str, str], ...]) -> Ask:
    """The proxy's wishes.

    Raises:
        InvalidError: everything that is wrong with them, at once.
    """
    given = dict(query)
    wrong = list(_wrong(given))
    if wrong:
        raise InvalidError(problems=tuple(wrong), status=400)
    places = [one.partition(":") for one in _parts(given.get("user", ""))]
    return Ask(
        flags=tuple(_parts(given["flag"])),
        users=tuple((place, name.lower() if place == "header" else name) for place, _, name in places),
        cookie=given.get("cookie", COOKIE),
        default=given.get("default", ""),
        secure=given.get("secure", "on") == "on",
    )


def _wrong(given: Mapping[str, str]) -> Iterator[Problem]:
    for name in sorted(given.keys() - set(OPTIONS)):
        yield Problem(name[:80], "given", "one of " + ", ".join(OPTIONS))
    flags = _parts(given.get("flag", ""))
    if not 1 <= len(flags) <= MOST_FLAGS:
        yield Problem("flag", f"{len(flags)} flags", f"1 to {MOST_FLAGS} flags, with commas between them")
    if len(flags) > 1:
        for flag in flags:
            if not _TOKEN.fullmatch(flag):
                yield Problem(
                    "flag", repr(flag[:80]), "keys that can stand in a header's name, where there are several"
                )
    for one in _parts(given.get("user", "")):
        place, _, name = one.partition(":")
        if place not in ("header", "cookie") or not _TOKEN.fullmatch(name):
            yield Problem("user", repr(one[:80]), "header:<name> or cookie:<name>, with commas between several")
    if not _TOKEN.fullmatch(given.get("cookie", COOKIE) or COOKIE):
        yield Problem("cookie", repr(given["cookie"][:80]), "a cookie's name, or nothing: no cookie is set")
    if given.get("default") and not _SHOWN.fullmatch(given["default"]):
        yield Problem("default", repr(given["default"][:80]), "a variant of printable ASCII without spaces")
    if given.get("secure", "on") not in ("on", "off"):
        yield Problem("secure", repr(given["secure"][:80]), "on, or off where the site is served without TLS")


def _parts(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


_PLACE = rf"(header|cookie):{_NAME}"
_ASKS: Mapping[str, Mapping[str, object]] = {
    "flag": {"type": "string", "pattern": rf"^{_NAME}(,{_NAME}){{0,{MOST_FLAGS - 1}}}$"},
    "user": {"type": "string", "pattern": rf"^({_PLACE}(,{_PLACE})*)?$"},
    "cookie": {"type": "string", "pattern": rf"^({_NAME})?$"},
    "default": {"type": "string", "pattern": r"^[\x21-\x7e]*$"},
    "secure": {"enum": ["on", "off"]},
}

ROUTES = (
    Route(
        method="GET", path="/edge/v1/decide", role=Role.CLIENT, answer=_decide, served=Served.LOOP, status=204,
        query=OPTIONS, needs=("flag",), asks=_ASKS, proxied=True,
        summary="Which variant a proxy's visitor gets, in headers",
    ),
)  # fmt: skip
