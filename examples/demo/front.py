"""The shop's front door: asks the SDK which slot a user belongs to, and passes the request on to it.

The outcome of each request is counted by the SDK's middleware. A slot that cannot be reached is its own failure: the
request, which is safe to repeat, is answered by the other slot, and the user notices nothing.
"""

import argparse
import http.client
import json
import os
import signal
import threading
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import uvicorn
from a2wsgi import WSGIMiddleware

from rampgate import FlagClient
from rampgate.client.wsgi import ASSIGNMENTS, FlagMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PASSED_ON = ("x-shop-version", "x-shop-error", "content-type")


class Front:
    """Passes requests on, over one kept connection a thread and slot."""

    def __init__(self, ports: dict[str, int], default: str) -> None:
        self._ports = ports
        self._default = default
        self._mine = threading.local()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        assignment = environ[ASSIGNMENTS]["shop"]
        slot = assignment.value if assignment.value in self._ports else self._default
        path = environ.get("PATH_INFO", "/")
        try:
            answer = self._ask(slot, path)
        except (OSError, http.client.HTTPException):
            # The slot is down: that counts against it, and the user is served by the other one.
            assignment.finish(ok=False)
            try:
                answer = self._ask(next(other for other in self._ports if other != slot), path)
            except (OSError, http.client.HTTPException):
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
        status, headers, body = answer
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _ask(self, slot: str, path: str) -> tuple[str, list[tuple[str, str]], bytes]:
        kept = self._mine.__dict__.setdefault(slot, None)
        if kept is not None:
            try:
                return self._over(kept, slot, path)
            except (OSError, http.client.HTTPException):
                # An idle connection may have been closed from the other end: a fresh one tells.
                kept.close()
        return self._over(http.client.HTTPConnection("127.0.0.1", self._ports[slot], timeout=5), slot, path)

    def _over(self, connection: http.client.HTTPConnection, slot: str, path: str) -> Any:
        setattr(self._mine, slot, None)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if not response.will_close:
            setattr(self._mine, slot, connection)
        headers = [(name, value) for name, value in response.getheaders() if name.lower() in PASSED_ON]
        return f"{response.status} {response.reason}", headers, body


def customer(environ: "WSGIEnvironment") -> str | None:
    """Who shops: the name in the cookie."""
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("user")
    return cookie.value if cookie else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=16)
    given = parser.parse_args()
    ports: dict[str, int] = json.loads(os.environ["DEMO_PORTS"])
    default = next(iter(ports))
    with FlagClient.from_env() as client:
        shop = FlagMiddleware(Front(ports, default), client, "shop", user=customer, default=default)
        app = WSGIMiddleware(shop, workers=given.threads)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
