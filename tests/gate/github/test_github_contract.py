"""The contract that the fake and our requests are held to is GitHub's, whole, and has teeth."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fakes import github_contract
from tests.fakes.github import Exchange, FakeGitHub
from tests.fakes.github_contract import contract
from tests.fakes.github_memory import _CALLS as CALLS
from tests.fakes.trim_github_description import CALLS as DESCRIBED

HEAD = "a" * 40
REPOSITORY = "/repos/acme/shop"


def late_calls(number: int, run: int) -> list[tuple[str, str, object]]:
    """What is asked of a deployment and of a workflow's run, once there are such."""
    dispatches = f"{REPOSITORY}/actions/workflows/deploy.yml/dispatches"
    return [
        ("GET", f"{REPOSITORY}/deployments/{number}", None),
        ("POST", f"{REPOSITORY}/deployments/{number}/statuses", {"state": "in_progress"}),
        ("GET", f"{REPOSITORY}/deployments/{number}/statuses", None),
        ("POST", dispatches, {"ref": "main"}),
        (
            "POST",
            dispatches,
            {"ref": "main", "inputs": {"slot": "blue"}, "return_run_details": True},
        ),
        ("POST", dispatches, {"ref": "main", "inputs": {"x": "y"}}),
        ("GET", f"{REPOSITORY}/actions/workflows/deploy.yml/runs?event=workflow_dispatch", None),
        ("GET", f"{REPOSITORY}/actions/runs/{run}", None),
        ("GET", f"{REPOSITORY}/actions/runs/{run}/jobs", None),
        ("POST", f"{REPOSITORY}/actions/runs/{run}/cancel", None),
        ("POST", f"{REPOSITORY}/actions/runs/{run}/cancel", None),
    ]


def _orders(comment: int, remark: int) -> list[tuple[str, str, Any]]:
    """What orders in comments ask for beyond answers."""
    return [
        ("GET", f"{REPOSITORY}/commits/{HEAD}/comments", None),
        ("POST", f"{REPOSITORY}/commits/{HEAD}/comments", {"body": "there"}),
        ("GET", f"{REPOSITORY}/comments/{remark}", None),
        ("GET", f"{REPOSITORY}/comments/{comment}", None),
        ("PATCH", f"{REPOSITORY}/comments/{remark}", {"body": "other"}),
        ("POST", f"{REPOSITORY}/comments/{remark}/reactions", {"content": "rocket"}),
        ("GET", f"{REPOSITORY}/comments/{remark}/reactions", None),
        ("GET", f"{REPOSITORY}/actions/runs/55", None),
        ("POST", f"{REPOSITORY}/actions/runs/55/rerun-failed-jobs", {}),
        ("POST", f"{REPOSITORY}/actions/runs/55/rerun", {}),
        ("POST", f"{REPOSITORY}/actions/runs/56/rerun", {}),
        ("GET", "/orgs/acme/teams/sre", None),
        ("GET", "/orgs/acme/teams/sre/memberships/ann", None),
        ("GET", "/orgs/acme/teams/sre/memberships/rob", None),
        ("GET", "/orgs/acme/teams/ops", None),
    ]


@pytest.fixture
def every_exchange() -> list[Exchange]:
    """Each call of the fake once, good and bad."""
    with FakeGitHub() as github:
        github.pull(7, head_sha=HEAD, from_fork=True)
        github.pull(8, head_sha=HEAD, merge_sha="b" * 40, merged=True)
        github.role("ann", "maintain", role_name="shop keeper")
        github.files["a/b.yml"] = b"flag: shop\n"
        github.team("acme/sre", "ann")
        github.run(55, "failure")
        github.run(56, "success")
        comment = github.comment(7, "hello", by="ann")
        deployment = {"ref": HEAD, "auto_merge": False, "required_contexts": []}
        calls = [
            ("GET", "/user", None),
            ("GET", REPOSITORY, None),
            ("GET", f"{REPOSITORY}/pulls/7", None),
            ("GET", f"{REPOSITORY}/pulls/8", None),
            ("GET", f"{REPOSITORY}/pulls/9", None),
            ("GET", f"{REPOSITORY}/commits/{HEAD}/pulls", None),
            ("POST", f"{REPOSITORY}/issues", {"title": "It broke", "body": "x", "labels": ["bug"]}),
            ("GET", f"{REPOSITORY}/issues?state=all&since=2020-01-01T00:00:00Z", None),
            ("POST", f"{REPOSITORY}/issues/7/comments", {"body": "there"}),
            ("GET", f"{REPOSITORY}/issues/7/comments?per_page=1&page=2", None),
            ("GET", f"{REPOSITORY}/issues/comments/{comment}", None),
            ("PATCH", f"{REPOSITORY}/issues/comments/{comment}", {"body": "other"}),
            ("POST", f"{REPOSITORY}/issues/comments/{comment}/reactions", {"content": "eyes"}),
            ("POST", f"{REPOSITORY}/issues/comments/{comment}/reactions", {"content": "eyes"}),
            ("GET", f"{REPOSITORY}/issues/comments/{comment}/reactions", None),
            ("GET", f"{REPOSITORY}/collaborators/ann/permission", None),
            ("GET", f"{REPOSITORY}/collaborators/eve/permission", None),
            ("POST", f"{REPOSITORY}/deployments", deployment),
            ("POST", f"{REPOSITORY}/deployments", deployment | {"ref": "c" * 40}),
            ("GET", f"{REPOSITORY}/deployments?task=deploy", None),
            ("POST", f"{REPOSITORY}/statuses/{HEAD}", {"state": "pending", "context": "rampgate/x"}),
            ("GET", f"{REPOSITORY}/commits/{HEAD}/statuses", None),
            ("GET", f"{REPOSITORY}/contents/a/b.yml", None),
            *_orders(comment, github.comment(HEAD, "hello", by="ann")),
            ("DELETE", f"{REPOSITORY}/issues/comments/{comment}", None),
        ]
        headers = {"Authorization": f"Bearer {github.token('ann')}"}
        for method, path, body in calls:
            requests.request(method, github.url + path, json=body, headers=headers, timeout=5)
        number = next(iter(github.deployments))
        github.declared["deploy.yml"], github.workflow = frozenset({"slot"}), lambda _: None
        run = github.begin_run("deploy.yml", {"slot": "green"})
        github.steps[run] = {"look": "failure"}
        for method, path, body in late_calls(number, run):
            requests.request(method, github.url + path, json=body, headers=headers, timeout=5)
        requests.get(github.url + "/user", timeout=5)
        return github.exchanges


def test_every_answer_of_the_fake_is_one_that_github_describes(every_exchange: list[Exchange]) -> None:
    assert [fault for exchange in every_exchange for fault in contract().departures(exchange)] == []
    assert {exchange.method for exchange in every_exchange} == {"GET", "POST", "PATCH", "DELETE"}
    assert len([exchange for exchange in every_exchange if exchange.status < 300]) >= len(CALLS) + 1


def test_the_fake_answers_every_call_that_is_described() -> None:
    described = sum(len(verbs) for verbs in DESCRIBED.values())
    assert len(CALLS) + 1 == described  # and /user


def test_a_missing_field_a_wrong_type_and_an_unknown_parameter_are_departures(every_exchange: list[Exchange]) -> None:
    good = next(one for one in every_exchange if one.method == "POST" and one.path.endswith("/issues/7/comments"))
    without = {key: value for key, value in good.answer.items() if key != "issue_url"}
    assert list(contract().departures(good)) == []
    for bad in (
        replace(good, answer=without),
        replace(good, answer=good.answer | {"id": "seven"}),
        replace(good, answer=good.answer | {"user": {"login": "ann"}}),
        replace(good, body={}),
        replace(good, body={"body": 7}),
        replace(good, body={"body": "x", "colour": "red"}),
        replace(good, query={"per_page": "100"}),
        replace(good, status=200),
        replace(good, path="/repos/acme/shop/issues/7/remarks"),
    ):
        assert len(list(contract().departures(bad))) == 1, bad


def test_a_refusal_without_a_token_is_githubs_own(every_exchange: list[Exchange]) -> None:
    assert every_exchange[-1].status == 401
    assert every_exchange[-1].answer["message"] == "Bad credentials"


def test_the_description_travels_with_its_licence() -> None:
    notice = Path(github_contract.__file__).with_name("github_description.LICENSE").read_text()
    assert notice.startswith("MIT License Copyright")
