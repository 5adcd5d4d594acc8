"""docs/http.md names every route that the server describes, and no other."""

import re
from collections.abc import Iterator

from flagserver.views import ROUTES
from tests.house.tree import ROOT

_SPAN = re.compile(r"`([^`]+)`")
_CALL = re.compile(r"(?:(GET|POST|PUT|DELETE)\b ?)?([/…][^\s?]*)?(\?\S.*)?")


def calls(page: str) -> Iterator[tuple[str, str]]:
    """The calls in a page's code spans: several methods may share a path, and `…` stands for what both paths share."""
    for line in page.splitlines():
        methods: list[str] = []
        path, open_ = "", False
        for span in _SPAN.findall(line):
            found = _CALL.fullmatch(span)
            if found is None or not (found[1] or (found[2] and methods)):
                continue
            if found[1] and not open_:
                methods = []
            methods += [found[1]] if found[1] else []
            open_ = not found[2]
            if found[2]:
                path = _whole(found[2], path)
                yield from ((method, path) for method in methods)


def _whole(path: str, last: str) -> str:
    if not path.startswith("…"):
        return path
    first = "/" + path[1:].split("/")[1] if path != "…" else ""
    return last[: last.index(first)] + path[1:] if first else last


def test_shortened_calls_are_read_whole() -> None:
    line = "`GET /v1/{e}/flags`, `…/flags/{key}` and `GET`, `PUT /v1/locks/{id}`, `DELETE …?by=&reason=`"
    assert list(calls(line)) == [
        ("GET", "/v1/{e}/flags"),
        ("GET", "/v1/{e}/flags/{key}"),
        ("GET", "/v1/locks/{id}"),
        ("PUT", "/v1/locks/{id}"),
        ("DELETE", "/v1/locks/{id}"),
    ]


def test_the_page_of_the_http_contract_names_the_routes_that_there_are() -> None:
    there = {(route.method, route.path) for route in ROUTES if route.method != "OPTIONS"}
    named = set(calls((ROOT / "docs/http.md").read_text()))
    assert named - there == set(), "the page names what there is not"
    assert there - named == set(), "the page leaves out what there is"
