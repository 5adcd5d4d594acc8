"""What the flag server refuses, and how: one family, each member an HTTP status, a code and one clear sentence.

FlagServerError
├── UnknownKeyError 401      ├── NotAllowedError 403     ├── NotFoundError 404
├── ConflictError 409        ├── TooLargeError 413       ├── InvalidError 422 (or 400)
├── SlowDownError 429        ├── StoreGoneError 503      ├── IssuerGoneError 503
├── NewerWordsError 503
└── SettingsError (at start; no HTTP)
"""

from collections.abc import Mapping
from typing import Any

from rampgate.problem import Problem


class FlagServerError(Exception):
    """Something that the caller must know: the status and code for programs, the message for people."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.problems = problems

    def document(self) -> Mapping[str, Any]:
        """The error as it goes over the wire."""
        document: dict[str, Any] = {"error": self.code, "message": self.message}
        if self.problems:
            document["problems"] = [
                {"path": one.path, "value": one.value, "allowed": one.allowed, "hint": one.hint}
                for one in self.problems
            ]
        return document


class UnknownKeyError(FlagServerError):
    """Nobody is known by what was presented. ``guessed``: something was, and it may have been a guess."""

    status = 401
    code = "unknown_key"

    def __init__(self, message: str, *, code: str | None = None, guessed: bool = True) -> None:
        super().__init__(message, code=code)
        self.guessed = guessed


class SlowDownError(FlagServerError):
    """Asked too often; again in ``seconds``."""

    status = 429
    code = "slow_down"

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class NotAllowedError(FlagServerError):
    status = 403
    code = "not_allowed"


class NotFoundError(FlagServerError):
    status = 404
    code = "not_found"


class ConflictError(FlagServerError):
    """Something there stands in the way: ``about`` is the rollout that does, ``place`` the caller's in the line."""

    status = 409
    code = "conflict"

    def __init__(self, message: str, *, code: str | None = None, about: str | None = None) -> None:
        super().__init__(message, code=code)
        self.about = about
        self.place: Mapping[str, Any] | None = None

    def document(self) -> Mapping[str, Any]:
        more = {"rollout": self.about, "place": self.place}
        return {**super().document(), **{name: value for name, value in more.items() if value}}


class TooLargeError(FlagServerError):
    status = 413
    code = "too_large"


class InvalidError(FlagServerError):
    """The request says something that cannot be: every problem at once."""

    status = 422
    code = "invalid"

    def __init__(self, *, problems: tuple[Problem, ...], status: int = 422, code: str | None = None) -> None:
        super().__init__(" ".join(str(one) for one in problems), code=code, problems=problems)
        self.status = status

    @classmethod
    def of(
        cls, path: str, value: str, allowed: str, *, hint: str | None = None, status: int = 422, code: str | None = None
    ) -> "InvalidError":
        return cls(problems=(Problem(path, value, allowed, hint),), status=status, code=code)


class StoreGoneError(FlagServerError):
    status = 503
    code = "store_unavailable"


class NewerWordsError(FlagServerError):
    """A newer server on the same database wrote what this one cannot read, and must not guess at."""

    status = 503
    code = "newer_words"


class IssuerGoneError(FlagServerError):
    """The keys that tokens are checked with cannot be read; ask again in ``seconds``."""

    status = 503
    code = "issuer_unavailable"

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class SettingsError(FlagServerError):
    """The server cannot start with these settings."""

    code = "settings"
