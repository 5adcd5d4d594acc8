"""The gate is killed at each of its outside calls, and run again: users end on stable, or the ramp goes on rightly."""

import pytest

from rampgate.machine.state import Phase, Reason
from tests.gate.drive.worlds import Killed, Scene


def calls_of(**fails: float) -> int:
    """How many outside calls a whole run makes."""
    scene = Scene()
    scene.users.fails.update(fails)
    scene.drive()
    return scene.calls


def check_users(scene: Scene) -> None:
    """Never on a slot that is not up, at any moment recorded."""
    state = scene.server.record.state
    if scene.server.record.share > 0:
        assert scene.slots.running.get("green") == "v2", "users are sent to a slot that is not up"
    if scene.server.record.share < 100_000 or not state.retirement_begun:
        assert scene.slots.running.get("blue") == "v1", "the stable slot went down under its users"


def killed_at(call: int, **fails: float) -> Scene:
    scene = Scene(dies_at=call)
    scene.users.fails.update(fails)
    with pytest.raises(Killed):
        scene.drive()
    scene.dies_at = None
    check_users(scene)
    return scene


@pytest.mark.parametrize("canary", [0.03, 0.3], ids=["healthy", "broken"])
def test_killed_at_every_call_and_never_run_again_users_end_on_a_version_that_is_up(canary: float):
    for call in range(1, calls_of(canary=canary) + 1):
        scene = killed_at(call, canary=canary)
        completing = scene.server.record.state.phase in (Phase.COMPLETING, Phase.PROMOTED)
        share = scene.server.record.share
        for _ in range(400):
            scene.server.rollout("r1", after=scene.server.record.state.revision, wait=10.0)
            assert scene.server.record.share <= share
            check_users(scene)
        state = scene.server.record.state
        assert state.phase.is_final
        # Everybody was on the new version, and the scale-down delay ran out before the lease did.
        assert state.phase is not Phase.PROMOTED or completing
        assert scene.server.record.share == (100_000 if state.phase is Phase.PROMOTED else 0)


@pytest.mark.parametrize("canary", [0.03, 0.3], ids=["healthy", "broken"])
@pytest.mark.parametrize("away", [0.1, 3.0, 60.0], ids=["at once", "after the lease", "much later"])
def test_killed_at_every_call_and_run_again_it_ends_rightly(canary: float, away: float):
    for call in range(1, calls_of(canary=canary) + 1):
        scene = killed_at(call, canary=canary)
        scene.clock.advance(away)
        again = scene.server.rollout("r1")
        if again.state.reason is Reason.GATE_LOST and again.state.lease is None:
            scene.server.resume()
        ended = scene.drive("gate 2", replaces=lambda holder: holder == "gate 1")
        check_users(scene)
        assert not ended.state.actions
        if canary > 0.03:
            assert (ended.state.phase, ended.state.reason) == (Phase.REVERTED, Reason.REGRESSED)
            assert scene.slots.running == {"blue": "v1"}
        else:
            assert ended.state.phase is Phase.PROMOTED
        assert scene.slots.deployed in (["v2"], ["v2", "v2"], [])


def test_a_gate_that_is_run_again_goes_on_with_the_evidence_that_was_recorded():
    scene = killed_at(calls_of() // 2)
    before = len([entry for entry in scene.server.history if entry.event.type == "judged"])
    scene.drive("gate 2", replaces=lambda holder: holder == "gate 1")

    looks = [entry.event.look for entry in scene.server.history if entry.event.type == "judged" and not entry.refusal]
    assert len(looks) > before
    assert scene.server.record.state.attempt == 1
