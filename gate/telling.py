"""Tells people, as often as they want to hear it: the log at each look, GitHub at decisions and once a minute.

GitHub is told from a thread of its own, the newest state only: however slow it is, judging never waits for it. What
could not be told is told when GitHub is back, as things then stand.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gate.config import GitHubWishes
from gate.errors import RampgateError
from gate.flagserver_api import FlagServer
from gate.github.outlets import News, Outlets
from gate.github.port import GitHub
from gate.report import line, page, result
from gate.runner_files import RunnerFiles
from rampgate import figures
from rampgate.evidence import Look
from rampgate.rollout import Entry, Rollout

EVERY = 60.0
"""Seconds between two edits of the comment, decisions aside."""

AGAIN = 20.0
"""Seconds until what could not be told is tried again."""

State = tuple[Rollout, tuple[Look, ...]]
Word = tuple[int, str, str]
"""A pull request, an environment, and what is to be said there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who is told: the log by ``say``, the runner's summary, and GitHub, as far as ``wishes`` go.

    ``github`` connects anew, because a connection belongs to one thread.
    """

    say: Callable[[str], None]
    files: RunnerFiles
    server: FlagServer
    github: Callable[[], GitHub]
    links: page.Links = field(default_factory=page.Links)
    wishes: GitHubWishes = field(default_factory=GitHubWishes)


class Telling:
    """Told of every change, says what is worth saying. Close it to have the last word arrive."""

    def __init__(self, audience: Audience, monotonic: Callable[[], float], *, again: float = AGAIN) -> None:
        self._audience = audience
        self._monotonic = monotonic
        self._again = again
        self._revision = 0
        self._looks = 0
        self._edited_at = 0.0
        self._annotated = 0
        self._taken_back = ""
        self._outlets = Outlets(wishes=audience.wishes, say=audience.say)
        self._news: State | Word | None = None
        self._replaced: set[str] = set()
        self.newest: State | None = None
        """What was told last, and ``entries``: the history that was read last. For whoever has no time to ask."""
        self.entries: tuple[Entry, ...] = ()
        self._wake = threading.Condition()
        self._closing = False
        self._ended = threading.Event()
        """In place of a `join`: before Python 3.13 one that a signal interrupts takes the thread for ended."""
        threading.Thread(target=self._tell_on, name="rampgate-telling", daemon=True).start()

    def __call__(self, rollout: Rollout, looks: tuple[Look, ...]) -> None:
        """Take note of how a rollout stands; never raises, never waits."""
        self.newest = (rollout, looks)
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
        """Wait until GitHub has the newest state, or for ``timeout`` seconds. The summary has it in any case."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if not self._ended.wait(timeout) and self.newest is not None:
            rollout, looks = self.newest
            text = page.summary(rollout, looks, self.entries, rollout.now, self._own_links(rollout))
            with suppress(OSError):
                self._audience.files.summary(text)

    def hurry(self, rollout: Rollout, timeout: float) -> None:
        """Close with a last word, of which the summary at least is written: with the history that was read last."""
        self(rollout, self.looks)
        with self._wake:
            self._news = (rollout, self.looks)
        self.close(timeout)

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks that were told last."""
        return self.newest[1] if self.newest is not None else ()

    def _tell_on(self) -> None:
        try:
            self._write()
        finally:
            self._ended.set()

    def _write(self) -> None:
        github: GitHub | None = None
        unsaid: State | Word | None = None
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._news is not None or self._closing, self._again if unsaid is not None else None
                )
                news, self._news = self._news or unsaid, None
                last = self._closing
            if news is None:
                return
            try:
                # A connection rests after GitHub failed it; the last word is worth a new one.
                github = self._audience.github() if github is None or (last and unsaid is not None) else github
                told = self._tell(github, news)
            except RampgateError as error:
                told = False
                self._audience.say(f"People are told later: {error}")
            except Exception as error:
                # Whatever else it is (a full disk, a fault of ours): the next state may still be told.
                told = True
                self._audience.say(f"Telling failed, the rollout goes on: {type(error).__name__}: {error}")
            if last and not told and unsaid is not None:
                return
            unsaid = None if told else news

    def _tell(self, github: GitHub, news: State | Word) -> bool:
        """Tell everybody. ``False``: not everybody heard it, and another try may help."""
        if not isinstance(news[0], Rollout):
            github.tell(*news)
            return True
        rollout, looks = news[0], news[1]
        entries = self.entries = self._audience.server.entries(rollout.id)
        self._annotate(rollout, entries)
        links = self._links(rollout)
        self._audience.files.summary(page.summary(rollout, looks, entries, rollout.now, links))
        told = self._outlets.tell(github, News(rollout=rollout, looks=looks, entries=entries, links=links))
        return told and self._close_replaced(github, rollout)

    def _own_links(self, rollout: Rollout) -> page.Links:
        return replace(self._audience.links, dashboard=result.rollout_url(self._audience.server.url, rollout.id))

    def _links(self, rollout: Rollout) -> page.Links:
        server, links = self._audience.server, self._own_links(rollout)
        if rollout.superseded_by is None:
            return links
        pull = server.rollout(rollout.superseded_by).pull_request
        return replace(links, successor=result.rollout_url(server.url, rollout.superseded_by), successor_pull=pull)

    def _close_replaced(self, github: GitHub, rollout: Rollout) -> bool:
        """What this rollout took the place of may have nobody left who tells it: say there what became of it."""
        if rollout.id in self._replaced:
            return True
        server, plan = self._audience.server, rollout.plan
        told, all_ended = [], True
        for one in server.find(environment=plan.environment, flag=plan.flag, limit=10):
            if one.superseded_by != rollout.id:
                continue
            all_ended = all_ended and one.state.phase.is_final
            if one.state.phase.is_final:
                entries = server.entries(one.id)
                links = replace(self._links(one), run=one.run_url, outlook=())
                mine = one.pull_request == rollout.pull_request
                old = replace(one, pull_request=None) if mine else one
                news = News(rollout=old, looks=figures.looks_of(one, entries), entries=entries, links=links)
                told.append(self._outlets.tell(github, news))
        if all(told) and all_ended:
            self._replaced.add(rollout.id)
        return all(told)

    def _annotate(self, rollout: Rollout, entries: tuple[Entry, ...]) -> None:
        for before, entry in zip((None, *entries), entries, strict=False):
            if entry.number > self._annotated and (said := line.decided(entry, before, rollout)) is not None:
                self._audience.say(said)
        self._annotated = entries[-1].number if entries else 0
        said = line.taken_back(rollout, entries) or ""
        if said not in ("", self._taken_back):
            self._audience.say(said)
            self._taken_back = said
