"""Which share of all users a key falls into: murmur3, exactly as flagd's second bucketing does it.

The same key gets the same answer in our server, our client, flagd and any OpenFeature provider. Nothing here
knows flags or rules. Source: `fractional` in open-feature/flagd, `(hash * total) >> 32`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import mmh3

BUCKETING = "v2"
"""The version of the rule below. Another version moves users, so it never changes under a live flag."""

SPACE = 1 << 32
"""Hashes are integers from 0 to SPACE - 1."""

MAX_WEIGHTS = (1 << 31) - 1
"""The largest sum of weights that flagd accepts."""


def hash_of(key: str) -> int:
    """Murmur3 (x86, 32 bit, seed 0, unsigned) of the key's UTF-8 bytes.

    Raises:
        UnicodeEncodeError: the key holds half of a surrogate pair, which has no UTF-8 form.
    """
    # Given such a text instead of bytes, mmh3 5.3 takes the whole process down, and JSON can say "\ud800".
    return mmh3.hash(key.encode(), 0, False)


@dataclass(frozen=True, slots=True)
class Split:
    """The hash space, cut by weights. ``bounds[i]`` is the first hash that no longer belongs to entry ``i``.

    An entry of weight zero has the bound of the one before it, and so owns no hash.
    """

    bounds: tuple[int, ...]

    def entry(self, hashed: int) -> int:
        """The number of the entry that owns this hash."""
        return bisect_right(self.bounds, hashed)


def split(weights: Sequence[int]) -> Split | None:
    """Cut the hash space by these weights; negative ones count as zero.

    ``(hash * total) >> 32 < reached`` is the same as ``hash < ceil(reached * 2**32 / total)``, so that a lookup
    needs no arithmetic. Returns ``None`` where flagd finds no bucket: nothing weighs anything, or the sum is
    more than ``MAX_WEIGHTS``.
    """
    clamped = [max(0, weight) for weight in weights]
    total = sum(clamped)
    if not 0 < total <= MAX_WEIGHTS:
        return None
    bounds, reached = [], 0
    for weight in clamped:
        reached += weight
        bounds.append(-(-(reached << 32) // total))
    return Split(tuple(bounds))


def cohort(salt: str, key: str) -> float:
    """The percentage above which this user is in: 0 is the first user to go, just under 100 the last."""
    return 100 * hash_of(salt + key) / SPACE


def first_share(salt: str, key: str, whole: int = 100_000) -> int:
    """The smallest share, in 1/``whole`` of all users, that includes this user: 1 to ``whole``."""
    return ((hash_of(salt + key) * whole) >> 32) + 1
