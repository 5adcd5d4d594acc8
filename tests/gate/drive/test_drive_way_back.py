"""How long the way back took: by the record alone, for what the judge finds, people order, and gates leave behind."""

from dataclasses import replace

import pytest

from flagserver.views.dashboard.ramp import ramp
from gate.notify import hands_message
from gate.report import comment, taken_back
from rampgate.evidence import VerdictReason, VerdictWord
from rampgate.machine.events import CarriedOut, HookFailed, Judged
from rampgate.machine.moves import restoring
from rampgate.machine.state import ActionKind, Order, Phase
from rampgate.plan import Budget, Policy, Step, Strategy, UsersFollow
from rampgate.way_back import Since, WayBack, told, way_back
from tests.gate.drive.worlds import SECONDS, Scene
from tests.gate.report.story import COLLECTING, DOWN, PLAN, REGRESSED, STORIES, Story, ramping

ROLLING = replace(
    PLAN, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT, targets=("a", "b", "c", "d"),
    steps=(Step(share=50_000), Step(share=100_000)), hold_back=0,
)  # fmt: skip
BROKEN_LIMIT = (VerdictWord.REGRESSED, VerdictReason.LIMIT_EXCEEDED, "5 % is above 2 %.")
NEAR_LIMIT = (VerdictWord.INCONCLUSIVE, VerdictReason.LIMIT_UNCLEAR, "3 % is above 2 %, once.")
DISLIKED = (VerdictWord.REGRESSED, VerdictReason.ROLLBACK_ASKED, "The hook asks to roll back.")


def way(story: Story) -> WayBack:
    found = way_back(story.rollout(), story.entries)
    assert found is not None
    return found


def at_ten(*logs: float) -> Story:
    """At 10 %, with looks of this evidence, each 15 seconds after the one before."""
    story = Story().up().bake()
    for log in logs:
        story.look(COLLECTING, log_e=log)
    return story


def test_it_begins_with_the_first_sample_after_the_evidence_was_at_its_lowest() -> None:
    story = at_ten(-0.5, -0.9, 0.4)
    lowest = story.entries[-2].at
    story.look(REGRESSED, log_e=4.1)
    found = way(story)
    assert (found.since, found.began_at, found.time_to_safe) == (Since.SAMPLE, lowest, 30.0)


def test_a_sample_that_the_burst_guard_kept_out_belongs_to_the_harm() -> None:
    story = at_ten(-0.9, 0.0)
    guarded = story.looks.pop()
    story.looks.append(replace(guarded, verdict=replace(guarded.verdict, log_e=-0.9, no_harm=False)))
    last = story.entries.pop()
    assert isinstance(last.event, Judged)
    story.entries.append(replace(last, event=replace(last.event, look=story.looks[-1])))
    story.look(REGRESSED, log_e=4.1)
    assert way(story).began_at == story.entries[-3].at


def test_with_the_first_look_at_users_it_begins_when_they_came() -> None:
    story = at_ten()
    came = story.now
    assert way(story.look(REGRESSED, log_e=4.1)).began_at == came


def test_harm_that_is_counted_begins_with_the_first_look_that_counts() -> None:
    story = at_ten(-0.5, -0.6)
    fine = story.now
    story.look(NEAR_LIMIT).look(NEAR_LIMIT).look(BROKEN_LIMIT)
    assert (way(story).began_at, way(story).time_to_safe) == (fine, 45.0)
    asked = at_ten(-0.5).look(DISLIKED)
    assert way(asked).time_to_safe == 15.0


def test_a_silent_source_counts_from_its_first_silence() -> None:
    silent = at_ten(-0.5)
    fine = silent.now
    silent.plan = replace(
        PLAN, budgets={**PLAN.budgets, VerdictWord.SOURCE_DOWN: Budget(seconds=30, then=Policy.REVERT)}
    )
    while silent.state.phase is Phase.PROGRESSING:
        silent.look(DOWN, stable=None, canary=None)
    assert (way(silent).since, way(silent).began_at) == (Since.SAMPLE, fine)


def test_an_order_counts_from_itself_and_a_lost_gate_from_its_last_word() -> None:
    aborted, lost = way(STORIES["aborted"]()), ramping()
    assert (aborted.since, aborted.time_to_safe) == (Since.ORDER, 0.0)
    last_word = lost.now
    lapsed = way(lost.later(46).tell(None))
    assert (lapsed.since, lapsed.began_at, lapsed.time_to_safe) == (Since.GATE, last_word, 46.0)
    assert (lapsed.undone_at, lapsed.restored_at, lapsed.is_up) == (None, None, None)


def test_what_nobody_had_met_has_no_time_to_safe() -> None:
    found = way(Story().up().said(Order.REVERT).hands())
    assert (found.exposed, found.time_to_safe) == (False, None)
    assert told(found, 0.0)[0] == ("Time to safe", "none, as no user had met it")


def test_a_first_deploy_and_a_promoted_one_have_no_way_back() -> None:
    first = Story(baseline=False).up().said(Order.REVERT)
    assert way_back(first.rollout(), first.entries) is None
    promoted = STORIES["promoted"]()
    assert way_back(promoted.rollout(), promoted.entries) is None


def test_restored_state_that_is_not_up_is_said_and_waits_for_hands() -> None:
    story = ramping().said(Order.REVERT)
    probe, undo = story.state.actions
    story.later(1).tell(HookFailed(fence=story.fence, action=probe.number, text="blue does not answer"))
    found = way(story)
    assert (found.restored_at, found.is_up) == (story.now, False)
    assert "stable was not seen up" in told(found, story.now)[1][1]
    story.later(20).tell(CarriedOut(fence=story.fence, action=undo.number), actor="gate")
    assert story.state.phase is Phase.REVERTED
    assert story.state.needs_hands
    assert way(story).undone_at == story.now


def test_a_stable_version_that_is_down_after_the_way_back_waits_for_hands_and_nobody_is_called_safe() -> None:
    scene = Scene()
    scene.users.fails["canary"] = 0.3
    scene.slots.broken = lambda work: work.action == "status" and work.slot == "blue"
    ended = scene.drive()
    assert ended.state.phase is Phase.REVERTED
    assert ended.state.needs_hands
    history = scene.server.history
    found = way_back(ended, history)
    assert found is not None
    assert (found.is_up, found.undone_at is not None) == (False, True)
    page = comment(ended, (), history, scene.clock.now)
    assert "stable was not seen up" in page
    assert "**Left to do:** probe `blue`. Users are back on `blue`, which was not seen up" in page
    assert ramp(ended, history, None, scene.clock.now).safety.text == "Users are on v1, which was not seen up"
    assert "which was not seen up" in hands_message(ended).text
    scene.slots.broken = lambda _: False
    again = scene.drive("sweeper")
    assert not again.state.needs_hands
    seen = way_back(again, scene.server.history)
    assert seen is not None
    assert seen.is_up


def test_where_users_follow_the_machines_they_are_safe_when_all_are_put_back() -> None:
    story = Story(ROLLING).up().bake()
    story.later(30).tell(CarriedOut(fence=story.fence, action=story.state.actions[0].number))
    story.said(Order.REVERT).later(20)
    under_way = way(story)
    assert (under_way.users_at, under_way.time_to_safe) == (None, None)
    assert told(under_way, story.now)[0][1].startswith("not over: users are on some targets still, 20s after the order")
    undo, probe = story.state.actions
    story.tell(CarriedOut(fence=story.fence, action=undo.number))
    back = story.now
    story.later(2).tell(CarriedOut(fence=story.fence, action=probe.number))
    found = way(story)
    assert (found.users_at, found.time_to_safe, found.cut_off_by) == (back, 20.0, None)
    assert (found.restored_at, found.is_up) == (story.now, True)
    assert "to every target being put back" in told(found, story.now)[0][1]


@pytest.mark.parametrize("plan", [PLAN, ROLLING])
@pytest.mark.parametrize("baseline", [True, False])
def test_a_reverts_own_actions_are_the_last_that_were_demanded(plan: object, baseline: bool) -> None:
    story = Story(plan, baseline=baseline).tell(None)  # type: ignore[arg-type]
    story.said(Order.REVERT)
    undo, probe = restoring(story.plan, story.state)
    kinds = {action.number: action.kind for action in story.state.actions}
    assert kinds[undo] is ActionKind.UNDO
    assert (kinds[probe] is ActionKind.PROBE) if probe is not None else (len(kinds) == 1)


def test_the_driven_rollout_counts_from_the_poll_in_which_it_broke() -> None:
    scene = Scene(plan=replace(SECONDS, steps=(Step(share=10_000, bake=20.0), *SECONDS.steps[1:])))
    broke: list[float] = []

    def report(_: object, looks: tuple[object, ...]) -> None:
        if len(looks) == 20 and not broke:
            scene.users.fails["canary"] = 0.5
            broke.append(scene.clock.now)

    scene.report = report  # type: ignore[assignment, method-assign]
    ended = scene.drive()
    assert ended.state.phase is Phase.REVERTED
    found = way_back(ended, scene.server.history)
    assert found is not None
    assert broke[0] - 2 * SECONDS.poll <= found.began_at <= broke[0] + SECONDS.poll
    assert found.time_to_safe is not None
    assert found.time_to_safe < 10
    assert found.is_up
    assert found.undone_at == pytest.approx(found.decided_at + SECONDS.stale_after, abs=3.0)
    said = taken_back(ended, scene.server.history) or ""
    assert f"time_to_safe={found.time_to_safe:.1f}s since=first_bad_sample" in said
