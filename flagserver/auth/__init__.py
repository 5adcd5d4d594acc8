"""Who calls, and what they may: keys, logins of people, sessions of jobs, and what slows down who has neither."""

from flagserver.auth.grant import Grant
from flagserver.auth.guards import SlowDown
from flagserver.auth.issuer import Issuer
from flagserver.auth.keyring import Keyring
from flagserver.auth.keys import KEY_ROLES, Caller, NewKey, Role, Wish, public_part
from flagserver.auth.logins import Login, Logins
from flagserver.auth.sessions import Sessions
from flagserver.auth.trust import Trust

__all__ = [
    "KEY_ROLES",
    "Caller",
    "Grant",
    "Issuer",
    "Keyring",
    "Login",
    "Logins",
    "NewKey",
    "Role",
    "Sessions",
    "SlowDown",
    "Trust",
    "Wish",
    "public_part",
]
