"""Requests that memory alone can answer: found, admitted and answered within one call, on the event loop.

What needs a thread, a wait or a refusal of its own is left to the loop's and Flask's ordinary way.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl, unquote

from flagserver.auth import Caller
from flagserver.errors import FlagServerError
from flagserver.logs import request_id
from flagserver.services import Services
from flagserver.table import Found, Table
from flagserver.views.cors import shared
from flagserver.views.route import Call, Reply, Route, Served, admit, answer, presented

TRUSTED_FOR = 1.0
"""Seconds for which a key that was just looked up is taken for good, unless the keys changed."""

_MOST = 4096
_LONGEST = 256
"""Bytes of a path that is remembered, and how many are: what strangers send must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request, as it was parsed: header names in lower case."""

    method: bytes
    url: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class AtOnce:
    """Answers from memory. Lives on one event loop."""

    def __init__(self, services: Services, table: Table) -> None:
        self._services = services
        self._table = table
        self._found: dict[tuple[bytes, bytes], Found | None] = {}
        self._admitted: dict[tuple[str, str | None, str | None, bytes], Caller] = {}
        self._until = 0.0
        self._keys = -1

    def __call__(self, request: Request) -> tuple[Reply, str] | None:
        """The reply and the request's id; ``None``: another way has to answer this."""
        path, _, query = request.url.partition(b"?")
        name = (request.method, path)
        try:
            found = self._found[name]
        except KeyError:
            found = self._look_up(name)
        if found is None:
            return None
        route, params = found
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        caller = self._admit(route, headers, params)
        if caller is None:
            return None
        asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
        name_of = headers["x-request-id"] = request_id(headers.get("x-request-id"))
        call = Call(params=params, query=asked, headers=headers, body=request.body, caller=caller)
        reply = shared(self._services, route, headers, answer(self._services, route, call))
        self._services.meters.answered(route.method, route.path, reply.status)
        return reply, name_of

    def _look_up(self, name: tuple[bytes, bytes]) -> Found | None:
        method, path = name
        found = None
        if path[:1] == b"/" and b"#" not in path:
            found = self._table.find(method.decode("latin-1"), unquote(path.decode("latin-1")))
            found = found if found is not None and found[0].served is Served.LOOP else None
        if len(self._found) >= _MOST:
            self._found.clear()
        if len(path) <= _LONGEST:
            self._found[name] = found
        return found

    def _admit(self, route: Route, headers: Mapping[str, str], params: Mapping[str, str]) -> Caller | None:
        now, keys = time.monotonic(), self._services.keyring.version
        if now >= self._until or keys != self._keys or len(self._admitted) >= _MOST:
            self._admitted.clear()
            self._until, self._keys = now + TRUSTED_FOR, keys
        # Never by the key itself: nothing that lives on holds one.
        key = sha256(presented(headers).encode("latin-1")).digest()
        name = (route.path, params.get("environment"), headers.get("origin"), key)
        caller = self._admitted.get(name)
        if caller is None:
            try:
                caller = self._admitted[name] = admit(self._services, route, headers, params)
            except FlagServerError:
                return None
        return caller
