"""The comment of a rolling rollout says which targets run what, all the way there and back."""

from dataclasses import replace

from gate.report import comment
from rampgate.machine.events import CarriedOut
from rampgate.machine.state import Order, Phase
from rampgate.plan import Step, Strategy, UsersFollow
from tests.gate.report.story import PLAN, Story

ROLLING = replace(
    PLAN,
    strategy=Strategy.ROLLING,
    users_follow=UsersFollow.DEPLOYMENT,
    targets=tuple(f"web-{number}" for number in range(1, 10)),
    steps=(Step(share=11_111), Step(share=100_000)),
    hold_back=0,
)


def lines(story: Story) -> list[str]:
    page = comment(story.rollout(), story.looks, story.entries, story.now)
    return [line[2:] for line in page.splitlines() if line.startswith(("- **Targets", "- **Users follow"))]


def replaced(story: Story) -> Story:
    return story.later(30).tell(CarriedOut(fence=story.fence, action=story.state.actions[0].number))


def test_targets_go_over_batch_by_batch_and_come_back() -> None:
    story = Story(ROLLING).up()
    assert lines(story) == ["**Targets:** `v1` on web-1, web-2, web-3, web-4, web-5, web-6 and 3 more"]
    story.bake()
    assert lines(story) == [
        "**Targets:** web-1 being replaced; `v1` on web-2, web-3, web-4, web-5, web-6, web-7 and 2 more"
    ]
    replaced(story)
    assert lines(story)[0].startswith("**Targets:** `v2` on web-1; `v1` on web-2,")
    story.bake()
    assert lines(story)[0].startswith("**Targets:** `v2` on web-1; web-2, web-3")
    story.said(Order.REVERT)
    assert story.state.phase is Phase.REVERTING
    assert lines(story) == ["**Targets:** web-1, web-2, web-3, web-4, web-5, web-6 and 3 more being put back"]
    assert "targets are being put back on `v1`" in comment(story.rollout(), story.looks, story.entries, story.now)
    story.hands()
    assert lines(story) == ["**Targets:** `v1` on web-1, web-2, web-3, web-4, web-5, web-6 and 3 more"]


def test_without_a_gate_it_says_that_every_target_keeps_what_it_runs() -> None:
    story = replaced(Story(ROLLING).up().bake())
    story.later(ROLLING.lease + 1).tell(None)
    assert story.state.phase is Phase.PAUSED
    assert lines(story)[1].startswith("**Users follow the machines:**")
