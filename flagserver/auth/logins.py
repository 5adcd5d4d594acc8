"""A person's login at the dashboard: begun with a key, kept for hours, over with the key. Knows no cookie and no form.

The browser holds 256 random bits, the store their SHA-256: any replica knows the login, and a copy of the database
opens nothing.
"""

import secrets
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from flagserver.auth.keyring import Keyring
from flagserver.auth.keys import Caller, Role
from flagserver.errors import InvalidError, NotAllowedError, StoreGoneError, UnknownKeyError
from flagserver.store import Store, audit
from flagserver.store import logins as store_logins
from flagserver.store.logins import LoginRecord

LASTS = 12 * 3600.0
"""Seconds from the key to the next time that it is asked for."""

LONGEST_NAME = 80

AT_ONCE = 2.0
"""Seconds that the database has to tell who aborts, before memory is believed."""

SEEN_FOR = 900.0
"""Seconds for which a login that the database told of is believed without it: a page that is open asks oftener."""

MOST_SEEN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Somebody at the dashboard. ``caller`` is the key that vouches, ``name`` what the person calls themselves."""

    secret: str = field(repr=False)
    caller: Caller
    name: str
    ends_at: float

    @property
    def token(self) -> str:
        """What every form of this login must carry; another site can neither read nor guess it."""
        return sha256(f"form:{self.secret}".encode()).hexdigest()


class Logins:
    """The logins of all replicas."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._asking = ThreadPoolExecutor(2, thread_name_prefix="login")
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, LoginRecord]] = OrderedDict()

    def begin(self, key: str, name: str) -> Login:
        """Begin a login.

        Args:
            key: an operator's or an admin's.
            name: of the person, for the history; empty: the key's.

        Raises:
            UnknownKeyError: nobody has this key.
            NotAllowedError: the key's role is below operator.
            InvalidError: the name is too long or would not show.
            StoreGoneError: the database cannot be used.
        """
        caller = self._keyring.caller(key)
        if caller is None:
            self._keyring.refresh()
            caller = self._keyring.caller(key)
        if caller is None:
            ended = self._keyring.expired(key)
            text = f"This key ended at {ended}." if ended else "This is no key that is in use."
            raise UnknownKeyError(text, guessed=ended is None)
        if not _may(caller):
            text = f"The dashboard is for the keys of operators and admins; this one's role is {caller.role}."
            raise NotAllowedError(text, code="role")
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise InvalidError.of("name", repr(name[:40]), f"at most {LONGEST_NAME} printable characters")
        secret = secrets.token_urlsafe(32)
        with self._store.write() as tx:
            ends_at = tx.now + LASTS
            record = LoginRecord(
                verifier=_verifier(secret),
                identity=self._keyring.identity(caller),
                name=name,
                began_at=tx.now,
                ends_at=ends_at,
            )
            store_logins.insert(tx, record)
            tx.at_the_end(lambda: self._remember(record.verifier, record))
            audit.record(
                tx, actor=caller.name, action="login.begun", environment=caller.environment, subject=name or caller.name
            )
        return Login(secret=secret, caller=caller, name=name or caller.name, ends_at=ends_at)

    def find(self, secret: str) -> Login | None:
        """The login with this secret; ``None``: there is none, it is over, or its key is no longer in use.

        Raises:
            StoreGoneError: the database cannot be used.
        """
        asked_at = self._keyring.moment()
        with self._store.read() as tx:
            record = store_logins.load(tx, _verifier(secret))
        self._remember(_verifier(secret), record)
        if record is not None and self._keyring.holder(record.identity) is None:
            self._keyring.refresh(since=asked_at)
        return self._of(secret, record)

    def find_to_abort(self, secret: str) -> Login | None:
        """The same, without waiting for the database: where it does not answer, this replica's memory of the last
        minutes does. The keys that vouch are in memory in any case.

        Raises:
            StoreGoneError: it does not answer, and this replica has not seen the login lately.
        """
        attempt = self._asking.submit(self.find, secret)
        with suppress(StoreGoneError, TimeoutError):
            return attempt.result(AT_ONCE)
        with self._lock:
            seen_at, record = self._seen.get(_verifier(secret), (float("-inf"), None))
        if record is None or self._store.now() - seen_at > SEEN_FOR:
            raise StoreGoneError("The database cannot be used now, and this server has not seen your login lately.")
        return self._of(secret, record)

    def _of(self, secret: str, record: LoginRecord | None) -> Login | None:
        caller = None if record is None else self._keyring.holder(record.identity)
        if record is None or record.ends_at <= self._store.now() or caller is None or not _may(caller):
            return None
        return Login(secret=secret, caller=caller, name=record.name or caller.name, ends_at=record.ends_at)

    def _remember(self, verifier: str, record: LoginRecord | None) -> None:
        with self._lock:
            self._seen.pop(verifier, None)
            if record is not None:
                self._seen[verifier] = (self._store.now(), record)
            if len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)

    def end(self, login: Login) -> None:
        """End a login, on every replica.

        Raises:
            StoreGoneError: the database cannot be used.
        """
        with self._store.write() as tx:
            self._remember(_verifier(login.secret), None)
            if store_logins.delete(tx, _verifier(login.secret)):
                caller = login.caller
                audit.record(
                    tx, actor=caller.name, action="login.ended", environment=caller.environment, subject=login.name
                )


def _may(caller: Caller) -> bool:
    """A job's session is no person, whatever its role."""
    return caller.role.may(Role.OPERATOR) and caller.grant is None


def _verifier(secret: str) -> str:
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()
