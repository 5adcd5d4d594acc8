"""A configuration that changes while a rollout is under way: it goes on by its own plan, or not here."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from gate.config import load
from gate.deploy import RollingDeployer
from gate.errors import MisuseError
from gate.release import Gate
from gate.world import Hands, Surroundings, hands
from rampgate.machine.state import Phase
from rampgate.plan import RolloutPlan, Step, Strategy, UsersFollow
from tests.gate.drive.worlds import SECONDS, Scene

ROLLING = replace(
    SECONDS, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("a", "b"), hold_back=0,
    steps=(Step(share=50_000, bake=0.0), Step(share=100_000, bake=0.0)),
)  # fmt: skip


def gate(scene: Scene, plan: RolloutPlan, made: list[RolloutPlan], said: list[str]) -> Gate:
    """A gate whose configuration says ``plan``."""
    world = scene.world("gate 1")

    def again(other: RolloutPlan) -> Hands:
        made.append(other)
        return Hands(deployer=world.deployer, verify=world.verify, source=world.source, plan=other, again=again)

    return Gate(
        server=scene.server,  # type: ignore[arg-type]
        hands=again(plan), clock=scene.clock, report=scene.report, holder="gate 1", say=said.append,
    )  # fmt: skip


def test_other_steps_hold_from_the_next_rollout_on_and_it_is_said_once() -> None:
    scene, made, said = Scene(), [], []
    changed = replace(SECONDS, steps=(Step(share=100_000),), strategy=Strategy.BLUE_GREEN, hold_back=0)
    ended = gate(scene, changed, made, said).drive(scene.server.rollout("r1"))
    assert ended.state.phase is Phase.PROMOTED
    assert {one.share for one in scene.server.history} >= {10_000, 50_000}
    assert made == [changed, SECONDS]
    assert said == [
        "Rollout r1 goes on by the plan that it started with. What has changed in the configuration since "
        "(steps, strategy, hold_back) holds from the next rollout on."
    ]


def test_other_targets_are_not_touched_by_a_rollout_that_has_its_own(tmp_path: Path) -> None:
    document = (
        "flag: shop\nenvironment: production\nstrategy: rolling\nusersFollow: deployment\n"
        "targets: [c, d, e]\ndeploy: {command: 'true'}\nmetrics: [{errors: prometheus, url: 'http://127.0.0.1:9', "
        "queries: {requests: 'n{v=\"{{version}}\"}', errors: 'e{v=\"{{version}}\"}'}}]\n"
    )
    config = load(document, where="rampgate.yml")
    around = Surroundings(folder=tmp_path, environ={}, secrets=(), say=lambda _: None)
    made = hands(config, around, server=None)  # type: ignore[arg-type]
    assert made.again is not None
    own = made.again(ROLLING)
    assert isinstance(made.deployer, RollingDeployer)
    assert isinstance(own.deployer, RollingDeployer)
    assert (made.deployer.targets, own.deployer.targets) == (("c", "d", "e"), ("a", "b"))
    kept = TypeAdapter(RolloutPlan).validate_json(TypeAdapter(RolloutPlan).dump_json(config.plan))
    assert kept == made.plan, "a plan that comes back from the flag server would look changed"


@pytest.mark.parametrize(("started", "now"), [(ROLLING, SECONDS), (SECONDS, ROLLING)])
def test_hands_for_machines_do_not_touch_a_rollout_of_users_nor_the_other_way_round(
    started: RolloutPlan, now: RolloutPlan
) -> None:
    scene = Scene(plan=started)
    with pytest.raises(MisuseError) as caught:
        gate(scene, now, [], []).drive(scene.server.rollout("r1"))
    assert f"Rollout r1 of v2 is {started.strategy}, and the configuration here says {now.strategy}." in str(
        caught.value
    )
    assert "from the commit that it started with" in str(caught.value)
    assert scene.slots.deployed == []


def test_an_unchanged_configuration_says_nothing() -> None:
    scene, said = Scene(), []
    gate(scene, SECONDS, [], said).drive(scene.server.rollout("r1"))
    assert said == []
