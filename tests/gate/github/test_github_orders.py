"""What orders ask of GitHub beyond comments: teams, runs that are run again, commits that are commented on."""

from collections.abc import Callable

import pytest

from gate.errors import GitHubError
from gate.github.api import GitHubApi
from gate.github.port import PermissionUnknown, Reaction
from tests.fakes.github import FakeGitHub, Fault

HEAD = "a" * 40


def test_who_is_in_a_team_and_who_is_not(github: FakeGitHub, api: GitHubApi) -> None:
    github.team("acme/sre", "ann")
    assert api.in_team("acme/sre", "ann") is True
    assert api.in_team("acme/sre", "rob") is False


def test_a_team_that_the_token_may_not_see_is_unknown_and_not_empty(github: FakeGitHub, api: GitHubApi) -> None:
    github.team("acme/sre", "ann")
    github.shows_teams = False
    for team in ("acme/sre", "acme/none"):
        found = api.in_team(team, "ann")
        assert isinstance(found, PermissionUnknown)
        assert team in found.text


def test_a_team_that_cannot_be_asked_about_is_unknown(github: FakeGitHub, api: GitHubApi) -> None:
    github.team("acme/sre", "ann")
    github.fail("GET", "/memberships/", Fault(status=503), Fault(status=503), Fault(status=503))
    assert isinstance(api.in_team("acme/sre", "ann"), PermissionUnknown)


@pytest.mark.parametrize(("conclusion", "how"), [("failure", "rerun-failed-jobs"), ("success", "rerun")])
def test_a_run_is_run_again_once_whatever_the_weather(
    github: FakeGitHub, api: GitHubApi, conclusion: str, how: str
) -> None:
    github.run(55, conclusion)
    github.fail("POST", "/rerun", Fault(applied=True), Fault())
    api.run_again(api.run(55))
    assert github.run_again == [(55, how)]
    assert not api.run(55).is_over


def test_a_run_that_may_not_be_started_is_an_error(github: FakeGitHub, connect: Callable[..., GitHubApi]) -> None:
    github.run(55, "failure")
    token = github.token("github-actions[bot]", may=frozenset({"comments"}))
    api = connect(token=token)
    with pytest.raises(GitHubError, match="403"):
        api.run_again(api.run(55))


def test_a_comment_on_a_commit_is_answered_there(github: FakeGitHub, api: GitHubApi) -> None:
    question = github.comment(HEAD, "/abort", by="ann")
    api.react(question, Reaction.SEEN, on_commit=True)
    api.reply(HEAD, "aborted", question)
    api.reply(HEAD, "aborted, all of it", question)
    assert github.bodies(HEAD)[1:] == [f"aborted, all of it\n\n<!-- rampgate-reply:{question} -->"]
    assert [one["content"] for one in github.reactions[question]] == ["eyes"]


@pytest.mark.parametrize("thread", [7, HEAD])
def test_only_an_answer_that_stands_is_found_again(github: FakeGitHub, api: GitHubApi, thread: int | str) -> None:
    question = github.comment(thread, "/unlock", by="ann")
    assert api.answered(thread, question) is None
    api.reply(thread, "try again", question)
    assert api.answered(thread, question) is None
    api.reply(thread, "unlocked\n\nall of it", question, stands=True)
    assert api.answered(thread, question) == "unlocked\n\nall of it"
    assert api.answered(thread, question + 1) is None
    assert len(github.bodies(thread)) == 2


def test_somebody_elses_answer_is_none(github: FakeGitHub, api: GitHubApi) -> None:
    question = github.comment(7, "/unlock", by="ann")
    github.comment(7, f"done\n\n<!-- rampgate-reply:{question} stands -->", by="eve")
    assert api.answered(7, question) is None
