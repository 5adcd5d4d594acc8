"""What an action's hands report, as a flag server takes it."""

from collections.abc import Callable

from gate.carry_out import carry_out
from gate.deploy import Deployment, Failed, Work
from rampgate.machine.events import LONGEST_TEXT, HookFailed
from rampgate.machine.state import Phase
from tests.gate.drive.worlds import Scene


class Talkative:
    """A deployer whose last lines are long, and not fit for print."""

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        assert work.seconds > 0
        assert keep_going()
        return Failed(text="it broke", tail=("\x1b[31mred\x07", "x" * 5000))


def test_what_a_hook_says_is_cut_and_printable_when_it_is_reported() -> None:
    rollout = Scene().server.rollout("r1")
    assert rollout.state.phase is Phase.DEPLOYING
    deployer = Talkative()
    event = carry_out(deployer, deployer.run, rollout, rollout.state.actions[0], 1, lambda: True)
    assert isinstance(event, HookFailed)
    assert event.text.isprintable()
    assert len(event.text) == LONGEST_TEXT
    assert "red" in event.text
