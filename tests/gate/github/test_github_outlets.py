"""What GitHub is told of a rollout, how often, and what becomes of it when a place cannot be told."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gate.config import GitHubWishes
from gate.github.api import GitHubApi
from gate.github.outlets import STATUS_EVERY, News, Outlets
from gate.github.port import DeploymentPayload
from gate.github.standing import standing
from gate.report.page import Links
from gate.report.short import LONGEST, short
from rampgate.machine.state import Phase, Reason
from rampgate.plan import RolloutPlan
from rampgate.rollout import Rollout
from tests.fakes.github import FakeGitHub, Fault
from tests.gate.report.story import PLAN, STORIES
from tests.gate.report.test_report_golden import hold_to

MERGE = "b" * 40
RUN = "https://github.com/acme/shop/actions/runs/1/attempts/1"
Connect = Callable[..., GitHubApi]


def news(name: str, *, plan: RolloutPlan | None = None, **changes: object) -> News:
    story = STORIES[name]()
    changes = {"sha": MERGE, "pull_request": 7, "plan": plan or story.plan, **changes}
    rollout: Rollout = replace(story.rollout(), **changes)  # type: ignore[arg-type]
    return News(rollout=rollout, looks=story.looks, entries=story.entries, links=Links(run=RUN))


@pytest.fixture
def outlets(said: list[str]) -> Outlets:
    wishes = GitHubWishes(environment_url="https://{{ slot }}.shop.example.com/{{version}}")
    return Outlets(wishes=wishes, say=said.append)


def states(github: FakeGitHub) -> list[list[str]]:
    """The states of each deployment, oldest first."""
    return [[one["state"] for one in github.deployment_statuses[number]] for number in sorted(github.deployments)]


def test_the_descriptions_and_states_read_as_agreed() -> None:
    lines = []
    for name, make in STORIES.items():
        story = make()
        rollout = story.rollout()
        text = short(rollout, story.looks, story.entries, story.now)
        assert len(text) <= LONGEST
        words = standing(rollout)
        lines.append(f"{name}: {words.deployment} / {words.commit}: {text}")
    hold_to("descriptions.txt", "\n".join(lines) + "\n")


def test_a_description_fits_whatever_the_reason_says() -> None:
    story = STORIES["aborted"]()
    story.state = replace(story.state, text="::error::" + "x" * 500 + "\n\x1b[31m")
    text = short(story.rollout(), story.looks, story.entries, story.now)
    assert len(text) == LONGEST
    assert text.isprintable()


@pytest.mark.parametrize(
    ("reason", "deployment"),
    [
        (Reason.REGRESSED, "failure"),
        (Reason.ABORTED, "failure"),
        (Reason.VERIFY_FAILED, "failure"),
        (Reason.CONFIRM_EXPIRED, "failure"),
        (Reason.GATE_LOST, "error"),
        (Reason.SOURCE_DOWN, "error"),
        (Reason.DEPLOY_FAILED, "error"),
        (Reason.CANCELLED, "error"),
    ],
)
def test_a_bad_version_is_a_failure_and_bad_machinery_an_error(reason: Reason, deployment: str) -> None:
    for phase in (Phase.REVERTED, Phase.FAILED):
        story = STORIES["aborted"]()
        story.state = replace(story.state, phase=phase, reason=reason)
        assert standing(story.rollout()).deployment == deployment


def test_a_rollout_that_is_superseded_is_inactive_from_the_moment_users_are_back() -> None:
    story = STORIES["reverting"]()
    story.state = replace(story.state, ends_as=Phase.SUPERSEDED)
    assert standing(story.rollout()).deployment == "inactive"


def test_one_rollout_is_one_deployment_however_many_runs_tell_of_it(
    connect: Connect, github: FakeGitHub, said: list[str]
) -> None:
    github.fail("POST", "/deployments$", Fault(), Fault())
    for name in ("deploying", "ramping", "reverting", "reverted"):
        assert Outlets(wishes=GitHubWishes(), say=said.append).tell(connect(), news(name))
    assert states(github) == [["queued", "in_progress", "failure", "failure"]]
    assert [one["state"] for one in github.statuses[MERGE]] == ["pending", "pending", "failure", "failure"]
    (made,) = (one.body for one in github.sent("POST", "/deployments$") if one.status == 201)
    assert made["auto_merge"] is False
    assert made["required_contexts"] == []
    assert made["payload"]["flag"] == "shop"
    assert said == []


def test_links_lead_to_the_run_and_to_where_users_meet_it(outlets: Outlets, api: GitHubApi, github: FakeGitHub) -> None:
    outlets.tell(api, news("ramping", version="feature/2"))
    ((status,),) = github.deployment_statuses.values()
    assert status["log_url"] == RUN
    assert status["environment_url"] == "https://green.shop.example.com/feature%2F2"
    assert github.statuses[MERGE][0]["context"] == "rampgate/production"
    assert github.statuses[MERGE][0]["target_url"] == RUN


def test_statuses_are_for_decisions_and_newer_figures_come_seldom(
    outlets: Outlets, api: GitHubApi, github: FakeGitHub
) -> None:
    first = news("ramping")
    outlets.tell(api, first)
    later = first.rollout.now + STATUS_EVERY
    for now in (later - 1, later, later + 60):
        outlets.tell(api, replace(first, rollout=replace(first.rollout, now=now)))
    outlets.tell(api, news("reverting"))
    outlets.tell(api, news("reverted"))
    assert states(github) == [["in_progress", "in_progress", "failure"]]
    assert len(github.statuses[MERGE]) == 3


def test_promotion_ends_the_flags_earlier_deployments_and_nobody_elses(
    outlets: Outlets, api: GitHubApi, github: FakeGitHub
) -> None:
    outlets.tell(api, news("reverted", id="r-1"))
    outlets.tell(api, news("promoted", id="r-2"))
    outlets.tell(api, news("promoted", id="r-3", plan=replace(PLAN, flag="search")))
    outlets.tell(api, news("promoted", id="r-4", plan=replace(PLAN, environment="staging")))
    outlets.tell(api, news("ramping", id="r-5"))
    api.deployment(MERGE, "production", DeploymentPayload(rollout="not of this flag", version="v9"))
    outlets.tell(api, news("promoted", id="r-6"))
    found = {one["payload"]["rollout"]: number for number, one in github.deployments.items()}
    last = {rollout: github.deployment_statuses.get(number, []) for rollout, number in found.items()}
    assert {rollout: one[-1]["state"] if one else None for rollout, one in last.items()} == {
        "r-1": "failure",
        "r-2": "inactive",
        "r-3": "success",
        "r-4": "success",
        "r-5": "inactive",
        "r-6": "success",
        "not of this flag": None,
    }


def test_without_a_permission_one_notice_is_said_and_the_rest_is_told(
    connect: Connect, github: FakeGitHub, outlets: Outlets, said: list[str]
) -> None:
    may = frozenset({"/comments"})
    api = connect(token=github.token("github-actions[bot]", reads_user=False, may=may))
    for name in ("deploying", "ramping", "reverted"):
        assert outlets.tell(api, news(name)), "there is nothing to try again"
    assert [one.partition("::GitHub")[0] for one in said] == ["::notice title=Rampgate"] * 2
    assert "permissions" in said[0]
    assert len(github.bodies(7)) == 1
    assert "everybody is back" in github.bodies(7)[0]


def test_who_wants_neither_deployments_nor_statuses_gets_the_comment_alone(
    api: GitHubApi, github: FakeGitHub, said: list[str]
) -> None:
    wishes = GitHubWishes(deployments=False, status=False)
    assert Outlets(wishes=wishes, say=said.append).tell(api, news("ramping"))
    assert {one.path for one in github.sent("POST")} == {"/repos/acme/shop/issues/7/comments"}


def test_a_rollout_without_a_pull_request_is_told_by_deployment_and_status(
    outlets: Outlets, api: GitHubApi, github: FakeGitHub
) -> None:
    assert outlets.tell(api, news("ramping", pull_request=None))
    assert states(github) == [["in_progress"]]
    assert github.bodies(7) == []


def test_a_place_that_fails_in_passing_is_worth_another_try_and_keeps_no_other_silent(
    connect: Connect, github: FakeGitHub, outlets: Outlets, said: list[str]
) -> None:
    github.fail("GET", "/comments", *[Fault()] * 3)
    assert not outlets.tell(connect(), news("ramping"))
    assert not github.bodies(7)
    assert outlets.tell(connect(), news("ramping"))
    assert github.bodies(7)
    assert states(github) == [["in_progress"]]
    assert [one.partition(" (")[0] for one in said if "comment" in one] == [
        "GitHub was not told",
        "GitHub is told again",
    ]
