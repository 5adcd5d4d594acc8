"""`flagserver trust`: which jobs are trusted without a stored key, straight in the database."""

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from flagserver.auth import Role
from flagserver.auth.policies import EVENTS, OF_BRANCH, OF_PULLS, POLICY, SESSION_ROLES, Policy
from flagserver.auth.sessions import grant_of
from flagserver.terminal import person, services

Command = Callable[..., None]


@click.group()
def trust() -> None:
    """Say which jobs of which repository may steer rollouts without a stored key."""


def _many(name: str, dest: str, text: str, *default: str, needed: bool = False) -> Callable[[Command], Command]:
    shown = f"{text} Any number; {', '.join(default)} unless told." if default else f"{text} Any number."
    return click.option(name, dest, multiple=True, default=default or None, required=needed, help=shown)


@trust.command("add")
@click.option("--repository", required=True, help="owner/name.")
@click.option("--repository-id", required=True, help="GitHub's number of it: gh api repos/OWNER/NAME --jq .id")
@click.option("--owner-id", required=True, help="GitHub's number of its owner: gh api repos/OWNER/NAME --jq .owner.id")
@click.option("--environment", required=True, help="The environment of the flag server that its jobs reach.")
@_many("--flag", "flags", "A flag that they may steer; * alone stands for all of the environment's.", needed=True)
@_many("--workflow", "workflows", "A workflow file, as .github/workflows/release.yml.", needed=True)
@_many("--ref", "refs", "A ref that it may come from, perhaps with one * at its end.", "refs/heads/main")
@_many("--event", "events", "An event that may start it.", *EVENTS)
@_many("--job-environment", "job_environments", "An environment of the repository that a release must run in.")
@_many("--called-workflow", "called_workflows", "A reusable workflow, owner/name/path@ref, that alone may ask.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in SESSION_ROLES]),
    default=Role.OPERATOR.value,
    show_default=True,
    help="forecast: pull requests read what their forecast needs; their event and refs are then the default.",
)
def add(**said: Any) -> None:
    """Trust the jobs of a repository; prints the policy's id."""
    role = Role(said["role"])
    own = {"events": (OF_BRANCH,), "refs": (OF_PULLS,)} if role is Role.FORECAST else {}
    asked = click.get_current_context().get_parameter_source
    untold = {name: value for name, value in own.items() if asked(name) is ParameterSource.DEFAULT}
    policy = Policy(**{**said, **untold, "role": role})
    click.echo(services().trust.add(policy, by=person()).id)


@trust.command("list")
def list_policies() -> None:
    """List the policies, each with all that it asks."""
    for one in services().trust.every():
        said = POLICY.validate_python(one.document)
        click.echo(f"{one.id}  {said.repository} (id {said.repository_id}, owner {said.owner_id}) → {said.environment}")
        rows = {
            "flags": said.flags, "workflows": said.workflows, "refs": said.refs, "events": said.events,
            "job environments": said.job_environments, "called workflows": said.called_workflows, "role": (said.role,),
        }  # fmt: skip
        for name, values in rows.items():
            if values:
                click.echo(f"    {name}: {', '.join(values)}")


@trust.command("remove")
@click.argument("policy_id", metavar="POLICY")
def remove(policy_id: str) -> None:
    """Trust the jobs of this POLICY no longer; their sessions end."""
    services().trust.remove(policy_id, by=person())
    click.echo(f"{policy_id} is removed, and its sessions are over.")


@trust.command("sessions")
def list_sessions() -> None:
    """List the sessions of jobs that are good now, newest first."""
    there = services()
    now = there.store.now()
    for one in there.sessions.every():
        if one.is_good(now):
            grant = grant_of(one)
            click.echo(
                f"{one.selector}  {one.policy}  {one.environment}  {grant.rollout or 'no rollout yet'}  {grant.job}"
            )


@trust.command("end")
@click.argument("selector")
def end_session(selector: str) -> None:
    """End the session with this SELECTOR."""
    services().sessions.revoke(selector, by=person())
    click.echo(f"The session {selector} is over.")
