"""The shared dataclasses as JSON, both ways; unknown fields, wrong types and infinite numbers are refused.

Knows no route and no table; `rampgate/` itself stays free of pydantic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from flagserver.errors import InvalidError, NewerWordsError
from rampgate.followers import Follower, Following
from rampgate.locks import HeldLock, NewLock
from rampgate.machine.events import Event
from rampgate.machine.state import Action, Because, Refusal, State
from rampgate.plan import RolloutPlan
from rampgate.problem import Problem
from rampgate.rollout import (
    Answer,
    Attempt,
    Entry,
    Minute,
    NewRollout,
    Posted,
    RecordedLook,
    RefusedVersion,
    Rollout,
    Telemetry,
    Waiting,
)

T = TypeVar("T")

PLAN: TypeAdapter[RolloutPlan] = TypeAdapter(RolloutPlan)
STATE: TypeAdapter[State] = TypeAdapter(State)
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
BECAUSE: TypeAdapter[tuple[Because, ...]] = TypeAdapter(tuple[Because, ...])
ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])
REFUSAL: TypeAdapter[Refusal | None] = TypeAdapter(Refusal | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A list of rollouts; ``next``: what goes into ``before`` for the page after it."""

    rollouts: tuple[Rollout, ...]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A part of a rollout's history."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """A part of a flag's counts by minute; ``next``: from which moment on there are more."""

    minutes: tuple[Minute, ...]
    next: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """A part of a rollout's looks; ``next``: what goes into ``after`` for the page after it. ``plan`` is the latest
    attempt's."""

    rollout: str
    plan: RolloutPlan
    plan_hash: str
    attempts: tuple[Attempt, ...]
    looks: tuple[RecordedLook, ...]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedVersions:
    """What a flag refuses."""

    refused: tuple[RefusedVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Who waits."""

    waiting: tuple[Waiting, ...]


QUEUE: TypeAdapter[Queue] = TypeAdapter(Queue)
LOOKS: TypeAdapter[Looks] = TypeAdapter(Looks)
REFUSED_VERSIONS: TypeAdapter[RefusedVersions] = TypeAdapter(RefusedVersions)
MINUTES: TypeAdapter[Minutes] = TypeAdapter(Minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followers:
    """Those who are there."""

    followers: tuple[Follower, ...]


FOLLOWING: TypeAdapter[Following] = TypeAdapter(Following)
FOLLOWER: TypeAdapter[Follower] = TypeAdapter(Follower)
FOLLOWERS: TypeAdapter[Followers] = TypeAdapter(Followers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locks:
    """A list of locks."""

    locks: tuple[HeldLock, ...]


NEW_LOCK: TypeAdapter[NewLock] = TypeAdapter(NewLock)
LOCK: TypeAdapter[HeldLock] = TypeAdapter(HeldLock)
LOCKS: TypeAdapter[Locks] = TypeAdapter(Locks)
LISTED: TypeAdapter[Listed] = TypeAdapter(Listed)
HISTORY: TypeAdapter[History] = TypeAdapter(History)
NEW_ROLLOUT: TypeAdapter[NewRollout] = TypeAdapter(NewRollout)
ROLLOUT: TypeAdapter[Rollout] = TypeAdapter(Rollout)
POSTED: TypeAdapter[Posted] = TypeAdapter(Posted)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)
TELEMETRY: TypeAdapter[Telemetry] = TypeAdapter(Telemetry)


def text(adapter: TypeAdapter[T], value: T) -> str:
    """A value as the JSON that the store keeps."""
    return adapter.dump_json(value).decode()


def stored(adapter: TypeAdapter[T], text: str) -> T:
    """What the store keeps, a newer version's too: during an upgrade servers of both write. What only the newer one
    knows is left out.

    Raises:
        NewerWordsError: it says something that must not be left out, such as another phase.
    """
    try:
        return adapter.validate_json(text, extra="ignore")
    except ValidationError as error:
        told = "The database holds what this server cannot read: a newer server on it wrote that, so ask that one."
        raise NewerWordsError(told) from error


def encode(value: object) -> bytes:
    """Plain values as JSON."""
    return to_json(value)


def decode(body: bytes) -> Any:
    """A body as plain values.

    Raises:
        InvalidError: it is no JSON, is nested too deeply, or holds a number that is not finite.
    """
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidError.of("body", _short(body), f"JSON ({error})", status=400, code="not_json") from None
    if not _finite(value):
        raise InvalidError.of("body", "a number that is not finite", "finite numbers", status=400, code="not_json")
    return value


def parse(adapter: TypeAdapter[T], body: bytes, path: str = "") -> T:
    """A body as the adapter's value.

    Raises:
        InvalidError: every problem at once, each with its path.
    """
    decode(body)
    try:
        return adapter.validate_json(body, strict=True)
    except ValidationError as error:
        raise InvalidError(problems=tuple(_problems(error, path))) from None


def _problems(error: ValidationError, path: str) -> Iterator[Problem]:
    for one in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in ((path,) if path else ()) + one["loc"])
        value = _short(to_json(one["input"], fallback=str)) if one["type"] != "missing" else "nothing"
        yield Problem(where or "body", value, one["msg"])


def _finite(value: Any) -> bool:
    match value:
        case float():
            return isfinite(value)
        case dict():
            return all(_finite(one) for one in value.values())
        case list():
            return all(_finite(one) for one in value)
        case _:
            return True


def _short(body: bytes, limit: int = 80) -> str:
    shown = body[:limit].decode(errors="replace")
    return shown + "…" if len(body) > limit else shown
