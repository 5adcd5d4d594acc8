"""Back to an earlier version: which one that is, and going there by steps or at once."""

from dataclasses import dataclass, replace

import pytest

from gate.drive import Driver
from gate.earlier import key_by_hand
from gate.errors import MisuseError
from gate.rollback import AtOnce, asked_for, way_back
from rampgate.evidence import Look
from rampgate.machine.events import Told
from rampgate.machine.state import Lock, Order, Phase, State
from rampgate.plan import RolloutPlan, Strategy, UsersFollow
from rampgate.rollout import Rollout, Slot, Slots
from tests.gate.drive.worlds import SECONDS, Scene


def ended(number: int, version: str, before: str | None, phase: Phase = Phase.PROMOTED) -> Rollout:
    return Rollout(
        id=f"ro_{number}", key=f"k{number}", plan=SECONDS, version=version, canary=Slot(name="green", version=version),
        stable=Slot(name="blue", version=before), state=State(phase=phase), share=0, created_at=number, now=number,
        by="@ann",
    )  # fmt: skip


@dataclass
class Known:
    """A flag server's memory, newest first."""

    rollouts: tuple[Rollout, ...]
    stable: str | None = "v3"

    def slots(self, environment: str, flag: str) -> Slots | None:
        assert (environment, flag) == ("production", "shop")
        return Slots(stable=Slot(name="blue", version=self.stable), idle=Slot(name="green"))

    def find(self, *, environment: str | None = None, flag: str | None = None, limit: int = 50) -> tuple[Rollout, ...]:
        assert (environment, flag) == ("production", "shop")
        return self.rollouts[:limit]


HISTORY = (
    ended(4, "v4", "v3", Phase.REVERTED), ended(3, "v3", "v2"), ended(2, "v2", "v1"), ended(1, "v1", None),
)  # fmt: skip


def test_the_way_back_leads_to_the_version_before_the_present_one() -> None:
    back = way_back(Known(HISTORY), "production", "shop")
    assert (back.version, back.present, back.of) == ("v2", "v3", "ro_3")


def test_after_a_rollback_the_way_back_leads_to_what_it_came_from() -> None:
    again = (ended(5, "v2", "v3"), *HISTORY)
    assert way_back(Known(again, stable="v2"), "production", "shop").version == "v3"


@pytest.mark.parametrize(
    ("version", "stable", "key"),
    [
        ("v3", "v3", "k3"),
        ("v2", "v3", "ann@box:ro_3:v2"),
        ("v5", "v3", "ann@box:ro_3:v5"),
        ("v3", None, "ann@box:ro_3:v3"),
    ],
    ids=["serves", "served before", "new", "served, and is gone"],
)
def test_a_release_by_hand_of_what_served_before_is_a_new_one(version: str, stable: str | None, key: str) -> None:
    assert key_by_hand(Known(HISTORY, stable=stable), "production", "shop", version, "ann@box") == key


def test_any_version_that_once_served_everybody_may_be_named() -> None:
    assert way_back(Known(HISTORY), "production", "shop", "v1").version == "v1"


def test_the_beginning_of_a_commit_names_its_version_where_it_fits_one() -> None:
    known = Known(tuple(replace(one, sha=f"0123456{one.version}") for one in HISTORY))
    back = way_back(known, "production", "shop", "0123456v1")
    assert (back.version, asked_for(back, "ann").sha) == ("v1", "0123456v1")
    with pytest.raises(MisuseError, match="0123456 fits several: v2, v1"):
        way_back(known, "production", "shop", "0123456")


def test_a_whole_name_means_that_version_though_another_begins_with_it() -> None:
    history = (ended(3, "v3", "release-10"), ended(2, "release-10", "release-1"))
    assert way_back(Known(history), "production", "shop", "release-1").version == "release-1"


@pytest.mark.parametrize("to", ["v4", "v3", "v9"])
def test_a_version_that_never_served_everybody_or_does_so_now_is_refused(to: str) -> None:
    with pytest.raises(MisuseError, match=f"{to} never served everybody") as caught:
        way_back(Known(HISTORY), "production", "shop", to)
    assert "Name one of v2, v1" in str(caught.value)


@pytest.mark.parametrize(("rollouts", "stable"), [((), "v3"), ((), None), ((ended(1, "v1", None),), "v1")])
def test_where_nothing_was_before_there_is_no_way_back(rollouts: tuple[Rollout, ...], stable: str | None) -> None:
    with pytest.raises(MisuseError):
        way_back(Known(rollouts, stable), "production", "shop")


def test_a_rollout_under_way_is_aborted_not_rolled_back() -> None:
    known = Known((ended(5, "v4", "v3", Phase.PROGRESSING), *HISTORY))
    with pytest.raises(MisuseError, match="ro_5 of v4 is progressing") as caught:
        way_back(known, "production", "shop")
    assert "/abort" in str(caught.value)


def test_once_retirement_has_begun_the_version_being_retired_is_the_way_back() -> None:
    retiring = ended(5, "v4", "v3", Phase.COMPLETING)
    retiring = replace(retiring, state=replace(retiring.state, retirement_begun=True))
    assert way_back(Known((retiring, *HISTORY), stable="v4"), "production", "shop").version == "v3"


def test_the_same_way_back_is_one_rollout_and_says_that_it_is_a_rollback() -> None:
    back = way_back(Known(HISTORY), "production", "shop")
    wanted = asked_for(back, "@ann")
    assert wanted == asked_for(back, "@ann")
    assert wanted.override is None
    assert replace(HISTORY[0], key=wanted.key).is_rollback
    assert not HISTORY[0].is_rollback


def at_once(scene: Scene) -> tuple[Rollout, list[str]]:
    told: list[tuple[Look, ...]] = []
    said: list[str] = []
    order = AtOnce(
        server=scene.server, by="@ann", reason="checkout is broken", inner=lambda _, looks: told.append(looks),
        say=said.append,
    )  # fmt: skip
    world = replace(scene.world("gate 1"), report=order)
    return Driver(world=world, rollout=scene.server.rollout("r1")).run(), said


@pytest.mark.parametrize(
    "plan",
    [
        SECONDS,
        replace(SECONDS, strategy=Strategy.BLUE_GREEN, steps=SECONDS.steps[-1:], hold_back=0),
        replace(SECONDS, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("web-1", "web-2")),
    ],
    ids=lambda plan: plan.strategy,
)
def test_at_once_is_a_persons_order_given_when_the_version_is_up(plan: RolloutPlan) -> None:
    scene = Scene(plan=plan)
    done, _ = at_once(scene)
    assert done.state.phase is Phase.PROMOTED
    shares = list(dict.fromkeys(entry.share for entry in scene.server.history))
    assert shares == [0, 100_000]
    orders = [entry.event for entry in scene.server.history if isinstance(entry.event, Told)]
    assert [(one.order, one.by, one.text) for one in orders] == [
        (Order.COMPLETE, "@ann", "back at once. checkout is broken")
    ]


def test_at_once_leaves_a_version_that_is_down() -> None:
    scene = Scene(baseline=False)
    scene.slots.running = {}
    done, _ = at_once(scene)
    assert done.state.phase is Phase.PROMOTED
    assert scene.slots.running == {"green": "v2"}


def test_under_a_lock_it_says_so_and_waits() -> None:
    scene = Scene()
    state = scene.server.record.state
    locked = replace(state, lock=Lock(reason="incident", by="@bob", until=scene.clock.now + 60), locked_at=0.0)
    scene.server.record = replace(scene.server.record, state=locked)
    done, said = at_once(scene)
    assert done.state.phase is Phase.PROMOTED
    assert any("Locked by @bob" in line for line in said)
