"""Keys as values: ``rg_<role>_<selector>_<secret>``, 256 bits of secret, of which only the SHA-256 is kept.

What a key is and what may be said of it; the keys in use are in `keyring.py`.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from urllib.parse import urlsplit

from flagserver.auth.grant import Grant
from flagserver.errors import InvalidError
from flagserver.names import environment_problems
from flagserver.store.keys import KeyRecord
from rampgate.problem import Problem

MOST_ORIGINS = 50
SECRET_LENGTH = 43
"""Characters of 256 bits in URL-safe base64."""


class Role(StrEnum):
    """What a key may: each role may all that the one before it may. ``forecast`` is a session's alone: it reaches no
    route but those that name it.
    """

    FORECAST = "forecast"
    CLIENT = "client"
    SDK = "sdk"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        order = _ORDER
        return order[self] >= order[needed]


_ORDER = {role: number for number, role in enumerate(Role)}

KEY_ROLES = tuple(role for role in Role if role is not Role.FORECAST)
"""The roles that a stored key may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever holds a key. ``environment`` is ``None`` where the key serves all of them.

    ``origins`` are the web origins from which a client key may be used; ``grant`` is there where the key is a
    session's, and says what is left to it of its role.
    """

    name: str
    role: Role
    environment: str | None
    selector: str | None = None
    origins: frozenset[str] = frozenset()
    grant: Grant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A key that is asked for. ``lives`` is in seconds; ``None``: until it is revoked."""

    role: Role
    environment: str | None
    name: str
    lives: float | None = None
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made: ``text`` is shown once and kept nowhere."""

    text: str = field(repr=False)
    record: KeyRecord


def make_key(wish: Wish, *, by: str, now: float) -> NewKey:
    """Make a key.

    Raises:
        InvalidError: everything that is wrong with the wish.
    """
    if wrong := tuple(_problems(wish)):
        raise InvalidError(problems=wrong)
    selector, secret = new_secret()
    record = KeyRecord(
        selector=selector, verifier=verifier(secret).hex(), role=wish.role.value,
        environment=None if wish.role is Role.ADMIN else wish.environment, name=wish.name, created_at=now,
        created_by=by, expires_at=None if wish.lives is None else now + wish.lives, origins=wish.origins,
    )  # fmt: skip
    return NewKey(text=f"rg_{wish.role}_{selector}_{secret}", record=record)


def rotated(old: KeyRecord, *, by: str, now: float) -> NewKey:
    """A key like this one with a secret of its own, which lives as long as the old one was to live."""
    lives = None if old.expires_at is None else old.expires_at - old.created_at
    wish = Wish(role=Role(old.role), environment=old.environment, name=old.name, lives=lives, origins=old.origins)
    made = make_key(wish, by=by, now=now)
    return replace(made, record=replace(made.record, replaces=old.selector))


def new_secret() -> tuple[str, str]:
    """A selector, which is public, and a secret."""
    return secrets.token_hex(6), secrets.token_urlsafe(32)


def verifier(secret: str) -> bytes:
    """What is kept of a secret."""
    return sha256(secret.encode(errors="surrogatepass")).digest()


def public_part(record: KeyRecord) -> Mapping[str, object]:
    """What may be shown of a key at any time."""
    return {
        "selector": record.selector,
        "role": record.role,
        "environment": record.environment,
        "name": record.name,
        "origins": list(record.origins),
        "created_at": record.created_at,
        "created_by": record.created_by,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
        "replaces": record.replaces,
        "revoked_at": record.revoked_at,
    }


def _problems(wish: Wish) -> Iterator[Problem]:
    if wish.role not in KEY_ROLES:
        yield Problem("role", wish.role.value, ", ".join(KEY_ROLES))
    if wish.role is not Role.ADMIN and not wish.environment:
        yield Problem("environment", "nothing", f"an environment: {wish.role} keys belong to one")
    elif wish.role is not Role.ADMIN and wish.environment:
        yield from environment_problems("environment", wish.environment)
    if not 0 < len(wish.name) <= 100 or not wish.name.isprintable():
        yield Problem("name", repr(wish.name[:80]), "1 to 100 printable characters")
    if wish.lives is not None and not 60 <= wish.lives <= 10 * 366 * 86_400:
        yield Problem("expires_in", f"{wish.lives:g}", "seconds from a minute to ten years")
    if wish.origins and wish.role is not Role.CLIENT:
        yield Problem("origins", repr(wish.origins[0][:80]), f"none: {wish.role} keys are no business of a browser")
    if len(wish.origins) > MOST_ORIGINS:
        yield Problem("origins", str(len(wish.origins)), f"at most {MOST_ORIGINS}")
    for number, origin in enumerate(wish.origins[:MOST_ORIGINS]):
        if not _is_origin(origin):
            text = "scheme, host and perhaps a port, as a browser sends it: https://shop.example"
            yield Problem(f"origins.{number}", repr(origin[:80]), text)


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("https", "http") or not host or not text.isascii():
        return False
    shown = f"[{host}]" if ":" in host else host
    own = {"https": 443, "http": 80}[parts.scheme]
    written = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None and port != own else "")
    return text == written and "*" not in text
