"""Flags for the tests of an app: fixed values, no server, no thread, and every outcome written down."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from rampgate.client.answers import User, key_of
from rampgate.client.assignment import Assignment
from rampgate.client.flag_client import FlagClient


class Recorded(NamedTuple):
    """How one request ended, as the app said. ``ms`` is ``None`` where it did not say how long it took."""

    flag: str
    user: str | None
    value: object
    ok: bool
    ms: float | None = None


class FixedFlags(FlagClient):
    """A client that serves these values to everybody, and asks nobody. A flag it does not have gives the default.

    ``outcomes`` has what ``observe``, ``assign``, ``track`` and the middleware recorded, in order.

    Args:
        values: by flag: true or false, text, a number, or an object.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.outcomes: list[Recorded] = []
        self._values: dict[str, Any] = dict(values or {})
        self._alone(self._values)

    def set(self, flag: str, value: Any) -> None:
        """Serve this value from now on, and tell who watches."""
        self._serve({**self._values, flag: value})

    def remove(self, flag: str) -> None:
        """Have no such flag from now on."""
        self._serve({key: value for key, value in self._values.items() if key != flag})

    @contextmanager
    def override(self, flag: str, value: Any) -> Iterator["FixedFlags"]:
        """Serve this value in the block, and after it what there was."""
        before = self._values
        self.set(flag, value)
        try:
            yield self
        finally:
            self._serve(before)

    def assign(self, flag: str, user: User | None, default: Any = None, *, tokens: str = "") -> Assignment:
        made = super().assign(flag, user, default, tokens=tokens)
        return _Watched(made, self.outcomes)

    def track(
        self, flag: str, user: User, *, ok: bool = True, ms: float | None = None, variant: str | None = None
    ) -> None:
        super().track(flag, user, ok=ok, ms=ms, variant=variant)
        self.outcomes.append(Recorded(flag, key_of(user), self.details(flag, None, user).value, ok, ms))

    def _serve(self, values: dict[str, Any]) -> None:
        self._values = values
        workshop = replace(self._contact.workshop, overrides=values)
        self._publish(workshop.empty())


class _Watched(Assignment):
    """An assignment whose outcome is written down."""

    __slots__ = ("_outcomes", "_over")

    def __init__(self, made: Assignment, outcomes: list[Recorded]) -> None:
        super().__init__(made.details, made.user, None, made.owed)
        self._outcomes = outcomes
        self._over = False

    def finish(self, *, ok: bool, ms: float | None = None) -> None:
        if not self._over:
            self._over = True
            self._outcomes.append(Recorded(self.flag, self.user, self.value, ok, ms))
