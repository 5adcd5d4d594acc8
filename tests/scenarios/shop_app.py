"""A shop whose code asks the SDK which version serves a request: one process, one door, both versions behind it.

Says its port on standard output. The new version fails while the file that the second argument names is there.
"""

import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from rampgate.client import FlagClient
from rampgate.client.wsgi import ASSIGNMENTS, FlagMiddleware

FLAG, BROKEN = sys.argv[1], sys.argv[2]


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    slot = str(environ[ASSIGNMENTS][FLAG].value)
    broken = slot == "green" and os.path.exists(BROKEN)
    start_response("500 Broken" if broken else "200 OK", [("X-Served-By", slot)])
    return [slot.encode()]


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""


with FlagClient.from_env() as client:
    door = FlagMiddleware(shop, client, FLAG, lambda environ: environ.get("HTTP_X_USER"), default="none")
    with make_server("127.0.0.1", 0, door, server_class=WSGIServer, handler_class=Silent) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
