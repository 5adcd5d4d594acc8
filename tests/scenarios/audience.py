"""Apps that look a flag up all the time, and what their users met."""

import threading

from rampgate import FlagClient
from rampgate.client import Reason as Why

USERS = [f"user-{number}" for number in range(200)]


class Audience:
    """An app that looks a flag up all the time.

    ``widest`` is the largest share of users it sent to the canary; ``returned`` are users whom it took back from there.
    """

    def __init__(self, client: FlagClient, flag: str) -> None:
        self._client, self._flag = client, flag
        self.widest = 0.0
        self.returned: set[str] = set()
        self._before: set[str] = set()
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def share(self) -> float:
        return len(self._on_canary()) / len(USERS)

    def is_stale(self) -> bool:
        return self._client.details(self._flag, "blue", USERS[0]).reason is Why.STALE

    def end(self) -> None:
        self.ending.set()
        self._thread.join()

    def _on_canary(self) -> set[str]:
        return {user for user in USERS if self._client.string(self._flag, "blue", user) == "green"}

    def _watch(self) -> None:
        while not self.ending.wait(0.01):
            now = self._on_canary()
            self.returned |= self._before - now
            self._before = now
            self.widest = max(self.widest, len(now) / len(USERS))
