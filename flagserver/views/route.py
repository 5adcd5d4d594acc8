"""A route as a value: who may call it, what it takes and gives, and the function that answers.

No framework: the same function serves the event loop, Flask and the tests.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any

import structlog
from pydantic import TypeAdapter

from flagserver.auth import Caller, Role
from flagserver.errors import (
    FlagServerError,
    InvalidError,
    IssuerGoneError,
    NewerWordsError,
    NotAllowedError,
    SlowDownError,
    StoreGoneError,
    UnknownKeyError,
)
from flagserver.services import Services
from flagserver.wire import encode

MOST_BODY = 1024 * 1024
"""Bytes of the largest body that is read."""

MOST_KEYLESS = 64 * 1024
"""Bytes of the largest body that is read of somebody without a key: a form, or a job's token."""

JSON = "application/json"

LINES = "application/x-ndjson"
"""JSON lines: what a list is exported as, for who asks for it by `Accept`."""

log = structlog.get_logger("flagserver.views")


MOST_SAID = 1000
"""Characters of the longest sentence in a query."""

LAST_MOMENT = 2.0**40
"""The latest moment that can be asked for, in seconds since the epoch: far enough for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: header names in lower case, path parameters decoded."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller

    def environment(self) -> str:
        """The environment that the key belongs to; an admin key names one by ``?environment=``.

        Raises:
            NotAllowedError: another one is named, or none where one has to be.
        """
        named = self.query.get("environment")
        if self.caller.environment is not None:
            self.own(named)
            return self.caller.environment
        if not named:
            text = "This key serves every environment: name one with ?environment=, or use a key that belongs to one."
            raise NotAllowedError(text, code="environment_needed")
        return named

    def own(self, environment: str | None) -> None:
        """Refuse a named environment that is not the key's.

        Raises:
            NotAllowedError: the key belongs to another one.
        """
        if self.caller.environment is not None and environment not in (None, self.caller.environment):
            text = f"The key belongs to {self.caller.environment}, not to {environment}."
            raise NotAllowedError(text, code="environment")

    def said(self, name: str) -> str | None:
        """A sentence or a name from the query; ``None``: not given.

        Raises:
            InvalidError: it is too long, or would not show.
        """
        text = self.query.get(name)
        if text is None or (0 < len(text) <= MOST_SAID and text.isprintable() and text.strip()):
            return text
        raise InvalidError.of(name, repr(text[:80]), f"1 to {MOST_SAID} printable characters")

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number from the query.

        Raises:
            InvalidError: it is none, or out of bounds.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most:
            return int(text)
        raise InvalidError.of(name, repr(text[:80]), f"a number from {least} to {most}", status=400)

    def moment(self, name: str) -> float | None:
        """Seconds since the epoch, or not given, from the query.

        Raises:
            InvalidError: it is no such number.
        """
        text = self.query.get(name)
        if text is None:
            return None
        with suppress(ValueError):
            if 0 <= (seconds := float(text)) <= LAST_MOMENT:
                return seconds
        raise InvalidError.of(name, repr(text[:80]), "seconds since the epoch", status=400)

    @property
    def wants_lines(self) -> bool:
        return LINES in self.headers.get("accept", "")

    def flag(self, name: str) -> bool | None:
        """True, false or not given, from the query."""
        text = self.query.get(name)
        if text is None:
            return None
        if text in ("true", "false"):
            return text == "true"
        raise InvalidError.of(name, repr(text[:80]), "true or false", status=400)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    type: str = JSON


class Served(StrEnum):
    """Where a route is answered: on the event loop, or by Flask in a thread that may wait for the database."""

    LOOP = "loop"
    THREAD = "thread"
    LONG_POLL = "long_poll"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path. ``role`` is the least that may call it; ``None``: anybody.

    ``lines``: the list that it gives can be had as JSON lines. ``sessions``: a job's session may call it, and the
    answer holds it to its grant; without that, sessions may only read what the role `sdk` may. ``forecast``: so may a
    session of that role, which may nothing else. ``proxied``: a proxy
    calls it with a visitor's headers, whose origin is not the caller's. ``status`` is what a success has, ``made``
    other successes, ``refuses`` refusals of its own; ``gives`` is the answer's type, or its JSON schema.

    For the description alone: ``body`` is the JSON schema of a body that has no type, ``asks`` those of queries,
    ``needs`` the queries that must be there, ``shapes`` the answers of other statuses, ``media`` a success's type.
    """

    method: str
    path: str
    role: Role | None
    answer: Callable[[Services, Call], Reply]
    summary: str
    served: Served = Served.THREAD
    takes: TypeAdapter[Any] | None = None
    gives: TypeAdapter[Any] | Mapping[str, Any] | None = None
    lines: bool = False
    status: int = 200
    query: tuple[str, ...] = ()
    refuses: tuple[int, ...] = ()
    made: Mapping[int, str] = field(default_factory=dict)
    sessions: bool = False
    forecast: bool = False
    proxied: bool = False
    body: Mapping[str, Any] | None = None
    asks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    shapes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    media: str = JSON


def up_to(most: int) -> Mapping[str, Mapping[str, Any]]:
    """The description of a ``limit`` up to this many."""
    return {"limit": {"type": "integer", "minimum": 1, "maximum": most}}


def sentences(*names: str) -> Mapping[str, Mapping[str, Any]]:
    """The description of queries that `Call.said` reads."""
    return {name: {"type": "string", "minLength": 1, "maxLength": MOST_SAID} for name in names}


ANYBODY = Caller(name="anybody", role=Role.SDK, environment=None)


def admit(services: Services, route: Route, headers: Mapping[str, str], params: Mapping[str, str]) -> Caller:
    """Who calls, if they may.

    Raises:
        UnknownKeyError: there is no key, or nobody has it.
        NotAllowedError: the key's role or environment does not reach this route.
    """
    if route.role is None:
        return ANYBODY
    key = presented(headers)
    caller = services.keyring.caller(key)
    if caller is None:
        raise _unknown(services, key)
    if not (caller.role.may(route.role) or (route.forecast and caller.role is Role.FORECAST)):
        raise NotAllowedError(f"This needs the role {route.role}; the key's is {caller.role}.", code="role")
    environment = params.get("environment")
    if environment is not None and caller.environment not in (None, environment):
        raise NotAllowedError(f"The key belongs to {caller.environment}, not to {environment}.", code="environment")
    foreign = not route.proxied and headers.get("origin", "") not in ("", *caller.origins)
    if caller.role is Role.CLIENT and foreign:
        text = f"This key may not be used from pages of {headers['origin'][:200]}."
        raise NotAllowedError(text, code="origin")
    if caller.grant is not None and not (route.sessions or route.forecast or _is_reading(route)):
        raise NotAllowedError("A job's session may not do this; it needs a key.", code="session")
    return caller


def still_admitted(services: Services, call: Call) -> bool:
    """Whether the key with which a stream was begun is still in use, by what memory knows."""
    return services.keyring.caller(presented(call.headers)) is not None


def _is_reading(route: Route) -> bool:
    return route.role is Role.CLIENT or (route.role is Role.SDK and route.method == "GET")


def _unknown(services: Services, key: str) -> UnknownKeyError:
    if not key:
        text = "This route needs a key: `Authorization: Bearer rg_…`."
        return UnknownKeyError(text, guessed=False)
    ended = services.keyring.expired(key)
    if ended is not None:
        return UnknownKeyError(f"This key ended at {ended}.", code="key_expired", guessed=False)
    return UnknownKeyError("This route needs a key: `Authorization: Bearer rg_…`, and this is none that is in use.")


def admit_fresh(services: Services, route: Route, headers: Mapping[str, str], params: Mapping[str, str]) -> Caller:
    """Like ``admit``, but a key that is not known yet is looked for in the store first. May wait for it."""
    asked_at = services.keyring.moment()
    try:
        return admit(services, route, headers, params)
    except UnknownKeyError as error:
        if not error.guessed:
            raise
    # Without the store the keys known so far stay good, and this one is not among them.
    with suppress(StoreGoneError):
        services.keyring.refresh(since=asked_at)
    return admit(services, route, headers, params)


def presented(headers: Mapping[str, str]) -> str:
    """The key that a request carries; empty: none.

    ``X-API-Key`` counts first: a proxy that asks for a visitor passes that visitor's own ``Authorization`` on.
    """
    given = headers.get("x-api-key")
    if given is not None:
        return given
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def answer(services: Services, route: Route, call: Call) -> Reply:
    """The route's reply; refusals and faults become replies, too."""
    try:
        return route.answer(services, call)
    except FlagServerError as error:
        return refused(error)
    except Exception:
        return fault(route, call)


def fault(route: Route, call: Call) -> Reply:
    """The reply to the exception under way, which is nobody's but ours; the log has it."""
    log.exception("fault", route=route.path, request=call.headers.get("x-request-id"))
    return refused(FlagServerError("Something went wrong here; the log of the server says what."))


def refused(error: FlagServerError) -> Reply:
    """A refusal as a reply."""
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, UnknownKeyError):
        headers = (("WWW-Authenticate", "Bearer"),)
    if isinstance(error, StoreGoneError | NewerWordsError):
        headers = (("Retry-After", "1"),)
        log.warning("store_unavailable", why=error.message)
    if isinstance(error, SlowDownError | IssuerGoneError):
        headers = (("Retry-After", str(ceil(error.seconds))),)
    return Reply(error.status, encode(error.document()), headers)


def page(call: Call, name: str, rows: Sequence[object], following: float | None) -> Reply:
    """A part of a list: as JSON with ``next``, or as JSON lines with the header ``Rampgate-Next``."""
    if not call.wants_lines:
        return json_reply({name: rows, "next": following})
    headers = () if following is None else (("Rampgate-Next", str(following)),)
    return Reply(200, b"".join(encode(row) + b"\n" for row in rows), headers, LINES)


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, encode(value))


def reply_with(adapter: TypeAdapter[Any], value: object, status: int = 200) -> Reply:
    return Reply(status, adapter.dump_json(value))
