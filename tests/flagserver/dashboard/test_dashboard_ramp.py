"""What the rollout's page says: is it safe, what comes next, what may be ordered, and where links lead."""

import re
from dataclasses import replace

import pytest

from flagserver.views.dashboard.ramp import Ramp, pull_url, ramp, web
from flagserver.views.dashboard.said import Tone, short
from rampgate.evidence import Counters
from rampgate.machine.state import Lock, Order
from rampgate.rollout import Telemetry
from tests.gate.report.story import COLLECTING, CONFIRMED, HEALTHY, NOON, SILENT, STORIES, Story, ramping

RUN = "https://github.com/octo/shop/actions/runs/1"


def shown(story: Story, telemetry: Telemetry | None = None) -> Ramp:
    return ramp(story.rollout(), story.entries, telemetry, story.now)


def lines(story: Story) -> list[str]:
    return [f"{one.lead} {one.text} {one.then}".strip() for one in shown(story).coming]


@pytest.mark.parametrize(
    ("name", "tone", "text"),
    [
        ("deploying", Tone.GOOD, "Nobody meets it yet"),
        ("ramping", Tone.GOOD, "No clear sign of harm"),
        ("source-down", Tone.ASKING, "Not known: the metrics cannot be read"),
        ("reverting", Tone.GOOD, "Users are safe on v1"),
        ("aborted", Tone.GOOD, "Users are safe on v1"),
        ("promoted", Tone.GOOD, "The new version serves everybody."),
    ],
)
def test_it_says_whether_users_are_safe(name: str, tone: Tone, text: str) -> None:
    found = shown(STORIES[name]()).safety
    assert (found.tone, found.text) == (tone, text)


def test_where_users_follow_the_machines_they_are_not_called_safe_before_all_are_put_back() -> None:
    def said(name: str) -> tuple[Tone, str]:
        found = shown(STORIES[name]()).safety
        return found.tone, found.text

    assert (
        said("batch-reverting") == said("batch-left") == (Tone.BAD, "Not yet: targets are still to be put back on v1")
    )
    assert said("batch-reverted") == (Tone.GOOD, "Users are safe on v1")
    left = shown(STORIES["batch-left"]())
    assert [one.text for one in left.notices if one.lead == "Left to do"] == [
        "put targets back on v1. Users of these are on the new version; the next run finishes it first"
    ]


def test_each_strategy_has_its_own_words() -> None:
    batch, switch = shown(STORIES["batch"]()), shown(STORIES["switch-dark"]())
    assert batch.share == "3 of 10 targets"
    assert [one.name for one in batch.rungs] == ["before", "3 of 10", "10 of 10"]
    assert [one.name for one in batch.choices] == ["Abort", "Pause", "Promote to 10 of 10 targets"]
    assert batch.choices[0].explained == "Every target is put back on v1."
    assert [one.name for one in switch.rungs] == ["dark", "switch"]
    assert switch.choices[-1].explained == "All users get it now, without the proof."
    assert switch.coming[0].lead == "To the switch"


def test_the_way_back_is_told_with_its_moments() -> None:
    found = {one.lead: one.text for one in shown(STORIES["reverted"]()).way_back}
    assert found["Time to safe"].startswith(
        "45s, from the first bad sample (12:01:00) to stable for everybody (12:01:45)"
    )
    assert found["Restored"] == "stable was seen up at 12:01:46, the new version was undone at 12:02:45"


def test_the_colours_of_a_blue_green_rollout_are_among_its_facts() -> None:
    def colours(name: str) -> dict[str, str]:
        return {key: text for key, text, _ in shown(STORIES[name]()).facts if key in ("blue", "green")}

    assert colours("switch-dark") == {"blue": "v1, live", "green": "v2, dark"}
    assert colours("switched") == {"blue": "v1, warm", "green": "v2, live"}
    assert colours("switched-back") == {"blue": "v1, live", "green": "idle"}
    assert colours("ramping") == {}


def test_growing_evidence_and_silence_are_not_called_safe() -> None:
    harm = shown(ramping().look(COLLECTING, log_e=2.1)).safety
    assert (harm.tone, harm.text, round(harm.harm or 0, 2)) == (Tone.BAD, "Harm is building", 0.7)
    silent = shown(ramping().look(SILENT, stable=(0, 0), canary=(0, 0))).safety
    assert (silent.tone, silent.text) == (Tone.ASKING, "Not known: there is no traffic")


def test_before_the_first_look_with_users_nothing_is_promised() -> None:
    story = Story().up().said(Order.ADVANCE)
    found = shown(story).safety
    assert (found.tone, found.text) == (Tone.ASKING, "Not judged yet")


def test_it_says_what_comes_next_when_and_what_follows_if_nothing_does() -> None:
    assert lines(ramping()) == [
        "To 50 % not before",
        "Excluded more than ×3.4; ×3 is needed to go on",
        "Needs enough data  it holds, and waits for a person",
    ]
    assert shown(ramping()).coming[0].until == NOON + 360
    assert lines(STORIES["waiting"]()) == ["Waits for a yes to go to 50 %  everybody goes back to stable"]
    assert lines(STORIES["last-step"]())[0] == "To everybody, for good not before"
    assert lines(STORIES["promoted"]()) == []
    assert lines(STORIES["paused"]()) == ["@ada paused: lunch <b>first</b> @team #12  everybody goes back to stable"]


def test_orders_are_those_that_mean_something_now() -> None:
    def orders(story: Story) -> list[str]:
        return [one.name for one in shown(story).choices]

    assert orders(STORIES["deploying"]()) == ["Abort"]
    assert orders(ramping()) == ["Abort", "Pause", "Promote to 50 %"]
    assert orders(STORIES["paused"]()) == ["Abort", "Resume", "Promote to 50 %"]
    assert orders(STORIES["last-step"]()) == ["Abort", "Pause", "Promote"]
    assert orders(STORIES["completing"]()) == ["Abort"]
    assert orders(STORIES["reverting"]()) == []
    assert orders(STORIES["promoted"]()) == []


def test_a_lock_refuses_promotions_says_by_whom_and_leaves_the_way_back() -> None:
    story = ramping()
    story.state = replace(story.state, lock=Lock(reason="freeze <i>", by="grace", until=story.now + 600))
    found = shown(story)
    assert {one.name: one.refused for one in found.choices} == {
        "Abort": "", "Pause": "", "Promote to 50 %": "Locked by grace: freeze <i>",
    }  # fmt: skip
    assert [(one.lead, one.until) for one in found.notices] == [("Locked", story.now + 600)]


def test_a_gate_that_fell_silent_and_hands_that_are_missing_cannot_be_overlooked() -> None:
    lapsed = ramping().said(Order.PAUSE)
    lapsed.state = replace(lapsed.state, lease=None)
    assert "No gate is driving it" in [one.lead for one in shown(lapsed).notices]
    left = ramping().said(Order.REVERT)
    left.state = replace(left.state, lease=None)
    assert left.state.needs_hands
    assert shown(left).needs_hands


def test_the_arms_have_the_figures_of_the_step_and_users_where_they_are_known() -> None:
    users = Telemetry(
        at=NOON, stable=Counters(requests=9, errors=1, active_users=400, affected_users=7),
        canary=Counters(requests=9, errors=1, active_users=None, affected_users=None),
    )  # fmt: skip
    found = shown(ramping(), users)
    assert found.judged_at == "at 10 %"
    assert [(one.requests, one.errors, one.rate, one.affected_users) for one in found.arms] == [
        ("1\u202f800", "54", "3.0 %", "7"), ("200", "6", "3.0 %", None),
    ]  # fmt: skip


def test_the_steps_are_behind_here_or_ahead() -> None:
    assert [(one.name, one.place) for one in shown(ramping()).rungs] == [
        ("dark", "behind"), ("10 %", "here"), ("50 %", "ahead"), ("100 %", "ahead"),
    ]  # fmt: skip


def test_the_way_ahead_ends_with_everybody_and_is_not_drawn_for_one_that_stands() -> None:
    ahead = shown(Story(plan=CONFIRMED).up().look(HEALTHY, excluded=1.4).look(HEALTHY, excluded=1.4)).curve.ahead
    assert [share for _, share in ahead] == [50_000, 95_000, 100_000]
    assert [at for at, _ in ahead] == sorted(at for at, _ in ahead)
    assert shown(STORIES["paused"]()).curve.ahead == ()
    assert shown(STORIES["reverted"]()).curve.now is None


@pytest.mark.parametrize("name", STORIES)
def test_every_story_has_a_page_and_every_silence_in_it_an_end(name: str) -> None:
    story = STORIES[name]()
    found = shown(story)
    assert found.told
    assert found.is_over or found.deadlines
    assert re.fullmatch(r".*\d+ % .*|(e|t|{version}|n).*", found.headline.format(version="n", stable="n", share="1 % "))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "http://example.com", "https://", "//evil.example", "https://a b", 'https://a/"onclick=',
        "https://user:pw@evil.example", "data:text/html,x", " https://a", "https://a/\u202e", "https://[",
    ],
)  # fmt: skip
def test_addresses_that_are_not_plain_https_lead_nowhere(url: str) -> None:
    assert web(url) is None
    facts = {name: target for name, _, target in shown(ramping()).facts}
    assert facts["run"] == ramping().rollout().run_url


def test_the_pull_request_is_on_the_host_whose_job_asked() -> None:
    rollout = ramping().rollout()
    assert pull_url(replace(rollout, run_url=RUN)) == "https://github.com/octo/shop/pull/42"
    own = RUN.replace("github.com", "ghe.example")
    assert pull_url(replace(rollout, run_url=own)) == "https://ghe.example/octo/shop/pull/42"
    for odd in (None, "http://github.com/octo/shop/actions/runs/1", "https://evil.example/x"):
        assert pull_url(replace(rollout, run_url=odd)) is None


def test_a_commit_is_shown_short_and_other_versions_as_they_are() -> None:
    assert short("0123456789abcdef0123456789abcdef01234567") == "012345678"
    assert short("2026.11.3-rc1") == "2026.11.3-rc1"
    assert len(short("v" * 300)) == 40
