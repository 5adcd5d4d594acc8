"""Who calls, and what they may: keys, sessions of jobs, and what slows down who has neither."""

from flagserver.auth.grant import Grant
from flagserver.auth.guards import SlowDown
from flagserver.auth.keyring import Keyring
from flagserver.auth.keys import Caller, NewKey, Role, Wish, public_part

__all__ = ["Caller", "Grant", "Keyring", "NewKey", "Role", "SlowDown", "Wish", "public_part"]
