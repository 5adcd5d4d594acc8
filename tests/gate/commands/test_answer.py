"""A comment's way: seen, allowed or refused, carried to the right rollouts, answered once."""

from typing import Any

import pytest

from gate.commands.permissions import Denial
from gate.github.port import Reaction
from rampgate.evidence import ArmName
from rampgate.machine.state import Action, ActionKind, Lock, Order, Phase, Reason
from tests.fakes.github import Fault

PullRequest = Any
HEAD = "a" * 40
MERGE = "b" * 40
UNDO = Action(number=1, kind=ActionKind.UNDO, arm=ArmName.CANARY)


def last_reply(pull_request: PullRequest) -> str:
    body: str = pull_request.github.bodies(7)[-1]
    return body.rpartition("\n\n<!-- rampgate-reply:")[0]


@pytest.mark.parametrize(
    ("body", "order", "phase", "step"),
    [
        ("/promote", Order.ADVANCE, Phase.PROGRESSING, 2),
        ("/promote production", Order.ADVANCE, Phase.PROGRESSING, 2),
        ("/promote full", Order.COMPLETE, Phase.COMPLETING, None),
        ("/abort", Order.REVERT, Phase.REVERTING, None),
        ("/pause production looking into it", Order.PAUSE, Phase.PAUSED, 1),
    ],
)
def test_an_order_reaches_the_rollout(
    pull_request: PullRequest, body: str, order: Order, phase: Phase, step: int | None
) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says(body)
    state = pull_request.rollouts.kept["r1"].state
    assert state.phase is phase
    assert step in (None, state.step)
    ((name, told, event_id),) = pull_request.rollouts.posted
    assert (name, told.order, told.by) == ("r1", order, "@ann")
    assert event_id.startswith("comment-")
    assert event_id.endswith("-r1")
    assert reply.reaction is Reaction.DONE
    assert not reply.unsent
    assert last_reply(pull_request) == reply.text
    assert pull_request.reactions() == ["eyes", "+1"]


def test_a_pause_ends_with_resume(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/pause")
    pull_request.says("/resume")
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.PROGRESSING


def test_the_reason_goes_along_and_pings_nobody(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/abort production **it** broke @everyone <b> https://x.test")
    assert pull_request.rollouts.posted[0][1].text == "**it** broke @everyone <b> https://x.test"
    pull_request.says("/status")
    reply = last_reply(pull_request)
    assert "broke" in reply
    for raw in ("**it**", "@everyone", "<b>", "https://"):
        assert raw not in reply


def test_it_is_seen_before_anything_else_is_asked(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/abort")
    first = pull_request.github.exchanges[0]
    assert (first.method, first.body) == ("POST", {"content": "eyes"})


@pytest.mark.parametrize("body", ["/abort", "/promote", "/pause", "/resume", "/promote full"])
@pytest.mark.parametrize("login", ["rob", "tim", "eve"])
def test_who_may_not_write_changes_nothing(pull_request: PullRequest, body: str, login: str) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says(body, by=login)
    assert pull_request.rollouts.posted == []
    assert reply.denied is not None
    assert pull_request.reactions() == ["eyes", "-1"]
    assert login in last_reply(pull_request)


@pytest.mark.parametrize("login", ["rob", "tim", "ann", "mia"])
def test_who_may_read_may_look(pull_request: PullRequest, login: str) -> None:
    pull_request.rollouts.add("r1")
    status = pull_request.says("/status", by=login).text
    assert "production: 10 % of users" in status
    assert "/promote [full]" in pull_request.says("/help", by=login).text
    assert pull_request.rollouts.posted == []


def test_a_bot_gets_no_word_and_no_reaction(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says("/abort", by="helper[bot]", author_is_user=False)
    assert reply.denied is not None
    assert reply.denied.denial is Denial.BOT
    assert pull_request.github.exchanges == []


@pytest.mark.parametrize(
    "changes", [{"edited": True}, {"sender": "eve"}, {"actor": "eve"}, {"triggering_actor": "rob"}]
)
def test_an_edited_or_borrowed_comment_is_refused(pull_request: PullRequest, changes: dict[str, object]) -> None:
    pull_request.rollouts.add("r1")
    assert pull_request.says("/abort", **changes).denied is not None
    assert pull_request.rollouts.posted == []


@pytest.mark.parametrize("status", [403, 404, 502])
def test_a_permission_that_cannot_be_read_refuses(pull_request: PullRequest, status: int) -> None:
    pull_request.rollouts.add("r1")
    pull_request.github.fail("GET", "/permission", *[Fault(status=status)] * 3)
    reply = pull_request.says("/abort")
    assert reply.denied is not None
    assert reply.denied.denial is Denial.PERMISSION_UNKNOWN
    assert pull_request.rollouts.posted == []


def test_the_same_comment_again_gets_the_first_answer(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    comment = pull_request.comments("/promote")
    first = pull_request.runs(comment, "/promote")
    state = pull_request.rollouts.kept["r1"].state
    again = pull_request.runs(comment, "/promote")
    assert again.text == first.text
    assert pull_request.rollouts.kept["r1"].state == state
    assert len(pull_request.github.bodies(7)) == 2
    assert pull_request.reactions(comment.id) == ["eyes", "+1"]


def test_an_abort_repeated_after_the_end_gets_the_first_answer(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", lease=None)
    comment = pull_request.comments("/abort")
    first = pull_request.runs(comment, "/abort")
    rollout = pull_request.rollouts.kept["r1"]
    pull_request.rollouts.add("r1", phase=Phase.REVERTED, revision=rollout.state.revision + 1)
    assert pull_request.runs(comment, "/abort").text == first.text


def test_an_old_abort_does_not_touch_a_later_rollout(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", phase=Phase.REVERTED)
    comment = pull_request.comments("/abort")
    pull_request.rollouts.add("r2", created_at=pull_request.clock.now + 3600)
    reply = pull_request.runs(comment, "/abort")
    assert pull_request.rollouts.posted == []
    assert "began after your comment" in reply.text
    assert pull_request.rollouts.kept["r2"].state.phase is Phase.PROGRESSING


def test_two_clocks_that_differ_a_little_do_not_block_an_abort_but_a_promotion(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", created_at=pull_request.clock.now + 30)
    promote = pull_request.comments("/promote")
    assert "began after" in pull_request.runs(promote, "/promote").text
    abort = pull_request.comments("/abort")
    assert pull_request.runs(abort, "/abort").reaction is Reaction.DONE


def test_an_abort_that_names_nothing_aborts_all_and_says_so(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    reply = pull_request.says("/abort it is broken")
    assert {one[0] for one in pull_request.rollouts.posted} == {"r1", "r2"}
    assert "both rollouts" in reply.text
    assert reply.text.count("back on the stable version") == 2


@pytest.mark.parametrize("word", ["/promote", "/pause", "/resume", "/promote full"])
def test_every_other_command_asks_which(pull_request: PullRequest, word: str) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    reply = pull_request.says(word)
    assert pull_request.rollouts.posted == []
    assert f"`{word} staging`" in reply.text
    assert f"`{word} production`" in reply.text
    assert pull_request.reactions() == ["eyes", "confused"]


def test_two_flags_in_one_environment_are_told_apart_by_flag(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", flag="shop")
    pull_request.rollouts.add("r2", flag="search")
    assert "`/promote search`" in pull_request.says("/promote").text
    pull_request.says("/promote search")
    assert [one[0] for one in pull_request.rollouts.posted] == ["r2"]


def test_a_named_environment_is_the_only_one_touched(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    pull_request.says("/abort staging too slow")
    ((name, told, _),) = pull_request.rollouts.posted
    assert (name, told.text) == ("r2", "too slow")


def test_an_abort_of_an_environment_that_has_finished_aborts_no_other(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging", phase=Phase.PROMOTED, text="All users have it.")
    reply = pull_request.says("/abort staging")
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.PROGRESSING
    assert "promoted" in reply.text
    assert reply.reaction is Reaction.REFUSED


def test_a_misspelt_environment_does_not_block_an_abort_and_is_said(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says("/abort prodcution")
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.REVERTING
    assert "`prodcution` names no environment" in reply.text


def test_a_misspelt_environment_blocks_a_promotion(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says("/promote prodcution")
    assert pull_request.rollouts.posted == []
    assert "`production`" in reply.text


def test_without_a_rollout_it_says_so(pull_request: PullRequest) -> None:
    reply = pull_request.says("/abort")
    assert "No rollout" in reply.text
    assert reply.reaction is Reaction.REFUSED


@pytest.mark.parametrize("sha", ["a" * 40, "b" * 40])
def test_a_rollout_that_knows_no_pull_request_is_found_by_its_commit(pull_request: PullRequest, sha: str) -> None:
    pull_request.rollouts.add("r1", pull_request=None, sha=sha)
    pull_request.says("/abort")
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.REVERTING


def test_a_forks_pull_request_is_not_about_the_commit_that_it_took_for_its_head(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", pull_request=None, sha=HEAD)
    pull_request.github.pull(7, head_sha=HEAD, author="mallory", from_fork=True)
    assert "No rollout of this pull request is active" in pull_request.says("/promote").text
    assert pull_request.rollouts.posted == []


def test_when_github_cannot_name_the_commits_it_does_not_say_that_there_is_none(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", pull_request=None, sha=MERGE)
    pull_request.github.fail("GET", "/pulls/7", *[Fault()] * 3)
    reply = pull_request.says("/abort")
    assert reply.text.startswith("Nothing was changed")
    assert reply.reaction is Reaction.CONFUSED


def test_another_repositorys_rollout_is_not_found(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", repository="acme/other")
    assert "No rollout" in pull_request.says("/abort").text


def test_what_the_author_saw_goes_along(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.tells(7)
    pull_request.says("/promote")
    assert pull_request.rollouts.posted[0][1].revision == 7


def test_an_order_for_what_has_changed_is_refused_with_what_there_is(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", revision=8)
    pull_request.tells(7)
    reply = pull_request.says("/promote")
    assert reply.reaction is Reaction.REFUSED
    assert "revision 7" in reply.text
    assert "revision 8" in reply.text
    assert "progressing at 10 %" in reply.text


def test_an_edit_between_the_comment_and_the_run_is_not_what_the_author_saw(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", revision=8)
    pull_request.tells(7)
    pull_request.clock.now += 60
    comment = pull_request.comments("/promote")
    pull_request.clock.now += 20
    pull_request.tells(8)
    reply = pull_request.runs(comment, "/promote")
    assert pull_request.rollouts.posted[0][1].revision == 7
    assert reply.reaction is Reaction.REFUSED


def test_a_revert_is_never_refused_for_staleness(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", revision=8)
    pull_request.tells(7, rollout="r0")
    assert pull_request.says("/abort").reaction is Reaction.DONE
    assert pull_request.rollouts.posted[0][1].revision is None


def test_a_comment_about_another_rollout_promotes_nothing(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r2")
    pull_request.tells(7, rollout="r1")
    assert "another rollout" in pull_request.says("/promote").text
    assert pull_request.rollouts.posted == []


def test_a_forged_sticky_comment_is_not_what_the_author_saw(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", revision=8)
    pull_request.tells(7)
    pull_request.github.comment(7, "all well\n\n<!-- rampgate:production rollout=r1 revision=8 -->", by="ann")
    assert pull_request.says("/promote").reaction is Reaction.REFUSED


def test_when_nobody_knows_what_was_seen_a_promotion_is_refused_and_a_pause_is_not(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    for word, posted in (("/promote", 0), ("/pause", 1)):
        pull_request.github.fail("GET", "/issues/7/comments", *[Fault()] * 3)
        pull_request.says(word)
        assert len(pull_request.rollouts.posted) == posted


def test_a_lock_is_the_refusals_own_words(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", lock=Lock(reason="Black Friday", by="@mia"))
    reply = pull_request.says("/promote")
    assert "Black Friday" in reply.text
    assert "@mia" not in reply.text
    assert pull_request.says("/abort").reaction is Reaction.DONE


def test_an_abort_while_the_old_version_goes_is_refused(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", phase=Phase.COMPLETING, retirement_begun=True)
    reply = pull_request.says("/abort")
    assert "being retired" in reply.text
    assert reply.reaction is Reaction.REFUSED


def test_an_abort_with_nobody_driving_needs_a_driver(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", lease=None)
    pull_request.rollouts.add("r2", environment="staging")
    assert pull_request.says("/abort").needs_driver == ("r1",)


def test_an_abort_of_what_was_reverted_but_not_undone_needs_a_driver(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", phase=Phase.REVERTED, lease=None, actions=(UNDO,), reason=Reason.GATE_LOST)
    reply = pull_request.says("/abort")
    assert reply.needs_driver == ("r1",)
    assert "waits for hands" in reply.text


@pytest.mark.parametrize("body", ["/pause", "/status"])
def test_nothing_but_an_abort_asks_for_a_driver(pull_request: PullRequest, body: str) -> None:
    pull_request.rollouts.add("r1", phase=Phase.REVERTED, lease=None, actions=(UNDO,))
    assert pull_request.says(body).needs_driver == ()


def test_a_flag_server_that_is_silent_changes_nothing_and_is_said(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.silent_for.add("find")
    reply = pull_request.says("/abort")
    assert reply.text.startswith("Nothing was changed")
    assert pull_request.reactions() == ["eyes", "confused"]


def test_an_abort_of_several_goes_on_where_one_does_not_answer(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    pull_request.rollouts.silent_for.add("r1")
    reply = pull_request.says("/abort")
    assert pull_request.rollouts.kept["r2"].state.phase is Phase.REVERTING
    assert "did not take it" in reply.text
    assert reply.reaction is Reaction.CONFUSED


def test_what_was_done_is_done_though_github_takes_no_reply(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.github.fail("POST", "/comments|reactions", *[Fault()] * 20)
    reply = pull_request.says("/abort")
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.REVERTING
    assert "GitHub" in reply.unsent


def test_a_word_that_is_almost_a_command_is_asked_back(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says("/abrot")
    assert "Did you mean /abort?" in reply.text
    assert pull_request.rollouts.posted == []
    assert pull_request.reactions() == ["eyes", "confused"]


def test_a_stranger_who_mistypes_gets_no_guess(pull_request: PullRequest) -> None:
    assert pull_request.says("/abrot", by="eve").denied is not None
