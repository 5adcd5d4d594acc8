"""Somebody with a browser, in words: logs in, opens pages, fills in the forms that a page holds."""

import re
from html import unescape
from html.parser import HTMLParser

from werkzeug.test import TestResponse

from flagserver.app import create_app
from tests.flagserver.inside import Inside

OURS = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


class Forms(HTMLParser):
    """Every form of a page: its address, and the fields that it sends."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = self.found[held["action"]] = {}
        elif tag == "input" and "name" in held:
            self._fields[held["name"]] = held.get("value", "")
        elif "formaction" in held:
            self.found[held["formaction"]] = self._fields


class Visitor:
    """A browser of its own before a server inside the test."""

    def __init__(self, inside: Inside) -> None:
        self.client = create_app(inside.services).test_client()

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> TestResponse:
        return self.client.post(path, data=form, headers=OURS if headers is None else headers)

    def login(self, key: str, name: str = "", target: str = "/ui/") -> TestResponse:
        return self.post("/ui/login", {"key": key, "name": name, "next": target})

    def order(self, rollout_id: str, word: str, **fields: str) -> TestResponse:
        """Open the rollout's page and send the form of this order, as it stands there."""
        path = f"/ui/rollouts/{rollout_id}"
        return self.send(self.get(path), f"{path}/{word}", **fields)

    def send(self, page: TestResponse, path: str, **fields: str) -> TestResponse:
        return self.post(path, Forms(page.text).found[path] | fields)


def text_of(page: TestResponse) -> str:
    """What a person reads: the page without markup, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())
