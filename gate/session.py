"""The job's session with the flag server, in place of a stored key: a token from GitHub, exchanged once.

Both are masked in the log and kept in memory alone. A session that is over is followed by another; what the driver
does while there is none, its own rules say.
"""

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from gate.errors import FlagServerUnreachableError
from gate.flagserver_api import exchange
from gate.github.oidc import IdTokens
from gate.runner_files import mask

_TRIES = 3
"""Tokens for one exchange: each is good for one, and an answer may get lost."""


class JobSession:
    """Keys to the flag server at ``url``, of sessions in the environment that ``environment`` names."""

    def __init__(
        self, url: str, tokens: IdTokens, environment: Callable[[], str | None], say: Callable[[str], None]
    ) -> None:
        self._url = url
        self._tokens = tokens
        self._environment = environment
        self._say = say
        self._lock = threading.Lock()
        self._key = ""

    def key(self) -> str:
        """The session's key, exchanged for where there is none yet.

        Raises:
            FlagServerRefusedError: the flag server does not admit this job, and says which claim fails.
            FlagServerUnreachableError: there is no token, or no answer.
        """
        with self._lock:
            return self._key or self._exchanged()

    def renewed(self, key: str) -> str:
        """A key in place of one that is refused. Raises: as ``key``."""
        with self._lock:
            return self._key if self._key not in ("", key) else self._exchanged()

    def _exchanged(self) -> str:
        self._key = ""
        for left in reversed(range(_TRIES)):
            token = self._tokens.token(audience_of(self._url)).reveal()
            self._say(mask(token))
            try:
                key = exchange(self._url, token, self._environment())
            except FlagServerUnreachableError:
                if not left:
                    raise
                continue
            self._say(mask(key))
            self._key = key
            break
        return self._key


def audience_of(url: str) -> str:
    """For whom a token is meant: the flag server's origin, as browsers write it."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    own = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, own) else "")
