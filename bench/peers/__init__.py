"""Other Python SDKs, each with the same flags: `flag-0` … on for 10 % of users. Offline: they ask a server of ours.

Every maker gives a function from a user to the flag's value, and its users. They are made beforehand, which favours
the others: Rampgate takes the key itself. Nothing is sent or recorded, where that can be turned off.
"""

import importlib
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Ask = tuple[Callable[[Any], object], Sequence[Any]]
"""A lookup, and the users it is asked for."""


@dataclass
class Stand:
    """What a peer is set up with: how many flags, which one is asked, by whom, and a server for what it fetches."""

    flags: int
    users: list[str]
    answers: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    endings: list[Callable[[], object]] = field(default_factory=list)

    @property
    def asked(self) -> str:
        return f"flag-{self.flags // 2}"

    @property
    def names(self) -> list[str]:
        return [f"flag-{number}" for number in range(self.flags)]

    def serve(self, path: str, document: object) -> str:
        """Answer this path with JSON; returns its address."""
        self.answers[path] = json.dumps(document).encode()
        return self.url + path


class Kiosk(AbstractContextManager["Kiosk"]):
    """The server that peers fetch their flags from."""

    def __init__(self) -> None:
        self.stands: list[Stand] = []
        kiosk = self

        class Answer(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                found = [stand.answers[path] for stand in reversed(kiosk.stands) if path in stand.answers]
                body = found[0] if found else b"{}"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the standard library's name

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self._httpd.serve_forever, daemon=True).start()

    def stand(self, flags: int, users: list[str]) -> Stand:
        stand = Stand(flags, users, url=f"http://127.0.0.1:{self._httpd.server_address[1]}")
        self.stands.append(stand)
        return stand

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stand in self.stands:
            for end in stand.endings:
                end()
        self._httpd.shutdown()
        self._httpd.server_close()


PEERS = {
    "Statsig (Rust core)": ("statsig-python-core", "statsig"),
    "ConfigCat": ("configcat-client", "configcat"),
    "GrowthBook": ("growthbook", "growthbook"),
    "Flipt": ("flipt-client", "flipt"),
    "LaunchDarkly": ("launchdarkly-server-sdk", "launchdarkly"),
    "Unleash": ("UnleashClient", "unleash"),
    "flagd": ("openfeature-flagd-core", "flagd"),
    "PostHog": ("posthog", "posthog"),
    "Flagsmith": ("flagsmith", "flagsmith"),
}
"""Name to its package, and to the function of `offline` that sets it up."""


def asker(name: str, stand: Stand) -> Ask:
    """A peer, ready to be asked. Raises whatever its package raises; ImportError where it is not installed."""
    ask: Ask = getattr(importlib.import_module("peers.offline"), PEERS[name][1])(stand)
    return ask
