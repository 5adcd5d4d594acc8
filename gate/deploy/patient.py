"""HTTP with patience: asked again after trouble that may pass, within one deadline, while somebody still wants it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from gate.deploy.deployer import Workplace
from gate.fetch import Got, NotGot, Trouble, Visit, attended

ONE = 30.0
"""Seconds that one question may take."""
LONGEST_PAUSE = 60.0


class NotWantedError(Exception):
    """``keep_going`` said no. Never leaves a deployer."""


class OverdueError(Exception):
    """The work's time is over. Never leaves a deployer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Asks for one piece of work, until ``until`` on the monotonic clock."""

    workplace: Workplace
    keep_going: Callable[[], bool]
    until: float

    def ask(self, method: str, url: str, body: bytes | None, headers: Callable[[], Mapping[str, str]]) -> Got | NotGot:
        """The answer, or why there is none, after as many tries as the time allows.

        Connection errors, 429 and 5xx are tried again after a growing pause, or after ``Retry-After``; everything
        else is the answer. ``headers`` are made for each try. Raises ``NotWantedError`` and ``OverdueError``.
        """
        pause = self.workplace.every
        while True:
            got = self.once(method, url, body, headers())
            if not may_pass(got):
                return got
            if time.monotonic() >= self.until:
                raise OverdueError
            wait = max(pause, retry_after(got) if isinstance(got, Got) else 0.0)
            if time.monotonic() + wait >= self.until:
                return got
            self.pause(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    def pause(self, seconds: float) -> None:
        """Wait, asking ``keep_going`` all along. Raises ``NotWantedError`` and ``OverdueError``."""
        end = time.monotonic() + seconds
        while True:
            if not self.keep_going():
                raise NotWantedError
            now = time.monotonic()
            if now >= self.until:
                raise OverdueError
            if now >= end:
                return
            time.sleep(max(0.0, min(self.workplace.every, end - now, self.until - now)))

    def once(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Got | NotGot:
        """One try. Raises ``NotWantedError`` and ``OverdueError``."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise OverdueError
        with Visit(seconds=min(left, ONE), headers=headers, retries=0) as visit:
            got = attended(
                visit,
                lambda: visit.send(method, url, body),
                every=self.workplace.every,
                keep_going=self.keep_going,
            )
        if got is None:
            raise NotWantedError
        return got


def may_pass(got: Got | NotGot) -> bool:
    """Whether asking again may help: nobody there, too many questions, or a failure of theirs."""
    if isinstance(got, NotGot):
        return got.trouble is not Trouble.REFUSED
    limited = got.status == 403 and (
        "Retry-After" in got.headers or got.headers.get("x-ratelimit-remaining") == "0"
    )  # GitHub's way to say 429
    return limited or got.status == 429 or got.status >= 500


def retry_after(got: Got) -> float:
    """Seconds for which the answer asks to wait, by a number or a date (RFC 9110, 10.2.3); 0 where it does not."""
    value = got.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:6])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def last_word(method: str, url: str, headers: Mapping[str, str], *, seconds: float) -> bool:
    """Tell somebody something, such as to stop, once nobody waits any more; whether it was taken."""
    with Visit(seconds=seconds, headers=headers, retries=0) as visit:
        got = visit.send(method, url)
    return isinstance(got, Got) and got.status < 300
