"""Metrics that go down, come back or hang: the canary is held, and never widened for want of bad news."""

from rampgate.evidence import VerdictWord
from rampgate.machine.state import Reason
from tests.scenarios.action import Shop, shares
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.users import QUERIES
from tests.scenarios.waiting import until_rollout


def test_metrics_that_go_down_in_mid_ramp_hold_and_then_revert_and_never_widen(shop: Shop) -> None:
    shop.configure(
        policies={"source_down": {"after": "2s", "then": "revert"}},
        steps=[{"share": 10, "bake": "1s"}, {"share": 100, "bake": "0s"}],
    )
    run = shop.push()
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    shop.metrics.down = True

    assert run.code() == 1, run.log
    assert run.outputs["reason"] == "source_down"
    entries = shop.entries()
    assert shares(entries) == [0, 10_000, 0]
    words = [one.event.look.verdict.word for one in entries if one.event.type == "judged" and one.share]
    assert words.count(VerdictWord.SOURCE_DOWN) > 1
    check_users(entries, shop.room, rollout.plan.stale_after)


def test_metrics_that_come_back_in_time_let_it_go_on(shop: Shop) -> None:
    run = shop.push()
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    shop.metrics.down = True
    until_rollout(shop.api, rollout.id, lambda one: one.state.word is VerdictWord.SOURCE_DOWN)
    held = shop.api.rollout(rollout.id).share
    shop.metrics.down = False

    assert run.code() == 0, run.log
    assert shares(shop.entries()) == [0, 10_000, 50_000, 95_000, 100_000]
    assert held < 100_000
    check_widening(shop.entries())


def test_a_source_that_hangs_loses_the_lease_and_the_gate_that_comes_to_itself_cleans_up(shop: Shop) -> None:
    metrics = {"errors": "prometheus", "url": shop.prometheus.url, "queries": QUERIES, "timeout": "20s"}
    steps = [{"share": 10, "bake": "1s"}, {"share": 100, "bake": "0s"}]
    shop.configure(metrics=[metrics], steps=steps)
    run = shop.push()
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    shop.prometheus.hangs()

    lapsed = until_rollout(shop.api, rollout.id, lambda one: one.state.lease is None)
    assert (lapsed.share, lapsed.state.reason) == (0, Reason.GATE_LOST)
    shop.prometheus.released.set()

    assert run.code() == 1, run.log
    assert (run.outputs["decision"], run.outputs["reason"]) == ("reverted", "gate_lost")
    assert shop.room.running == {"blue": "v1"}
    assert shares(shop.entries()) == [0, 10_000, 0]
    check_users(shop.entries(), shop.room, rollout.plan.stale_after)
