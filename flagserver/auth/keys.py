"""Keys: ``rg_<role>_<selector>_<secret>``, 256 bits of secret, of which the store has only the SHA-256.

A lookup is one dictionary access and one comparison in constant time; it never asks the database.
"""

import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from flagserver.errors import InvalidError, NotFoundError, SettingsError
from flagserver.store import Store, audit
from flagserver.store import keys as kept
from flagserver.store.engine import current_versions
from flagserver.store.keys import KeyRecord

_FORM = re.compile(r"rg_(sdk|operator|admin)_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LEAST_SECRET = 32


class Role(StrEnum):
    """What a key may: each role may all that the one before it may."""

    SDK = "sdk"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever holds a key. ``environment`` is ``None`` where the key serves all of them; ``selector`` names the key."""

    name: str
    role: Role
    environment: str | None
    selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made: ``text`` is shown once and kept nowhere."""

    text: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"NewKey({self.record.selector}, ***)"


def make_key(role: Role, environment: str | None, name: str, *, by: str, now: float) -> NewKey:
    """Make a key.

    Raises:
        InvalidError: a role other than admin needs an environment, or the name is empty.
    """
    if role is not Role.ADMIN and not environment:
        raise InvalidError.of("environment", "nothing", f"an environment: {role} keys belong to one")
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise InvalidError.of("name", repr(name[:80]), "1 to 100 printable characters")
    selector, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    record = KeyRecord(
        selector=selector, verifier=_verifier(secret), role=role.value,
        environment=None if role is Role.ADMIN else environment, name=name, created_at=now, created_by=by,
    )  # fmt: skip
    return NewKey(text=f"rg_{role}_{selector}_{secret}", record=record)


def public_part(record: KeyRecord) -> Mapping[str, object]:
    """What may be shown of a key at any time."""
    return {
        "selector": record.selector,
        "role": record.role,
        "environment": record.environment,
        "name": record.name,
        "created_at": record.created_at,
        "created_by": record.created_by,
        "revoked_at": record.revoked_at,
    }


class Keyring:
    """The keys in use, in memory; read again when they change.

    Args:
        store: where keys are kept.
        admin_key: one more admin key, from the settings; never stored.

    Raises:
        SettingsError: the admin key is neither a well-formed key nor a secret of 32 characters.
    """

    def __init__(
        self, store: Store, admin_key: str | None = None, *, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._steady = steady
        self._lock = threading.Lock()
        self._callers: dict[str, tuple[str, Caller]] = {}
        self._version = -1
        self._asked_at = float("-inf")
        self._admin = _verifier(_admin_secret(admin_key)) if admin_key is not None else None

    def caller(self, key: str) -> Caller | None:
        """Who holds this key; ``None``: nobody."""
        form = _FORM.fullmatch(key)
        if form is not None:
            verifier, caller = self._callers.get(form[2], ("", None))
            if hmac.compare_digest(verifier, _verifier(form[3])) and caller is not None and caller.role == form[1]:
                return caller
        if self._admin is not None and hmac.compare_digest(self._admin, _verifier(key)):
            return Caller(name="admin (settings)", role=Role.ADMIN, environment=None)
        return None

    @property
    def version(self) -> int:
        """Another number once the keys changed."""
        return self._version

    @property
    def may_be_outdated(self) -> bool:
        """Whether asking the store again can help somebody whose key is not known here yet."""
        return self._steady() - self._asked_at > 0.2

    def refresh(self) -> None:
        """Read the keys if they changed.

        Raises:
            StoreGoneError: the store cannot be read; the keys known so far stay good.
        """
        with self._lock:
            self._asked_at = self._steady()
            with self._store.read() as tx:
                version = current_versions(tx).get("keys", 0)
                if version == self._version:
                    return
                records = kept.every(tx)
            self._callers = {
                one.selector: (
                    one.verifier,
                    Caller(
                        name=f"{one.name} ({one.role})",
                        role=Role(one.role),
                        environment=one.environment,
                        selector=one.selector,
                    ),
                )
                for one in records
                if one.revoked_at is None
            }
            self._version = version

    def create(self, role: Role, environment: str | None, name: str, *, by: str) -> NewKey:
        """Make and keep a key; its text is in the answer and nowhere else."""
        with self._store.write() as tx:
            made = make_key(role, environment, name, by=by, now=tx.now)
            kept.insert(tx, made.record)
            audit.record(
                tx, actor=by, action="key.created", environment=environment, subject=made.record.selector,
                after={"role": role.value, "name": name},
            )  # fmt: skip
        self.refresh()
        return made

    def every(self) -> tuple[KeyRecord, ...]:
        with self._store.read() as tx:
            return kept.every(tx)

    def revoke(self, selector: str, *, by: str) -> None:
        """Take a key out of use.

        Raises:
            NotFoundError: no key in use has this selector.
        """
        with self._store.write() as tx:
            if not kept.revoke(tx, selector):
                raise NotFoundError(f"No key in use has the selector {selector}.", code="key_not_found")
            audit.record(tx, actor=by, action="key.revoked", subject=selector)
        self.refresh()

    @property
    def is_empty(self) -> bool:
        return self._admin is None and not self._callers


def _verifier(secret: str) -> str:
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _admin_secret(key: str) -> str:
    if _FORM.fullmatch(key) is not None and not key.startswith("rg_admin_"):
        raise SettingsError("FLAGSERVER_ADMIN_KEY is a key of another role; it must be an admin key.")
    if len(key) < _LEAST_SECRET or not key.isascii() or any(character.isspace() for character in key):
        raise SettingsError(
            f"FLAGSERVER_ADMIN_KEY must be a key or a secret of at least {_LEAST_SECRET} characters without spaces."
        )
    return key
