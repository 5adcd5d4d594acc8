"""Trust policies: which jobs of which repository may do what here. Pure: from a policy and a token's claims to what
does not fit. Ids are compared, names are only shown: whoever takes over a name has another id.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flagserver.auth.grant import EVERY_FLAG
from flagserver.auth.keys import Role
from flagserver.names import NAME, environment_problems
from rampgate.problem import Problem
from rampgate.wire import STRICT

EVENTS = ("push", "workflow_dispatch", "release", "schedule", "issue_comment")
"""The events that a policy admits unless it says otherwise."""

FOREIGN = "pull_request"
"""Events that begin so run code that nobody has merged: none is admitted to more than `OF_BRANCH`."""

OF_BRANCH = "pull_request"
"""The one of them that may forecast. GitHub gives its job a token where the branch is the repository's own, so whoever
could push it; `pull_request_target` gets one for a fork, too."""

SESSION_ROLES = (Role.OPERATOR, Role.SDK, Role.FORECAST)

OF_PULLS = "refs/pull/*"
"""Where the workflow of a pull request's run comes from: `refs/pull/<number>/merge`."""

WHY_FOREIGN = "it runs what nobody has merged, and may forecast at most (role forecast)"
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}")
_ID = re.compile(r"[1-9][0-9]{0,19}")
_WORKFLOW = re.compile(r"\.github/workflows/[A-Za-z0-9._-]{1,200}\.ya?ml")
_CALLED = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/\.github/workflows/[A-Za-z0-9._-]{1,200}\.ya?ml@[!-~]{1,300}")
_REF = re.compile(r"refs/(heads|tags)/[!-)+-~]{0,300}\*?")
_PULL_REF = re.compile(r"refs/pull/([1-9][0-9]{0,9}/merge|\*)")
_EVENT = re.compile(r"[a-z_]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a job must be to be admitted, and to what.

    Args:
        environment: the flag server's environment that its sessions reach.
        flags: the flags that they may steer, by name; ``*`` alone stands for all of the environment's.
        repository: ``owner/name``, to be shown, and to be compared with rollouts.
        repository_id: GitHub's number of it, which is compared.
        owner_id: GitHub's number of its owner, which is compared.
        workflows: the files whose runs are admitted, by exact path.
        refs: the refs that the workflow may come from: exact, or with one ``*`` at the end.
        events: the events that may have started it.
        job_environments: environments of the repository, one of which a job must run in to ask for a rollout or
            to widen one. None: that needs no environment.
        called_workflows: reusable workflows, ``owner/name/path@ref``, from which alone a token may be asked for.
            None: from any that the workflow calls.
        role: what its sessions are: ``operator``; ``sdk`` for those that only read; ``forecast`` for those of pull
            requests, which read what the forecast is made of and nothing else.
    """

    __pydantic_config__ = STRICT

    environment: str
    flags: tuple[str, ...]
    repository: str
    repository_id: str
    owner_id: str
    workflows: tuple[str, ...]
    refs: tuple[str, ...] = ("refs/heads/main",)
    events: tuple[str, ...] = EVENTS
    job_environments: tuple[str, ...] = ()
    called_workflows: tuple[str, ...] = ()
    role: Role = Role.OPERATOR


POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)


def problems(policy: Policy) -> Iterator[Problem]:
    """Everything that is wrong with a policy."""
    yield from environment_problems("environment", policy.environment)
    for path, text, form, allowed in (
        ("repository", policy.repository, _REPOSITORY, "owner/name"),
        ("repository_id", policy.repository_id, _ID, "GitHub's number of the repository"),
        ("owner_id", policy.owner_id, _ID, "GitHub's number of its owner"),
    ):
        if not form.fullmatch(text):
            yield Problem(path, repr(text[:80]), allowed)
    yield from _each("workflows", policy.workflows, _WORKFLOW, "an exact path such as .github/workflows/release.yml")
    forecasts = policy.role is Role.FORECAST
    if forecasts:
        yield from _each("refs", policy.refs, _PULL_REF, f"{OF_PULLS}: a forecast is a pull request's")
    else:
        yield from _each("refs", policy.refs, _REF, "refs/heads/main, or a beginning such as refs/tags/v*")
    yield from _each("events", policy.events, _EVENT, "an event such as push")
    yield from _each("called_workflows", policy.called_workflows, _CALLED, "owner/name/path@ref", least=0)
    if policy.flags != (EVERY_FLAG,):
        yield from _each("flags", policy.flags, NAME, "flags by name, or * alone")
    for number, event in enumerate(policy.events):
        if forecasts and event != OF_BRANCH:
            yield Problem(f"events.{number}", event, f"{OF_BRANCH} alone, for the role {Role.FORECAST}")
        elif event.startswith(FOREIGN) and not forecasts:
            yield Problem(f"events.{number}", event, f"no pull request's: {WHY_FOREIGN}")
    for number, name in enumerate(policy.job_environments):
        if not 0 < len(name) <= 255 or not name.isprintable():
            yield Problem(f"job_environments.{number}", repr(name[:80]), "a name of 1 to 255 printable characters")
    if policy.role not in SESSION_ROLES:
        yield Problem("role", policy.role, " or ".join(SESSION_ROLES))


def _each(
    path: str, texts: tuple[str, ...], form: re.Pattern[str], allowed: str, *, least: int = 1
) -> Iterator[Problem]:
    if not least <= len(texts) <= 50:
        yield Problem(path, f"{len(texts)} of them", f"{least} to 50: {allowed}")
    for number, text in enumerate(texts[:50]):
        if not form.fullmatch(text):
            yield Problem(f"{path}.{number}", repr(text[:80]), allowed)


def misfits(policy: Policy, claims: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Every claim that keeps this policy from admitting the job; none: it admits it."""
    return tuple(_misfits(policy, claims))


def _misfits(policy: Policy, claims: Mapping[str, Any]) -> Iterator[Problem]:
    if claims.get("repository_id") != policy.repository_id:
        yield _wrong(claims, "repository_id", f"{policy.repository_id} ({policy.repository})")
    if claims.get("repository_owner_id") != policy.owner_id:
        yield _wrong(claims, "repository_owner_id", f"{policy.owner_id} (owner of {policy.repository})")
    if claims.get("event_name") not in policy.events:
        yield _wrong(claims, "event_name", _one_of(policy.events))
    elif str(claims.get("event_name")).startswith(FOREIGN) and policy.role is not Role.FORECAST:
        yield _wrong(claims, "event_name", f"no pull request's: {WHY_FOREIGN}")
    if not _is_of(claims.get("workflow_ref"), claims.get("repository"), policy):
        files = _one_of(tuple(f"{claims.get('repository')}/{path}" for path in policy.workflows))
        yield _wrong(claims, "workflow_ref", f"{files}, at {_one_of(policy.refs)}")
    if not _fits(claims.get("ref"), policy.refs):
        yield _wrong(claims, "ref", _one_of(policy.refs))
    if policy.called_workflows and claims.get("job_workflow_ref") not in policy.called_workflows:
        yield _wrong(claims, "job_workflow_ref", _one_of(policy.called_workflows))
    environment = claims.get("environment")
    if environment is not None and policy.job_environments and environment not in policy.job_environments:
        yield _wrong(claims, "environment", f"{_one_of(policy.job_environments)}; or none, to abort, pause and read")


def widens(policy: Policy, claims: Mapping[str, Any]) -> bool:
    """Whether the job may ask for a rollout and widen it."""
    return not policy.job_environments or claims.get("environment") in policy.job_environments


def is_about(policy: Policy, claims: Mapping[str, Any]) -> bool:
    """Whether whoever sent these claims may be told what the policy expects: it is their repository's, or was."""
    name = claims.get("repository")
    same_name = isinstance(name, str) and name.casefold() == policy.repository.casefold()
    return same_name or claims.get("repository_id") == policy.repository_id


def _is_of(workflow_ref: object, repository: object, policy: Policy) -> bool:
    if not isinstance(workflow_ref, str) or not isinstance(repository, str):
        return False
    file, _, ref = workflow_ref.partition("@")
    return file in {f"{repository}/{path}" for path in policy.workflows} and _fits(ref, policy.refs)


def _fits(ref: object, patterns: tuple[str, ...]) -> bool:
    if not isinstance(ref, str):
        return False
    return any(ref.startswith(one[:-1]) if one.endswith("*") else ref == one for one in patterns)


def _wrong(claims: Mapping[str, Any], name: str, expected: str) -> Problem:
    found = claims.get(name)
    return Problem(name, "nothing" if found is None else repr(found)[:200], expected)


def _one_of(texts: tuple[str, ...]) -> str:
    return " or ".join(texts)
