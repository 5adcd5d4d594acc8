"""GitHub's tokens for a job: who it is, signed, for one audience. Asked for when needed, and kept nowhere.

Source: "OpenID Connect reference" in GitHub's documentation. What a token is worth, the flag server says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gate.errors import FlagServerUnreachableError, MisuseError
from gate.fetch import Got, Visit, origin
from gate.inputs import Secret

SECONDS = 10.0
"""For one token, with every retry."""

_URL, _TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdTokens:
    """Where this job asks for tokens, and by what right."""

    url: str
    right: Secret

    @classmethod
    def are_given(cls, environ: Mapping[str, str]) -> bool:
        """Whether the runner gives this job any."""
        return all(environ.get(name, "").strip() for name in (_URL, _TOKEN))

    @classmethod
    def of_job(cls, environ: Mapping[str, str]) -> "IdTokens":
        """What the runner gives a job with the permission.

        Raises:
            MisuseError: it gives this one nothing.
        """
        url, right = environ.get(_URL, "").strip(), environ.get(_TOKEN, "").strip()
        if not cls.are_given(environ):
            raise MisuseError(
                "No `flag-server-key` is given, and GitHub gives this job no ID token.",
                why="The flag server must know who asks.",
                do="Give the job `permissions: id-token: write` (docs/trust.md), or a key. The run of a fork's pull "
                "request gets neither.",
            )
        return cls(url=url, right=Secret(right))

    def token(self, audience: str) -> Secret:
        """A token for this audience, good for some minutes.

        Raises:
            FlagServerUnreachableError: GitHub gave none; the flag server cannot be spoken to without.
        """
        with Visit(seconds=SECONDS, headers={"Authorization": f"bearer {self.right.reveal()}"}) as visit:
            got = visit.get(self.url, {"audience": audience})
        value = _value(got.body) if isinstance(got, Got) and got.status == 200 else None
        if value is None:
            why = f"{origin(self.url)} answered {got.status}" if isinstance(got, Got) else got.text
            raise FlagServerUnreachableError(f"GitHub gave no ID token for the flag server: {why}.")
        return Secret(value)


def _value(body: bytes) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = document.get("value") if isinstance(document, dict) else None
    return value if isinstance(value, str) and value else None
