"""The page is safe whatever stands in it, fits where it goes, and says who moved users and why."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.commands import wording
from gate.errors import Exit
from gate.report import Decision, Links, comment, decided, decision_of, exit_of, outputs, percentage, summary, tick
from gate.report.page import COMMENT_LIMIT
from gate.report.prose import advised, code, order, plain
from gate.report.replies import obeyed
from gate.report.short import waited
from rampgate.criteria import MetricKind, MetricSettings
from rampgate.evidence import Sample
from rampgate.figures import notable
from rampgate.machine.events import Judged
from rampgate.machine.state import Lock, Order, Phase, Reason, Refusal, Refused, Verb
from rampgate.rollout import Answer, RefusedVersion, Slot
from rampgate.wording import clock, rate, ratio, sentences
from tests.gate.report.story import COLLECTING, NOON, PLAN, STORIES, Story, ramping

NASTY = "@ada </details> <!-- rampgate:x --> | `x` ``` [a](https://b.example) ![i](u) #1 GH-2 \n::error::x \u202e$x$"


def rendered(story: Story, **changes: object) -> str:
    rollout = replace(story.rollout(), **changes)  # type: ignore[arg-type]
    return comment(rollout, story.looks, story.entries, story.now)


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        (["took 0.0 s", "The new version serves everybody."], "took 0.0 s. The new version serves everybody."),
        (["It is up.", "Retired"], "It is up. Retired"),
        (["", "alone"], "alone"),
        ([], ""),
    ],
)
def test_reasons_do_not_run_together(texts: list[str], read: str) -> None:
    assert sentences(texts) == read


def test_other_peoples_text_stays_text() -> None:
    story = ramping()
    story.said(Order.PAUSE, NASTY, by=NASTY)
    story.state = replace(story.state, lock=Lock(reason=NASTY, by=NASTY))
    page = rendered(story, version=NASTY, stable=Slot(name=NASTY, version=NASTY), superseded_by=NASTY)
    prose = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", page.rpartition("\n")[0])
    assert prose.count("</details>") == 1
    for dangerous in ("<!--", "\n::error", "\u202e", "](https://b.example", "![i]", "@a", "#1"):
        assert dangerous not in prose
    assert "\u202e" not in page


@given(st.text(max_size=80))
def test_prose_calls_nobody_and_opens_nothing(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    assert "<" not in shown
    for index, sign in enumerate(shown):
        if sign == "@":
            assert shown[index + 1] == "\u200b"
        if sign in "`*_[]|~":
            assert shown[index - 1] == "\\"


@given(st.text(max_size=80))
def test_code_cannot_be_closed_by_what_is_in_it(text: str) -> None:
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    if fence:
        inside = shown[len(fence) : -len(fence)]
        assert shown.endswith(fence)
        assert fence not in inside
        assert "|" not in inside
        assert "\n" not in inside


def test_a_long_history_keeps_its_newest_rows_and_the_marker() -> None:
    story = ramping()
    for number in range(400):
        story.said(Order.PAUSE, f"round {number} " + "x" * 200)
        story.said(Order.RESUME).look(COLLECTING)
    page = rendered(story)
    assert len(page) <= COMMENT_LIMIT
    assert "round 399 " in page
    assert "round 0 " not in page
    assert "earlier ones are not shown" in page
    assert page.splitlines()[-1].startswith("<!-- rampgate:production rollout=r-7f3a revision=")
    whole = summary(story.rollout(), story.looks, story.entries, story.now)
    assert whole.count("round ") > page.count("round ")


def test_the_forecast_stands_there_until_the_first_step_is_left() -> None:
    said = ("With 100 requests a second, of which 1 % fail, twice the errors are seen after about 7m at 10 %.",)

    def page(story: Story) -> str:
        return comment(story.rollout(), story.looks, story.entries, story.now, Links(outlook=said))

    assert "**Forecast:** With 100 requests a second" in page(ramping())
    assert "Forecast" not in page(STORIES["last-step"]())
    assert "Forecast" not in rendered(ramping())


def test_the_page_names_the_metric_that_is_worse() -> None:
    story = ramping()
    last = story.looks[-1]
    worse = replace(last, verdict=replace(last.verdict, culprit="latency"))
    for page in (comment, summary):
        assert "**Culprit:** latency" in page(story.rollout(), (*story.looks, worse), story.entries, story.now)
    assert "Culprit" not in rendered(story)


def test_looks_that_came_too_late_do_not_stand_in_the_history() -> None:
    story = ramping()
    last = story.entries[-1]
    stale = Refusal(refused=Refused.STALE, text="The look is of step 1 at revision 3.")
    late = replace(last, number=last.number + 1, event=_judged(story), refusal=stale, because=())
    locked = replace(late, refusal=Refusal(refused=Refused.UNFOUNDED, text="No evidence."))
    assert notable((*story.entries, late)) == notable(story.entries)
    assert notable((*story.entries, locked)) != notable(story.entries)


def _judged(story: Story) -> Judged:
    return next(one.event for one in story.entries if isinstance(one.event, Judged))


def test_the_share_of_the_last_step_tells_who_is_held_back_and_until_when() -> None:
    story = STORIES["last-step"]()
    assert "100 % (5 % held back until 12:16) of users" in rendered(story)
    story.now += 3600
    assert "100 % (5 % held back) of users" in rendered(story)
    assert percentage(story.rollout()) == "95"


def test_a_stable_version_without_a_name_is_told_in_words() -> None:
    page = rendered(STORIES["aborted"](), stable=Slot(name="off", version=None))
    assert "everybody is back on the stable version" in page
    assert "`the stable version`" not in page


def test_a_superseded_rollout_leads_to_its_successor() -> None:
    story = STORIES["aborted"]()
    rollout = replace(story.rollout(), superseded_by="r-9")
    page = comment(rollout, (), (), NOON, Links(successor="https://flags.example.com/v1/rollouts/r-9"))
    assert "[superseded by `r-9`](https://flags.example.com/v1/rollouts/r-9)" in page


@pytest.mark.parametrize(
    ("name", "decision", "code_"),
    [
        ("promoted", Decision.PROMOTED, Exit.DONE),
        ("reverted", Decision.REVERTED, Exit.REVERTED),
        ("reverting", Decision.REVERTED, Exit.REVERTED),
        ("aborted", Decision.REVERTED, Exit.REVERTED),
        ("gate-lost", Decision.REVERTED, Exit.REVERTED),
        ("ramping", Decision.UNFINISHED, Exit.UNFINISHED),
        ("completing", Decision.UNFINISHED, Exit.UNFINISHED),
    ],
)
def test_a_rollout_decides_how_the_step_ends(name: str, decision: Decision, code_: Exit) -> None:
    assert decision_of(STORIES[name]().rollout()) is decision
    assert exit_of(decision) is code_


def test_a_revert_may_be_no_failure_but_an_unfinished_rollout_always_is() -> None:
    assert exit_of(Decision.REVERTED, fail_on_revert=False) is Exit.DONE
    assert exit_of(Decision.SUPERSEDED, fail_on_revert=False) is Exit.DONE
    assert exit_of(Decision.UNFINISHED, fail_on_revert=False) is Exit.UNFINISHED
    assert exit_of(Decision.FAILED, fail_on_revert=False) is Exit.NOT_RELEASED
    assert {exit_of(decision) for decision in Decision} <= set(Exit)


def test_every_phase_has_a_decision_and_a_headline() -> None:
    for phase in Phase:
        story = ramping()
        story.state = replace(story.state, phase=phase)
        assert decision_of(story.rollout()) in Decision
        assert "production: " in rendered(story)


@pytest.mark.parametrize("phase", [Phase.REVERTING, Phase.REVERTED, Phase.FAILED])
def test_a_first_deploy_that_fails_sends_nobody_back_to_a_version_that_never_was(phase: Phase) -> None:
    story = Story(baseline=False)
    story.state = replace(story.state, phase=phase)
    told = rendered(story)
    assert "there is no version before it: nothing serves users" in told
    assert "the stable version" not in told
    assert "back on" not in told


def test_a_first_deploy_is_promised_no_version_to_go_back_to() -> None:
    told = rendered(Story(baseline=False))
    assert "it is taken back, with no version before it" in told
    assert "goes back to stable" not in told


def test_the_result_is_ascii_json_below_64_kib() -> None:
    story = ramping()
    rollout = replace(story.rollout(), version="vé" * 100)
    result = outputs(rollout, story.looks, story.entries, server="https://flags.example.com/")["result"]
    assert result.isascii()
    assert len(result) < 64 * 1024
    values = json.loads(result)
    assert values["url"] == "https://flags.example.com/ui/rollouts/r-7f3a"
    assert values["arms"]["canary"] == {"slot": "green", "version": "vé" * 100, "requests": 200, "errors": 6}


def test_a_log_line_is_one_line_that_the_runner_does_not_obey() -> None:
    story = ramping()
    story.state = replace(story.state, text="::error::no\n::set-output name=x::y")
    line = tick(story.rollout(), None)
    assert "\n" not in line
    assert 'text=": :error::no ::set-output name=x::y"' in line


def test_one_decision_makes_one_annotation() -> None:
    story = STORIES["reverted"]()
    befores = [None, *story.entries]
    found = [decided(entry, before, story.rollout()) for entry, before in zip(story.entries, befores, strict=False)]
    assert [line.partition(" ")[0] for line in found if line] == ["::notice", "::error"]


def test_looks_without_samples_count_for_neither_arm() -> None:
    story = ramping()
    story.looks = [replace(look, canary=None, stable=Sample(requests=5000, errors=0)) for look in story.looks]
    page = rendered(story)
    assert "5\u202f000" not in page
    assert "intervals of this step compared nothing" in page


def test_figures_are_rounded_away_from_us() -> None:
    assert [ratio(value) for value in (1.41, 1.5, 2.0, 13.2)] == ["×1.5", "×1.5", "×2", "×14"]
    assert [rate(*value) for value in ((0, 0), (0, 9), (3, 100), (1, 3), (1, 9000))] == [
        *("–", "0 %", "3.0 %", "33 %", "0.011 %"),
    ]
    assert clock(NOON, NOON) == "12:00"
    assert clock(NOON, NOON + 86_400) == "22 Nov 12:00"
    assert PLAN.last == 3


def test_a_long_ramp_is_drawn_with_few_points_and_a_short_one_not_at_all() -> None:
    assert "mermaid" not in rendered(ramping())
    story = ramping()
    for number in range(500):
        story.looks.append(replace(story.looks[-1], at=story.now + 15 * number))
    lines = [line.strip() for line in rendered(story).splitlines() if line.strip().startswith("line [")]
    points = [[float(one) for one in line.removeprefix("line [").rstrip("]").split(",")] for line in lines]
    assert [len(one) for one in points] == [len(points[0])] * 2
    assert len(points[0]) <= 30
    assert set(points[0]) == {3.0}


def test_intervals_without_requests_leave_no_point() -> None:
    story = ramping()
    empty = Sample(requests=0, errors=0)
    story.looks = [replace(story.looks[-1], canary=empty) for _ in range(40)]
    assert "mermaid" not in rendered(story)


def test_users_stand_in_the_table_where_they_are_counted() -> None:
    story = ramping()
    assert "users with errors" not in rendered(story)
    stable = Sample(requests=900, errors=27, active_users=400, affected_users=4)
    canary = Sample(requests=100, errors=3, active_users=50, affected_users=3)
    story.looks = [replace(look, stable=stable, canary=canary) for look in story.looks]
    page = rendered(story)
    assert "| users with errors |" in page
    assert re.search(r"canary `v2` .*\| 6.0 % \|$", page, re.MULTILINE)
    story.looks[-1] = replace(story.looks[-1], canary=replace(canary, active_users=None))
    assert "users with errors" not in rendered(story), "a part of the users is worse than none"


def test_further_metrics_have_a_line_each() -> None:
    story = ramping()
    further = MetricSettings(name="payments", kind=MetricKind.ERRORS)
    page = rendered(story, plan=replace(story.plan, judge=replace(story.plan.judge, metrics=(further,))))
    assert "- payments: the source has no figures for both arms" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reverted", "`v2` itself is refused until an `/override`"),
        ("aborted", "A fix is a new commit"),
        ("gate-lost", "run the job again"),
    ],
)
def test_what_was_taken_back_says_what_to_do_next(name: str, said: str) -> None:
    assert said in rendered(STORIES[name]())
    assert "**Next:**" not in rendered(STORIES["promoted"]())


def test_commands_are_written_with_the_prefix_of_the_rollouts_own_configuration() -> None:
    rollout = replace(STORIES["ramping"]().rollout(), config={"commands": {"prefix": "/rg "}})
    assert [order(rollout, "abort"), order(replace(rollout, config={}), "abort")] == ["`/rg abort`", "`/abort`"]


@pytest.mark.parametrize(("count", "said"), [(0, "Nothing waits"), (1, "1 rollout waited"), (2, "2 rollouts waited")])
def test_a_sweep_says_how_many_it_found(count: int, said: str) -> None:
    assert waited(count).startswith(said)


def test_what_the_flag_server_advises_is_shown_as_people_have_to_write_it() -> None:
    story = STORIES["completing"]()
    rollout = replace(story.rollout(), config={"commands": {"prefix": "/rg "}})
    text = "The old version is being retired; `/rollback` starts a rollout back to it."
    refusal = Refusal(refused=Refused.RETIREMENT_BEGUN, text=text)
    told = obeyed(Answer(verb=Verb.HOLD, rollout=rollout, because=(), refusal=refusal))
    assert "being retired; `/rg rollback production` starts a rollout back to it. It is" in told
    row = replace(story.entries[-1], refusal=refusal)
    page = comment(rollout, story.looks, (*story.entries[:-1], row), story.now)
    assert "| refused |" in page
    assert "`/rg rollback production` starts" in page


@given(st.text(max_size=80))
def test_advice_does_no_more_than_plain_text_does(text: str) -> None:
    rollout = STORIES["ramping"]().rollout()
    assert advised(rollout, text.replace("/", "")) == plain(text.replace("/", ""))


@pytest.mark.parametrize("text", ["@ann aborted: only to see it", "It regressed."])
def test_why_a_version_is_refused_is_a_sentence_of_its_own(text: str) -> None:
    one = RefusedVersion(version="v2", text=text, rollout="r1", at=NOON, reason=Reason.ABORTED, sha=None)
    assert f"{plain(text).rstrip('.')}. `/override v2` with a reason" in wording.still_refused(one, "/override v2")
