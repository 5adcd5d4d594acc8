"""The OpenAPI description, made from the table of routes."""

from functools import cache

from flagserver.views import ROUTES
from flagserver.wire import encode


@cache
def document() -> bytes:
    """The description as JSON."""
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = {"summary": route.summary}
    return encode({"openapi": "3.1.0", "info": {"title": "Rampgate flag server", "version": "1"}, "paths": paths})
