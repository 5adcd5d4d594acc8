"""What environments, flags, slots and segments may be called. Pure."""

import re
from collections.abc import Iterator

from rampgate.problem import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_ALLOWED = "1 to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit"

TAKEN = frozenset(
    {"audit", "followers", "keys", "locks", "queue", "rollouts", "session", "sessions", "telemetry", "trust"}
)
"""What follows `/v1/` in paths of no environment: one of that name could not be reached beside them."""


def name_problems(path: str, name: str) -> Iterator[Problem]:
    """What is wrong with a name."""
    if not NAME.fullmatch(name):
        yield Problem(path, repr(name[:80]), NAME_ALLOWED)


def environment_problems(path: str, name: str) -> Iterator[Problem]:
    """What is wrong with an environment's name."""
    if name in TAKEN:
        yield Problem(path, repr(name), f"a name that is no path of the API's own: not {', '.join(sorted(TAKEN))}")
    yield from name_problems(path, name)
