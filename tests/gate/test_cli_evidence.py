"""The commands judge, replay, forecast and simulate, as a person runs them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter

from gate import recorded
from gate.cli import main
from gate.errors import MisuseError
from gate.judge import Situation, judge
from gate.judge.replay import begun, situation_of
from gate.recorded import Record
from rampgate.criteria import JudgeSettings, Limit, MetricKind, MetricSettings
from rampgate.evidence import (
    Counters,
    Histogram,
    Look,
    Measure,
    Measured,
    Moments,
    Reading,
    SourceDown,
    Value,
    Verdict,
    VerdictReason,
    VerdictWord,
)
from rampgate.plan import RolloutPlan, Step

PLAN = RolloutPlan(flag="shop", environment="production", steps=(Step(share=10_000), Step(share=100_000)))
CONFIG = (
    "flag: shop\nenvironment: production\ndeploy: {none: true}\nmetrics: [{errors: flagserver}]\n"
    "steps: [{share: 10, bake: 1m}, {share: 100, bake: 1m}]\n"
)


@pytest.fixture
def record() -> Record:
    """A rollout of some polls, as a flag server would have recorded it."""
    state, looks = begun(PLAN), []
    for number in range(10):
        stable = Counters(requests=9000 * number, errors=90 * number)
        canary = Counters(requests=1000 * number, errors=10 * number)
        text = Verdict(word=VerdictWord.INCONCLUSIVE, reason=VerdictReason.COLLECTING, text="")
        reading = Reading(at=1e9 + 15.0 * number, stable=stable, canary=canary)
        asked = Look(
            at=reading.at, step=1, share=10_000, reading=reading, stable=None, canary=None, verdict=text, settled_at=1e9
        )
        state, look = judge(state, situation_of(PLAN, asked), reading)
        looks.append(look)
    return Record(rollout="r1", plans={1: PLAN}, attempts=((1, tuple(looks)),))


@pytest.fixture
def exported(record: Record, tmp_path: Path) -> Path:
    file = tmp_path / "looks.jsonl"
    file.write_text("\n".join(recorded.lines(record)))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "rampgate.yml"
    file.write_text(CONFIG)
    return file


def invoke(*arguments: object, given: str | None = None):
    return CliRunner().invoke(main, [str(one) for one in arguments], input=given)


def test_an_exported_rollout_reads_back_whole_and_replays(record: Record, exported: Path) -> None:
    assert recorded.read(exported) == record
    ran = invoke("replay", "--file", exported)
    assert (ran.exit_code, ran.output) == (0, "Attempt 1: 10 looks, the same verdicts.\n")


def test_a_record_of_many_metrics_replays_to_the_same_verdicts_too(tmp_path: Path) -> None:
    kinds = (("slow", MetricKind.LATENCY), ("orders", MetricKind.COUNT), ("basket", MetricKind.MEAN))
    metrics = tuple(MetricSettings(name=name, kind=kind) for name, kind in kinds)
    limits = (Limit(metric="load", failure="result > 0.9", failure_limit=3),)
    load = MetricSettings(name="load", kind=MetricKind.VALUE)
    plan = replace(PLAN, judge=JudgeSettings(metrics=(*metrics, load), limits=limits))
    state, looks = begun(plan), []
    for number in range(12):
        stable, canary, now = _measures(9000 * number), _measures(1000 * number), 1e9 + 15.0 * number
        both: dict[str, Measured | SourceDown] = {
            name: Measured(stable=stable[name], canary=canary[name], at=now) for name in stable
        }
        down = SourceDown(at=1e9, reason=VerdictReason.SOURCE_UNREACHABLE, text="gone")
        reading = Reading(
            at=1e9 + 15.0 * number,
            stable=Counters(requests=9000 * number, errors=90 * number),
            canary=Counters(requests=1000 * number, errors=10 * number),
            metrics=both if number != 7 else {**both, "slow": down},
        )
        situation = Situation(step=1, share=10_000, last=False, settled_at=1e9)
        state, look = judge(state, situation, reading)
        looks.append(look)
    assert looks[7].verdict.word is VerdictWord.SOURCE_DOWN
    record = Record(rollout="r1", plans={1: plan}, attempts=((1, tuple(looks)),))
    file = tmp_path / "looks.jsonl"
    file.write_text("\n".join(recorded.lines(record)))
    assert recorded.read(file) == record
    ran = invoke("replay", "--file", file)
    assert (ran.exit_code, ran.output) == (0, "Attempt 1: 12 looks, the same verdicts.\n")


def _measures(size: int) -> dict[str, Measure]:
    return {
        "slow": Histogram(bounds=(0.1, 1.0), counts=(size * 9 // 10, size * 99 // 100), total=size),
        "orders": Counters(requests=size, errors=3 * size),
        "basket": Moments(count=size, sum=2.0 * size, squares=5.0 * size),
        "load": Value(value=0.5),
    }


def test_a_difference_ends_a_replay_with_1_and_says_where(exported: Path) -> None:
    lines = exported.read_text().splitlines()
    lines[9] = lines[9].replace('"word": "healthy"', '"word": "regressed"')
    exported.write_text("\n".join(lines))
    ran = invoke("replay", "--file", exported)

    assert ran.exit_code == 1
    assert "Attempt 1, look 9 at 1000000120.000: verdict.word differs." in ran.output
    assert "recorded: regressed\n  replayed: healthy" in ran.output


@pytest.mark.parametrize("text", ["", "{}", "[]\n", '{"rollout": "r", "plan": {}}', "\x00"])
def test_a_file_that_is_no_record_ends_it_with_2(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(text)
    ran = invoke("replay", "--file", file)

    assert ran.exit_code == 2
    assert "odd.jsonl" in ran.stderr


def test_a_line_that_is_no_look_is_named(exported: Path) -> None:
    exported.write_text(exported.read_text() + '\n{"attempt": 1, "look": {"at": 1}}')
    with pytest.raises(MisuseError, match="line 12"):
        recorded.read(exported)


def test_replay_wants_one_rollout_or_one_file(exported: Path) -> None:
    assert invoke("replay").exit_code == 2
    assert invoke("replay", "r1", "--file", exported).exit_code == 2


def test_looks_recorded_before_there_were_further_metrics_still_read(record: Record) -> None:
    look = TypeAdapter(Look)
    document = look.dump_python(record.looks[3], mode="json")
    del document["reading"]["metrics"], document["settled_at"]

    assert look.validate_python(document) == replace(record.looks[3], settled_at=0.0)


def test_judge_answers_polls_in_json_lines_and_ends_with_2_on_a_start_that_is_none() -> None:
    poll = {"t": 1, "poll": 0, "stage": 0, "share": 0.1, "canary": {"requests": 1, "errors": 0}, "stable": None}
    given = "\n".join(json.dumps(one) for one in ({"start": {"stages": 3, "seed": 1}}, poll)) + "\n\nnonsense\n"
    ran = invoke("judge", given=given)

    assert ran.exit_code == 0
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(one["decision"], one["outcome"]) for one in said] == [
        ("continue", "source_down"),
        ("continue", "source_down"),
    ]
    assert "Line 1: nothing is known of seed" in ran.stderr
    assert "Line 4: no JSON." in ran.stderr
    assert invoke("judge", given='{"start": {"alpha": 2}}\n').exit_code == 2


def test_a_forecast_tells_each_step_and_strict_refuses(config: Path) -> None:
    ran = invoke("forecast", config, "--rps", 100, "--error-rate", 0.01)
    assert ran.exit_code == 0
    assert "With 100 requests a second, of which 1 % fail, and a chance of 80 %:" in ran.output
    assert "at 10 % for 1m; ×2 is seen in about" in ran.output

    ran = invoke("forecast", config, "--rps", 0.1, "--error-rate", 0.01, "--strict")
    assert ran.exit_code == 2
    assert "steps[0].bake: 1m is not allowed" in ran.stderr


def test_a_forecast_without_traffic_says_what_it_wants(config: Path) -> None:
    ran = invoke("forecast", config)
    assert ran.exit_code == 2
    assert "--rps" in ran.stderr
    assert "--error-rate" in ran.stderr


def test_a_simulation_prints_a_table_and_draws_pictures(config: Path, exported: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / "p.png", tmp_path / "p.svg"]
    plots = [part for picture in pictures for part in ("--plot", picture)]
    ran = invoke("simulate", config, "--of-file", exported, "--ratio", 1, "--ratio", 10, "--rollouts", 3, *plots)

    assert ran.exit_code == 0, ran.output
    rows = ran.output.splitlines()[2:]
    assert rows[0].startswith("| healthy | 0.000 | 1.000 |")
    assert rows[1].startswith("| ×10 | 1.000 | 0.000 |")
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in pictures[1].read_bytes()


def test_a_picture_of_another_kind_is_refused(config: Path, tmp_path: Path) -> None:
    ran = invoke("simulate", config, "--rps", 900, "--error-rate", 0.1, "--rollouts", 1, "--plot", tmp_path / "p.gif")

    assert ran.exit_code == 2
    assert "p.gif: a picture's name ends in .png or .svg." in ran.stderr


def test_a_plan_of_many_metrics_is_simulated_and_gets_through(tmp_path: Path) -> None:
    file = tmp_path / "rampgate.yml"
    more = (
        "metrics: [{errors: flagserver}, {latency: flagserver}, {count: command, command: ./x}, "
        "{mean: command, command: ./x, margin: 1.5}, {value: command, command: ./x}]\n"
        "limits: [{metric: value, success: result > 1}]\n"
    )
    file.write_text(CONFIG.replace("metrics: [{errors: flagserver}]\n", more))
    options = ("--rps", 200, "--error-rate", 0.01, "--ratio", 1, "--ratio", 5, "--rollouts", 2)
    ran = invoke("simulate", file, *options)
    assert ran.exit_code == 0, ran.output
    healthy, broken = ran.output.splitlines()[2:4]
    assert healthy.startswith("| healthy | 0.000 | 1.000 |")
    assert broken.startswith("| ×5 | 1.000 |")
