"""Pages that want to hear of changes: who may listen, and whether there is room for one more.

A page's `EventSource` sends no headers, so its address carries a pass in place of a key. A pass lets its holder hear
that an environment's flags have changed and nothing else, and is worthless once the key is that it was made with.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256

from flagserver.auth import Caller, Keyring, Role

TURN = 43_200.0
"""Seconds for which a key's pass stays the same text, so that who listens keeps the connection. A pass is good for one
to two turns."""

_PURPOSE = "rampgate: hear of changes"


class Notices:
    """Hands out passes and knows who comes with one.

    Args:
        keyring: the keys in use.
        now: seconds since the epoch.
        most: pages that may listen at once.

    ``open`` is how many listen, ``served`` whether anybody can: both are kept by the event loop that serves them.
    """

    def __init__(self, keyring: Keyring, *, now: Callable[[], float], most: int) -> None:
        self._keyring = keyring
        self._now = now
        self._made: dict[str, tuple[int, str]] = {}
        self.most = most
        self.open = 0
        self.served = False

    def offer(self, caller: Caller) -> str | None:
        """The caller's pass; ``None``: nobody serves pages here, there is no room, or the key is not of that kind."""
        if not self.served or self.open >= self.most:
            return None
        if caller.selector is None or caller.environment is None or caller.grant is not None:
            return None
        turn = int(self._now() // TURN)
        made_in, text = self._made.get(caller.selector, (-1, ""))
        if made_in != turn:
            ends = int((turn + 2) * TURN)
            seal = self._seal(caller.selector, ends)
            if seal is None:
                return None
            text = f"{caller.selector}.{ends}.{seal}"
            self._made[caller.selector] = (turn, text)
        return text

    def holder(self, text: str, origin: str) -> Caller | None:
        """Who made this pass, if it is good for a page of this origin; ``None``: it is not.

        Args:
            text: the pass.
            origin: the page's, as its browser says; empty: it says none.
        """
        selector, _, rest = text.partition(".")
        ends, _, given = rest.partition(".")
        if not (ends.isascii() and ends.isdecimal() and len(ends) < 20) or self._now() >= int(ends):
            return None
        seal = self._seal(selector, int(ends))
        if seal is None or not hmac.compare_digest(seal.encode(), given.encode(errors="replace")):
            return None
        caller = self._keyring.holder(selector)
        if caller is None or (caller.role is Role.CLIENT and origin not in ("", *caller.origins)):
            return None
        return caller

    def _seal(self, selector: str, ends: int) -> str | None:
        kept = self._keyring.kept_of(selector)
        return None if kept is None else hmac.new(kept, f"{_PURPOSE}\n{selector}\n{ends}".encode(), sha256).hexdigest()
