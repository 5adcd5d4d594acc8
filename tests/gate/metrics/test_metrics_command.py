"""A program as a source: what it prints, how it ends, and that nothing it does ends us."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gate.metrics import CommandOptions, Means
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason
from tests.gate.metrics.contract import NONSENSE, QUESTION, SECRET, asking_for, means

GOOD = '{"stable": {"requests": 9, "errors": 1}, "canary": {"requests": 3, "errors": 0}}'


def _read(command: str | tuple[str, ...], question: Any = QUESTION, **options: Any) -> Reading | SourceDown:
    environ = {"PATH": os.environ["PATH"], "SHOP_KEY": SECRET, "RAMPGATE_KEY": "rg_operator", "GITHUB_TOKEN": "ghs"}
    given = CommandOptions(command=command, secret_env="SHOP_KEY", **({"timeout": 5.0} | options))
    return given.source(means(environ)).read(question)


def _down(answer: Reading | SourceDown, *reasons: VerdictReason) -> str:
    assert isinstance(answer, SourceDown), answer
    assert answer.reason in (reasons or (VerdictReason.SOURCE_UNREADABLE,)), answer
    assert SECRET not in answer.text
    assert answer.text.isprintable()
    return answer.text


def test_both_arms_are_read_at_the_questions_moment_or_at_the_commands_own() -> None:
    stable, canary = Counters(requests=9, errors=1), Counters(requests=3, errors=0)
    assert _read(f"echo '{GOOD}'") == Reading(at=QUESTION.at, stable=stable, canary=canary)
    timed = GOOD[:-1] + ', "at": 1699999999}'
    assert _read(("echo", timed)) == Reading(at=1_699_999_999, stable=stable, canary=canary)


def test_affected_users_and_an_absent_arm_are_taken_as_they_are() -> None:
    text = '{"stable": {"requests": 9, "errors": 1, "active_users": 4, "affected_users": 1}, "canary": null}'
    stable = Counters(requests=9, errors=1, active_users=4, affected_users=1)
    assert _read(("echo", text)) == Reading(at=QUESTION.at, stable=stable, canary=None)


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_no_evidence(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(body)
    _down(_read(("cat", str(tmp_path / "said"))))


@pytest.mark.parametrize(
    "arm",
    [
        '{"requests": 1}',
        '{"requests": 1, "errors": -1}',
        '{"requests": 1.5, "errors": 0}',
        '{"requests": "1", "errors": 0}',
        '{"requests": NaN, "errors": 0}',
        '{"requests": true, "errors": 0}',
        '{"requests": 1, "errors": 0, "more": 1}',
        "7",
    ],
)
def test_counts_that_are_none_are_no_evidence(arm: str) -> None:
    _down(_read(("echo", f'{{"stable": {{"requests": 9, "errors": 1}}, "canary": {arm}}}')))


def test_two_absent_arms_are_an_empty_source() -> None:
    _down(_read(("echo", '{"stable": null, "canary": null}')), VerdictReason.SOURCE_EMPTY)


@pytest.mark.parametrize("at", ["0", "1999999999", '"now"', "true"])
def test_a_moment_outside_the_rollout_is_no_evidence(at: str) -> None:
    _down(_read(("echo", f'{GOOD[:-1]}, "at": {at}}}')))


@pytest.mark.parametrize("command", ["exit 3", "kill -9 $$", "no-such-program", f"echo '{GOOD}'; exit 1"])
def test_a_command_that_fails_is_no_evidence_whatever_it_printed(command: str) -> None:
    _down(_read(command), VerdictReason.SOURCE_UNREACHABLE)


def test_a_program_that_is_not_there_is_told() -> None:
    assert "No such file" in _down(_read(("/no/such/program",)), VerdictReason.SOURCE_UNREACHABLE)


def test_what_it_says_as_it_fails_is_passed_on_without_secrets() -> None:
    text = _down(_read('echo "::error::no access with $SHOP_KEY" >&2; exit 1'), VerdictReason.SOURCE_UNREACHABLE)
    assert "no access with ***" in text


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_command_that_hangs_is_ended_with_everything_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    _down(_read(f"sleep 60 & echo $! > {tmp_path}/child; wait", timeout=0.3), VerdictReason.SOURCE_UNREACHABLE)
    assert time.monotonic() - begun < 30
    child = int((tmp_path / "child").read_text())
    while _is_alive(child):
        assert time.monotonic() - begun < 30, "the child outlives its command"


def test_what_it_leaves_running_does_not_hold_the_gate_up() -> None:
    assert isinstance(_read(f"sleep 60 & echo '{GOOD}'", timeout=30.0), Reading)


def test_output_without_end_is_cut_off() -> None:
    _down(_read("yes", timeout=30.0))


def test_values_reach_it_by_its_environment_alone_and_what_is_the_gates_does_not() -> None:
    program = (
        "import json, os, sys; e = os.environ;"
        "assert not {'RAMPGATE_KEY', 'GITHUB_TOKEN'} & set(e); assert e['SHOP_KEY'];"
        "n = len(e['RAMPGATE_CANARY_VERSION']);"
        "counts = [{'requests': each, 'errors': 0} for each in (n, len(sys.argv))];"
        "print(json.dumps(dict(zip(('stable', 'canary'), counts))))"
    )
    answer = _read((sys.executable, "-c", program), asking_for('"; touch x; $(touch x)'))
    assert isinstance(answer, Reading), answer
    assert answer.stable == Counters(requests=22, errors=0)
    assert answer.canary == Counters(requests=1, errors=0)


def test_a_version_is_no_part_of_the_shells_line(tmp_path: Path) -> None:
    command = f"""echo '{GOOD}'; : "$RAMPGATE_CANARY_VERSION" """
    given = CommandOptions(command=command)
    source = given.source(Means(telemetry=means().telemetry, environ={"PATH": os.environ["PATH"]}, folder=tmp_path))
    assert isinstance(source.read(asking_for("$(touch pwned); `touch pwned`")), Reading)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["./counts {{version}}", ("./counts", "{{ canary }}")])
def test_a_placeholder_in_the_line_is_refused(command: str | tuple[str, ...]) -> None:
    (problem,) = CommandOptions(command=command).problems("m")
    assert "$RAMPGATE_CANARY_VERSION" in problem.allowed


def test_the_program_on_the_page_counts_as_the_page_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/sources/command.md").read_text()
    (tmp_path / "counts.sh").write_text(page.partition("```sh\n")[2].partition("```")[0])
    (tmp_path / "counts.sh").chmod(0o755)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/blue.log").write_text("GET / 200\nGET / 503\nGET / 200\n")
    (tmp_path / "logs/green.log").write_text("GET / 200\n")
    environ = {"PATH": os.environ["PATH"]}
    source = CommandOptions(command="./counts.sh").source(
        Means(telemetry=means().telemetry, environ=environ, folder=tmp_path)
    )
    stable, canary = Counters(requests=3, errors=1), Counters(requests=1, errors=0)
    assert source.read(QUESTION) == Reading(at=QUESTION.at, stable=stable, canary=canary)
