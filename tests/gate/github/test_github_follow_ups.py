"""What a revert opens: one issue, one pull request that reverts, and never a second of either."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gate.config import GitHubWishes, RevertWishes
from gate.github.api import GitHubApi
from gate.github.calls import Manners
from gate.github.no_github import NoGitHub
from gate.github.outlets import News, Outlets
from gate.report.page import Links
from rampgate.machine.state import Reason
from tests.fakes.github import FakeGitHub, Fault
from tests.fakes.github_contract import contract
from tests.gate.report.story import STORIES
from tests.gate.report.test_report_golden import hold_to

MERGE = "b" * 40
BOTH = GitHubWishes(on_revert=RevertWishes(issue=True, pull_request=True, labels=("incident",)))
Connect = Callable[..., GitHubApi]


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/shop") as fake:
        fake.pull(7, author="ann", head_sha="a" * 40, merge_sha=MERGE, merged=True)
        fake.assignable.add("ann")
        yield fake
        departures = [fault for exchange in fake.exchanges for fault in contract().departures(exchange)]
    assert departures == []


def news(name: str, pull_request: int | None = 7) -> News:
    story = STORIES[name]()
    rollout = replace(story.rollout(), sha=MERGE, pull_request=pull_request)
    return News(rollout=rollout, looks=story.looks, entries=story.entries, links=Links())


def told(connect: Connect, name: str, wishes: GitHubWishes = BOTH, pull_request: int | None = 7) -> bool:
    """As a run of its own tells it."""
    return Outlets(wishes=wishes, say=lambda _: None).tell(connect(), news(name, pull_request))


def test_a_revert_opens_an_issue_and_a_pull_request_and_the_comment_leads_there(
    connect: Connect, github: FakeGitHub
) -> None:
    assert told(connect, "reverted")
    issue, revert = sorted(github.issues.values(), key=lambda one: "pull_request" in one)
    assert issue["labels"] == ["incident"]
    assert [one["login"] for one in issue["assignees"]] == ["ann"]
    hold_to("issue.md", f"{issue['title']}\n\n{issue['body']}\n")
    hold_to("revert.md", f"{revert['title']}\n\n{revert['body']}\n")
    (comment,) = github.bodies(7)
    assert f"**Opened:** issue #{issue['number']}, revert pull request #{revert['number']}" in comment


@pytest.mark.parametrize("fault", [Fault(applied=True), Fault(), Fault(reset=True, applied=True)])
def test_whatever_fails_and_however_many_runs_tell_of_it_there_is_one_of_each(
    connect: Connect, github: FakeGitHub, fault: Fault
) -> None:
    github.fail("POST", "/issues$", fault, fault)
    github.fail("POST", "/graphql", fault, fault)
    for _ in range(3):
        assert told(connect, "reverted")
    assert len(github.issues) == 2


@pytest.mark.parametrize("name", ["ramping", "promoted", "gate-lost", "reverting"])
def test_what_says_nothing_against_the_version_opens_nothing(connect: Connect, github: FakeGitHub, name: str) -> None:
    told(connect, name)
    assert github.issues == {}


def test_nobody_who_did_not_ask_for_it_gets_an_issue(connect: Connect, github: FakeGitHub) -> None:
    told(connect, "reverted", GitHubWishes())
    assert github.issues == {}


def test_a_forged_marker_of_somebody_else_is_not_taken_for_ours(connect: Connect, github: FakeGitHub) -> None:
    told(connect, "aborted", GitHubWishes(on_revert=RevertWishes(issue=True)))
    (ours,) = github.issues.values()
    github.issues[ours["number"]] = ours | {"user": ours["user"] | {"login": "eve"}}
    told(connect, "aborted", GitHubWishes(on_revert=RevertWishes(issue=True)))
    assert len(github.issues) == 2


def test_who_cannot_be_assigned_keeps_no_issue_from_being_opened(connect: Connect, github: FakeGitHub) -> None:
    github.assignable.clear()
    told(connect, "reverted", GitHubWishes(on_revert=RevertWishes(issue=True)))
    (issue,) = github.issues.values()
    assert issue["assignees"] == []


def test_a_revert_that_github_cannot_make_is_told_with_the_reason_and_not_asked_for_again(
    connect: Connect, github: FakeGitHub
) -> None:
    github.conflicting.add(7)
    outlets = Outlets(wishes=GitHubWishes(on_revert=RevertWishes(pull_request=True)), say=lambda _: None)
    api = connect()
    assert outlets.tell(api, news("reverted"))
    assert outlets.tell(api, news("reverted"))
    (comment,) = github.bodies(7)
    assert "**Not opened:** revert pull request: GitHub does not revert #" in comment
    assert "could not be reverted automatically" in comment
    assert len(github.sent("POST", "/graphql")) == 1


def test_a_commit_without_a_pull_request_has_nothing_to_revert(connect: Connect, github: FakeGitHub) -> None:
    assert told(connect, "reverted", pull_request=None)
    assert ["pull_request" in one for one in github.issues.values()] == [False]


def test_a_version_that_failed_its_verification_is_blamed_too(connect: Connect, github: FakeGitHub) -> None:
    found = news("reverted")
    state = replace(found.rollout.state, reason=Reason.VERIFY_FAILED)
    outlets = Outlets(wishes=BOTH, say=lambda _: None)
    assert outlets.tell(connect(), replace(found, rollout=replace(found.rollout, state=state)))
    assert len(github.issues) == 2


def test_a_pull_request_that_cannot_be_read_keeps_no_issue_from_being_opened(
    connect: Connect, github: FakeGitHub
) -> None:
    github.fail("GET", "/pulls/7$", *[Fault()] * 3)
    told(connect, "reverted", GitHubWishes(on_revert=RevertWishes(issue=True)))
    assert len(github.issues) == 1


def test_where_there_is_no_github_nothing_is_left_to_try_again() -> None:
    said: list[str] = []
    assert Outlets(wishes=BOTH, say=said.append).tell(NoGitHub(said.append), news("reverted"))
    assert said == ["No GitHub here: comments, deployments and statuses are left out."]


def test_on_github_enterprise_the_revert_is_asked_of_the_same_host() -> None:
    with FakeGitHub("acme/shop", prefix="/api/v3") as github:
        github.pull(7, author="ann", head_sha="a" * 40, merge_sha=MERGE, merged=True)
        token = github.token("github-actions[bot]", reads_user=False)
        api = GitHubApi.at(
            api_url=github.url, token=token, repository="acme/shop", say=lambda _: None, manners=Manners(pause=0.0)
        )
        wishes = GitHubWishes(on_revert=RevertWishes(pull_request=True))
        assert Outlets(wishes=wishes, say=lambda _: None).tell(api, news("reverted"))
        assert len(github.issues) == 1
