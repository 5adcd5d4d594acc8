"""Tester tokens: signed, expiring permits to meet one arm of a flag's rollout whatever its share is, at 0 % too.

Pure: time and key come in as values. Whether that arm may be visited now is not asked here, since only whoever holds
the snapshot knows which slot is up. Source of the signature: RFC 2104, HMAC with SHA-256.
"""

import binascii
import hmac
import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from rampgate.evidence import ArmName
from rampgate.wire import FORCE

NAME = FORCE

BETWEEN = "~"
"""Parts the tokens of several flags; neither a token nor a cookie's grammar has any use for it."""

MOST_TOKENS = 8
MOST_TEXT = 4096
"""Characters of a text that is read at all."""

LONGEST = 30 * 86_400.0
"""Seconds that a token may last."""

_VERSION = "rgf1"
_FORM = re.compile(r"rgf1\.([A-Za-z0-9_-]{1,2000})\.[A-Za-z0-9_-]{43}")
"""Strict, because what a link carries is copied into a cookie: nothing else may come along."""


class Ignored(StrEnum):
    """Why a token is not followed. The request is then an ordinary one."""

    UNKNOWN = "the token is not one of this environment, or its key was replaced"
    EXPIRED = "the token has expired"
    NOTHING_UP = "no rollout has a new version up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Who holds it meets ``arm`` of ``flag`` in ``environment`` until ``expires``, in seconds since the epoch.

    ``id`` names the token in the audit log, and nobody can guess another from it.
    """

    environment: str
    flag: str
    arm: ArmName
    expires: float
    id: str


def new_id() -> str:
    """An id that no other token has."""
    return os.urandom(8).hex()


def new_key() -> str:
    """A signing key: 256 random bits, as text."""
    return os.urandom(32).hex()


def mint(token: Token, key: str) -> str:
    """The token as text that a header, a cookie and a URL can carry as it is.

    Args:
        token: what it permits.
        key: the environment's signing key.
    """
    said = {
        "arm": token.arm.value, "environment": token.environment, "expires": token.expires, "flag": token.flag,
        "id": token.id,
    }  # fmt: skip
    head = f"{_VERSION}.{_text(json.dumps(said, separators=(',', ':')).encode())}"
    return f"{head}.{_signature(head, key)}"


def verify(text: str, key: str | None, *, environment: str, now: float) -> Token | Ignored:
    """What one token permits at this moment. Never raises, whatever the text is.

    Args:
        text: the token.
        key: the environment's signing key; ``None``: none was ever made, so no token is sound.
        environment: the environment that is asked about.
        now: seconds since the epoch.
    """
    token = _read(text)
    if key is None or token is None or token.environment != environment:
        return Ignored.UNKNOWN
    head, _, given = text.rpartition(".")
    if not hmac.compare_digest(given, _signature(head, key)):
        return Ignored.UNKNOWN
    return token if now < token.expires else Ignored.EXPIRED


def wanted(text: str, key: str | None, *, environment: str, flag: str, now: float) -> Token | Ignored | None:
    """What a request asks for this flag: the first sound token about it among those that it carries.

    Args:
        text: what the header, cookie or attribute holds: one token, or several parted by ``BETWEEN`` or a comma.
        key: the environment's signing key.
        environment: the environment that is asked about.
        flag: the flag's key.
        now: seconds since the epoch.

    Returns:
        The token; or why the one that it carries is ignored; or ``None``: nothing in it is about this flag.
    """
    why: Ignored | None = None
    for one in parts(text):
        said = _read(one)
        if said is not None and said.flag != flag:
            continue
        found = verify(one, key, environment=environment, now=now)
        if isinstance(found, Token):
            return found
        why = why or found
    return why


def about(text: str, flag: str) -> bool:
    """Whether any token of a text says that it is about this flag, sound or not."""
    return flag in claims(text)


def claims(text: str) -> dict[str, tuple[str, Token]]:
    """What the tokens of a text say, by flag, as text and as read, unverified; of two for one flag the first counts."""
    found: dict[str, tuple[str, Token]] = {}
    for one in parts(text):
        token = _read(one)
        if token is not None:
            found.setdefault(token.flag, (one, token))
    return found


def sound(text: str, key: str | None, *, environment: str, now: float) -> dict[str, tuple[str, Token]]:
    """Every sound token of a text by its flag, as text and as read; of two for one flag the first counts."""
    found: dict[str, tuple[str, Token]] = {}
    for one in parts(text):
        token = verify(one, key, environment=environment, now=now)
        if isinstance(token, Token):
            found.setdefault(token.flag, (one, token))
    return found


def parts(text: str) -> Iterator[str]:
    """The tokens of a text, a few of them at most; none of one that is too long."""
    if len(text) <= MOST_TEXT:
        found = (one.strip() for one in text.replace(",", BETWEEN).split(BETWEEN, MOST_TOKENS)[:MOST_TOKENS])
        yield from (one for one in found if one)


def _read(text: str) -> Token | None:
    """What a token says, whoever signed it; ``None``: it is none of ours."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    try:
        said = json.loads(urlsafe_b64decode(form[1] + "=" * (-len(form[1]) % 4)))
        texts = [said["environment"], said["flag"], said["id"]]
        expires = said["expires"]
        if not all(isinstance(one, str) for one in texts) or type(expires) not in (int, float) or not isfinite(expires):
            return None
        return Token(
            environment=said["environment"], flag=said["flag"], arm=ArmName(said["arm"]), expires=expires, id=said["id"]
        )
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError, binascii.Error):
        return None


def _signature(head: str, key: str) -> str:
    return _text(hmac.digest(key.encode(), head.encode(), "sha256"))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
