"""The command line `rampgate`: each command a few lines; errors become words and an exit code in one place."""

import json
import os
import sys
from getpass import getuser
from pathlib import Path
from typing import ParamSpec
from uuid import uuid4

import click

from gate import cli_cohorts, cli_drive, cli_evidence, cli_notify, cli_orders, cli_rollback, config
from gate.before import looked_ahead
from gate.cli_drive import end_with, gate_here, here
from gate.cli_preflight import asked
from gate.config.schema import schema
from gate.earlier import key_by_hand
from gate.errors import Exit
from gate.inputs import INPUTS
from gate.metrics import Means
from gate.release import Release, fitting, release
from gate.report import replies
from gate.terminal import flag_server, folder_of, spoken
from rampgate.figures import looks_of
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.plan import RolloutPlan, percent, seconds
from rampgate.wording import step_name

P = ParamSpec("P")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rampgate-tools", prog_name="rampgate")
def main() -> None:
    """Releases that undo themselves: the gate, from the command line."""


_FURTHER = (cli_cohorts, cli_drive, cli_evidence, cli_notify, cli_orders, cli_rollback)
for _command in (one for module in _FURTHER for one in module.COMMANDS):
    main.add_command(_command)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=INPUTS["config"].default)
@click.option("--environment", help="The environment to look at it for; else the one in the file.")
@click.option("--preflight", "ask", is_flag=True, help="Ask the sources too, and say what cannot be judged.")
@click.option("--stable", metavar="VERSION", help="The version that has traffic now; else the flag server is asked.")
@click.option("--slot", default="blue", show_default=True, help="The slot of that version.")
@spoken
def validate(file: Path, environment: str | None, ask: bool, stable: str | None, slot: str) -> None:
    """Check a configuration FILE, and say all that is wrong with it at once."""
    found = config.read(file, environment=environment)
    if ask:
        for remark in asked(found, file, stable, slot):
            click.echo(remark)
    click.echo(f"{file} is sound.")
    for line in told(found.plan):
        click.echo(f"  {line}")


@main.command("config-schema")
@spoken
def config_schema() -> None:
    """Print the configuration's JSON schema, for editors."""
    click.echo(json.dumps(schema(), indent=2))


@main.command()
@click.argument("version")
@click.option("--config", "file", type=click.Path(path_type=Path), default=INPUTS["config"].default)
@click.option("--environment", help="The environment to release to; else the one in the file.")
@click.option("--override", metavar="REASON", help="Try a version again that regressed or was aborted.")
@spoken
def run(version: str, file: Path, environment: str | None, override: str | None) -> None:
    """Release a VERSION from here: deploy it dark, ramp it, and promote or revert it."""
    found = config.read(file, environment=environment)
    means = Means(telemetry=flag_server(), environ=os.environ, folder=folder_of(file))
    looked_ahead(found, str(file), flag_server(), means, click.echo)
    key = key_by_hand(flag_server(), found.plan.environment, found.plan.flag, version, here())
    wanted = Release(key=key, version=version, by=getuser(), override=override)
    with gate_here(found, file) as gate:
        ended = release(gate, found, wanted, lambda rollout: click.echo(f"Rollout {rollout.id}"))
    end_with(ended)


@main.command()
@click.argument("rollout_id", metavar="ROLLOUT")
@click.option("--folder", type=click.Path(path_type=Path), default=".", help="The checkout whose hooks are run.")
@spoken
def retry(rollout_id: str, folder: Path) -> None:
    """Release ROLLOUT's version again from here: it is resumed from its first step, with new evidence."""
    before = flag_server().rollout(rollout_id)
    file = folder / INPUTS["config"].default
    found = fitting(config.read(file, environment=before.plan.environment), before)
    wanted = Release(
        key=before.key, version=before.version, by=getuser(), sha=before.sha, repository=before.repository,
        pull_request=before.pull_request, run_url=before.run_url, repository_id=before.repository_id,
    )  # fmt: skip
    with gate_here(found, file) as gate:
        ended = release(gate, found, wanted, lambda rollout: click.echo(f"Rollout {rollout.id}"))
    end_with(ended)


@main.command()
@click.option("--environment", help="Only this environment.")
@click.option("--flag", help="Only this flag.")
@spoken
def status(environment: str | None, flag: str | None) -> None:
    """Say where each active rollout stands, why it waits, and what waits for hands; or which slot of a flag is live."""
    server = flag_server()
    left = server.find(environment=environment, flag=flag, active=False, needs_hands=True)
    found = (*server.find(environment=environment, flag=flag, active=True), *left)
    click.echo(replies.status([(one, looks_of(one, server.entries(one.id))) for one in found]))
    slots = server.slots(environment, flag) if environment and flag and not found else None
    if flag and slots is not None:
        click.echo(replies.standing(flag, slots))


def _order(name: str, order: Order, text: str) -> None:
    @main.command(name, help=text)
    @click.argument("rollout_id", metavar="ROLLOUT")
    @click.argument("reason", nargs=-1)
    @spoken
    def obey(rollout_id: str, reason: tuple[str, ...]) -> None:
        told = Told(order=order, by=getuser(), text=" ".join(reason))
        answer = flag_server().post(rollout_id, told, f"cli:{uuid4()}")
        click.echo(replies.obeyed(answer))
        if answer.refusal is not None:
            sys.exit(Exit.NOT_RELEASED)


_order("promote", Order.ADVANCE, "Send ROLLOUT to its next step now.")
_order("promote-full", Order.COMPLETE, "Send everybody to ROLLOUT's version now.")
_order("abort", Order.REVERT, "Take ROLLOUT's version away from all users at once.")
_order("pause", Order.PAUSE, "Let ROLLOUT stay where it is, for as long as its plan allows.")
_order("resume", Order.RESUME, "End a pause of ROLLOUT.")


def told(plan: RolloutPlan) -> tuple[str, ...]:
    """A plan in a few lines, with what follows from what was written."""
    steps = " → ".join(step_name(plan, number) for number in range(1, plan.last + 1))
    steps += " targets" if plan.in_place else ""
    held = f", {percent(plan.hold_back)} held back while the last one bakes" if plan.hold_back else ""
    return (
        f"{plan.strategy} of {plan.flag} in {plan.environment}: {step_name(plan, 0)} → {steps}{held}",
        f"looks every {seconds(plan.poll)}; a gate silent for {seconds(plan.lease)} is lost, then: {plan.on_gate_lost}",
        *_users(plan),
    )


def _users(plan: RolloutPlan) -> tuple[str, ...]:
    """Who decides what a user meets, and for how long there is a way back."""
    if plan.in_place:
        return (
            "users follow the machines: when the gate is lost, each target keeps what it runs",
            f"the old version can be put back for {seconds(plan.scale_down_delay)}",
        )
    return (
        f"an app without contact for {seconds(plan.stale_after)} serves stable",
        f"the old version stays warm for {seconds(plan.scale_down_delay)}",
        f"users go in the order of the salt {plan.salt}, with every flag that names it"
        if plan.salt
        else "users go in an order of this rollout's own: its salt is its id",
    )


if __name__ == "__main__":
    sys.exit(main(standalone_mode=True) or Exit.DONE)
