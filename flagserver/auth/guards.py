"""Slows down who guesses: after some wrong keys an address is told to wait. A key that is good is never refused.

Memory is bounded: the addresses that failed last, IPv6 by its first 64 bits. Knows no key and logs none.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

import structlog

from flagserver.errors import FlagServerError, SlowDownError, UnknownKeyError
from flagserver.settings import Network

BURST = 20
"""Wrong keys that an address may send at once."""

REFILL = 5.0
"""Seconds until it may send one more."""

MOST_PEERS = 10_000

log = structlog.get_logger("flagserver.auth")


@dataclass(slots=True)
class _Peer:
    failures: float
    at: float
    told: bool = False


class SlowDown:
    """Counts wrong keys by address.

    Args:
        trusted: proxies whose `X-Forwarded-For` is believed.
        steady: seconds on a clock that nobody can step.
    """

    def __init__(self, trusted: tuple[Network, ...] = (), *, steady: Callable[[], float] = time.monotonic) -> None:
        self._trusted = trusted
        self._steady = steady
        self._lock = threading.Lock()
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    def refused(self, error: FlagServerError, remote: str, forwarded: str) -> FlagServerError:
        """What to answer instead of this error.

        Args:
            error: why the request is refused.
            remote: the address that the connection came from.
            forwarded: the request's `X-Forwarded-For`, or nothing.
        """
        if not isinstance(error, UnknownKeyError) or not error.guessed:
            return error
        peer = peer_of(remote, forwarded, self._trusted)
        wait = self._failed(peer)
        if wait <= 0:
            return error
        return SlowDownError("Too many wrong keys came from this address. A key that is good is still served.", wait)

    def _failed(self, peer: str) -> float:
        """Count a failure; the seconds that this peer is over its allowance."""
        now = self._steady()
        with self._lock:
            found = self._peers.pop(peer, None) or _Peer(0.0, now)
            failures = max(0.0, found.failures - (now - found.at) / REFILL)
            over = failures + 1 - BURST
            if over > 0 and not found.told:
                log.warning("keys_guessed", peer=peer)
            # What is refused adds nothing, so that whoever stops is soon heard again.
            self._peers[peer] = _Peer(min(failures + 1, BURST), now, told=over > 0)
            if len(self._peers) > MOST_PEERS:
                self._peers.popitem(last=False)
        return over * REFILL


def peer_of(remote: str, forwarded: str, trusted: tuple[Network, ...]) -> str:
    """Who called: the last address that no trusted proxy speaks for."""
    peer = remote
    for hop in reversed([one.strip() for one in forwarded.split(",") if one.strip()] if trusted else []):
        if not _is_trusted(peer, trusted):
            break
        peer = hop
    try:
        address = ip_address(peer)
    except ValueError:
        return peer[:64]
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def _is_trusted(peer: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in trusted)
