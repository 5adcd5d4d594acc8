"""The three ways to a configuration: from a file, from its text, and from the document that a rollout keeps."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gate.config.deploys import deployer_of
from gate.config.faults import Fault, dotted, faults
from gate.config.further import further_of
from gate.config.github import wishes_of
from gate.config.hooks import hooks_of
from gate.config.models import File
from gate.config.notify import notify_of
from gate.config.resolve import metrics_of, misfits, plan_of, verify_of
from gate.config.rules import CommandRules, OnlyCommands, rules_of
from gate.config.text import LARGEST, parse
from gate.config.values import Config
from gate.errors import ConfigError, MisuseError
from rampgate.problem import Problem

_MUST: dict[str, Any] = {"flag": "flag", "deploy": {"none": True}, "metrics": [{"errors": "flagserver"}]}
"""Stand-ins for what is missing, so that the rest is still looked at. Nothing is ever built with them."""

_NO_ENVIRONMENT = Problem("environment", "nothing", "the environment, here or as the input `environment`")

_TOGETHER = (
    frozenset({"poll", "lease", "staleAfter", "heartbeat", "scaleDownDelay", "drainTimeout"}),
    frozenset({"steps", "holdBack", "strategy", "dark", "timeouts", "policies"}),
    frozenset({"strategy", "targets", "batches", "maxUnavailable", "usersFollow", "timeouts", "policies"}),
    frozenset({"strategy", "targets", "verify"}),
    frozenset({"metrics", "limits"}),
    frozenset({"strategy", "metrics"}),
    frozenset({"verify", "timeouts"}),
    frozenset({"hooks", "timeouts"}),
)
"""Keys that are measured against each other: where one cannot be read, nothing is said about its neighbours."""


def read(path: Path, *, environment: str | None = None) -> Config:
    """Read the configuration file.

    Args:
        path: where it is.
        environment: the environment to release to; it takes the place of the one in the file.

    Raises:
        MisuseError: there is no such file, or it cannot be read.
        ConfigError: with everything that is wrong with it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        what = f"{path}: {error.strerror or type(error).__name__}."
        raise MisuseError(what, do="Write one: docs/configuration.md starts with ten lines.") from error
    if len(data) > LARGEST:
        raise ConfigError(str(path), (Problem("the file", "its size", f"at most {LARGEST // 1024} KiB"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem("the file", f"the byte 0x{data[error.start]:02x} at {error.start}", "text in UTF-8")
        raise ConfigError(str(path), (problem,)) from error
    return load(text, where=str(path), environment=environment)


def load(text: str, *, where: str, environment: str | None = None) -> Config:
    """Read the configuration from its text.

    Args:
        text: YAML.
        where: the name to call it by in messages.
        environment: the environment to release to; it takes the place of the one in the file.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    document, found = parse(text)
    if found and not document:
        raise ConfigError(where, tuple(found))
    return _load(document, found, where, environment)


def from_document(document: Mapping[str, Any], *, where: str) -> Config:
    """Read the configuration from the ``document`` of an earlier one, as a rollout keeps it.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    return _load(copy.deepcopy(dict(document)), [], where, None)


def _load(document: dict[str, Any], found: list[Problem], where: str, environment: str | None) -> Config:
    if environment is not None:
        document = {**document, "environment": environment}
    try:
        file = File.model_validate(document)
    except ValidationError as error:
        wrong = list(faults(error))
        found = [*found, *(fault.problem for fault in wrong), *_rest(document, wrong)]
        raise ConfigError(where, _tidy(found, document)) from None
    if file.environment is None:
        found = [*found, _NO_ENVIRONMENT]
    plan = plan_of(file, file.environment or "none")
    found = [*found, *misfits(file, plan)]
    if found:
        raise ConfigError(where, _tidy(found, document))
    return Config(
        plan=plan,
        deploy=deployer_of(file.deploy)[1],
        metrics=metrics_of(file),
        further=further_of(file).metrics,
        verify=verify_of(file),
        hooks=hooks_of(file.hooks),
        github=wishes_of(file.github, file.on_revert),
        notify=notify_of(file.notify),
        document=document,
    )


def _rest(document: dict[str, Any], wrong: list[Fault]) -> list[Problem]:
    """What else is wrong, once what cannot be read is left out."""
    readable = copy.deepcopy(document)
    for fault in wrong:
        _leave_out(readable, fault)
    try:
        file = File.model_validate({**_MUST, **readable})
    except ValidationError as error:
        # What an unknown key leaves behind can lack the right one: then the whole of it is left out.
        for fault in faults(error):
            readable.pop(str(fault.place[0]) if fault.place else "", None)
        file = File.model_validate({**_MUST, **readable})
    rest = list(misfits(file, plan_of(file, file.environment or "none")))
    if file.environment is None:
        rest.append(_NO_ENVIRONMENT)
    unread = {str(fault.place[0]) for fault in wrong if fault.place and not fault.unknown}
    replaced = {dotted(fault.place[:2]) for fault in wrong if _is_in_metrics(fault)}
    if replaced:
        # The other metrics may have left to this one whom to ask.
        rest = [one for one in rest if one.value != "nothing" or ".queries." in one.path]
        rest = [one for one in rest if not one.path.startswith(tuple(replaced)) and one.path != "metrics"]
        unread = {*(unread - {"metrics"}), "limits"}
    blurred = unread.union(*(group for group in _TOGETHER if group & unread and not (replaced and "limits" in group)))
    return [problem for problem in rest if _first(problem.path) not in blurred]


def _is_in_metrics(fault: Fault) -> bool:
    return len(fault.place) > 1 and fault.place[0] == "metrics" and not fault.unknown


def _leave_out(document: dict[str, Any], fault: Fault) -> None:
    """Take an unknown key out of its mapping; of what cannot be read, the whole of it from the top.

    A metric that cannot be read has a stand-in, so that the others are still looked at.
    """
    metrics, place = document.get("metrics"), fault.place
    if _is_in_metrics(fault) and isinstance(metrics, list) and isinstance(place[1], int):
        metrics[place[1]] = dict(_MUST["metrics"][0])
    elif not fault.unknown:
        document.pop(str(place[0]) if place else "", None)
    if not fault.unknown:
        return
    inside: Any = document
    for part in place[:-1]:
        here = part in inside if isinstance(inside, dict) else isinstance(inside, list)
        inside = inside[part] if here else None
    if isinstance(inside, dict):
        inside.pop(place[-1], None)


def _first(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _tidy(found: list[Problem], document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """In the file's order, and the first problem of each path: a second one there would only follow from it."""
    order = {key: index for index, key in enumerate(document)}
    once: dict[str, Problem] = {}
    for problem in found:
        once.setdefault(problem.path, problem)
    return tuple(sorted(once.values(), key=lambda problem: order.get(_first(problem.path), len(order))))


def command_rules(text: str, *, where: str) -> CommandRules:
    """How comments give orders, from the text of the configuration; the rest of it may have problems.

    Raises:
        ConfigError: with everything that is wrong with the section, or with the text as YAML.
    """
    document, found = parse(text)
    found = [one for one in found if not document or _first(one.path) == "commands"]
    if found:
        raise ConfigError(where, tuple(found))
    try:
        keys = OnlyCommands.model_validate(document).commands
    except ValidationError as error:
        raise ConfigError(where, tuple(fault.problem for fault in faults(error, root=OnlyCommands))) from None
    flag, environment = document.get("flag"), document.get("environment")
    return rules_of(
        keys,
        flag=flag if isinstance(flag, str) else None,
        environment=environment if isinstance(environment, str) else None,
    )
