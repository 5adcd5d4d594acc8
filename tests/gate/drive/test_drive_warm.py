"""While the old version is kept warm: a new one that dies takes users back, but never to a version that is not up."""

from itertools import pairwise

import pytest

from gate.deploy import Deployment, Done, Failed, NotUp, Work
from gate.warm import verdict_of
from rampgate.evidence import VerdictReason, VerdictWord
from rampgate.machine.state import Phase, Reason
from tests.gate.drive.worlds import Scene

UP, DOWN, UNKNOWN = Done(text="it answers"), NotUp(text="refused"), Failed(text="no route")


@pytest.mark.parametrize(
    ("new", "old", "times_down", "word"),
    [
        (UP, UP, 0, VerdictWord.HEALTHY),
        (UP, DOWN, 0, VerdictWord.HEALTHY),
        (UP, None, 0, VerdictWord.HEALTHY),
        (DOWN, UP, 2, VerdictWord.SOURCE_DOWN),
        (DOWN, UP, 3, VerdictWord.REGRESSED),
        (DOWN, None, 3, VerdictWord.REGRESSED),
        (DOWN, DOWN, 3, VerdictWord.SOURCE_DOWN),
        (DOWN, UNKNOWN, 30, VerdictWord.SOURCE_DOWN),
        (UNKNOWN, UP, 0, VerdictWord.SOURCE_DOWN),
    ],
)
def test_users_are_sent_back_only_to_a_version_that_is_known_to_be_up(
    new: Deployment, old: Deployment | None, times_down: int, word: VerdictWord
) -> None:
    assert verdict_of(new, old, times_down).word is word


def test_a_warm_version_that_is_down_is_said_as_long_as_an_abort_would_lead_there() -> None:
    assert "not up: refused. /abort would send users there" in verdict_of(UP, DOWN, 0).text
    assert "Nobody knows whether the old version is up: no route" in verdict_of(UP, UNKNOWN, 0).text
    both = verdict_of(DOWN, DOWN, 3)
    assert both.reason is VerdictReason.SLOT_DOWN
    assert "users stay where they are" in both.text


def dies_while_warm(scene: Scene, *slots: str, old_is_back_after: float = 0.0) -> None:
    """From the completed switch on these slots are down, the old one for so many seconds."""

    def broken(work: Work) -> bool:
        record = scene.server.record
        if record.state.phase is not Phase.COMPLETING or work.action != "status" or work.slot not in slots:
            return False
        return work.slot == "green" or scene.clock.now < record.state.entered_at + old_is_back_after

    scene.slots.broken = broken


def test_a_new_version_that_dies_while_the_old_one_is_warm_takes_users_back() -> None:
    scene = Scene()
    dies_while_warm(scene, "green")
    ended = scene.drive()
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    assert scene.slots.running == {"blue": "v1"}


def test_where_both_are_down_users_go_back_only_once_the_old_one_is_up_again() -> None:
    scene = Scene()
    dies_while_warm(scene, "green", "blue", old_is_back_after=20.0)
    ended = scene.drive()
    assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
    history = scene.server.history
    warm_since = next(one.at for one in history if one.phase is Phase.COMPLETING)
    back_at = next(one.at for one in history if one.phase is Phase.REVERTING)
    assert back_at >= warm_since + 20.0


def test_a_look_that_takes_all_its_time_leaves_the_lease_alone() -> None:
    scene = Scene()
    asked: list[tuple[str, float]] = []

    def slow(work: Work) -> bool:
        if scene.server.record.state.phase is Phase.COMPLETING and work.action == "status":
            asked.append((work.slot, work.seconds))
            scene.clock.advance(work.seconds)
        return False

    scene.slots.broken = slow
    assert scene.drive().state.phase is Phase.PROMOTED
    lease = scene.plan.lease
    assert {slot for slot, _ in asked} >= {"green", "blue"}
    both = [one[1] + other[1] for one, other in pairwise(asked) if (one[0], other[0]) == ("green", "blue")]
    assert both
    assert max(both) <= 0.6 * lease
