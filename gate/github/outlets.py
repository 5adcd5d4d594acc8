"""The places on GitHub where a rollout is told: the pull request's comment, the deployment, the commit's status.

Each stands for itself: one that fails keeps no other from being told. What is said, `gate/report/` knows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from gate.config import GitHubWishes
from gate.errors import GitHubError
from gate.github.port import DeploymentPayload, DeploymentState, FollowUp, FollowUpKind, GitHub
from gate.github.standing import Standing, standing
from gate.report import follow_up
from gate.report.page import Links, comment
from gate.report.short import short
from gate.runner_files import Level, annotation
from rampgate.evidence import Look
from rampgate.machine.state import REFUSE_VERSION, Phase, Reason
from rampgate.rollout import Entry, Rollout

STATUS_EVERY = 600.0
"""Seconds between two statuses that say the same of newer figures. GitHub keeps 1 000 of a commit, and no more."""


_BLAMED = REFUSE_VERSION | {Reason.VERIFY_FAILED}
"""Ends that speak against the version itself."""

_NAMES = {FollowUpKind.ISSUE: "issue", FollowUpKind.REVERT: "revert pull request"}
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
    opened: dict[tuple[str, FollowUpKind], int | str] = field(default_factory=dict)

    def tell(self, github: GitHub, news: News) -> bool:
        """Tell all places. ``False``: one of them is worth another try later."""
        rollout = news.rollout
        places: list[tuple[str, bool, Callable[[GitHub, News], None]]] = [
            ("comment", rollout.pull_request is not None, self._comment),
            ("deployment", rollout.sha is not None and self.wishes.deployments, self._deployment),
            ("commit status", rollout.sha is not None and self.wishes.status, self._status),
        ]
        done = [self._follow_up(github, news, kind) for kind in self._wanted(rollout)]
        done += [self._tried(name, place, github, news) for name, wanted, place in places if wanted]
        return all(done)

    def _wanted(self, rollout: Rollout) -> list[FollowUpKind]:
        """What is still to open for it."""
        if not (rollout.state.phase in (Phase.REVERTED, Phase.FAILED) and rollout.state.reason in _BLAMED):
            return []
        asked = {
            FollowUpKind.ISSUE: self.wishes.on_revert.issue,
            FollowUpKind.REVERT: self.wishes.on_revert.pull_request,
        }
        return [kind for kind, wanted in asked.items() if wanted and (rollout.id, kind) not in self.opened]

    def _follow_up(self, github: GitHub, news: News, kind: FollowUpKind) -> bool:
        """Open it. Unlike a report it is not tried again where GitHub says no: the comment says why."""
        rollout = news.rollout
        words = (follow_up.issue if kind is FollowUpKind.ISSUE else follow_up.revert)(
            rollout, news.looks, news.entries, news.links
        )
        try:
            number = github.follow_up(
                FollowUp(
                    kind=kind,
                    rollout=rollout.id,
                    since=rollout.created_at,
                    title=words.title,
                    body=words.body,
                    pull_request=rollout.pull_request,
                    labels=self.wishes.on_revert.labels,
                    assignee=_author(github, rollout.pull_request) if kind is FollowUpKind.ISSUE else None,
                )
            )
        except GitHubError as error:
            if error.lasting:
                self.opened[(rollout.id, kind)] = f"{_NAMES[kind]}: {error.what}"
            return error.lasting
        self.opened[(rollout.id, kind)] = number
        return True

    def _links(self, news: News) -> Links:
        mine = {kind: found for (rollout, kind), found in self.opened.items() if rollout == news.rollout.id}
        opened = tuple(f"{_NAMES[kind]} #{found}" for kind, found in mine.items() if isinstance(found, int))
        return replace(
            news.links, opened=opened, not_opened=tuple(found for found in mine.values() if isinstance(found, str))
        )

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
            body = comment(rollout, news.looks, news.entries, rollout.now, self._links(news))
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


def _author(github: GitHub, pull_request: int | None) -> str | None:
    """Who is to look at it; a bot cannot, and an issue that nobody is assigned to is better than none."""
    try:
        author = github.pull_request(pull_request).author if pull_request is not None else None
    except GitHubError:
        return None
    return author if author is not None and not author.endswith("[bot]") else None
