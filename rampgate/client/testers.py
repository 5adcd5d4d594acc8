"""Tester tokens in a web request: in a header, a cookie, or a link that asks for the cookie. No framework here."""

from collections.abc import Callable
from dataclasses import dataclass

from rampgate.wire import FORCE

HEADER = "Rampgate-Force"


@dataclass(frozen=True, slots=True)
class Carried:
    """The tokens of one request, and the ``Set-Cookie`` that keeps those of its link; ``None``: it has no link."""

    tokens: str = ""
    cookie: str | None = None


NONE = Carried()


def carried(header: str, cookies: str, query: str, *, secure: bool, now: Callable[[], float]) -> Carried:
    """What a request carries. A link's tokens take the place of the cookie's for their flags; an empty link ends all.

    Args:
        header: the value of ``Rampgate-Force``.
        cookies: the value of ``Cookie``.
        query: the URL's query, still encoded.
        secure: whether the request came over TLS, so that the cookie may ask for it.
        now: the clock, in seconds since the epoch; read where it is needed.
    """
    kept = _cookie(cookies) if FORCE in cookies else ""
    if FORCE not in query or (link := _link(query)) is None:
        if not header and not kept:
            return NONE
        return Carried(_joined(header, kept))
    # Here, because hashing costs an import some milliseconds, and few apps have testers at the door.
    from rampgate.forcing import BETWEEN, LONGEST, claims  # noqa: PLC0415

    moment = now()
    all_claims = claims(_joined(link, kept)) if link else {}
    left = [(text, token) for text, token in all_claims.values() if token.expires > moment]
    value = BETWEEN.join(text for text, _ in left)
    lasts = min(LONGEST, max((token.expires for _, token in left), default=moment) - moment)
    cookie = f"{FORCE}={value}; Path=/; Max-Age={int(lasts)}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
    return Carried(_joined(header, value), cookie)


def _joined(*texts: str) -> str:
    return "~".join(text for text in texts if text)


def _cookie(header: str) -> str:
    for one in header.split(";"):
        name, _, value = one.strip().partition("=")
        if name == FORCE:
            return value.strip('"')
    return ""


def _link(query: str) -> str | None:
    """The tokens of the link; ``None``: it has none. They stand in a URL as they are, but some programs encode more."""
    from urllib.parse import parse_qsl  # noqa: PLC0415 - as above

    found = [value for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=None) if name == FORCE]
    return found[0] if found else None
