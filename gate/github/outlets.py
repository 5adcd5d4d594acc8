"""The places on GitHub where a rollout is told: the pull request's comment, the deployment, the commit's status.

Each stands for itself: one that fails keeps no other from being told. What is said, `gate/report/` knows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from gate.config import GitHubWishes
from gate.errors import GitHubError
from gate.github.port import DeploymentPayload, DeploymentState, GitHub
from gate.github.standing import Standing, standing
from gate.report.page import Links, comment
from gate.report.short import short
from gate.runner_files import Level, annotation
from rampgate.evidence import Look
from rampgate.machine.state import Phase
from rampgate.rollout import Entry, Rollout

STATUS_EVERY = 600.0
"""Seconds between two statuses that say the same of newer figures. GitHub keeps 1 000 of a commit, and no more."""


_PLACEHOLDER = re.compile(r"\{\{\s*(slot|version)\s*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A rollout as it stands, and where the pages about it lead."""

    rollout: Rollout
    looks: Sequence[Look]
    entries: Sequence[Entry]
    links: Links


@dataclass(frozen=True, slots=True)
class _Said:
    """What a deployment and a commit were told last, and when (on the flag server's clock)."""

    phase: Phase
    step: int
    standing: Standing
    at: float

    @classmethod
    def of(cls, rollout: Rollout) -> "_Said":
        state = rollout.state
        phase = (state.ends_as or Phase.REVERTED) if state.phase is Phase.REVERTING else state.phase
        return cls(phase, state.step, standing(rollout), rollout.now)

    def covers(self, new: "_Said") -> bool:
        same = (self.phase, self.step, self.standing) == (new.phase, new.step, new.standing)
        return same and (new.phase.is_final or new.at - self.at < STATUS_EVERY)


@dataclass(slots=True)
class Outlets:
    """Tells GitHub how rollouts stand, in as few writes as will do. It survives one connection's end."""

    wishes: GitHubWishes
    say: Callable[[str], None]
    deployments: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[str, str], _Said] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def tell(self, github: GitHub, news: News) -> bool:
        """Tell all places. ``False``: one of them is worth another try later."""
        rollout = news.rollout
        places: list[tuple[str, bool, Callable[[GitHub, News], None]]] = [
            ("comment", rollout.pull_request is not None, self._comment),
            ("deployment", rollout.sha is not None and self.wishes.deployments, self._deployment),
            ("commit status", rollout.sha is not None and self.wishes.status, self._status),
        ]
        done = [self._tried(name, place, github, news) for name, wanted, place in places if wanted]
        return all(done)

    def _tried(self, name: str, place: Callable[[GitHub, News], None], github: GitHub, news: News) -> bool:
        try:
            place(github, news)
        except GitHubError as error:
            if name not in self.silent:
                self.silent.add(name)
                text = f"GitHub was not told ({name}); the rollout goes on without. {error}"
                self.say(annotation(Level.NOTICE, text, title="Rampgate") if error.lasting else text)
            return error.lasting
        if name in self.silent:
            self.silent.discard(name)
            self.say(f"GitHub is told again ({name}).")
        return True

    def _comment(self, github: GitHub, news: News) -> None:
        rollout = news.rollout
        if rollout.pull_request is not None:
            body = comment(rollout, news.looks, news.entries, rollout.now, news.links)
            github.tell(rollout.pull_request, rollout.plan.environment, body)

    def _deployment(self, github: GitHub, news: News) -> None:
        rollout, new = news.rollout, _Said.of(news.rollout)
        before = self.said.get(("deployment", rollout.id))
        if rollout.sha is None or (before is not None and before.covers(new)):
            return
        number = self.deployments.get(rollout.id)
        if number is None:
            payload = DeploymentPayload(
                rollout=rollout.id, version=rollout.version, flag=rollout.plan.flag, run_url=rollout.run_url
            )
            number = github.deployment(rollout.sha, rollout.plan.environment, payload)
            self.deployments[rollout.id] = number
        github.deployment_status(number, new.standing.deployment, _text(news), news.links.run, self._address(rollout))
        if new.standing.deployment is DeploymentState.SUCCESS:
            github.end_earlier_deployments(number, rollout.plan.environment, rollout.plan.flag)
        self.said[("deployment", rollout.id)] = new

    def _status(self, github: GitHub, news: News) -> None:
        rollout, new = news.rollout, _Said.of(news.rollout)
        before = self.said.get(("status", rollout.id))
        if rollout.sha is None or (before is not None and before.covers(new)):
            return
        target = news.links.run or news.links.dashboard
        github.commit_status(rollout.sha, rollout.plan.environment, new.standing.commit, _text(news), target)
        self.said[("status", rollout.id)] = new

    def _address(self, rollout: Rollout) -> str | None:
        url = self.wishes.environment_url
        if url is None:
            return None
        known = {"slot": rollout.canary.name, "version": rollout.version}
        return _PLACEHOLDER.sub(lambda match: quote(known[match[1]], safe=""), url)


def _text(news: News) -> str:
    return short(news.rollout, news.looks, news.entries, news.rollout.now)
