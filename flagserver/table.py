"""The loop's own routes, found by method and path."""

import re

from flagserver.views import ROUTES
from flagserver.views.route import Route, Served

Found = tuple[Route, dict[str, str]]


class Table:
    """Every route that the loop answers."""

    def __init__(self) -> None:
        self._routes: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        for route in ROUTES:
            if route.served is not Served.THREAD:
                self._routes.setdefault(route.method, []).append((_pattern(route.path), route))

    def find(self, method: str, path: str) -> Found | None:
        """The route of this path and what stands in its places; ``None``: the loop has none."""
        for pattern, route in self._routes.get(method, ()):
            matched = pattern.fullmatch(path)
            if matched is not None:
                return route, matched.groupdict()
        return None


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"{(\w+)}", path)
    places = [f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    return re.compile("".join(places), re.DOTALL)
