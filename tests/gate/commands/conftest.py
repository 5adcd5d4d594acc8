# ruff: noqa: ARG002 - the arguments are the port's
"""A pull request with comments on a fake GitHub, and rollouts under the real state machine."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from gate.commands.answer import obey, puzzled
from gate.commands.desk import Desk, Reply
from gate.commands.parse import Command, NotUnderstood, parse
from gate.commands.permissions import Comment
from gate.config import CommandRules, command_rules
from gate.errors import FlagServerUnreachableError
from gate.github.api import GitHubApi
from gate.github.calls import Manners
from rampgate.locks import HeldLock, NewLock
from rampgate.machine import handle, share
from rampgate.machine.events import Told
from rampgate.machine.state import Lease, Phase, State
from rampgate.plan import RolloutPlan, Step
from rampgate.rollout import Answer, Entry, RefusedVersion, Rollout, Slot, Slots
from tests.fakes.github import FakeGitHub
from tests.fakes.github_contract import contract

HEAD = "a" * 40
MERGE = "b" * 40
STEPS = (Step(share=10_000), Step(share=50_000), Step(share=100_000))


@dataclass
class Rollouts:
    """The part of a flag server that comments meet, with the product's own machine behind it."""

    now: float
    kept: dict[str, Rollout] = field(default_factory=dict)
    posted: list[tuple[str, Told, str]] = field(default_factory=list)
    silent_for: set[str] = field(default_factory=set)
    held: list[HeldLock] = field(default_factory=list)
    refused: list[RefusedVersion] = field(default_factory=list)
    allowed: list[tuple[str, str, str]] = field(default_factory=list)
    serves: str | None = None
    _answers: dict[str, Answer] = field(default_factory=dict)

    def add(self, name: str, *, environment: str = "production", flag: str = "shop", **facts: object) -> Rollout:
        """A rollout at its first step, driven by a gate; ``facts`` change fields of the rollout or of its state."""
        state = State(
            phase=Phase.PROGRESSING, step=1, revision=7, up=True, exposed=True, deployed=True,
            lease=Lease(holder="gate", fence=1), fence=1, entered_at=self.now, since=self.now,
        )  # fmt: skip
        own = {key: facts.pop(key) for key in list(facts) if key in State.__dataclass_fields__}
        rollout = Rollout(
            id=name,
            key=name,
            plan=RolloutPlan(flag=flag, environment=environment, steps=STEPS),
            version="0123456789abcdef",
            canary=Slot(name="green"),
            stable=Slot(name="blue"),
            state=replace(state, **own),  # type: ignore[arg-type]
            share=10_000,
            created_at=self.now - 600,
            now=self.now,
            by="gate",
            repository="acme/shop",
            pull_request=7,
        )
        self.kept[name] = replace(rollout, **facts)  # type: ignore[arg-type]
        return self.kept[name]

    def find(
        self,
        *,
        environment: str | None = None,
        flag: str | None = None,
        repository: str | None = None,
        pull_request: int | None = None,
        sha: str | None = None,
        limit: int = 50,
    ) -> tuple[Rollout, ...]:
        if "find" in self.silent_for:
            raise FlagServerUnreachableError("No answer.")
        wanted = {"repository": repository, "pull_request": pull_request, "sha": sha}
        fits = [
            one
            for one in self.kept.values()
            if all(value is None or getattr(one, key) == value for key, value in wanted.items())
            and environment in (None, one.plan.environment)
            and flag in (None, one.plan.flag)
        ]
        return tuple(sorted(fits, key=lambda one: -one.created_at)[:limit])

    def rollout(self, rollout_id: str) -> Rollout:
        return self.kept[rollout_id]

    def entries(self, rollout_id: str) -> tuple[Entry, ...]:
        assert rollout_id in self.kept
        return ()

    def slots(self, environment: str, flag: str) -> Slots | None:
        return Slots(stable=Slot(name="blue", version=self.serves), idle=Slot(name="green"))

    def lock(self, new: NewLock) -> HeldLock:
        for one in self.held:
            if one.key == new.key:
                return one
        made = HeldLock(
            id=f"lk_{len(self.held)}", reason=new.reason, by=new.by, scope=f"{new.flag} in {new.environment}",
            holds=True, since=self.now, until=new.until, created_at=self.now,
            environment=new.environment, flag=new.flag, key=new.key,
        )  # fmt: skip
        self.held.append(made)
        return made

    def locks(self, environment: str | None = None, flag: str | None = None) -> tuple[HeldLock, ...]:
        return tuple(one for one in self.held if one.environment in (None, environment) and one.flag in (None, flag))

    def unlock(self, lock_id: str, *, by: str, reason: str | None = None) -> None:
        self.held = [one for one in self.held if one.id != lock_id]

    def refused_versions(self, environment: str, flag: str) -> tuple[RefusedVersion, ...]:
        return tuple(self.refused)

    def allow(self, environment: str, flag: str, version: str, *, by: str, reason: str) -> None:
        self.refused = [one for one in self.refused if one.version != version]
        self.allowed.append((version, by, reason))

    def post(self, rollout_id: str, event: Told, event_id: str) -> Answer:
        if rollout_id in self.silent_for:
            raise FlagServerUnreachableError("No answer.")
        self.posted.append((rollout_id, event, event_id))
        if event_id not in self._answers:
            rollout = self.kept[rollout_id]
            moved = handle(rollout.plan, rollout.state, event, self.now)[-1][1]
            rollout = self.kept[rollout_id] = replace(
                rollout, state=moved.state, share=share(rollout.plan, moved.state), now=self.now
            )
            self._answers[event_id] = Answer(
                verb=moved.verb, rollout=rollout, because=moved.because, actions=moved.actions, refusal=moved.refusal
            )
        return self._answers[event_id]


@dataclass
class Clock:
    now: float = 1_795_391_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class PullRequest:
    """Where people talk. ``says`` is what a run of the Action on that comment does."""

    github: FakeGitHub
    rollouts: Rollouts
    clock: Clock
    rules: CommandRules = field(default_factory=CommandRules)

    def ruled(self, text: str) -> None:
        """What the default branch's configuration says of commands."""
        self.rules = command_rules(f"flag: shop\nenvironment: production\ncommands: {text}\n", where="the file")

    def tells(self, revision: int, *, rollout: str = "r1", environment: str = "production") -> None:
        """The gate's own sticky comment, as of now."""
        marker = f"<!-- rampgate:{environment} rollout={rollout} revision={revision} -->"
        self._api().tell(7, environment, f"at revision {revision}\n\n{marker}")

    def says(self, body: str, *, by: str = "ann", **changes: object) -> Reply:
        self.clock.now += 60
        self.rollouts.now = self.clock.now
        return self.runs(self.comments(body, by=by, **changes), body)

    def comments(self, body: str, *, by: str = "ann", **changes: object) -> Comment:
        number = self.github.comment(HEAD if changes.get("commit") else 7, body, by=by)
        comment = Comment(
            id=number, repository="acme/shop", pull_request=7, created_at=self.clock.now, author=by,
            author_is_user=True, sender=by, edited=False, actor=by, triggering_actor=by,
        )  # fmt: skip
        return replace(comment, **changes)  # type: ignore[arg-type]

    def runs(self, comment: Comment, body: str) -> Reply:
        command = parse(body, self.rules.prefix)
        if isinstance(command, NotUnderstood):
            return puzzled(command, comment, self._api())
        assert isinstance(command, Command)
        return obey(command, comment, Desk(github=self._api(), flagserver=self.rollouts, rules=self.rules))

    def reactions(self, comment_id: int | None = None) -> list[str]:
        """The reactions on a comment, or on the only one that has any."""
        if comment_id is None:
            (comment_id,) = self.github.reactions or (0,)
        return [one["content"] for one in self.github.reactions.get(comment_id, [])]

    def _api(self) -> GitHubApi:
        token = self.github.token("github-actions[bot]", reads_user=False)
        return GitHubApi.at(
            api_url=self.github.url, token=token, repository="acme/shop", say=lambda _: None, manners=Manners(pause=0.0)
        )


@pytest.fixture
def pull_request() -> Iterator[PullRequest]:
    clock = Clock()
    with FakeGitHub("acme/shop", clock) as github:
        github.pull(7, head_sha=HEAD, merge_sha=MERGE, merged=True)
        for login, role in (("ann", "write"), ("rob", "read"), ("tim", "triage"), ("mia", "maintain")):
            github.role(login, role)
        yield PullRequest(github, Rollouts(clock.now), clock)
        departures = [fault for exchange in github.exchanges for fault in contract().departures(exchange)]
    assert departures == []
