"""The keys and sessions in use, in memory, for whoever must know who calls.

A lookup is one hash and one dictionary access; it never asks the database. Secrets come in and are forgotten.
"""

import hmac
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from flagserver.auth.grant import Grant
from flagserver.auth.keys import SECRET_LENGTH, Caller, NewKey, Role, Wish, make_key, rotated, verifier
from flagserver.errors import NotFoundError, SettingsError, StoreGoneError
from flagserver.store import Store, Tx, audit, trust
from flagserver.store import keys as kept
from flagserver.store.engine import bump, current_versions
from flagserver.store.keys import KeyRecord
from flagserver.store.trust import SessionRecord

OVERLAP = 86_400.0
"""Seconds that a rotated key stays good beside its successor, unless told."""

USED_EVERY = 60.0
"""Seconds between writes of which keys were used."""

_LEAST_SECRET = 32
_ADMIN = Caller(name="admin (settings)", role=Role.ADMIN, environment=None, selector="settings")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key in use: its public part, who holds it, and until when (seconds since the epoch)."""

    selector: str
    public: str
    caller: Caller
    until: float | None


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
        # By the hash of the secret, which nobody can choose: a dictionary's timing says nothing about it.
        self._entries: dict[bytes, _Entry] = {}
        self._origins: frozenset[str] = frozenset()
        self._read = (-1, -1)
        self._version = 0
        self._asked_at = float("-inf")
        self._seen: set[str] = set()
        self._wrote_at = float("-inf")
        self._admin = verifier(_admin_secret(admin_key)) if admin_key is not None else None

    def caller(self, key: str) -> Caller | None:
        """Who holds this key; ``None``: nobody."""
        entry = self._entries.get(verifier(key[-SECRET_LENGTH:]))
        if entry is not None and key[: -SECRET_LENGTH - 1] == entry.public and key[-SECRET_LENGTH - 1] == "_":
            if entry.until is None or self._store.now() < entry.until:
                if entry.caller.grant is None:
                    self._seen.add(entry.selector)
                return entry.caller
            return None
        if self._admin is not None and hmac.compare_digest(self._admin, verifier(key)):
            return _ADMIN
        return None

    def expired(self, key: str) -> str | None:
        """When this key ended, in words, if that is all that is wrong with it."""
        entry = self._entries.get(verifier(key[-SECRET_LENGTH:]))
        if entry is None or key[: -SECRET_LENGTH - 1] != entry.public or entry.until is None:
            return None
        return datetime.fromtimestamp(entry.until, UTC).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"

    def identity(self, caller: Caller) -> str:
        """A name for the caller's key that may be kept: ``holder`` knows it as long as the key is in use."""
        admin = "" if self._admin is None else self._admin.hex()[:16]
        return f"settings-{admin}" if caller is _ADMIN else caller.selector or ""

    def holder(self, identity: str) -> Caller | None:
        """Who holds the key of this identity; ``None``: it is no longer in use."""
        if self._admin is not None and identity == self.identity(_ADMIN):
            return _ADMIN
        _, found = self._find(identity)
        return None if found is None else found.caller

    def kept_of(self, selector: str) -> bytes | None:
        """What is kept of a key's secret, to sign with; ``None``: no key in use has this selector."""
        return self._find(selector)[0]

    def _find(self, selector: str) -> tuple[bytes, _Entry] | tuple[None, None]:
        """The key in use that has this selector, and what is kept of its secret."""
        for kept_secret, one in list(self._entries.items()):
            if one.selector == selector and (one.until is None or self._store.now() < one.until):
                return kept_secret, one
        return None, None

    def allows_origin(self, origin: str) -> bool:
        """Whether some client key may be used from pages of this origin."""
        return origin in self._origins

    @property
    def version(self) -> int:
        """Another number once the keys changed."""
        return self._version

    def moment(self) -> float:
        """Now, for ``refresh``: seconds on the clock of this keyring."""
        return self._steady()

    def refresh(self, *, since: float | None = None) -> None:
        """Read the keys if they changed; not again where a look begun after ``since`` has ended meanwhile.

        Raises:
            StoreGoneError: the store cannot be read; the keys known so far stay good.
        """
        with self._lock:
            # So a crowd with unknown keys costs the store one look at a time and not one each.
            if since is not None and self._asked_at > since:
                return
            self._asked_at = self._steady()
            with self._store.read() as tx:
                there = current_versions(tx)
                seen = (there.get("keys", 0), there.get("sessions", 0))
                if seen == self._read:
                    return
                records, sessions = kept.every(tx), trust.good_sessions(tx)
            entries = dict(_entry(one) for one in records if one.revoked_at is None and one.role in _ROLES)
            entries.update(_session_entry(one) for one in sessions if one.role in _ROLES)
            self._origins = frozenset(origin for one in entries.values() for origin in one.caller.origins)
            self._entries = entries
            self._read = seen
            self._version += 1

    def turn(self) -> None:
        """What is to be done every second or so: read what changed, and now and then write down what was used.

        Raises:
            StoreGoneError: the store cannot be read.
        """
        self.refresh()
        if not self._seen or self._steady() - self._wrote_at < USED_EVERY:
            return
        seen, self._seen = self._seen, set()
        self._wrote_at = self._steady()
        # Worth no alarm: whoever watches the database hears of its trouble from those who need it.
        with suppress(StoreGoneError), self._store.write() as tx:
            kept.used(tx, seen)

    def create(self, wish: Wish, *, by: str) -> NewKey:
        """Make and keep a key; its text is in the answer and nowhere else.

        Raises:
            InvalidError: everything that is wrong with the wish.
        """
        with self._store.write() as tx:
            made = _made(tx, wish, by)
        self.refresh()
        return made

    def create_first(self, wish: Wish, *, by: str) -> NewKey | None:
        """The same where no key is in use; ``None``: there is one, and be it from a server that started just now."""
        with self._store.write() as tx:
            # This row is one writer's at a time: whoever starts at the same moment waits here.
            bump(tx, "keys")
            is_first = all(one.revoked_at is not None for one in kept.every(tx))
            made = _made(tx, wish, by) if is_first else None
        self.refresh()
        return made

    def rotate(self, selector: str, *, overlap: float = OVERLAP, by: str) -> NewKey:
        """Make a successor of a key, which itself ends after ``overlap`` seconds.

        Raises:
            NotFoundError: no key in use has this selector.
        """
        with self._store.write() as tx:
            old = kept.load(tx, selector)
            if old is None or not old.is_good(tx.now):
                raise _no_key(selector)
            made = rotated(old, by=by, now=tx.now)
            kept.insert(tx, made.record)
            ends = min(tx.now + overlap, old.expires_at or float("inf"))
            kept.expire(tx, selector, ends)
            audit.record(
                tx, actor=by, action="key.rotated", environment=old.environment, subject=selector,
                before={"expires_at": old.expires_at}, after={"expires_at": ends, "successor": made.record.selector},
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
                raise _no_key(selector)
            audit.record(tx, actor=by, action="key.revoked", subject=selector)
        self.refresh()

    @property
    def is_empty(self) -> bool:
        return self._admin is None and all(one.caller.grant is not None for one in self._entries.values())


_ROLES = frozenset(Role)
"""A role that a newer server wrote, and this one does not know, admits nobody here."""


def _made(tx: Tx, wish: Wish, by: str) -> NewKey:
    made = make_key(wish, by=by, now=tx.now)
    kept.insert(tx, made.record)
    audit.record(
        tx, actor=by, action="key.created", environment=wish.environment, subject=made.record.selector,
        after={"role": wish.role.value, "name": wish.name, "expires_at": made.record.expires_at},
    )  # fmt: skip
    return made


def _entry(one: KeyRecord) -> tuple[bytes, _Entry]:
    caller = Caller(
        name=f"{one.name} ({one.role})", role=Role(one.role), environment=one.environment, selector=one.selector,
        origins=frozenset(one.origins),
    )  # fmt: skip
    return bytes.fromhex(one.verifier), _Entry(one.selector, f"rg_{one.role}_{one.selector}", caller, one.expires_at)


def _session_entry(one: SessionRecord) -> tuple[bytes, _Entry]:
    grant = Grant.read(one.grant, one.rollout)
    caller = Caller(
        name=grant.job, role=Role(one.role), environment=one.environment, selector=one.selector, grant=grant
    )  # fmt: skip
    until = min(one.until, one.ends_at)
    return bytes.fromhex(one.verifier), _Entry(one.selector, f"rg_session_{one.selector}", caller, until)


def _no_key(selector: str) -> NotFoundError:
    return NotFoundError(f"No key in use has the selector {selector}.", code="key_not_found")


def _admin_secret(key: str) -> str:
    if key.startswith(tuple(f"rg_{role}_" for role in Role if role is not Role.ADMIN)):
        raise SettingsError("FLAGSERVER_ADMIN_KEY is a key of another role; it must be an admin key.")
    if len(key) < _LEAST_SECRET or not key.isascii() or any(character.isspace() for character in key):
        raise SettingsError(
            f"FLAGSERVER_ADMIN_KEY must be a key or a secret of at least {_LEAST_SECRET} characters without spaces."
        )
    return key
