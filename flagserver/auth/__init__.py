"""Who calls, and what they may: keys, and the guard in front of every route."""

from flagserver.auth.keys import Caller, Keyring, NewKey, Role, make_key, public_part

__all__ = ["Caller", "Keyring", "NewKey", "Role", "make_key", "public_part"]
