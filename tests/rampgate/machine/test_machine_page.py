"""docs/state-machine.md says what the machine does today."""

from docs.state_machine import PAGE, Found, explore, page
from rampgate.machine.state import Deadline, Phase, Refused, WidenedBy
from rampgate.plan import Policy


def test_the_page_is_what_the_machine_does_and_the_machine_does_all_it_can():
    found = explore()
    assert PAGE.read_text() == page(found), "docs/state-machine.md is not current: make docs"
    every_phase_and_deadline_is_reached(found)
    nothing_widens_but_what_may(found)


def every_phase_and_deadline_is_reached(found: Found) -> None:
    reached = {phase for road in found.moves for phase in road}
    assert reached == set(Phase)
    assert {what for what, _, _ in found.deadlines} == set(Deadline)
    # No plan and no event reach a judged phase with a slot that is not up; the machine refuses it all the same.
    assert {refused for refused, _ in found.refusals} == set(Refused) - {Refused.NOT_UP}


def nothing_widens_but_what_may(found: Found) -> None:
    labels = {(label, by) for label, by in found.widens if by is not WidenedBy.PERSON}
    assert labels == {
        ("verdict healthy", WidenedBy.VERDICT),
        ("budget.inconclusive passes", WidenedBy.POLICY),
        ("confirm passes", WidenedBy.POLICY),
        ("verified", WidenedBy.POLICY),
    }
    assert {label for label, by in found.widens if by is WidenedBy.PERSON} == {"/promote", "/promote full"}
    for (what, then, phase), ends in found.deadlines.items():
        if then is Policy.REVERT and not phase.is_final:
            assert ends <= {Phase.REVERTING, Phase.COMPLETING}, (what, phase)
