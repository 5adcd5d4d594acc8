"""Calls from web pages: which origins a browser may call from, and the preflight that asks.

Only routes for client keys answer browsers at all, and only pages of an origin that some client key names. No
cookie is ever involved, so credentials are never allowed.
"""

from collections.abc import Mapping
from dataclasses import replace

from flagserver.auth import Role
from flagserver.errors import NotAllowedError
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served, refused

_ASKED = (
    ("Access-Control-Allow-Methods", "GET, POST"),
    ("Access-Control-Allow-Headers", "Authorization, X-API-Key, Content-Type, If-None-Match, Rampgate-Force"),
    ("Access-Control-Max-Age", "600"),
)
_EXPOSED = ("Access-Control-Expose-Headers", "ETag, Retry-After")
_VARY = ("Vary", "Origin")


def shared(services: Services, route: Route, headers: Mapping[str, str], reply: Reply) -> Reply:
    """The reply, readable by a page of an origin that is allowed; any other page's browser withholds it."""
    origin = headers.get("origin")
    if origin is None or not _for_pages(route):
        return reply
    if not services.keyring.allows_origin(origin):
        return replace(reply, headers=(*reply.headers, _VARY))
    return replace(reply, headers=(*reply.headers, ("Access-Control-Allow-Origin", origin), _EXPOSED, _VARY))


def preflights(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """What a browser asks before it calls these routes with a key."""
    paths = dict.fromkeys(one.path for one in routes if _for_pages(one))
    return tuple(
        Route(
            method="OPTIONS", path=path, role=None, answer=_preflight, served=Served.LOOP, status=204, refuses=(403,),
            summary="May a page of this origin call? (asked by browsers)",
        )
        for path in paths
    )  # fmt: skip


def _for_pages(route: Route) -> bool:
    return route.role is Role.CLIENT and not route.proxied


def _preflight(services: Services, call: Call) -> Reply:
    # The browser shows no key yet, so this cannot say whose origin it is; the call itself is held to its own key's.
    origin = call.headers.get("origin", "")
    if not services.keyring.allows_origin(origin):
        text = f"No client key in use may be used from pages of {origin[:200] or 'no origin'}."
        return replace(refused(NotAllowedError(text, code="origin")), headers=(_VARY,))
    return Reply(204, b"", (("Access-Control-Allow-Origin", origin), *_ASKED, _VARY))
