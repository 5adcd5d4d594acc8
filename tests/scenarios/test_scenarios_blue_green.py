"""Blue-green for real: two colours of an app behind a front, the switch, the way back, and gates that are killed."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.plan import WHOLE
from rampgate.rollout import Rollout
from tests.flagserver.process import FlagServer
from tests.scenarios.action import Shop, shares
from tests.scenarios.colours import Colours, Front
from tests.scenarios.fleet import QUICK, Fleet
from tests.scenarios.gates import Gates, Living
from tests.scenarios.mortal_gate import Job
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.waiting import until, until_rollout

STALE_AFTER = 3.0


@pytest.fixture(scope="module")
def front(flag_server: FlagServer) -> Iterator[Front]:
    with Front(flag_server) as front:
        yield front


class Shopping:
    """One shop with two colours: its gates, its flag, its visitors."""

    def __init__(self, fleet: Fleet, front: Front) -> None:
        self.fleet, self.front, self.api, self.flag = fleet, front, fleet.api, fleet.flag
        self.colours = Colours(fleet.folder / f"colours-{fleet.flag}")
        front.opens(fleet.flag, self.colours)

    def job(self, holder: str, *, version: str = "v2", dead: tuple[str, ...] = (), **changes: Any) -> Job:
        self.fleet.document = {**QUICK, **self.colours.document(**changes)}
        folder, journal = str(self.colours.folder), str(self.colours.folder / f"{holder}.journal")
        job = self.fleet.job(holder)
        return replace(job, folder=folder, journal=journal, replaces=dead, version=version)

    def start(self, holder: str, **changes: Any) -> Living:
        return self.fleet.gates.start(self.job(holder, **changes))

    def becomes(self, ready: Callable[[Rollout], bool]) -> Rollout:
        return until_rollout(self.api, self.fleet.rollout().id, ready)

    def check(self, **slots: tuple[str, str]) -> None:
        """Of the newest rollout: nobody sent where nothing runs, no widening without evidence, all at once or none."""
        entries = self.api.entries(self.fleet.rollout().id)
        check_users(entries, self.colours, STALE_AFTER, **slots)
        check_widening(entries)
        assert {entry.share for entry in entries} <= {0, WHOLE}

    def end(self) -> None:
        self.front.shops = {flag: shop for flag, shop in self.front.shops.items() if flag != self.flag}
        self.colours.end()


@pytest.fixture
def shopping(fleet: Fleet, front: Front) -> Iterator[Shopping]:
    opened = Shopping(fleet, front)
    yield opened
    opened.end()


def test_all_switch_at_once_the_old_colour_stays_warm_and_the_next_release_goes_the_other_way(
    shopping: Shopping,
) -> None:
    first = shopping.start("release 1")
    switched = shopping.becomes(lambda one: one.share == WHOLE)
    until(lambda: shopping.front.versions(shopping.flag) == ["v1", "v2"])
    assert shopping.colours.running == {"blue": "v1", "green": "v2"}
    assert first.code() == 0, first.log()
    assert shopping.fleet.rollout().state.phase is Phase.PROMOTED
    retired = next(line.at for line in shopping.colours.lines() if (line.what, line.slot) == ("leave", "blue"))
    assert retired >= switched.state.since + switched.plan.scale_down_delay
    assert shopping.colours.running == {"green": "v2"}
    shopping.check()

    second = replace(shopping.job("release 2", version="v3"), fails=0.3)
    gate = shopping.fleet.gates.run(second)
    assert gate.code() == 0, gate.log()
    back = shopping.fleet.rollout()
    assert (back.state.phase, back.state.reason, back.canary.name) == (Phase.REVERTED, Reason.REGRESSED, "blue")
    assert "time and version cannot be told apart" in back.state.text
    assert shares(shopping.api.entries(back.id)) == [0, WHOLE, 0]
    assert shopping.colours.running == {"green": "v2"}
    assert shopping.colours.did("up", "green") == 1, "the way back needs no deployment"
    until(lambda: shopping.front.versions(shopping.flag)[-1] == "v2")
    assert shopping.front.versions(shopping.flag) == ["v1", "v2", "v3", "v2"], "visitors were mixed, or turned away"
    shopping.check(stable=("green", "v2"), canary=("blue", "v3"))


def test_a_yes_before_the_switch_that_nobody_gives_ends_it_dark_and_a_retry_asks_again(shopping: Shopping) -> None:
    asks = {"bake": "1200ms", "confirm": {"timeout": "1s", "then": "revert"}}
    gate = shopping.fleet.gates.run(shopping.job("attempt 1", dark=asks))

    assert gate.code() == 0, gate.log()
    rollout = shopping.fleet.rollout()
    assert (rollout.state.phase, rollout.state.reason) == (Phase.REVERTED, Reason.CONFIRM_EXPIRED)
    assert shopping.colours.running == {"blue": "v1"}

    again = shopping.start("attempt 2", dark={**asks, "confirm": {"timeout": "5m", "then": "revert"}})
    waiting = shopping.becomes(lambda one: one.state.phase is Phase.WAITING)
    assert (waiting.id, waiting.state.attempt, waiting.share) == (rollout.id, 2, 0)
    shopping.api.post(rollout.id, Told(order=Order.ADVANCE, by="@ann", revision=waiting.state.revision), "yes")
    shopping.becomes(lambda one: one.share == WHOLE)
    shopping.api.post(rollout.id, Told(order=Order.REVERT, by="@ann"), "no, after all")

    assert again.code() == 0, again.log()
    ended = shopping.fleet.rollout()
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.ABORTED)
    assert shares(shopping.api.entries(rollout.id)) == [0, WHOLE, 0]
    assert shopping.colours.running == {"blue": "v1"}
    check_users(shopping.api.entries(rollout.id), shopping.colours, STALE_AFTER)
    assert None not in shopping.front.versions(shopping.flag)


LONG = {"bake": "10m"}


def deploying(shop: Shopping) -> Living:
    shop.colours.keep("ensure")
    gate = shop.start("attempt 1")
    until(lambda: shop.colours.did("begin", "green"))
    return gate


def verifying(shop: Shopping) -> Living:
    (shop.colours.folder / "sick-v2").touch()
    gate = shop.start("attempt 1")
    shop.becomes(lambda one: one.state.phase is Phase.VERIFYING)
    return gate


def dark(shop: Shopping) -> Living:
    gate = shop.start("attempt 1", dark=LONG)
    shop.becomes(lambda one: one.state.phase is Phase.DARK)
    return gate


def switched(shop: Shopping) -> Living:
    gate = shop.start("attempt 1", steps=[{"share": 100, **LONG}])
    shop.becomes(lambda one: one.share == WHOLE)
    return gate


def completing(shop: Shopping) -> Living:
    gate = shop.start("attempt 1", scaleDownDelay="10m")
    shop.becomes(lambda one: one.state.phase is Phase.COMPLETING)
    return gate


def retiring(shop: Shopping) -> Living:
    shop.colours.keep("retire")
    gate = shop.start("attempt 1")
    until(lambda: shop.colours.did("leave", "blue"))
    return gate


MOMENTS = (deploying, verifying, dark, switched, completing, retiring)


def killed_at(moment: Callable[[Shopping], Living], shop: Shopping) -> None:
    """The gate dies there; the lapse alone brings everybody to where they are safe, and the next gate goes on."""
    gate = moment(shop)
    gate.signal(signal.SIGKILL)
    assert gate.code() == -signal.SIGKILL
    lapsed = shop.becomes(lambda one: one.state.lease is None)
    if moment is retiring:
        assert (lapsed.share, lapsed.state.retirement_begun) == (WHOLE, True)
    else:
        assert (lapsed.share, lapsed.state.reason) == (0, Reason.GATE_LOST)
    for file in ("sick-v2", "hold-ensure", "hold-retire"):
        (shop.colours.folder / file).unlink(missing_ok=True)

    again = shop.start("attempt 2", dead=("attempt 1",))

    assert again.code() == 0, again.log()
    ended = shop.fleet.rollout()
    assert (ended.id, ended.state.phase, ended.state.actions) == (lapsed.id, Phase.PROMOTED, ()), again.log()
    assert shop.colours.did("up", "green") == 1, "it was deployed a second time"
    assert shop.colours.running == {"green": "v2"}
    shop.check()
    assert None not in shop.front.versions(shop.flag)


def test_a_gate_killed_in_any_phase_costs_no_visitor_and_the_next_one_deploys_nothing_twice(
    flag_server: FlagServer, gates: Gates, front: Front, tmp_path: Path
) -> None:
    fleets = [Fleet(server=flag_server, gates=gates, folder=tmp_path) for _ in MOMENTS]
    with ThreadPoolExecutor(len(MOMENTS)) as stories:
        shops = list(stories.map(lambda one: Shopping(one, front), fleets))
        try:
            list(stories.map(killed_at, MOMENTS, shops))
        finally:
            gates.end()
            for shop in shops:
                shop.end()


def test_a_retry_after_a_lost_gate_switches_without_a_second_deployment(shop: Shop) -> None:
    at_once = {"strategy": "blue-green", "dark": {"bake": "1200ms"}}
    shop.configure(**at_once, steps=[{"share": 100, **LONG}])
    run = shop.push()
    until_rollout(shop.api, shop.rollout().id, lambda one: one.share == WHOLE)
    run.signal(signal.SIGKILL)
    run.code()
    lost = until_rollout(shop.api, shop.rollout().id, lambda one: one.state.needs_hands)
    assert (lost.share, lost.state.reason) == (0, Reason.GATE_LOST)
    shop.github.run(1000 + shop.number, "failure")

    told = shop.comment("/retry")

    assert told.outputs["decision"] == "obeyed", told.log
    assert shop.github.run_again == [(1000 + shop.number, "rerun-failed-jobs")]
    shop.configure(**at_once, steps=[{"share": 100, "bake": "0s"}])
    again = shop.push(attempt=2)
    switched = until_rollout(shop.api, lost.id, lambda one: one.state.phase is Phase.COMPLETING)
    again.signal(signal.SIGKILL)
    assert switched.state.attempt == 2
    assert shop.room.did("up", "green") == 1, "it was deployed a second time"
    assert shares(shop.entries())[:4] == [0, WHOLE, 0, WHOLE]
    check_users(shop.entries(), shop.room, 4.0)
