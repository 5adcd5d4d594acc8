"""The flag server's telemetry as a source, through the gate's own client."""

import json
from pathlib import Path

import pytest

from gate.errors import FlagServerUnreachableError
from gate.flagserver_api import FlagServer
from gate.metrics import SOURCES, FlagServerOptions, Means, Source, build
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from rampgate.rollout import Telemetry
from tests.gate.metrics.contract import QUESTION, SECRET, SourceContract
from tests.gate.metrics.scripted import Asked, Reply, Script


class _FlagServerKind:
    at = QUESTION.at

    def source(self, url: str) -> Source:
        return build(FlagServerOptions(), Means(telemetry=FlagServer(url, SECRET, timeout=0.2), environ={}))

    def good(self, stable: Counters, canary: Counters) -> Script:
        def answer(asked: Asked) -> Reply:
            assert asked.path == f"/v1/rollouts/{QUESTION.rollout_id}/telemetry"
            arms = {
                name: {"requests": arm.requests, "errors": arm.errors}
                for name, arm in (("stable", stable), ("canary", canary))
            }
            return Reply(body=json.dumps({"at": QUESTION.at, "dropped": 0} | arms).encode())

        return answer


class TestFlagServer(SourceContract):
    kind = _FlagServerKind()


class _Counted:
    def __init__(self, telemetry: Telemetry | Exception) -> None:
        self._telemetry = telemetry

    def telemetry(self, rollout_id: str) -> Telemetry:
        assert rollout_id == QUESTION.rollout_id
        if isinstance(self._telemetry, Exception):
            raise self._telemetry
        return self._telemetry


def _read(telemetry: Telemetry | Exception) -> Reading | SourceDown:
    return FlagServerOptions().source(Means(telemetry=_Counted(telemetry), environ={})).read(QUESTION)


def test_an_arm_that_nobody_met_counts_zero_and_is_not_absent() -> None:
    zero = Counters(requests=0, errors=0)
    answer = _read(Telemetry(at=12.5, stable=Counters(requests=5, errors=1), canary=zero))
    assert answer == Reading(at=12.5, stable=Counters(requests=5, errors=1), canary=zero)


def test_affected_users_come_along_where_the_server_counts_them() -> None:
    counted = Counters(requests=5, errors=2, active_users=4, affected_users=1)
    answer = _read(Telemetry(at=1.0, stable=counted, canary=counted))
    assert answer == Reading(at=1.0, stable=counted, canary=counted)


@pytest.mark.parametrize("counters", [Counters(requests=-1, errors=0), Counters(requests=1, errors=-1)])
def test_counts_below_zero_are_no_evidence(counters: Counters) -> None:
    answer = _read(Telemetry(at=1.0, stable=Counters(requests=5, errors=1), canary=counters))
    assert isinstance(answer, SourceDown)
    assert answer.reason is VerdictReason.SOURCE_UNREADABLE


def test_what_the_client_says_went_wrong_is_made_harmless() -> None:
    answer = _read(FlagServerUnreachableError("::error::no answer\x1b[31m\nfrom there"))
    assert isinstance(answer, SourceDown)
    assert answer.text.isprintable()
    assert "::error::" not in answer.text.removeprefix("telemetry: ")


PAGES = Path(__file__).parents[3] / "docs/sources"


def test_every_source_has_a_page_and_every_page_a_source() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_a_sources_page_begins_with_its_name_and_an_example(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# Source `{name}`: ")
    assert f"errors: {name}" in text
