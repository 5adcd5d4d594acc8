"""Which users an arm has had, in a form that several processes can unite: nobody is counted twice, nobody is named.

Users are keyed 64-bit hashes. Those with errors are told one by one, up to a bound; those who were active as a
HyperLogLog sketch: the registers that rose since the last report, as the server merges them.
Source: Flajolet et al., "HyperLogLog", 2007.
"""

import base64
from hashlib import blake2b
from struct import pack

REGISTERS_BITS = 12
"""4096 registers: the server's estimate is right to 1.6 % (one standard deviation)."""

HIGHEST_RANK = 15
"""What a register can say at most; it takes 16 bits of hash, so that ten million users a minute are told apart."""

MAX_AFFECTED = 4096
"""Users with errors in one report. Past it the figure is left out: it would be too small."""

_BELOW = 64 - REGISTERS_BITS


def hashed(user: str, key: str) -> int:
    """64 bits of the user's key, which nobody without the rollout's key can match to a user."""
    return int.from_bytes(blake2b(user.encode("utf-8", "replace"), digest_size=8, key=key.encode()).digest())


def register(hash64: int) -> int:
    """The HyperLogLog register that this user raises, and how high: ``number << 4 | rank``."""
    rest = hash64 & ((1 << _BELOW) - 1)
    rank = min(HIGHEST_RANK, _BELOW - rest.bit_length() + 1)
    return (hash64 >> _BELOW) << 4 | rank


class Users:
    """The users of one arm since the last report. Any thread may ``add``; ``drain`` is for one at a time.

    A set takes a member in one step of the interpreter, so none is lost: what comes to a set that is being reported
    is found when the next report is made.
    """

    __slots__ = ("_active", "_affected", "_key", "_told")

    def __init__(self, key: str) -> None:
        self._key = key
        self._active: set[int] = set()
        self._affected: set[int] = set()
        self._told: tuple[set[int], set[int], int, int] = (set(), set(), 0, 0)

    def add(self, user: str, ok: bool) -> None:
        """One request of this user ended."""
        found = hashed(user, self._key)
        if not ok and len(self._affected) <= MAX_AFFECTED:
            self._affected.add(found)
        self._active.add(register(found))

    def drain(self) -> dict[str, object] | None:
        """The report, as it goes over the wire; ``None``: nobody came."""
        active, affected, had_active, had_affected = self._told
        if len(active) > had_active:
            self._active |= active
        if len(affected) > had_affected:
            self._affected |= affected
        active, affected = self._active, self._affected
        self._active, self._affected = set(), set()
        told_active, told_affected = sorted(active), sorted(affected)
        self._told = (active, affected, len(told_active), len(told_affected))
        if not told_active and not told_affected:
            return None
        whole = len(told_affected) <= MAX_AFFECTED
        return {
            "active": _text(pack(f">{len(told_active)}H", *told_active)),
            "affected": _text(pack(f">{len(told_affected)}Q", *told_affected)) if whole else None,
        }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
