"""The Action run in good weather and bad: what it writes, how it ends, and who never gets to see a secret."""

import json
import os
import signal
import socket
from itertools import pairwise

import pytest

from rampgate.machine.state import Phase, Reason
from rampgate.plan import WHOLE
from tests.fakes.github import Fault
from tests.scenarios.action import Run, Shop, shares
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.waiting import PATIENCE, until, until_rollout

OUTPUTS = {"decision", "reason", "result", "rollout-id", "percentage", "rollout-url"}


def decided(run: Run) -> tuple[str, str]:
    """The outputs that workflows branch on; all six are there, and the result is JSON that agrees with them."""
    outputs = run.outputs
    assert set(outputs) == OUTPUTS
    result = json.loads(outputs["result"])
    assert (result["decision"], result["reason"]) == (outputs["decision"], outputs["reason"])
    return outputs["decision"], outputs["reason"]


def check_secrets(shop: Shop, *runs: Run) -> None:
    """Neither key nor token anywhere but in the line that has the runner hide the key."""
    texts = [*shop.bodies(), json.dumps([one.body for one in shop.github.exchanges])]
    for run in runs:
        texts += [run.summary, *(path.read_text() for path in (run.folder / "output", run.folder / "state"))]
        texts += [line for line in run.log.splitlines() if not line.startswith("::add-mask::")]
    environ = shop.room.folder / "environ"
    texts += [environ.read_text()] if environ.exists() else []
    for text in texts:
        assert shop.key not in text
        assert shop.token not in text


def test_a_healthy_release_is_promoted_and_everybody_is_told(shop: Shop) -> None:
    (shop.room.folder / "spill").touch()

    run = shop.push()

    assert run.code() == 0, run.log
    assert decided(run) == ("promoted", "promoted")
    assert run.outputs["percentage"] == "100"
    entries = shop.entries()
    assert shares(entries) == [0, 10_000, 50_000, 95_000, WHOLE]
    assert all(before.at <= after.at for before, after in pairwise(entries))
    check_users(entries, shop.room, 4.0)
    check_widening(entries)
    assert shop.room.running == {"green": "v2"}
    assert run.state == {"rollout": run.outputs["rollout-id"]}
    (comment,) = shop.bodies()
    assert "v2" in comment
    assert "v2" in run.summary
    assert "RAMPGATE_VERSION" in (shop.room.folder / "environ").read_text()
    check_secrets(shop, run)
    assert shop.after(run).code() == 0
    assert shop.room.running == {"green": "v2"}


def test_a_broken_release_is_reverted_and_the_step_fails_only_where_it_is_meant_to(shop: Shop) -> None:
    shop.metrics.fails = {"green": 0.3}

    run = shop.push(fail_on_revert="false")

    assert run.code() == 0, run.log
    assert decided(run) == ("reverted", "regressed")
    assert run.outputs["percentage"] == "0"
    way = json.loads(run.outputs["result"])["way_back"]
    assert (way["since"], way["exposed"], way["is_up"]) == ("first_bad_sample", True, True)
    assert way["began_at"] < way["users_at"] < way["cut_off_by"] <= way["undone_at"]
    assert way["users_at"] <= way["restored_at"]
    assert f"time_to_safe={way['time_to_safe']:.1f}s" in run.log
    assert "by the plan that it started with" not in run.log, "its own plan looks changed"
    assert "**Time to safe:** " in run.summary
    check_users(shop.entries(), shop.room, 4.0)
    assert shop.room.running == {"blue": "v1"}
    again = shop.push(attempt=2)
    assert again.code() == 1, "the same run again has the same end"
    assert decided(again) == ("reverted", "regressed")
    assert shop.room.did("up", "green") == 1, "a version that regressed was deployed again"
    check_secrets(shop, run, again)


def test_a_bad_configuration_is_told_with_all_its_problems_and_nothing_is_deployed(shop: Shop) -> None:
    shop.configure(pol="1s", poll=5, steps=[50, 10], lease="forever")

    run = shop.push()

    assert run.code() == 2
    assert decided(run) == ("error", "config_invalid")
    problems = "\n".join(json.loads(run.outputs["result"])["problems"])
    for path in ("pol:", "poll:", "steps[1]", "lease:"):
        assert path in problems, problems
        assert path in run.log
    assert not shop.api.find(flag=shop.flag)
    assert len(shop.room.lines()) == 1
    check_secrets(shop, run)


def test_a_flag_server_that_is_not_there_is_exit_code_3_and_nothing_is_deployed(shop: Shop) -> None:
    run = shop.push(flag_server_url="http://127.0.0.1:9")

    assert run.code() == 3
    assert decided(run) == ("error", "flag_server_unreachable")
    assert len(shop.room.lines()) == 1
    check_secrets(shop, run)


def test_a_fork_is_told_why_nothing_happens(shop: Shop) -> None:
    head = {"sha": "f" * 40, "repo": {"id": 2}}
    event = {"action": "opened", "pull_request": {"number": shop.number, "head": head}}

    run = shop.run("pull_request", event, inputs={"mode": "run", "flag_server_key": "", "github_token": ""})

    assert run.code() == 0, run.log
    assert decided(run) == ("nothing", "fork_read_only")
    assert "::notice" in run.log
    assert len(shop.room.lines()) == 1


def test_a_pull_request_is_told_what_a_release_of_it_would_see_and_nothing_is_released(shop: Shop) -> None:
    head = {"sha": f"{shop.number:039x}f", "repo": {"id": 1}}
    event = {"action": "opened", "pull_request": {"number": shop.number, "head": head}}

    run = shop.run("pull_request", event)

    assert run.code() == 0, run.log
    assert decided(run) == ("nothing", "validated")
    assert "dark → 10 % → 50 % → 100 %" in "".join(shop.bodies()), run.log
    assert not shop.api.find(flag=shop.flag)
    check_secrets(shop, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_cancelled_job_takes_the_users_back_and_its_post_run_undoes(shop: Shop, number: signal.Signals) -> None:
    run = shop.push()
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)

    run.signal(number)

    assert run.code() == 128 + number, run.log
    assert decided(run) == ("reverted", "cancelled")
    assert (run.outputs["rollout-id"], run.outputs["percentage"]) == (rollout.id, "0")
    assert "The job was cancelled" in run.summary
    now = shop.api.rollout(rollout.id)
    assert (now.share, now.state.phase, now.state.reason) == (0, Phase.REVERTING, Reason.CANCELLED)
    assert shop.room.running == {"blue": "v1", "green": "v2"}, "cut-off clients may still be on the canary"
    post = shop.after(run)
    assert post.code() == 0, post.log
    assert shop.api.rollout(rollout.id).state.phase is Phase.REVERTED
    assert shop.room.running == {"blue": "v1"}
    check_users(shop.entries(), shop.room, 4.0)
    check_secrets(shop, run, post)


def test_a_cancelled_job_is_taken_up_when_it_is_run_again(shop: Shop) -> None:
    run = shop.push()
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)
    run.signal(signal.SIGTERM)
    run.code()

    again = shop.push(attempt=2)

    assert again.code() == 0, again.log
    assert decided(again) == ("promoted", "promoted")
    ended = shop.api.rollout(rollout.id)
    assert ended.state.attempt == 2
    check_users(shop.entries(), shop.room, 4.0)
    check_widening(shop.entries())


def test_a_job_that_is_cancelled_in_a_deaf_hook_says_so_before_the_runner_kills_it(shop: Shop) -> None:
    # The lease stands for the runner, which kills ten seconds after it has asked: what comes later comes too late.
    shop.configure(lease="8s", staleAfter="8s", scaleDownDelay="16s")
    (shop.room.folder / "stubborn").touch()
    shop.room.keep("ensure")
    run = shop.push()
    until(lambda: shop.room.did("begin", "green"))

    run.signal(signal.SIGINT)

    assert run.code() == 130, run.log
    assert [entry.refusal for entry in shop.entries() if entry.event.type == "cancelled"] == [None]
    assert shop.rollout().state.reason is Reason.CANCELLED
    assert shop.room.did("up", "green") == 0


def test_a_job_that_is_cancelled_with_on_cancel_hold_says_nothing(shop: Shop) -> None:
    run = shop.push(on_cancel="hold")
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)

    run.signal(signal.SIGTERM)

    assert run.code() == 143
    assert decided(run) == ("unfinished", "cancelled")
    assert float(run.outputs["percentage"]) > 0
    assert all(entry.event.type != "cancelled" for entry in shop.entries())
    lapsed = until_rollout(shop.api, rollout.id, lambda one: one.state.lease is None)
    assert (lapsed.share, lapsed.state.reason) == (0, Reason.GATE_LOST)


def test_a_job_that_is_cancelled_while_github_takes_the_last_word_says_how_it_ended(shop: Shop) -> None:
    refuses = "[[ $RAMPGATE_ACTION == ensure ]] && exit 1; exec bash deploy.bash"
    shop.configure(deploy={"command": ["bash", "-c", refuses]})
    shop.github.fail("POST", "", *[Fault(hang=True)] * 50)
    run = shop.push()
    rollout = shop.rollout()
    until(lambda: "phase=failed" in run.log)

    run.signal(signal.SIGINT)

    assert run.code() == 130, run.log
    assert decided(run) == ("failed", "deploy_failed")
    assert run.outputs["rollout-id"] == rollout.id
    assert "could not be deployed" in run.summary, (run.log, run.summary)


def test_a_job_that_is_cancelled_before_anything_began_has_its_outputs_all_the_same(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.settimeout(PATIENCE)
        run = shop.push(flag_server_url=f"http://127.0.0.1:{hanging.getsockname()[1]}")
        caller, _ = hanging.accept()
        with caller:
            run.signal(signal.SIGINT)
            assert run.code() == 130, run.log
    assert decided(run) == ("nothing", "cancelled")
    assert run.state == {}


def test_the_post_run_of_a_killed_step_undoes_what_the_lapse_left(shop: Shop) -> None:
    run = shop.push()
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)
    os.kill(run.process.pid, signal.SIGKILL)
    run.code()
    until_rollout(shop.api, rollout.id, lambda one: one.state.needs_hands)

    post = shop.after(run)

    assert post.code() == 0, post.log
    ended = shop.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.GATE_LOST, ())
    assert shop.room.running == {"blue": "v1"}


def test_github_dies_in_mid_ramp_and_users_are_taken_back_all_the_same_and_it_hears_of_it_later(shop: Shop) -> None:
    shop.configure(steps=[{"share": 10, "bake": "10m"}, {"share": 100, "bake": "10m"}])
    run = shop.push(fail_on_revert="false")
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    until(lambda: any("10 %" in body for body in shop.bodies()))
    for verb in ("GET", "POST", "PATCH"):
        shop.github.fail(verb, "", *[Fault(reset=True)] * 5000)
    shop.metrics.fails = {"green": 0.5}
    until_rollout(shop.api, rollout.id, lambda one: one.state.phase is Phase.REVERTING and one.share == 0)
    until(lambda: "GitHub was not told" in run.log)
    shop.github.heal()

    assert run.code() == 0, run.log
    assert decided(run) == ("reverted", "regressed")
    check_users(shop.entries(), shop.room, 4.0)
    assert shop.room.running == {"blue": "v1"}
    assert run.log.count("\n::error") == 1
    (comment,) = shop.bodies()
    assert "everybody is back on `v1`" in comment
    (statuses,) = shop.github.deployment_statuses.values()
    assert [one["state"] for one in statuses][-1] == "failure"
    assert shop.github.statuses[shop.sha][-1]["state"] == "failure"
