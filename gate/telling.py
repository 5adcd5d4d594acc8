"""Tells people, as often as they want to hear it: the log at each look, GitHub at decisions and once a minute.

GitHub is told from a thread of its own, the newest state only: however slow it is, judging never waits for it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gate.errors import GitHubError, RampgateError
from gate.flagserver_api import FlagServer
from gate.github.port import GitHub
from gate.report import line, page
from gate.runner_files import RunnerFiles
from rampgate.evidence import Look
from rampgate.rollout import Entry, Rollout

EVERY = 60.0
"""Seconds between two edits of the comment, decisions aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who is told: the log by ``say``, the runner's summary, and a pull request on GitHub, if there is one.

    ``github`` connects anew, because a connection belongs to one thread.
    """

    say: Callable[[str], None]
    files: RunnerFiles
    server: FlagServer
    github: Callable[[], GitHub]
    links: page.Links = field(default_factory=page.Links)


class Telling:
    """Told of every change, says what is worth saying. Close it to have the last word arrive."""

    def __init__(self, audience: Audience, monotonic: Callable[[], float]) -> None:
        self._audience = audience
        self._monotonic = monotonic
        self._revision = 0
        self._looks = 0
        self._edited_at = 0.0
        self._annotated = 0
        self._news: tuple[Rollout, tuple[Look, ...]] | tuple[int, str, str] | None = None
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="rampgate-telling", daemon=True)
        self._thread.start()

    def __call__(self, rollout: Rollout, looks: tuple[Look, ...]) -> None:
        """Take note of how a rollout stands; never raises, never waits."""
        decided = rollout.state.revision != self._revision
        judged = len(looks) > self._looks
        if judged or decided:
            self._audience.say(line.tick(rollout, looks[-1] if judged else None))
        self._revision, self._looks = rollout.state.revision, len(looks)
        now = self._monotonic()
        if decided or now - self._edited_at >= EVERY:
            self._edited_at = now
            with self._wake:
                self._news = (rollout, looks)
                self._wake.notify()

    def waits(self, pull_request: int | None, environment: str, text: str) -> None:
        """Tell the pull request what a release waits for that has not begun; never raises, never waits."""
        if pull_request is None:
            return
        with self._wake:
            self._news = (pull_request, environment, text)
            self._wake.notify()

    def close(self, timeout: float = 20.0) -> None:
        """Wait until GitHub has the newest state, or for ``timeout`` seconds."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _write(self) -> None:
        github: GitHub | None = None
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._news is not None or self._closing)
                news, self._news = self._news, None
            if news is None:
                return
            try:
                github = github or self._audience.github()
                if isinstance(news[0], Rollout):
                    self._tell(github, *news)
                else:
                    github.tell(*news)
            except RampgateError as error:
                self._audience.say(f"The pull request is told later: {error}")
            except Exception as error:
                # Whatever else it is (a full disk, a fault of ours): the next state may still be told.
                self._audience.say(f"Telling failed, the rollout goes on: {type(error).__name__}: {error}")

    def _tell(self, github: GitHub, rollout: Rollout, looks: tuple[Look, ...]) -> None:
        entries = self._audience.server.entries(rollout.id)
        self._annotate(rollout, entries)
        self._audience.files.summary(page.summary(rollout, looks, entries, rollout.now, self._audience.links))
        if rollout.pull_request is None:
            return
        body = page.comment(rollout, looks, entries, rollout.now, self._audience.links)
        try:
            github.tell(rollout.pull_request, rollout.plan.environment, body)
        except GitHubError as error:
            self._audience.say(f"GitHub was not told: {error}")

    def _annotate(self, rollout: Rollout, entries: tuple[Entry, ...]) -> None:
        for before, entry in zip((None, *entries), entries, strict=False):
            if entry.number > self._annotated and (said := line.decided(entry, before, rollout)) is not None:
                self._audience.say(said)
        self._annotated = entries[-1].number if entries else 0
