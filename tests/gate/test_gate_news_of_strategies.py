"""Every strategy's news arrives: at a service's own door, and at event hooks, whoever drives and whoever was killed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gate.config import HookConfig, Moment, NotifyConfig
from gate.deploy import Workplace
from gate.hooks import AtWork
from gate.notify import Messenger
from gate.release import Gate
from gate.world import Hands
from rampgate.machine.events import Created
from rampgate.machine.state import Phase, Verb
from rampgate.plan import Confirm, RolloutPlan
from rampgate.rollout import Entry, Rollout
from tests.gate.drive.worlds import ROLLING, SECONDS, SWITCHED, Killed, Scene
from tests.gate.metrics.scripted import Reply, ScriptedServer, scripted

STRATEGIES = pytest.mark.parametrize("plan", [SECONDS, SWITCHED, ROLLING], ids=lambda plan: plan.strategy)


@pytest.fixture(scope="module")
def service() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


@dataclass
class Newsroom:
    """A scene, and gates whose messages and events all go to one server."""

    service: ScriptedServer
    folder: Path
    scene: Scene
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service.script = lambda _: Reply()
        self.service.asked.clear()
        server = self.scene.server
        created = Created(baseline=True, by="a test")
        begun = Entry(
            number=1, at=self.scene.clock.now, actor="gate", event=created, verb=Verb.HOLD, phase=Phase.DEPLOYING,
            step=0, share=0, revision=1, attempt=1,
        )  # fmt: skip
        server.history.append(begun)

    def drive(self, holder: str = "gate 1") -> Rollout:
        door = f"json://127.0.0.1:{self.service.server_port}/"
        messenger = Messenger(to=(NotifyConfig(to="ALL"),), environ={"ALL": door}, say=self.said.append)
        hook = HookConfig(when=Moment.EVENT, name="event", url=f"{self.service.url}/event")
        hooks = AtWork(hooks=(hook,), workplace=Workplace(folder=self.folder, say=self.said.append))
        world = self.scene.world(holder)
        hands = Hands(
            deployer=world.deployer, verify=world.verify, source=world.source, hooks=hooks,
            listeners=(hooks.tell, messenger), needs_hands=messenger.needs_hands,
        )  # fmt: skip
        gate = Gate(
            server=self.scene.server, hands=hands, clock=self.scene.clock, report=self.scene.report, holder=holder
        )  # type: ignore[arg-type]
        return gate.drive(self.scene.server.rollout("r1"))

    @property
    def titles(self) -> list[str]:
        """The messages, by what they say of the environment."""
        sent = [json.loads(one.body) for one in self.service.asked if one.path == "/"]
        return [one["title"].removeprefix("production: ") for one in sent]

    @property
    def verbs(self) -> set[str]:
        """What event hooks heard that was decided."""
        return {json.loads(one.body)["event"]["verb"] for one in self.service.asked if one.path == "/event"}


def room(service: ScriptedServer, folder: Path, plan: RolloutPlan) -> Newsroom:
    return Newsroom(service, folder, Scene(plan=plan))


def first(plan: RolloutPlan, slots: str, machines: str) -> str:
    """What is said of this strategy."""
    return machines if plan.in_place else slots


BEGUN = "v2 is being deployed, and nobody is sent there yet", "v2 is next, and every target runs v1"
BACK = "everybody is back on v1", "targets are being put back on v1"


@STRATEGIES
def test_start_and_promotion_are_told(service: ScriptedServer, tmp_path: Path, plan: RolloutPlan) -> None:
    news = room(service, tmp_path, plan)
    assert news.drive().state.phase is Phase.PROMOTED
    assert news.titles == [first(plan, *BEGUN), first(plan, "everybody is on v2", "every target is on v2")]
    assert news.verbs == {"hold", "advance", "complete"}
    assert news.said == []


@STRATEGIES
def test_a_way_back_is_told_and_where_machines_are_put_back_its_end_too(
    service: ScriptedServer, tmp_path: Path, plan: RolloutPlan
) -> None:
    news = room(service, tmp_path, plan)
    news.scene.users.fails["canary"] = 0.3
    assert news.drive().state.phase is Phase.REVERTED
    end = ["every target is back on v1"] if plan.in_place else []
    assert news.titles == [first(plan, *BEGUN), first(plan, *BACK), *end]
    assert news.verbs == {"hold", "advance", "revert"}


@STRATEGIES
def test_a_person_is_asked_and_silence_is_told(service: ScriptedServer, tmp_path: Path, plan: RolloutPlan) -> None:
    dark = replace(plan.dark, confirm=Confirm(timeout=5.0))
    news = room(service, tmp_path, replace(plan, dark=dark))
    ended = news.drive()
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, "confirm_expired")
    asked = news.titles[1]
    assert asked.endswith("and it waits for a yes")
    assert news.titles[2] == first(plan, *BACK)
    assert news.verbs == {"hold", "pause", "revert"}


@STRATEGIES
def test_what_cannot_be_undone_needs_hands_and_is_told(
    service: ScriptedServer, tmp_path: Path, plan: RolloutPlan
) -> None:
    news = room(service, tmp_path, plan)
    news.scene.users.fails["canary"] = 0.3
    news.scene.slots.broken = lambda work: work.action == "retire"
    news.scene.machines.broken = lambda work: work.version == "v1" and work.action == "ensure"
    ended = news.drive()
    assert ended.state.needs_hands
    assert news.titles == [first(plan, *BEGUN), first(plan, *BACK), "v2 needs hands"]


@STRATEGIES
def test_a_lapse_is_told_by_whoever_finds_it_later(service: ScriptedServer, tmp_path: Path, plan: RolloutPlan) -> None:
    news = room(service, tmp_path, plan)
    scene = news.scene
    _dies_in(scene, plan.last)
    with pytest.raises(Killed):
        news.drive()
    scene.count = lambda _: None  # type: ignore[method-assign]
    service.asked.clear()
    scene.clock.advance(60.0)
    if plan.in_place:
        # A lapse only stops it: targets are to be put back when it was held for too long.
        assert scene.server.rollout("r1").state.phase is Phase.PAUSED
        scene.clock.advance(plan.hold)
    assert scene.server.rollout("r1").state.needs_hands
    ended = news.drive("sweeper")
    assert not ended.state.needs_hands
    assert "v2 needs hands" in news.titles
    assert first(plan, *BACK) in news.titles
    if plan.in_place:
        assert any(title.endswith("targets, paused") for title in news.titles), news.titles
        assert set(scene.machines.running.values()) == {"v1"}
    assert "revert" in news.verbs
    assert "Time to safe: " in " ".join(json.loads(one.body)["message"] for one in service.asked if one.path == "/")


def _dies_in(scene: Scene, step: int) -> None:
    """The next gate is killed as it reads the figures of this step."""

    def count(what: str) -> None:
        if what == "before read" and scene.server.record.state.step == step:
            raise Killed(what)

    scene.count = count  # type: ignore[method-assign]
