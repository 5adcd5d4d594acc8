"""The keys that the issuer of tokens signs with: fetched over HTTP, kept for an hour, asked for again when unknown.

An unknown key id is worth one question a minute, whoever sends how many of them.
"""

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import PyJWTError

from flagserver.errors import IssuerGoneError

KEPT_FOR = 3600.0
"""Seconds for which keys are taken for good without asking."""

KEPT_AT_MOST = 86_400.0
"""Seconds for which they are while the issuer does not answer."""

ASK_EVERY = 60.0
TIMEOUT = 5.0
LARGEST = 262_144
LEAST_BITS = 2048

log = structlog.get_logger("flagserver.auth")

Fetch = Callable[[str], bytes]


class Issuer:
    """Whoever signs the tokens of jobs.

    Args:
        url: its name, which is where its keys are: ``<url>/.well-known/jwks``.
        fetch: reads a page; raises ``OSError`` where there is none.
        steady: seconds on a clock that nobody can step.
    """

    def __init__(self, url: str, *, fetch: Fetch | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._fetch = fetch or fetch_page
        self._steady = steady
        self._asking = threading.Lock()
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._got_at = float("-inf")
        self._asked_at = float("-inf")

    def key(self, kid: str) -> RSAPublicKey | None:
        """The key of this id; ``None``: the issuer, asked within the last minute, has none.

        Raises:
            IssuerGoneError: it does not answer, or may not be asked yet.
        """
        known = self._keys.get(kid)
        age = self._steady() - self._got_at
        if known is not None and age < KEPT_FOR:
            return known
        # Never more than one waits for the issuer: the others' threads have rollouts to serve.
        if not self._asking.acquire(blocking=False):
            return self._without_asking(known, age, 1.0)
        try:
            return self._asked(kid)
        finally:
            self._asking.release()

    def _asked(self, kid: str) -> RSAPublicKey | None:
        now = self._steady()
        known = self._keys.get(kid)
        wait = self._asked_at + ASK_EVERY - now
        if wait > 0:
            return self._without_asking(known, now - self._got_at, wait)
        self._asked_at = now
        try:
            self._keys = read_keys(self._fetch(f"{self.url}/.well-known/jwks"))
            self._got_at = now
        except (OSError, http.client.HTTPException, ValueError) as error:
            log.warning("issuer_unreadable", issuer=self.url, why=str(error)[:300])
            return self._without_asking(known, now - self._got_at, ASK_EVERY)
        return self._keys.get(kid)

    def _without_asking(self, known: RSAPublicKey | None, age: float, wait: float) -> RSAPublicKey:
        if known is not None and age < KEPT_AT_MOST:
            return known
        text = f"The keys of {self.url} could not be read, or hold no such key and may be asked for once a minute."
        raise IssuerGoneError(text, wait)


def read_keys(page: bytes) -> Mapping[str, RSAPublicKey]:
    """The RSA keys for signatures in a JWKS document, by their ids.

    Raises:
        ValueError: it is none, or holds no such key.
    """
    document = json.loads(page)
    listed = document.get("keys") if isinstance(document, dict) else None
    found = {}
    for one in listed[:100] if isinstance(listed, list) else ():
        if isinstance(one, dict) and _signs(one) and isinstance(kid := one.get("kid"), str):
            try:
                key = RSAAlgorithm.from_jwk({name: one[name] for name in ("kty", "n", "e")})
            except (PyJWTError, KeyError, ValueError):
                continue
            if isinstance(key, RSAPublicKey) and key.key_size >= LEAST_BITS:
                found[kid] = key
    if not found:
        raise ValueError("the document holds no RSA key for signatures")
    return found


def _signs(jwk: Mapping[str, Any]) -> bool:
    return jwk.get("kty") == "RSA" and jwk.get("use", "sig") == "sig" and jwk.get("alg", "RS256") == "RS256"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to keys of somebody else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:  # noqa: ARG002
        raise OSError(f"{req.full_url} answered {code}, a redirect, which is not followed")


def fetch_page(url: str) -> bytes:
    """A page of at most 256 KiB, read within some seconds.

    Raises:
        OSError: there is none, or it is too large or too slow.
    """
    ends = time.monotonic() + TIMEOUT
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "rampgate-flagserver"})
    with urllib.request.build_opener(_StayHere).open(request, timeout=TIMEOUT) as answer:
        page = bytearray()
        while part := answer.read1(65_536):
            page += part
            if len(page) > LARGEST:
                raise OSError(f"{url} is larger than {LARGEST} bytes")
            if time.monotonic() > ends:
                raise OSError(f"{url} took longer than {TIMEOUT:g} s")
    return bytes(page)
