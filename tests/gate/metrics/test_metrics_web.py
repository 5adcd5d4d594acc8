"""Any JSON API as a source: addresses, expressions, and whatever stands where counts should."""

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.metrics import Source, WebOptions, jsonpath
from gate.metrics.queries import Placeholder, UnwritableError
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import CANARY, QUESTION, SECRET, STABLE, SourceContract, asking_for, means
from tests.gate.metrics.scripted import Reply, Script, ScriptedServer, scripted


def _source(url: str, environ: dict[str, str] | None = None, **options: Any) -> Source:
    given = {"requests": "counts.all", "errors": "counts.failed", "timeout": 1.5} | options
    return WebOptions(url=url, **given).source(means(environ))


def _document(arm: Counters) -> bytes:
    return json.dumps({"counts": {"all": arm.requests, "failed": arm.errors}}).encode()


class _WebKind:
    at = QUESTION.at

    def source(self, url: str) -> Source:
        return _source(url + "/arms/{{version}}", {"W_TOKEN": SECRET}, token_env="W_TOKEN")

    def good(self, stable: Counters, canary: Counters) -> Script:
        arms = {"/arms/v1": stable, "/arms/v2": canary}
        return lambda asked: Reply(body=_document(arms[asked.path]))


class TestWeb(SourceContract):
    kind = _WebKind()

    def test_each_arm_is_one_document(self, server: ScriptedServer) -> None:
        self.kind.source(server.url).read(QUESTION)
        assert [asked.path for asked in server.asked] == ["/arms/v1", "/arms/v2"]
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"

    def test_one_document_may_serve_both_arms(self, server: ScriptedServer) -> None:
        both = {"v1": {"n": 9_000, "x": 27}, "v2": {"n": 1_000, "x": 4}}
        arms = [{"name": name, **counts} for name, counts in both.items()]
        server.script = lambda _: Reply(body=json.dumps({"arms": arms}).encode())
        paths = {
            what: f"arms[?name=='{{{{version}}}}'].{key} | [0]" for what, key in (("requests", "n"), ("errors", "x"))
        }
        assert _source(server.url + "/all", **paths).read(QUESTION) == Reading(
            at=QUESTION.at, stable=STABLE, canary=CANARY
        )
        assert len(server.asked) == 1

    def test_times_in_the_address_are_those_of_both_arms(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=_document(STABLE))
        answer = _source(server.url + "/{{arm}}?from={{start}}&to={{stop}}&s={{window}}").read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.at == 1_699_999_990
        assert server.asked[1].path == "/canary"
        assert server.asked[1].query == {"from": "1699995400", "to": "1699999990", "s": "4590"}

    @pytest.mark.parametrize("value", ["7", True, 0.5, -1, {"a": 1}, [1, 2], 1e300])
    def test_only_a_count_is_taken(self, server: ScriptedServer, value: object) -> None:
        server.script = lambda _: Reply(body=json.dumps({"counts": {"all": value, "failed": 0}}).encode())
        self.down(server.url, VerdictReason.SOURCE_UNREADABLE)

    def test_nothing_at_the_place_is_no_series(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b'{"counts": {"all": null}}')
        self.down(server.url, VerdictReason.SOURCE_EMPTY)

    def test_an_expression_that_does_not_fit_the_document_is_told(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b'{"counts": {"all": 7, "failed": 7}}')
        answer = _source(server.url + "/{{arm}}", requests="length(counts.all)").read(QUESTION)
        assert isinstance(answer, SourceDown)
        assert answer.reason is VerdictReason.SOURCE_UNREADABLE

    @pytest.mark.parametrize("version", ["../../admin", "v2?x=1", "v2#", "v2%2e", "v 2", "a/b", "v2@evil", "ü", '"}'])
    def test_a_version_stays_in_its_place_of_the_address(self, server: ScriptedServer, version: str) -> None:
        server.script = lambda _: Reply(body=_document(STABLE))
        _source(server.url + "/arms/{{version}}/counts").read(asking_for(version))
        first, _, last = server.asked[1].path.removeprefix("/arms/").rpartition("/")
        assert last == "counts"
        assert "/" not in first
        assert server.asked[1].query == {}

    @pytest.mark.parametrize("version", ["..", ".", "..."])
    def test_dots_alone_are_no_part_of_an_address(self, server: ScriptedServer, version: str) -> None:
        answer = _source(server.url + "/arms/{{version}}/counts").read(asking_for(version))
        assert isinstance(answer, SourceDown)
        assert server.asked == []


def test_headers_come_from_the_environment() -> None:
    with scripted() as server:
        _source(server.url + "/{{arm}}", {"KEY": SECRET}, headers_env={"X-Api-Key": "KEY"}).read(QUESTION)
        answer = _source(server.url + "/{{arm}}", {}, headers_env={"X-Api-Key": "KEY"}).read(QUESTION)
    assert server.asked[0].headers["x-api-key"] == SECRET
    assert isinstance(answer, SourceDown)
    assert "KEY is not set" in answer.text


@given(st.text())
def test_an_expression_compares_with_exactly_the_version_whatever_it_is_called(version: str) -> None:
    text = "arms[?name=='{{version}}'].n"
    filled = jsonpath.filled(text, {Placeholder.VERSION: version})
    arms = [{"name": version, "n": 1}, {"name": version + "x", "n": 2}, {"name": "", "n": 3}]
    assert jmespath.search(filled, {"arms": arms})[0] == 1
    assert len(jmespath.search(filled, {"arms": arms})) == (1 if version else 2)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_version_in_an_address_is_percent_encoded_whole(version: str) -> None:
    try:
        written = jsonpath.url_value(version)
    except UnwritableError:
        assert not version.strip(".")
    else:
        assert not set(written) & set("/?#@:&=+ \\\"'<>{}")


def _problems(**options: Any) -> set[str]:
    given_ = {"url": "https://stats.example/{{version}}", "requests": "a", "errors": "b"} | options
    return {problem.path for problem in WebOptions(**given_).problems("m")}


def test_good_options_have_no_problems() -> None:
    assert _problems() == set()
    assert _problems(url="https://stats.example", requests="a[?v=='{{version}}']", errors="b") == set()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"url": "https://{{version}}.example/x"}, "m.url"),
        ({"url": "ftp://x/{{version}}"}, "m.url"),
        ({"url": "https://u:p@x/{{version}}"}, "m.url"),
        ({"url": "https://x/{{versoin}}", "requests": "a[?v=='{{version}}']"}, "m.url"),
        ({"url": "https://x/"}, "m"),
        ({"requests": "a["}, "m.queries.requests"),
        ({"requests": "a[?v=={{version}}]"}, "m.queries.requests"),
        ({"requests": "a[?v==`{{version}}`]"}, "m.queries.requests"),
        ({"headers_env": {"X Bad": "A"}}, "m.headersEnv"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], path: str) -> None:
    assert _problems(**options) == {path}
