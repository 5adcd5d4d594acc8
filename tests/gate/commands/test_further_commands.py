"""Locks, second tries and ways back, asked for in comments: each once, by whom it may be, for what was seen."""

from dataclasses import replace
from typing import Any

import pytest

from gate.commands.permissions import Denial
from gate.github.port import Reaction
from rampgate.locks import HeldLock
from rampgate.machine.state import Lease, Phase, Reason
from rampgate.rollout import RefusedVersion, Slot
from tests.fakes.github import Fault

PullRequest = Any
HEAD = "a" * 40
BAD = RefusedVersion(version="0123456789abcdef", rollout="r1", reason=Reason.REGRESSED, text="Errors ×3.", at=0.0)
RUN = "https://github.com/acme/shop/actions/runs/55/attempts/1"


def ended(pull_request: PullRequest, reason: Reason = Reason.GATE_LOST, **facts: object) -> None:
    pull_request.rollouts.add(
        "r1", **{"phase": Phase.REVERTED, "run_url": RUN, "lease": None, "reason": reason, "by": "@eve", **facts}
    )


def test_a_lock_covers_the_rollouts_flag_from_the_comment_on_for_as_long_as_it_says(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    reply = pull_request.says("/lock production card payments fail for 2h")
    (held,) = pull_request.rollouts.held
    assert (held.environment, held.flag, held.by) == ("production", "shop", "@ann")
    assert held.reason == "card payments fail"
    assert held.until == pull_request.clock.now + 7200
    assert "card payments fail" in reply.text
    assert "`/unlock production`" in reply.text
    assert pull_request.reactions() == ["eyes", "+1"]


def test_a_lock_that_does_not_say_how_long_ends_after_a_day(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/lock")
    assert pull_request.rollouts.held[0].until == pull_request.clock.now + 86_400


def test_without_a_rollout_the_configurations_flag_is_locked(pull_request: PullRequest) -> None:
    pull_request.ruled("{}")
    pull_request.says("/lock production incident")
    assert (pull_request.rollouts.held[0].flag, pull_request.rollouts.held[0].reason) == ("shop", "incident")


def test_with_neither_a_rollout_nor_a_configuration_nothing_is_locked(pull_request: PullRequest) -> None:
    reply = pull_request.says("/lock incident")
    assert reply.reaction is Reaction.CONFUSED
    assert pull_request.rollouts.held == []


def test_a_lock_of_several_asks_which(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    assert "`/lock staging`" in pull_request.says("/lock incident").text
    assert pull_request.rollouts.held == []


@pytest.mark.parametrize("words", ["lock", "unlock", "override 0123456 why", "retry", "rollback"])
def test_who_may_not_write_does_none_of_these(pull_request: PullRequest, words: str) -> None:
    ended(pull_request)
    pull_request.rollouts.refused.append(BAD)
    reply = pull_request.says(f"/{words}", by="tim")
    assert reply.denied is not None
    assert pull_request.rollouts.held == []
    assert pull_request.rollouts.allowed == []
    assert pull_request.github.run_again == []
    assert reply.back is None


def test_unlock_lifts_the_flags_own_locks_and_names_the_others(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/lock incident")
    wide = HeldLock(
        id="lk_9", reason="Black Friday", by="@mia", scope="everything in production", holds=True, since=0.0,
        until=None, created_at=0.0, environment="production",
    )  # fmt: skip
    pull_request.rollouts.held.append(wide)
    reply = pull_request.says("/unlock")
    assert pull_request.rollouts.held == [wide]
    assert "incident" in reply.text
    assert "Still locked: everything in production" in reply.text


def test_an_old_unlock_that_is_run_again_leaves_a_newer_lock_alone(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    pull_request.says("/lock first")
    comment = pull_request.comments("/unlock")
    first = pull_request.runs(comment, "/unlock")
    pull_request.says("/lock second")
    assert pull_request.runs(comment, "/unlock").text == first.text
    assert [one.reason for one in pull_request.rollouts.held] == ["second"]


def test_an_old_lock_that_is_run_again_after_it_was_lifted_does_not_lock(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    comment = pull_request.comments("/lock")
    first = pull_request.runs(comment, "/lock")
    pull_request.says("/unlock")
    assert pull_request.runs(comment, "/lock").text == first.text
    assert pull_request.rollouts.held == []


def test_when_github_cannot_say_what_was_answered_a_lock_is_made_and_an_unlock_is_not(
    pull_request: PullRequest,
) -> None:
    pull_request.rollouts.add("r1")
    for word in ("/lock", "/unlock"):
        pull_request.github.fail("GET", "/issues/7/comments", *[Fault()] * 3)
        pull_request.says(word)
        assert len(pull_request.rollouts.held) == 1


def test_an_override_names_a_version_and_says_why(pull_request: PullRequest) -> None:
    ended(pull_request, Reason.REGRESSED)
    pull_request.rollouts.refused.append(BAD)
    assert "why" in pull_request.says("/override 0123456", by="mia").text
    reply = pull_request.says("/override production 0123456 the source was wrong", by="mia")
    assert pull_request.rollouts.allowed == [(BAD.version, "@mia", "the source was wrong")]
    assert "`/retry production`" in reply.text


def test_an_override_needs_more_than_write(pull_request: PullRequest) -> None:
    ended(pull_request, Reason.REGRESSED)
    pull_request.rollouts.refused.append(BAD)
    reply = pull_request.says("/override 0123456 please")
    assert reply.denied is not None
    assert reply.denied.denial is Denial.PERMISSION_TOO_LITTLE


@pytest.mark.parametrize(("sha", "said"), [("0123", "is not refused"), ("fffffff", "Refused are: `0123456789abcdef`")])
def test_an_override_of_what_is_not_refused_says_what_is(pull_request: PullRequest, sha: str, said: str) -> None:
    ended(pull_request, Reason.REGRESSED)
    pull_request.rollouts.refused.append(BAD)
    reply = pull_request.says(f"/override {sha} why not", by="mia")
    assert pull_request.rollouts.allowed == []
    assert said in reply.text


def test_an_override_means_the_refusal_that_was_there_when_it_was_said(pull_request: PullRequest) -> None:
    ended(pull_request, Reason.REGRESSED)
    pull_request.rollouts.refused.append(replace(BAD, at=pull_request.clock.now + 3600))
    assert "after your comment" in pull_request.says("/override 0123456 why not", by="mia").text
    assert pull_request.rollouts.allowed == []


def test_a_retry_runs_the_rollouts_own_run_again_once(pull_request: PullRequest) -> None:
    ended(pull_request)
    pull_request.github.run(55, "failure")
    comment = pull_request.comments("/retry")
    first = pull_request.runs(comment, "/retry")
    pull_request.github.run(55, "failure")
    again = pull_request.runs(comment, "/retry")
    assert pull_request.github.run_again == [(55, "rerun-failed-jobs")]
    assert again.text == first.text
    assert pull_request.reactions(comment.id) == ["eyes", "rocket"]


def test_what_a_lost_gate_left_to_undo_is_retried_at_once(pull_request: PullRequest) -> None:
    ended(pull_request, phase=Phase.REVERTING)
    pull_request.github.run(55, "failure")
    assert pull_request.says("/retry").reaction is Reaction.BEGUN
    assert pull_request.github.run_again == [(55, "rerun-failed-jobs")]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"phase": Phase.PROMOTED}, "nothing to try again"),
        ({"phase": Phase.PROGRESSING}, "nothing to try again"),
        ({"phase": Phase.REVERTING, "lease": Lease(holder="gate", fence=1)}, "is being undone"),
        ({"run_url": None}, "no workflow of this repository"),
        ({"run_url": "https://github.com/acme/other/actions/runs/55"}, "no workflow of this repository"),
    ],
)
def test_a_retry_of_what_cannot_be_retried_says_why(
    pull_request: PullRequest, facts: dict[str, object], said: str
) -> None:
    pull_request.rollouts.add("r1", **{"phase": Phase.REVERTED, "run_url": RUN, **facts})
    pull_request.github.run(55, "failure")
    assert said in pull_request.says("/retry").text
    assert pull_request.github.run_again == []


def test_a_retry_of_a_refused_version_asks_for_an_override(pull_request: PullRequest) -> None:
    ended(pull_request, Reason.REGRESSED)
    pull_request.rollouts.refused.append(BAD)
    assert "/override production 0123456789abcdef" in pull_request.says("/retry").text
    assert pull_request.github.run_again == []


def test_a_retry_while_the_run_goes_on_waits(pull_request: PullRequest) -> None:
    ended(pull_request)
    pull_request.github.run(55, None)
    assert "still going on" in pull_request.says("/retry").text


def test_where_the_token_may_not_start_runs_it_says_what_to_press(pull_request: PullRequest) -> None:
    ended(pull_request)
    pull_request.github.run(55, "failure")
    pull_request.github.fail("POST", "/rerun", Fault(status=403, message="Resource not accessible by integration"))
    reply = pull_request.says("/retry")
    assert "actions: write" in reply.text
    assert "Re-run failed jobs" in reply.text
    assert "/actions/runs/55" in reply.text
    assert reply.reaction is Reaction.CONFUSED


def promoted(pull_request: PullRequest) -> None:
    """v1 was there, then v2 and v3 were promoted; v3 serves."""
    for number, version, before in ((1, "v2", "v1"), (2, "v3", "v2")):
        at = pull_request.clock.now - 3600 * (3 - number)
        pull_request.rollouts.add(
            f"r{number}", phase=Phase.PROMOTED, version=version, created_at=at, stable=Slot(name="blue", version=before)
        )
    pull_request.rollouts.serves = "v3"


@pytest.mark.parametrize(
    ("words", "version"), [("", "v2"), (" v1", "v1"), (" production", "v2"), (" production v1", "v1")]
)
def test_a_rollback_goes_to_the_version_before_or_the_one_named(
    pull_request: PullRequest, words: str, version: str
) -> None:
    promoted(pull_request)
    reply = pull_request.says(f"/rollback{words}")
    assert (reply.back.version, reply.back.environment, reply.back.by) == (version, "production", "@ann")
    assert f"`{version}`" in reply.text
    assert reply.reaction is Reaction.BEGUN


def test_a_rollback_to_a_version_that_is_refused_asks_for_an_override(pull_request: PullRequest) -> None:
    promoted(pull_request)
    pull_request.rollouts.refused.append(replace(BAD, version="v2"))
    reply = pull_request.says("/rollback")
    assert (reply.back, reply.reaction) == (None, Reaction.REFUSED)
    assert "`/override production v2`" in reply.text


def test_a_rollback_is_started_once(pull_request: PullRequest) -> None:
    promoted(pull_request)
    comment = pull_request.comments("/rollback")
    assert pull_request.runs(comment, "/rollback").back is not None
    pull_request.rollouts.serves = "v2"
    assert pull_request.runs(comment, "/rollback").back is None


def test_a_rollback_by_comment_is_known_for_one_and_names_the_commit(pull_request: PullRequest) -> None:
    promoted(pull_request)
    pull_request.rollouts.kept["r1"] = replace(pull_request.rollouts.kept["r1"], sha=HEAD)
    back = pull_request.says(f"/rollback {HEAD[:7]}").back
    assert (back.version, back.sha) == ("v2", HEAD)
    assert replace(pull_request.rollouts.kept["r1"], key=back.key).is_rollback


def test_while_another_changes_rollout_is_under_way_it_is_told_how_that_is_aborted(pull_request: PullRequest) -> None:
    promoted(pull_request)
    pull_request.rollouts.add("r9", pull_request=8)
    reply = pull_request.says("/rollback")
    assert reply.back is None
    assert "`rampgate abort r9`" in reply.text


@pytest.mark.parametrize("words", ["v3", "v9", "prodcution"])
def test_a_rollback_to_what_was_never_there_says_what_was(pull_request: PullRequest, words: str) -> None:
    promoted(pull_request)
    reply = pull_request.says(f"/rollback {words}")
    assert reply.back is None
    assert "`v2`, `v1`" in reply.text


def test_while_a_rollout_is_under_way_an_abort_is_the_way_back(pull_request: PullRequest) -> None:
    promoted(pull_request)
    pull_request.rollouts.add("r9")
    reply = pull_request.says("/rollback")
    assert reply.back is None
    assert "`/abort production`" in reply.text
    pull_request.rollouts.add("r9", phase=Phase.COMPLETING, retirement_begun=True)
    assert pull_request.says("/rollback").back is not None


SECOND = "{requireSecondPerson: true, permissions: {override: write}}"


@pytest.mark.parametrize(
    ("by", "started", "obeyed"), [("mia", "@eve", True), ("ann", "@eve", False), ("mia", "@Mia", False)]
)
def test_a_second_person_is_neither_the_author_nor_the_one_who_released(
    pull_request: PullRequest, by: str, started: str, obeyed: bool
) -> None:
    pull_request.ruled(SECOND)
    for words in ("/promote", "/promote full"):
        pull_request.rollouts.add("r1", by=started)
        reply = pull_request.says(words, by=by)
        assert (reply.reaction is Reaction.DONE) == obeyed
        assert obeyed or reply.denied.denial is Denial.SECOND_PERSON_NEEDED
    pull_request.rollouts.refused.append(BAD)
    assert (pull_request.says("/override 0123456 why not", by=by).reaction is Reaction.DONE) == obeyed


@pytest.mark.parametrize("words", ["/abort", "/pause"])
def test_nobody_waits_for_a_second_person_to_make_it_safe(pull_request: PullRequest, words: str) -> None:
    pull_request.ruled(SECOND)
    pull_request.rollouts.add("r1", by="@ann")
    assert pull_request.says(words).reaction is Reaction.DONE


def test_when_nobody_knows_who_wrote_the_change_a_promotion_is_refused(pull_request: PullRequest) -> None:
    pull_request.ruled(SECOND)
    pull_request.rollouts.add("r1", by="@eve")
    pull_request.github.fail("GET", "/pulls/7", *[Fault()] * 3)
    reply = pull_request.says("/promote", by="mia")
    assert reply.denied.denial is Denial.PERMISSION_UNKNOWN
    assert pull_request.rollouts.posted == []


def test_permissions_are_those_of_the_configuration(pull_request: PullRequest) -> None:
    pull_request.ruled("{permissions: {abort: triage, promote: {permission: write, teams: [acme/sre]}}}")
    pull_request.github.team("acme/sre", "mia")
    pull_request.rollouts.add("r1")
    assert pull_request.says("/promote", by="ann").denied.denial is Denial.NOT_NAMED
    assert pull_request.says("/promote", by="mia").reaction is Reaction.DONE
    assert pull_request.says("/abort", by="tim").reaction is Reaction.DONE


def test_a_team_that_cannot_be_seen_refuses(pull_request: PullRequest) -> None:
    pull_request.ruled("{permissions: {promote: {teams: [acme/sre]}}}")
    pull_request.rollouts.add("r1")
    assert pull_request.says("/promote").denied.denial is Denial.PERMISSION_UNKNOWN
    assert pull_request.rollouts.posted == []


def test_a_named_bot_is_obeyed_and_answered(pull_request: PullRequest) -> None:
    pull_request.ruled("{permissions: {abort: {users: ['ops[bot]']}}}")
    pull_request.rollouts.add("r1")
    assert pull_request.says("/pause", by="ops[bot]", author_is_user=False).denied.denial is Denial.BOT
    assert pull_request.says("/abort", by="ops[bot]", author_is_user=False).reaction is Reaction.DONE


@pytest.mark.parametrize(
    ("words", "obeyed"), [("/abort", True), ("/pause", True), ("/promote", False), ("/unlock", False)]
)
def test_rules_that_cannot_be_read_let_people_make_it_safe_and_no_more(
    pull_request: PullRequest, words: str, obeyed: bool
) -> None:
    pull_request.rules = replace(pull_request.rules, unreadable="commands: 7 is not allowed.")
    pull_request.rollouts.add("r1")
    reply = pull_request.says(words)
    assert (reply.reaction is Reaction.DONE) == obeyed
    assert obeyed or reply.denied.denial is Denial.RULES_UNREADABLE


def test_with_another_prefix_every_hint_has_it(pull_request: PullRequest) -> None:
    pull_request.ruled("{prefix: /rg}")
    pull_request.rollouts.add("r1")
    pull_request.rollouts.add("r2", environment="staging")
    assert "`/rg promote staging`" in pull_request.says("/rg promote").text
    assert "`/rg abort [environment] [reason]`" in pull_request.says("/rg help").text
    assert "/rg abort" in pull_request.says("/rg abrot").text
    assert "/rg help" in pull_request.says("/rg deploy").text


def test_a_misspelt_environment_is_told_with_the_one_that_was_meant(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1")
    assert "Did you mean `production`?" in pull_request.says("/promote prodcution").text


def test_a_comment_on_a_commit_steers_the_commits_rollout_and_is_answered_there(pull_request: PullRequest) -> None:
    pull_request.rollouts.add("r1", pull_request=None, sha=HEAD)
    reply = pull_request.says("/abort", commit=HEAD, pull_request=None)
    assert reply.reaction is Reaction.DONE
    assert pull_request.rollouts.kept["r1"].state.phase is Phase.REVERTING
    assert reply.text in pull_request.github.bodies(HEAD)[-1]
    assert pull_request.reactions() == ["eyes", "+1"]
