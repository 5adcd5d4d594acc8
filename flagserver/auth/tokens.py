"""GitHub's OIDC tokens: is this one signed by the issuer, meant for this server, and good at this moment?

What of a token must hold, whoever it is about. Which job it may be, `policies.py` says. Claims: "OpenID Connect
reference" in GitHub's documentation; what of a JWT is checked and why: RFC 8725.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.api_jws import PyJWS

from flagserver.auth.policies import FOREIGN, OF_BRANCH
from flagserver.errors import InvalidError, UnknownKeyError
from flagserver.wire import decode
from rampgate.problem import Problem

LEEWAY = 30.0
"""Seconds by which this clock and the issuer's may differ."""

LONGEST_LIFE = 3600.0
"""Seconds from now: a token that is good for longer is no job's."""

LONGEST_TOKEN = 16_384
_ALGORITHM = "RS256"

SHOWN = (
    "iss", "aud", "repository", "repository_id", "repository_owner", "repository_owner_id", "environment", "event_name",
    "ref", "workflow_ref", "job_workflow_ref", "run_id", "run_attempt", "actor", "sha", "iat", "nbf", "exp",
)  # fmt: skip
"""The claims that a refusal shows. None of them is a secret."""

_TEXTS = ("repository", "repository_id", "repository_owner_id", "event_name", "workflow_ref", "ref", "run_id", "actor")


class TokenRefusedError(UnknownKeyError):
    """The token admits nobody; ``claims`` are what it says, once it is known to be the issuer's."""

    code = "token_refused"

    def __init__(self, message: str, problems: tuple[Problem, ...], claims: Mapping[str, Any] | None = None) -> None:
        shown = {name: _short(claims[name]) for name in SHOWN if claims is not None and name in claims}
        said = f" The token says: {', '.join(f'{name} {value}' for name, value in shown.items())}." if shown else ""
        # A signature cannot be guessed: whoever sends such tokens need not be slowed.
        super().__init__(f"{message} {' '.join(str(one) for one in problems)}{said}", guessed=False)
        self.problems = problems
        self.claims = shown

    def document(self) -> Mapping[str, Any]:
        return {**super().document(), "claims": self.claims}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token that is good says. It is spent as ``jti``, until ``until`` (seconds since the epoch)."""

    every: Mapping[str, Any]
    jti: str
    until: float

    def text(self, name: str) -> str:
        value = self.every.get(name)
        return value if isinstance(value, str) else ""


def read_token(
    token: str, key_of: Callable[[str], RSAPublicKey | None], *, issuer: str, audience: str, now: float
) -> Claims:
    """The claims of a token that is good at this moment.

    Args:
        token: the token, as its job sent it.
        key_of: the issuer's key by its id, or ``None`` where it has none of that id.
        issuer: who must have signed it.
        audience: whom it must be meant for.
        now: seconds since the epoch.

    Raises:
        TokenRefusedError: with everything that is wrong with it.
    """
    if len(token) > LONGEST_TOKEN:
        raise _refused(Problem("token", f"{len(token)} characters", f"at most {LONGEST_TOKEN}"))
    kid = _key_id(token)
    key = key_of(kid)
    if key is None:
        raise _refused(Problem("kid", repr(kid[:80]), f"a key that {issuer} signs with"))
    try:
        payload = PyJWS().decode(token, key, algorithms=[_ALGORITHM])
        claims = decode(payload)
    except (jwt.PyJWTError, InvalidError, ValueError):
        raise _refused(Problem("signature", "another", f"one of {issuer} with the key {kid[:80]}")) from None
    if not isinstance(claims, dict):
        raise _refused(Problem("payload", "no object", "claims"))
    if wrong := tuple(_wrong(claims, issuer, audience, now)):
        raise TokenRefusedError("The token is refused.", wrong, claims)
    return Claims(every=claims, jti=claims["jti"], until=float(claims["exp"]) + LEEWAY)


def _key_id(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise _refused(Problem("token", "what was sent", "a JSON Web Token")) from None
    if header.get("alg") != _ALGORITHM:
        raise _refused(Problem("alg", repr(header.get("alg"))[:80], f"{_ALGORITHM}, and nothing else"))
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 200:
        raise _refused(Problem("kid", repr(kid)[:80], "the id of one of the issuer's keys"))
    return kid


def _refused(problem: Problem) -> TokenRefusedError:
    return TokenRefusedError("The token is refused.", (problem,))


def _wrong(claims: Mapping[str, Any], issuer: str, audience: str, now: float) -> Iterator[Problem]:
    if claims.get("iss") != issuer:
        yield _claim(claims, "iss", issuer)
    if claims.get("aud") not in (audience, [audience]):
        yield _claim(claims, "aud", f"{audience}, which is this server's own")
    yield from _wrong_times(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 500:
        yield _claim(claims, "jti", "an id, so that the token is used once")
    for name in _TEXTS:
        value = claims.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= 500 or not value.isprintable():
            yield _claim(claims, name, "a text")
    event = str(claims.get("event_name"))
    if event.startswith(FOREIGN) and event != OF_BRANCH:
        yield _claim(claims, "event_name", f"no pull request's but {OF_BRANCH}: its job may run what nobody has merged")


def _wrong_times(claims: Mapping[str, Any], now: float) -> Iterator[Problem]:
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf")}
    for name, value in times.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            yield _claim(claims, name, "a moment, in seconds since the epoch")
        elif name == "exp" and value <= now - LEEWAY:
            yield _claim(claims, name, f"a moment after {now:.0f}, which is now")
        elif name == "exp" and value > now + LONGEST_LIFE:
            yield _claim(claims, name, f"a moment within the hour after {now:.0f}, which is now")
        elif name != "exp" and value > now + LEEWAY:
            yield _claim(claims, name, f"a moment before {now:.0f}, which is now")


def _claim(claims: Mapping[str, Any], name: str, expected: str) -> Problem:
    value = claims.get(name)
    return Problem(name, "nothing" if value is None else repr(value)[:200], expected)


def _short(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value)[:300]
