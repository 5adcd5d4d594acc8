"""A rolling deployment, target by target: order, health, how many at once, and taking over from one that died."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from gate.deploy import DeployAction, Deployment, Done, Failed, NotUp, RollingDeployer, Stopped, Work
from rampgate.plan import share_of
from rampgate.rollout import Slot
from tests.gate.deploy.contract import WORK, always

NAMES = ("web-1", "web-2", "web-3", "web-4", "web-5", "web-6")
OLD = Slot(name="blue", version="v1")
ROLL = replace(WORK, former=OLD)
BACK = replace(ROLL, action=DeployAction.RETIRE)
STATUS = replace(ROLL, action=DeployAction.STATUS)


def part(targets: int) -> int:
    return share_of(targets, len(NAMES))


@dataclass
class Fleet:
    """Targets in memory; what runs on each, and everything that was done to them, in order."""

    running: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, "v1"))
    done: list[tuple[str, str]] = field(default_factory=list)
    broken: Callable[[Work], bool] = lambda _: False
    sick: Callable[[Work], bool] = lambda _: False
    during: Callable[[Work], None] = lambda _: None
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        target = work.target or ""
        if not keep_going():
            return Stopped(text="told to stop")
        if work.action is DeployAction.STATUS:
            version = self.running.get(target)
            up = version is not None and work.version in ("", version)
            return (
                Done(text=f"{target} runs {version}", version=version) if up else NotUp(text=f"{target} runs {version}")
            )
        with self.lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        self.running.pop(target, None)
        self.during(work)
        with self.lock:
            self.busy -= 1
        if not keep_going():
            return Stopped(text="told to stop")
        if self.broken(work):
            return Failed(text="it broke", tail=("no space left",))
        if work.action is DeployAction.ENSURE:
            self.running[target] = work.version
        self.done.append((target, work.version if work.action is DeployAction.ENSURE else "nothing"))
        return Done(text="done")

    def healthy(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        return NotUp(text=f"{work.target} coughs") if self.sick(work) else self.run(work, keep_going)

    def deployer(self, at_once: int = 1) -> RollingDeployer:
        return RollingDeployer(
            inner=self, healthy=self.healthy, restored=self.healthy, targets=NAMES, at_once=at_once, every=0.01
        )

    def runs(self, version: str) -> list[str]:
        return [one for one in NAMES if self.running.get(one) == version]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_the_first_targets_get_the_version_in_their_order(fleet: Fleet) -> None:
    done = fleet.deployer().run(replace(ROLL, share=part(3)), always)
    assert done == Done(text="3 of 6 targets run v2")
    assert fleet.done == [("web-1", "v2"), ("web-2", "v2"), ("web-3", "v2")]


def test_the_next_batch_leaves_the_earlier_one_alone(fleet: Fleet) -> None:
    fleet.deployer().run(replace(ROLL, share=part(1)), always)
    fleet.done.clear()
    assert isinstance(fleet.deployer().run(replace(ROLL, share=part(3)), always), Done)
    assert fleet.done == [("web-2", "v2"), ("web-3", "v2")]


def test_a_target_that_is_not_healthy_ends_the_batch_before_the_next(fleet: Fleet) -> None:
    fleet.sick = lambda work: work.target == "web-2"
    failed = fleet.deployer().run(replace(ROLL, share=part(6)), always)
    assert failed == Failed(text="web-2: web-2 coughs")
    assert fleet.runs("v1") == ["web-3", "web-4", "web-5", "web-6"]


def test_a_failed_hook_tells_its_last_lines(fleet: Fleet) -> None:
    fleet.broken = lambda work: work.target == "web-1"
    assert fleet.deployer().run(replace(ROLL, share=part(2)), always) == Failed(
        text="web-1: it broke", tail=("no space left",)
    )


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_more_targets_are_away_at_once_than_allowed(fleet: Fleet, at_once: int) -> None:
    gate = threading.Barrier(at_once)
    fleet.during = lambda _: gate.wait(20) and None
    assert isinstance(fleet.deployer(at_once).run(replace(ROLL, share=part(6)), always), Done)
    assert fleet.busiest == at_once


def test_targets_that_are_down_anyway_count_among_those_that_may_be_away(fleet: Fleet) -> None:
    del fleet.running["web-6"]
    failed = fleet.deployer().run(replace(ROLL, share=part(1)), always)
    assert isinstance(failed, Failed)
    assert "web-6 not known to be up" in failed.text
    assert fleet.done == []
    assert isinstance(fleet.deployer(2).run(replace(ROLL, share=part(3)), always), Done)
    assert fleet.busiest == 1


def test_whoever_takes_over_asks_each_target_and_begins_with_the_half_done_one(fleet: Fleet) -> None:
    fleet.running["web-1"] = "v2"
    del fleet.running["web-3"]
    assert isinstance(fleet.deployer().run(replace(ROLL, share=part(3)), always), Done)
    assert fleet.done == [("web-3", "v2"), ("web-2", "v2")]


def test_a_replaced_target_that_nobody_had_looked_at_yet_must_be_healthy_too(fleet: Fleet) -> None:
    fleet.running["web-1"] = "v2"
    fleet.sick = lambda work: work.target == "web-1"
    assert isinstance(fleet.deployer().run(replace(ROLL, share=part(2)), always), Failed)
    assert fleet.done == []


def test_the_old_version_comes_back_newest_first_and_on_half_done_targets_too(fleet: Fleet) -> None:
    fleet.running |= dict.fromkeys(("web-1", "web-2"), "v2")
    del fleet.running["web-3"]
    assert fleet.deployer().run(replace(BACK, share=part(3)), always) == Done(text="every target runs v1")
    assert fleet.done == [("web-3", "v1"), ("web-2", "v1"), ("web-1", "v1")]
    fleet.done.clear()
    assert isinstance(fleet.deployer().run(replace(BACK, share=part(3)), always), Done)
    assert fleet.done == []


def test_a_target_that_cannot_be_put_back_keeps_no_other_from_it(fleet: Fleet) -> None:
    fleet.running |= dict.fromkeys(NAMES[:3], "v2")
    fleet.broken = lambda work: work.target == "web-2"
    failed = fleet.deployer().run(replace(BACK, share=part(3)), always)
    assert isinstance(failed, Failed)
    assert failed.text == "web-2: it broke"
    assert fleet.runs("v1") == ["web-1", "web-3", "web-4", "web-5", "web-6"]


def test_a_machine_that_was_dead_before_does_not_keep_the_undoing_from_being_done(fleet: Fleet) -> None:
    fleet.running["web-1"] = "v2"
    del fleet.running["web-6"]
    fleet.broken = lambda work: work.target == "web-6"
    assert fleet.deployer().run(replace(BACK, share=part(1)), always) == Done(
        text="every target runs v1; web-6 down, as before"
    )


def test_what_an_earlier_rollout_left_is_put_back_before_the_first_batch(fleet: Fleet) -> None:
    fleet.running |= dict.fromkeys(NAMES[:2], "v0.9")
    assert isinstance(fleet.deployer().run(replace(ROLL, share=0), always), Done)
    assert fleet.runs("v1") == list(NAMES)


def test_a_first_deploy_is_undone_by_leaving_nothing_there(fleet: Fleet) -> None:
    fleet.running = {"web-1": "v2", "web-2": "v2"}
    work = replace(BACK, former=Slot(name="blue"))
    assert isinstance(fleet.deployer().run(work, always), Done)
    assert fleet.running == {}


def test_told_to_stop_it_begins_no_further_target(fleet: Fleet) -> None:
    at_work, told = threading.Event(), threading.Event()

    def keep_going() -> bool:
        if at_work.is_set():
            told.set()
        return not at_work.is_set()

    def during(work: Work) -> None:
        if work.target == "web-2":
            at_work.set()
            assert told.wait(20)

    fleet.during = during
    assert isinstance(fleet.deployer().run(replace(ROLL, share=part(6)), keep_going), Stopped)
    assert fleet.running["web-1"] == "v2"
    assert fleet.runs("v1")


class Ended(BaseException):
    """The gate's process is told to end."""


def test_a_gate_that_is_told_to_end_leaves_no_thread_behind(fleet: Fleet) -> None:
    before = set(threading.enumerate())
    asked = 0

    def keep_going() -> bool:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Ended
        return True

    release = threading.Event()
    fleet.during = lambda _: release.wait(0.1) and None
    with pytest.raises(Ended):
        fleet.deployer().run(replace(ROLL, share=part(6)), keep_going)
    assert set(threading.enumerate()) <= before
    assert "v1" in fleet.running.values()


def test_up_is_what_runs_the_version_on_as_many_targets_as_it_should(fleet: Fleet) -> None:
    fleet.running |= dict.fromkeys(NAMES[:3], "v2")
    deployer = fleet.deployer()
    assert isinstance(deployer.run(replace(STATUS, share=part(3)), always), Done)
    assert isinstance(deployer.run(replace(STATUS, share=part(4)), always), NotUp)
    assert isinstance(deployer.run(replace(STATUS, version="v1", share=part(6)), always), NotUp)


def test_a_target_that_restarts_does_not_bring_the_whole_down_but_two_do(fleet: Fleet) -> None:
    del fleet.running["web-4"]
    found = fleet.deployer().run(replace(STATUS, version="v1", share=part(6)), always)
    assert found == Done(text="5 of 6 targets are up; web-4 not known to be up", version="v1")
    del fleet.running["web-5"]
    assert isinstance(fleet.deployer().run(replace(STATUS, version="v1", share=part(6)), always), NotUp)


def test_what_runs_there_is_told_where_all_targets_say_the_same(fleet: Fleet) -> None:
    unknown = replace(STATUS, version="", share=None)
    assert fleet.deployer().run(unknown, always) == Done(text="6 of 6 targets run v1", version="v1")
    fleet.running["web-1"] = "v2"
    found = fleet.deployer().run(unknown, always)
    assert isinstance(found, Failed)
    assert "different versions, v1, v2" in found.text
    fleet.running.clear()
    assert isinstance(fleet.deployer().run(unknown, always), NotUp)


class Mute(Fleet):
    """Says that a target is up, and not what it runs."""

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        found = super().run(work, keep_going)
        return replace(found, version=None) if isinstance(found, Done) else found


def test_a_deployer_that_does_not_say_what_a_target_runs_cannot_roll() -> None:
    found = Mute().deployer().run(replace(STATUS, version=""), always)
    assert isinstance(found, Failed)
    assert "does not say which version" in found.text


def test_however_many_targets_there_are_looking_at_them_takes_ten_rounds_at_most() -> None:
    names = tuple(f"web-{number}" for number in range(120))
    together = threading.Barrier(12, timeout=20)

    class Together:
        def run(self, work: Work, _: Callable[[], bool]) -> Deployment:
            together.wait()
            return Done(text=f"{work.target} runs v2", version="v2")

    asked = Together()
    rolling = RollingDeployer(inner=asked, healthy=asked.run, restored=asked.run, targets=names, every=0.01)
    assert rolling.run(replace(STATUS, share=part(6)), always) == Done(text="120 of 120 targets are up", version="v2")
