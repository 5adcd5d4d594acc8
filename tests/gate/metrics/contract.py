"""What every metrics source keeps to, whatever the world does: the right verdict, never a crash, never a pass."""

import gzip
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import pytest

from gate.metrics import Gauge, Means, Question, Source, Wanted
from gate.metrics.flagserver import FlagServerLatency, FlagServerSource
from gate.metrics.store import StoreGauge, StoreSource
from rampgate.criteria import MetricKind
from rampgate.evidence import Counters, Measured, Reading, SourceDown, VerdictReason
from rampgate.rollout import Minute, Slot, Telemetry
from tests.gate.metrics.scripted import Reply, Script, ScriptedServer, scripted

SECRET = "s3cr3t-t0ken"
QUESTION = Question(
    rollout_id="r1",
    flag="shop",
    environment="production",
    attempt=1,
    stable=Slot(name="blue", version="v1"),
    canary=Slot(name="green", version="v2"),
    since=1_699_999_000.0,
    at=1_700_000_000.25,
)
DOWN = {VerdictReason.SOURCE_UNREACHABLE, VerdictReason.SOURCE_UNREADABLE, VerdictReason.SOURCE_EMPTY}
NONSENSE = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "number": b"7",
    "html": b"<html><body>Sign in</body></html>",
    "half": b'{"status": "success", "data": {"resultType": "vec',
    "not utf-8": b'{"status": "\xff\xfe"}',
    "deep": b"[" * 200_000,
    "deep in the place": b'{"status":"success","data":' + b'{"result":' * 50_000,
    "endless number": b'{"status": ' + b"1" * 10_000 + b"}",
    "right words, wrong types": b'{"status":"success","data":{"resultType":"vector","result":{"value":[1,"5"]}}}',
    "counts that are words": b'{"at":"now","stable":{"requests":"many","errors":0},"canary":null,"dropped":[]}',
}


class _NoTelemetry:
    def telemetry(self, rollout_id: str) -> Telemetry:
        raise AssertionError(f"nobody asked for {rollout_id}")

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        raise AssertionError(f"nobody asked for {flag} in {environment} from {since} to {until}")


def means(environ: Mapping[str, str] | None = None) -> Means:
    """What a source may use that has no use for the flag server."""
    return Means(telemetry=_NoTelemetry(), environ=dict(environ or {}))


def asking_for(version: str | None, stable: str | None = "v1", at: float = QUESTION.at) -> Question:
    """The question about a canary of this version."""
    canary = Slot(name="green", version=version)
    return replace(QUESTION, stable=Slot(name="blue", version=stable), canary=canary, at=at)


class Kind(Protocol):
    """How a source is made, and what its server answers when all is well: ``at`` the moment that it reads up to."""

    at: float

    def source(self, url: str) -> Source: ...
    def good(self, stable: Counters, canary: Counters) -> Script: ...


STABLE, CANARY = Counters(requests=9_000, errors=27), Counters(requests=1_000, errors=4)


FAILURES = Wanted(name="failures", kind=MetricKind.ERRORS, queries={"errors": "", "requests": ""})


def gauge_of(source: Source) -> Gauge:
    """What reads a further metric by the source's own queries, so that its good answers are good for both."""
    if isinstance(source, StoreSource):
        return StoreGauge(source._store, FAILURES)
    assert isinstance(source, FlagServerSource)
    return FlagServerLatency(source._api)


BAD: Mapping[str, Reply] = {
    **{f"status {status}": Reply(status=status, body=b"{}") for status in (301, 400, 401, 403, 404, 429, 500, 503)},
    **{name: Reply(body=body) for name, body in NONSENSE.items()},
    "page": Reply(body=NONSENSE["html"], content_type="text/html"),
    "no gzip": Reply(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}),
    "huge": Reply(body=b" " * (9 << 20) + b"{}"),
    "half": Reply(body=b"{", length=900),
}
"""What is no evidence, whatever is asked for."""


class SourceContract:
    """Subclass it, and give it a ``kind``."""

    kind: Kind

    @pytest.fixture(autouse=True)
    def _leaves_no_thread(self) -> Iterator[None]:
        before = set(threading.enumerate())
        yield
        assert set(threading.enumerate()) <= before

    @pytest.fixture
    def server(self) -> Iterator[ScriptedServer]:
        with scripted() as server:
            server.script = self.kind.good(STABLE, CANARY)
            yield server

    def down(self, url: str, *reasons: VerdictReason) -> SourceDown:
        answer = self.kind.source(url).read(QUESTION)
        assert isinstance(answer, SourceDown), answer
        assert answer.reason in (reasons or DOWN), answer
        assert answer.at == QUESTION.at
        assert SECRET not in answer.text
        assert answer.text.isprintable(), answer.text
        assert len(answer.text) < 1_000
        return answer

    def test_counts_of_both_arms_are_read_as_they_are(self, server: ScriptedServer) -> None:
        answer = self.kind.source(server.url).read(QUESTION)
        assert answer == Reading(at=self.kind.at, stable=STABLE, canary=CANARY)

    def test_a_further_metric_is_read_up_to_the_same_moment(self, server: ScriptedServer) -> None:
        found = gauge_of(self.kind.source(server.url)).read(QUESTION)
        if isinstance(found, Measured):
            assert found == Measured(stable=STABLE, canary=CANARY, at=self.kind.at)
        else:
            assert "tells no latencies" in found.text

    def test_a_further_metric_keeps_to_all_of_this(self, server: ScriptedServer) -> None:
        gauge = gauge_of(self.kind.source(server.url))
        with scripted() as other:
            away = Reply(status=307, headers={"Location": other.url})
            for name, reply in {**BAD, "redirect to another host": away}.items():
                server.script = lambda _, reply=reply: reply  # type: ignore[misc]
                found = gauge.read(QUESTION)
                assert isinstance(found, SourceDown), name
                assert found.reason in DOWN, name
                assert SECRET not in found.text, name
            assert other.asked == []
        server.hangs()
        assert isinstance(gauge.read(QUESTION), SourceDown)

    def test_a_counter_that_began_again_is_passed_on_raw(self, server: ScriptedServer) -> None:
        source = self.kind.source(server.url)
        source.read(QUESTION)
        server.script = self.kind.good(STABLE, Counters(requests=3, errors=0))
        answer = source.read(QUESTION)
        assert isinstance(answer, Reading)
        assert answer.canary == Counters(requests=3, errors=0)

    def test_nobody_listening_is_a_source_that_cannot_be_reached(self) -> None:
        with scripted() as gone:
            url = gone.url
        self.down(url, VerdictReason.SOURCE_UNREACHABLE)

    @pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 418, 422, 429, 500, 502, 503, 504])
    def test_no_status_but_success_is_believed(self, server: ScriptedServer, status: int) -> None:
        good = server.script
        server.script = lambda asked: Reply(status=status, body=good(asked).body)
        self.down(server.url)

    @pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
    def test_nonsense_is_no_evidence(self, server: ScriptedServer, body: bytes) -> None:
        server.script = lambda _: Reply(body=body)
        self.down(server.url)

    def test_a_page_for_people_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=NONSENSE["html"], content_type="text/html; charset=utf-8")
        self.down(server.url)

    def test_silence_ends_with_the_time_out(self, server: ScriptedServer) -> None:
        server.hangs()
        self.down(server.url, VerdictReason.SOURCE_UNREACHABLE)

    def test_an_answer_that_breaks_off_is_no_evidence(self, server: ScriptedServer) -> None:
        good = server.script
        server.script = lambda asked: Reply(body=good(asked).body[:-20], length=len(good(asked).body))
        self.down(server.url)

    def test_a_connection_closed_without_a_word_is_no_evidence(self, server: ScriptedServer) -> None:
        server.raw = lambda _: None
        self.down(server.url)

    def test_a_greeting_that_is_not_http_is_no_evidence(self, server: ScriptedServer) -> None:
        server.raw = lambda file: file.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        self.down(server.url)

    def test_a_huge_answer_is_not_read_to_its_end(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b" " * (9 << 20) + b"{}")
        self.down(server.url)

    def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked(self, server: ScriptedServer) -> None:
        bomb = gzip.compress(b" " * (64 << 20), compresslevel=1)
        server.script = lambda _: Reply(body=bomb, headers={"Content-Encoding": "gzip"})
        self.down(server.url)

    def test_a_body_that_cannot_be_unpacked_is_no_evidence(self, server: ScriptedServer) -> None:
        server.script = lambda _: Reply(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})
        self.down(server.url)

    def test_credentials_never_follow_a_redirect_to_another_host(self, server: ScriptedServer) -> None:
        with scripted() as other:
            other.script = self.kind.good(STABLE, CANARY)
            server.script = lambda asked: Reply(status=307, headers={"Location": other.url + asked.path})
            self.down(server.url)
            assert other.asked == []

    @pytest.mark.parametrize(
        "location", ["", "http://[", "//", "http://127.0.0.1:99999/", "file:///etc/passwd", "\xff"]
    )
    def test_a_redirect_to_nowhere_is_no_evidence(self, server: ScriptedServer, location: str) -> None:
        server.script = lambda _: Reply(status=302, headers={"Location": location})
        self.down(server.url)

    def test_what_was_down_is_read_again_when_it_is_back(self, server: ScriptedServer) -> None:
        source = self.kind.source(server.url)
        good = server.script
        server.script = lambda _: Reply(status=503)
        assert isinstance(source.read(QUESTION), SourceDown)
        server.script = good
        assert isinstance(source.read(QUESTION), Reading)
