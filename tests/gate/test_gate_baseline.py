"""What a release takes for its stable version, where targets run what an earlier rollout has left there."""

from dataclasses import dataclass, field, replace

import pytest

from gate.config import Config, from_document
from gate.deploy import Deployment, Done, NotUp, Work
from gate.errors import StableNotUpError
from gate.release import Gate, Release, ask
from gate.world import Hands
from rampgate.evidence import ArmName
from rampgate.machine.state import Action, ActionKind, Phase, State
from rampgate.rollout import NewRollout, Rollout, Slot, Slots
from tests.fakes.flag_server import FakeClock
from tests.gate.drive.worlds import ROLLING, SECONDS

DOCUMENT = {
    "flag": "shop",
    "environment": "production",
    "strategy": "rolling",
    "usersFollow": "deployment",
    "targets": ["web-1", "web-2", "web-3"],
    "deploy": {"command": "true"},
    "metrics": [
        {
            "errors": "prometheus",
            "url": "http://127.0.0.1:9",
            "queries": {"requests": 'n{v="{{version}}"}', "errors": 'e{v="{{version}}"}'},
        }
    ],
}

MINIMUM = {"flag": "shop", "environment": "production", "metrics": [{"errors": "flagserver"}]}


@dataclass
class Server:
    """Knows one earlier rollout, and remembers what it was asked to begin."""

    before: Rollout
    stable: Slot
    asked: list[NewRollout] = field(default_factory=list)

    def slots(self, *_: str) -> Slots:
        return Slots(stable=self.stable, idle=Slot(name="green", version="v2"))

    def find(self, **_: object) -> tuple[Rollout, ...]:
        return (self.before,)

    def create(self, new: NewRollout) -> Rollout:
        self.asked.append(new)
        return self.before


class HalfDone:
    """Targets of which some run v2, the others nothing."""

    def run(self, _work: Work, _keep_going: object) -> Deployment:
        return Done(text="1 of 3 targets run v2; web-2, web-3 not known to be up", version="v2")


class Down:
    """A deployer whose slots are all down."""

    def run(self, _work: Work, _keep_going: object) -> Deployment:
        return NotUp(text="blue runs None")


def gate_of(server: Server, deployer: HalfDone | Down) -> Gate:
    return Gate(
        server=server,  # type: ignore[arg-type]
        hands=Hands(deployer=deployer, verify=deployer.run, source=None),  # type: ignore[arg-type]
        clock=FakeClock(), report=lambda *_: None, holder="gate 1",
    )  # fmt: skip


LEFT = (Action(number=3, kind=ActionKind.UNDO, arm=ArmName.CANARY, share=0),)


@pytest.mark.parametrize(
    "state",
    [State(phase=Phase.DEPLOYING, baseline=False), State(phase=Phase.FAILED, baseline=False, actions=LEFT)],
    ids=["under way", "left behind"],
)
def test_half_of_a_first_deploy_is_no_stable_version(state: State) -> None:
    before = Rollout(
        id="ro_1", key="k1", plan=ROLLING, version="v2", canary=Slot(name="green", version="v2"),
        stable=Slot(name="blue"), state=state, share=0, created_at=1.0, now=2.0, by="@ann",
    )  # fmt: skip
    server = Server(before, stable=Slot(name="blue"))
    config: Config = from_document(DOCUMENT, where="a test")
    gate = gate_of(server, HalfDone())

    ask(gate, config, Release(key="k2", version="v3", by="@ann"))

    assert [(new.baseline, new.stable) for new in server.asked] == [(False, Slot(name="blue"))]


def test_a_live_version_that_is_down_is_left_only_at_once() -> None:
    stable = Slot(name="blue", version="v2")
    before = Rollout(
        id="ro_1", key="k1", plan=SECONDS, version="v2", canary=stable, stable=Slot(name="green", version="v1"),
        state=State(phase=Phase.PROMOTED), share=100_000, created_at=1.0, now=2.0, by="@ann",
    )  # fmt: skip
    server = Server(before, stable=stable)
    config = from_document({**MINIMUM, "deploy": {"command": "true"}}, where="a test")
    gate, back = gate_of(server, Down()), Release(key="k2", version="v1", by="@ann")
    with pytest.raises(StableNotUpError, match="rollback --now"):
        ask(gate, config, back)

    ask(gate, config, replace(back, at_once=True))

    assert [(new.baseline, new.stable) for new in server.asked] == [(False, stable)]
