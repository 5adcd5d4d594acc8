"""The one sticky comment: found, edited, survived, and never anybody else's."""

from collections.abc import Callable

import pytest

from gate.errors import GitHubError
from gate.github.api import GitHubApi
from gate.github.marker import split
from gate.github.port import Seen
from tests.fakes.github import FakeGitHub, Fault

BOT = "github-actions[bot]"
Connect = Callable[..., GitHubApi]


def told(revision: int, text: str = "hello") -> str:
    return f"{text}\n\n<!-- rampgate:production rollout=r1 revision={revision} -->"


def test_the_first_word_makes_a_comment_with_its_marker_last(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.tell(7, "production", "hello")
    assert github.bodies(7) == ["hello\n\n<!-- rampgate:production -->"]
    assert number in github.comments


def test_a_later_word_edits_it_by_the_known_id_without_listing(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.tell(7, "production", told(1))
    listed = len(github.sent("GET", "/issues/7/comments"))
    assert api.tell(7, "production", told(2, "again"), number) == number
    assert len(github.sent("GET", "/issues/7/comments")) == listed
    assert split(github.bodies(7)[0])[0] == "again"


def test_saying_the_same_again_edits_nothing(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.tell(7, "production", told(1))
    api.tell(7, "production", told(1), number)
    assert github.sent("PATCH") == []


def test_another_run_finds_it_among_250_comments(connect: Connect, github: FakeGitHub) -> None:
    for index in range(230):
        github.comment(7, f"talk {index}", by="ann")
    number = connect().tell(7, "production", told(1))
    for index in range(20):
        github.comment(7, f"more talk {index}", by="ann")
    asked = len(github.sent("GET", "/issues/7/comments"))
    assert connect().tell(7, "production", told(2, "found")) == number
    pages = [one.query.get("page", "1") for one in github.sent("GET", "/issues/7/comments")[asked:]]
    assert pages == ["1", "2", "3"]
    assert len(github.bodies(7)) == 251


def test_each_environment_has_its_own(api: GitHubApi, github: FakeGitHub) -> None:
    first = api.tell(7, "production", "one")
    second = api.tell(7, "staging area/2", "two")
    assert first != second
    assert api.tell(7, "staging area/2", "three") == second
    assert len(github.bodies(7)) == 2


def test_one_that_somebody_forged_is_left_alone(api: GitHubApi, github: FakeGitHub) -> None:
    forged = github.comment(7, told(99, "all is well"), by="eve")
    number = api.tell(7, "production", told(1))
    assert number != forged
    assert github.comments[forged]["body"] == told(99, "all is well")
    assert api.seen(7, "production", at=2e9) == Seen(rollout="r1", revision=1)


def test_a_known_id_that_is_somebody_elses_comment_is_not_edited(api: GitHubApi, github: FakeGitHub) -> None:
    forged = github.comment(7, told(99), by="eve")
    assert api.tell(7, "production", told(1), forged) != forged
    assert github.sent("PATCH") == []


def test_a_marker_quoted_in_the_middle_of_our_own_comment_does_not_count(api: GitHubApi, github: FakeGitHub) -> None:
    other = github.comment(7, told(1) + "\nis what the last line looks like", by=BOT)
    assert api.tell(7, "production", told(1)) != other


def test_a_token_that_may_read_its_name_finds_its_own(connect: Connect, github: FakeGitHub) -> None:
    token = github.token("release-robot")
    by_bot = connect().tell(7, "production", told(1))
    by_robot = connect(token=token).tell(7, "production", told(1))
    assert by_bot != by_robot
    assert connect(token=token).tell(7, "production", told(2)) == by_robot


def test_when_nobody_knows_who_we_are_no_second_comment_is_made(connect: Connect, github: FakeGitHub) -> None:
    connect().tell(7, "production", told(1))
    github.fail("GET", "^/user$", *[Fault(status=503)] * 3)
    with pytest.raises(GitHubError, match="503"):
        connect().tell(7, "production", told(2))
    assert len(github.bodies(7)) == 1


def test_one_that_a_person_deleted_is_written_anew_once(api: GitHubApi, github: FakeGitHub) -> None:
    first = api.tell(7, "production", told(1))
    github.delete_comment(first)
    second = api.tell(7, "production", told(2), first)
    assert second != first
    assert api.tell(7, "production", told(3), first) == second, "the old id leads to the new comment"
    github.delete_comment(second)
    api.tell(7, "production", told(4), second)
    assert github.bodies(7) == []


def test_one_deleted_between_the_look_and_the_edit_is_written_anew(api: GitHubApi, github: FakeGitHub) -> None:
    first = api.tell(7, "production", told(1))
    github.fail("PATCH", "comments", Fault(status=404, message="Not Found"))
    second = api.tell(7, "production", told(2), first)
    assert second != first


def test_a_comment_whose_answer_was_lost_is_not_written_twice(api: GitHubApi, github: FakeGitHub) -> None:
    github.fail("POST", "/issues/7/comments", Fault(applied=True))
    number = api.tell(7, "production", told(1))
    assert list(github.comments) == [number]
    assert len(github.sent("POST")) == 1


def test_a_text_that_is_too_long_is_cut(api: GitHubApi, github: FakeGitHub) -> None:
    api.tell(7, "production", told(1, "x" * 70_000))
    assert len(github.bodies(7)[0]) <= 65_536


def test_what_a_person_saw_is_told_by_the_moment(api: GitHubApi, clock) -> None:  # type: ignore[no-untyped-def]
    assert api.seen(7, "production", at=clock.now) is None
    begin = clock.now
    for revision in (1, 2, 2, 5):
        clock.now += 60
        api.tell(7, "production", told(revision, f"at {clock.now}"))
    at = {after: api.seen(7, "production", at=begin + after) for after in (30, 90, 150, 210, 270)}
    assert at == {
        30: None,
        90: Seen(rollout="r1", revision=1),
        150: Seen(rollout="r1", revision=2),
        210: Seen(rollout="r1", revision=2),
        270: Seen(rollout="r1", revision=5),
    }
