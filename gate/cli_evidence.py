"""The commands that need no rollout under way: judge, replay, forecast, simulate. `cli.py` puts them in their group."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from gate import config, recorded
from gate.errors import Exit, InputError, MisuseError
from gate.inputs import INPUTS
from gate.judge import lines, simulate
from gate.judge.forecast import TrafficSeen
from gate.judge.replay import replay
from gate.judge.simulate import Row, World
from gate.outlook import HOURS, forecast_of, outlook, refuse_blind
from gate.plot import draw
from gate.recorded import Record
from gate.terminal import flag_server, sources_of, spoken
from rampgate.plan import seconds
from rampgate.problem import Problem

_FILE = click.Path(path_type=Path)


@click.command("judge")
@spoken
def judge_lines() -> None:
    """Judge polls from standard input, one JSON object a line, and answer each on standard output.

    {"start": {"alpha": 0.05, "margin": 1.2}} begins a rollout; docs/judge.md says the rest.
    """
    begun = None
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            begun, said = lines.answer(begun, line)
        except lines.PollError as error:
            assert begun is not None
            begun, said = lines.unread(begun, error)
            click.echo(f"Line {number}: {error}.", err=True)
        except lines.LineError as error:
            raise MisuseError(f"Line {number}: {error}.") from error
        if said is not None:
            click.echo(lines.written(said))
            sys.stdout.flush()
        elif begun.unknown:
            hints = ", ".join(f"{name} ({near}?)" if (near := lines.meant(name)) else name for name in begun.unknown)
            click.echo(f"Line {number}: nothing is known of {hints}, which is left aside.", err=True)


@click.command("replay")
@click.argument("rollout_id", metavar="[ROLLOUT]", required=False)
@click.option("--file", type=_FILE, help="Looks that were exported, instead of a rollout on the flag server.")
@click.option("--export", type=_FILE, help="Write ROLLOUT's looks to this file, as JSON lines.")
@spoken
def replay_looks(rollout_id: str | None, file: Path | None, export: Path | None) -> None:
    """Judge a ROLLOUT's recorded looks again; exit code 1 where a verdict differs, with the first difference."""
    if (rollout_id is None) == (file is None):
        raise MisuseError("Name a rollout, or a file with --file.")
    record = recorded.read(file) if file is not None else _recorded(rollout_id or "")
    if export is not None:
        try:
            export.write_text("".join(f"{line}\n" for line in recorded.lines(record)), encoding="utf-8")
        except OSError as error:
            raise MisuseError(f"{export}: {error.strerror or error}.") from error
    for attempt, looks in record.attempts:
        count, found = replay(record.plan(attempt), looks)
        if found is not None:
            click.echo(f"Attempt {attempt}, look {found.number} at {found.at:.3f}: {found.what} differs.")
            click.echo(f"  recorded: {found.recorded}")
            click.echo(f"  replayed: {found.replayed}")
            sys.exit(Exit.REVERTED)
        click.echo(f"Attempt {attempt}: {count} looks, the same verdicts.")
    if not record.attempts:
        click.echo("Nothing was judged in this rollout.")


def _recorded(rollout_id: str) -> Record:
    server = flag_server()
    return recorded.of_entries(server.rollout(rollout_id), server.entries(rollout_id))


def _traffic(record: Record | None, rps: float | None, error_rate: float | None) -> TrafficSeen:
    """The traffic that options give, each before what a record says."""
    found = simulate.of_looks(record.looks) if record is not None else ()
    length, requests = sum(one[0] for one in found), sum(one[1] for one in found)
    if rps is None and length > 0:
        rps = requests / length
    if error_rate is None and requests > 0:
        error_rate = sum(one[2] for one in found) / requests
    missing = [
        Problem(name, "nothing", f"{what}; or RAMPGATE_URL, or --stable, to ask the source")
        for name, value, what in (
            ("--rps", rps, "requests of all users a second"),
            ("--error-rate", error_rate, "the part of them that fails, such as 0.01"),
        )
        if value is None
    ]
    if missing or rps is None or error_rate is None:
        raise InputError(tuple(missing))
    return TrafficSeen(per_second=rps, error_rate=error_rate)


@click.command("forecast")
@click.argument("file", type=_FILE, default=INPUTS["config"].default)
@click.option("--environment", help="The environment to look at it for; else the one in the file.")
@click.option("--rps", type=click.FloatRange(min=0, min_open=True), help="Requests of all users a second.")
@click.option("--error-rate", type=click.FloatRange(min=0, max=1), help="The part of them that fails: 0.01 is 1 %.")
@click.option("--of", "of", metavar="ROLLOUT", help="Take the traffic from an earlier rollout's looks.")
@click.option("--hours", type=click.IntRange(1, 168), default=HOURS, show_default=True, help="Of the past to ask for.")
@click.option("--stable", metavar="VERSION", help="The version that has traffic now; else the flag server is asked.")
@click.option("--slot", default="blue", show_default=True, help="The slot of that version.")
@click.option("--strict", is_flag=True, help="Refuse a plan with a step that cannot exclude what it has to.")
@spoken
def tell_forecast(
    file: Path,
    environment: str | None,
    rps: float | None,
    error_rate: float | None,
    of: str | None,
    hours: int,
    stable: str | None,
    slot: str,
    strict: bool,
) -> None:
    """Say what the plan in FILE will be able to see, and when, with the traffic that its source tells of."""
    found = config.read(file, environment=environment)
    asks = stable is not None or bool(os.environ.get("RAMPGATE_URL"))
    if asks and rps is None and error_rate is None and of is None:
        means, slots = sources_of(found, file, stable, slot)
        seen = outlook(found, means, slots, now=time.time(), hours=hours)
        if seen.traffic is None:
            raise MisuseError(seen.lines[0], do="Say it by --rps and --error-rate, or by --of ROLLOUT.")
    else:
        seen = forecast_of(found, _traffic(_recorded(of) if of else None, rps, error_rate))
    refuse_blind(str(file), found, seen, strict=strict)
    for line in seen.lines:
        click.echo(line)


@click.command("simulate")
@click.argument("file", type=_FILE, default=INPUTS["config"].default)
@click.option("--environment", help="The environment to look at it for; else the one in the file.")
@click.option("--rps", type=click.FloatRange(min=0, min_open=True), help="Requests of all users a second.")
@click.option("--error-rate", type=click.FloatRange(min=0, max=1), help="The part of them that fails: 0.01 is 1 %.")
@click.option("--of", "of", metavar="ROLLOUT", help="Use the traffic that an earlier rollout met, poll by poll.")
@click.option("--of-file", type=_FILE, help="The same from looks that were exported.")
@click.option("--ratio", "ratios", type=click.FloatRange(min=0), multiple=True, help="Errors, canary to stable; again.")
@click.option("--onset", type=click.FloatRange(min=0), default=0.0, help="Seconds after which the ratio holds.")
@click.option("--rollouts", type=click.IntRange(1, 100_000), default=200, show_default=True, help="For each ratio.")
@click.option("--plot", "plots", type=_FILE, multiple=True, help="A picture to draw, .png or .svg; again.")
@spoken
def simulate_plan(
    file: Path,
    environment: str | None,
    rps: float | None,
    error_rate: float | None,
    of: str | None,
    of_file: Path | None,
    ratios: tuple[float, ...],
    onset: float,
    rollouts: int,
    plots: tuple[Path, ...],
) -> None:
    """Run the plan in FILE over made-up or recorded traffic: how often is what reverted, and how soon?"""
    plan = config.read(file, environment=environment).plan
    record = recorded.read(of_file) if of_file is not None else _recorded(of) if of else None
    traffic = _traffic(record, rps, error_rate)
    world = World(per_second=traffic.per_second, rate=traffic.error_rate, onset=onset)
    if record is not None and rps is None and error_rate is None:
        world = replace(world, recorded=simulate.of_looks(record.looks))
    found = list(simulate.rows(plan, world, ratios or (1.0, 1.5, 2.0, 5.0), rollouts))
    for line in table(found):
        click.echo(line)
    if plots:
        title = f"{plan.flag}: {traffic.per_second:.4g} requests/s, {100 * traffic.error_rate:.3g} % errors"
        draw(found, title, plots)


def table(rows: Sequence[Row]) -> list[str]:
    """What became of the rollouts, as a Markdown table."""
    lines_of = [
        "| errors | reverted | promoted | median revert | 90 % reverted after | median promotion | bad responses |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = "healthy" if row.ratio == 1.0 else f"×{row.ratio:g}"
        times = (row.median_revert, row.late_revert, row.median_promote)
        shown = " | ".join("–" if one is None else seconds(round(one)) for one in times)
        parts = f"{row.reverted / row.rollouts:.3f} | {row.promoted / row.rollouts:.3f}"
        lines_of.append(f"| {name} | {parts} | {shown} | {row.bad:.0f} |")
    return lines_of


COMMANDS = (judge_lines, replay_looks, tell_forecast, simulate_plan)
