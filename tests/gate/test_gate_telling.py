"""Whoever tells people goes on telling, whatever befalls it or GitHub."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gate.github.api import GitHubApi
from gate.github.calls import Manners
from gate.github.no_github import NoGitHub
from gate.runner_files import RunnerFiles
from gate.telling import Audience, Telling
from rampgate.machine.state import Phase
from rampgate.rollout import Entry, Rollout
from tests.fakes.github import FakeGitHub, Fault
from tests.gate.report.story import STORIES, Story
from tests.scenarios.waiting import until

MERGE = "b" * 40
DOWN = [Fault(reset=True)] * 500


class Records:
    """A flag server that keeps the histories of some rollouts; the first one fails in a way that nobody foresaw."""

    url = "https://flags.example.com"

    def __init__(self, *others: Rollout, broken: int = 0) -> None:
        self.others = others
        self.history: tuple[Entry, ...] = ()
        self.broken = broken

    def find(self, **_: object) -> tuple[Rollout, ...]:
        return self.others

    def rollout(self, rollout_id: str) -> Rollout:
        return next(one for one in self.others if one.id == rollout_id)

    def entries(self, _rollout_id: str) -> tuple[Entry, ...]:
        self.broken -= 1
        if self.broken >= 0:
            raise OSError(28, "No space left on device")
        return self.history


class Room:
    """Somebody who tells, what was said, and a GitHub to be told."""

    def __init__(self, github: FakeGitHub, folder: Path) -> None:
        self.github, self.lines, self.summary = github, list[str](), folder / "summary.md"
        self.token = github.token("github-actions[bot]", reads_user=False)

    def connect(self) -> GitHubApi:
        manners = Manners(pause=0.0, rest=0.05, timeout=5)
        return GitHubApi.at(
            api_url=self.github.url, token=self.token, repository="acme/shop", say=self.lines.append, manners=manners
        )

    @contextmanager
    def telling(self, server: Records) -> Iterator[Callable[[Story], Rollout]]:
        audience = Audience(
            say=self.lines.append,
            files=RunnerFiles(summary_path=self.summary),
            server=server,  # type: ignore[arg-type]
            github=self.connect,
        )
        telling = Telling(audience, lambda: 0.0, again=0.05)

        def tell(story: Story) -> Rollout:
            rollout = replace(story.rollout(), sha=MERGE, pull_request=7)
            server.history = tuple(story.entries)
            telling(rollout, tuple(story.looks))
            return rollout

        yield tell
        telling.close()

    def states(self) -> list[str]:
        with self.github.lock:
            return [one["state"] for listed in self.github.deployment_statuses.values() for one in listed]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with FakeGitHub("acme/shop") as github:
        github.pull(7, head_sha="a" * 40, merge_sha=MERGE, merged=True)
        github.pull(8, head_sha="c" * 40, merge_sha="d" * 40, merged=True)
        yield Room(github, tmp_path)


def test_a_telling_that_fails_is_said_and_the_next_one_arrives(tmp_path: Path) -> None:
    lines: list[str] = []
    failed = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if "Telling failed" in line:
            failed.set()

    files = RunnerFiles(summary_path=tmp_path / "summary.md")
    audience = Audience(say=say, files=files, server=Records(broken=1), github=lambda: NoGitHub(say))  # type: ignore[arg-type]
    telling = Telling(audience, lambda: 0.0)
    story = Story()
    telling(story.rollout(), ())
    assert failed.wait(5), lines
    telling(story.up().rollout(), ())
    telling.close()
    assert (tmp_path / "summary.md").exists()


def test_what_github_did_not_hear_it_hears_when_it_is_back_as_things_then_stand(room: Room) -> None:
    with room.telling(Records()) as tell:
        tell(STORIES["deploying"]())
        until(lambda: room.github.bodies(7) and room.states() == ["queued"])
        for verb in ("GET", "POST", "PATCH"):
            room.github.fail(verb, "", *DOWN)
        tell(STORIES["ramping"]())
        until(lambda: any("GitHub was not told" in line for line in room.lines))
        tell(STORIES["reverting"]())
        until(lambda: any(line.startswith("::error") for line in room.lines))
        room.github.heal()
        until(lambda: room.states() == ["queued", "failure"])
        until(lambda: "everybody is back" in room.github.bodies(7)[0])
    annotations = [line.partition(" ")[0] for line in room.lines if line.startswith("::")]
    assert annotations == ["::notice", "::error"], "every decision was annotated, though GitHub heard of none"


def test_the_last_word_arrives_on_a_new_connection(room: Room) -> None:
    resting = Manners(pause=0.0, rest=3600.0)
    room.connect = lambda: GitHubApi.at(  # type: ignore[method-assign]
        api_url=room.github.url, token=room.token, repository="acme/shop", say=room.lines.append, manners=resting
    )
    with room.telling(Records()) as tell:
        for verb in ("GET", "POST", "PATCH"):
            room.github.fail(verb, "", *DOWN)
        tell(STORIES["promoted"]())
        until(lambda: any("GitHub was not told" in line for line in room.lines))
        room.github.heal()
    assert "everybody is on `v2`" in room.github.bodies(7)[0]


def test_github_that_is_gone_for_good_ends_the_telling_all_the_same(room: Room) -> None:
    for verb in ("GET", "POST", "PATCH"):
        room.github.fail(verb, "", *DOWN)
    with room.telling(Records()) as tell:
        tell(STORIES["promoted"]())
    assert "everybody is on" in room.summary.read_text(), "the summary needs no GitHub"
    assert room.github.bodies(7) == []


def test_the_comment_of_a_rollout_that_made_way_is_closed_with_a_link_to_the_next(room: Room) -> None:
    old = STORIES["aborted"]()
    old.state = replace(old.state, phase=Phase.SUPERSEDED)
    superseded = replace(old.rollout(), id="r-old", sha="d" * 40, pull_request=8, superseded_by="r-7f3a")
    records = Records(superseded)
    with room.telling(records) as tell:
        story = STORIES["ramping"]()
        records.others = (replace(story.rollout(), pull_request=7), superseded)
        tell(story)
        until(lambda: room.github.bodies(8))
    (closed,) = room.github.bodies(8)
    assert "made way for a newer rollout" in closed
    assert "[superseded by `r-7f3a`](https://flags.example.com/ui/rollouts/r-7f3a) (#7)" in closed
    assert sorted(room.states()) == ["in_progress", "inactive"]
