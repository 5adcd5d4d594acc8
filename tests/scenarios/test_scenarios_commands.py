"""Commands in comments, by the Action's own run: obeyed, refused and repeated, whatever the rollout is doing."""

import os
import signal
import time

from gate.config import read
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.plan import WHOLE
from rampgate.rollout import NewRollout, Rollout, Slot
from tests.scenarios.action import REPOSITORY, Run, Shop, shares
from tests.scenarios.room import check_users
from tests.scenarios.waiting import until, until_rollout


def decision(run: Run) -> str:
    """What the comment's run says it did."""
    assert run.code() == 0, run.log
    return run.outputs["decision"]


def ramping(shop: Shop) -> tuple[Run, Rollout]:
    """A release whose canary has its first users, and stays at that step."""
    shop.configure(steps=[{"share": 10, "bake": "10m"}, {"share": 100, "bake": "10m"}])
    run = shop.push()
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    return run, rollout


def completing(shop: Shop) -> tuple[Run, Rollout]:
    """A release that serves everybody, while the old version is still warm."""
    run, rollout = ramping(shop)
    shop.api.post(rollout.id, Told(order=Order.COMPLETE, by="@ann"), "everybody")
    return run, until_rollout(shop.api, rollout.id, lambda one: one.state.phase is Phase.COMPLETING)


def check_aborted(shop: Shop, run: Run) -> None:
    """Users are on stable, nothing is left to do, and the release's own run says so."""
    assert run.code() == 1, run.log
    assert (run.outputs["decision"], run.outputs["reason"]) == ("reverted", "aborted")
    ended = shop.rollout()
    assert (ended.state.phase, ended.share, ended.state.actions) == (Phase.REVERTED, 0, ())
    assert shop.room.running == {"blue": "v1"}
    check_users(shop.entries(), shop.room, 4.0)


def test_an_abort_during_a_hook_stops_the_hook_and_undoes_it(shop: Shop) -> None:
    shop.room.keep("ensure")
    run = shop.push()
    until(lambda: shop.room.did("begin", "green"))

    abort = shop.comment("/abort wrong branch")

    assert decision(abort) == "obeyed"
    check_aborted(shop, run)
    assert shop.room.did("up", "green") == 0
    assert shares(shop.entries()) == [0]
    assert "wrong branch" in shop.rollout().state.text


def test_an_abort_in_mid_ramp_is_obeyed_once_however_often_the_event_comes(shop: Shop) -> None:
    run, rollout = ramping(shop)
    event = shop.say("/abort the checkout looks odd")

    first = shop.obey(event)
    told = shop.bodies()
    second = shop.obey(event)

    assert decision(first) == decision(second) == "obeyed"
    assert first.outputs["result"] == second.outputs["result"]
    assert len(shop.bodies()) == len(told), "the same comment was answered twice"
    orders = [entry for entry in shop.api.entries(rollout.id) if entry.event.type == "told"]
    assert len(orders) == 1
    check_aborted(shop, run)
    # The first answer again, even now that all is over.
    assert decision(shop.obey(event)) == "obeyed"
    assert shop.rollout().state.phase is Phase.REVERTED


def test_a_second_abort_finds_that_it_is_reverting_already(shop: Shop) -> None:
    shop.room.keep("retire")
    run, _ = ramping(shop)

    assert decision(shop.comment("/abort")) == "obeyed"
    assert decision(shop.comment("/abort please", by="bob")) == "obeyed"

    assert "reverting already" in shop.bodies()[-1]
    shop.room.let("retire")
    check_aborted(shop, run)
    late = shop.comment("/abort")
    assert decision(late) == "refused"
    assert "nothing was done" in shop.bodies()[-1]


def test_an_abort_while_completing_takes_everybody_back_to_the_version_that_is_still_warm(shop: Shop) -> None:
    run, _ = completing(shop)

    assert decision(shop.comment("/abort")) == "obeyed"

    check_aborted(shop, run)
    assert shares(shop.entries()) == [0, 10_000, WHOLE, 0]


def test_an_abort_after_retirement_began_is_refused_and_says_what_can_be_done(shop: Shop) -> None:
    shop.room.keep("retire")
    run, rollout = completing(shop)
    until_rollout(shop.api, rollout.id, lambda one: one.state.retirement_begun)

    abort = shop.comment("/abort")

    assert decision(abort) == "refused"
    assert "/rollback" in shop.bodies()[-1]
    assert shop.rollout().share == WHOLE
    shop.room.let("retire")
    assert run.code() == 0, run.log
    assert shop.room.running == {"green": "v2"}
    check_users(shop.entries(), shop.room, 4.0)


def test_with_the_driver_dead_the_abort_job_takes_the_lease_and_undoes(shop: Shop) -> None:
    run, rollout = ramping(shop)
    os.kill(run.process.pid, signal.SIGKILL)
    run.code()

    abort = shop.comment("/abort")

    assert decision(abort) == "obeyed"
    ended = shop.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.ABORTED, ())
    assert shop.room.running == {"blue": "v1"}
    check_users(shop.entries(), shop.room, 4.0)


def test_with_the_lease_lapsed_and_held_the_abort_job_takes_it_and_undoes(shop: Shop) -> None:
    run, rollout = ramping_held(shop)
    os.kill(run.process.pid, signal.SIGKILL)
    run.code()
    held = until_rollout(shop.api, rollout.id, lambda one: one.state.lease is None)
    assert held.state.phase is Phase.PAUSED

    abort = shop.comment("/abort")

    assert decision(abort) == "obeyed"
    ended = shop.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.ABORTED, ())
    assert shop.room.running == {"blue": "v1"}


def ramping_held(shop: Shop) -> tuple[Run, Rollout]:
    shop.configure(steps=[{"share": 10, "bake": "10m"}, {"share": 100, "bake": "0s"}], onGateLost="hold")
    run = shop.push()
    return run, until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)


def test_a_rollout_is_paused_resumed_and_promoted_by_those_who_may(shop: Shop) -> None:
    run, rollout = ramping(shop)

    assert decision(again(shop, "/pause looking at the graphs")) == "obeyed"
    paused = shop.api.rollout(rollout.id)
    assert (paused.state.phase, paused.share) == (Phase.PAUSED, 10_000)
    assert "looking at the graphs" in paused.state.text

    assert decision(shop.comment("/status", by="eve")) == "obeyed"
    assert "paused" in shop.bodies()[-1].lower()

    assert decision(again(shop, "/resume")) == "obeyed"
    assert shop.api.rollout(rollout.id).state.phase is Phase.PROGRESSING

    assert decision(again(shop, "/promote")) == "obeyed"
    assert shop.api.rollout(rollout.id).state.step == 2

    assert decision(again(shop, "/promote full")) == "obeyed"
    assert run.code() == 0, run.log
    assert run.outputs["decision"] == "promoted"
    widened = [entry.event.type for entry in shop.entries() if entry.event.type == "told"]
    assert widened == ["told"] * 4


def again(shop: Shop, text: str) -> Run:
    """Say it once the status comment shows the rollout as it is, as a person would who has looked."""
    seen = f" revision={shop.rollout().state.revision} "
    until(lambda: any(seen in body for body in shop.bodies()))
    # An edit and a comment in the same second: GitHub does not tell which came first.
    shown = int(time.time())
    until(lambda: int(time.time()) > shown)
    return shop.comment(text)


def test_a_reader_may_look_but_not_touch(shop: Shop) -> None:
    run, rollout = ramping(shop)

    for text in ("/promote", "/abort", "/pause", "/resume"):
        refused = shop.comment(text, by="eve")
        assert decision(refused) == "refused"
        assert refused.outputs["reason"] == "permission_too_little"
        assert "write permission" in shop.bodies()[-1]

    now = shop.api.rollout(rollout.id)
    assert (now.share, now.state.phase) == (10_000, Phase.PROGRESSING)
    assert all(entry.event.type != "told" for entry in shop.entries())
    run.signal(signal.SIGKILL)


def test_who_may_do_what_is_read_from_the_default_branch_whatever_is_checked_out(shop: Shop) -> None:
    path = ".github/rampgate.yml"
    shop.github.files[path] = b"commands: {permissions: {abort: admin}}"
    shop.github.role("tom", "triage")
    shop.configure(
        commands={"prefix": "!", "permissions": {"abort": {"permission": "triage", "users": ["tom"]}}},
        lease="60s", staleAfter="60s", scaleDownDelay="2m",
    )  # fmt: skip
    plan = read(shop.room.folder / path).plan
    rollout = shop.api.create(NewRollout(
        key="by-hand", plan=plan, version="v2", stable=Slot(name="blue", version="v1"), baseline=True, by="@ann",
        repository=REPOSITORY, pull_request=shop.number,
    ))  # fmt: skip

    assert shop.comment("!abort", by="tom").outputs["reason"] == "no_command"
    for login in ("tom", "ann"):
        refused = shop.comment("/abort", by=login)
        assert (decision(refused), refused.outputs["reason"]) == ("refused", "permission_too_little")
    assert all(entry.event.type != "told" for entry in shop.api.entries(rollout.id))

    assert decision(shop.comment("/abort", by="bob")) == "obeyed"
    assert shop.api.rollout(rollout.id).state.reason is Reason.ABORTED
    asked = [one for one in shop.github.exchanges if one.path.endswith(f"/contents/{path}")]
    assert len(asked) == 4
    assert all("ref" not in one.query for one in asked), "GitHub reads the default branch where none is named"


def test_a_stranger_and_a_misspelt_word_change_nothing(shop: Shop) -> None:
    run, rollout = ramping(shop)

    assert decision(shop.comment("/abort", by="mallory")) == "refused"
    assert shop.comment("/abrt").code() == 0
    assert "Did you mean /abort" in shop.bodies()[-1]
    told = len(shop.bodies())
    assert shop.comment("/abrakadabra and so on").code() == 0
    assert shop.comment("LGTM /abort").code() == 0
    assert len(shop.bodies()) == told + 2, "people who talk to people were answered"
    assert decision(shop.comment("/help", by="eve")) == "obeyed"
    assert "/promote" in shop.bodies()[-1]

    now = shop.api.rollout(rollout.id)
    assert (now.share, now.state.phase) == (10_000, Phase.PROGRESSING)
    run.signal(signal.SIGKILL)


def test_a_way_back_from_what_everybody_has_is_a_rollout_of_its_own(shop: Shop) -> None:
    released, _ = completing(shop)
    assert released.code() == 0, released.log
    assert shop.room.running == {"green": "v2"}

    back = shop.run("issue_comment", shop.say("/rollback"), actor="ann")
    until(lambda: len(shop.api.find(flag=shop.flag)) == 2)
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    assert (rollout.version, rollout.by, rollout.pull_request) == ("v1", "@ann", shop.number)
    shop.api.post(rollout.id, Told(order=Order.COMPLETE, by="@ann"), "everybody back")

    assert decision(back) == "promoted"
    assert shop.room.running == {"blue": "v1"}
    assert any("back to `v1`" in body for body in shop.bodies())
