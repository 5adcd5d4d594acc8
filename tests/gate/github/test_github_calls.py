"""Each call of the port on a good day, and what it asks GitHub for."""

import json

import pytest

from gate.errors import GitHubError
from gate.github.api import GitHubApi
from gate.github.no_github import NoGitHub
from gate.github.port import (
    CommitState,
    DeploymentPayload,
    DeploymentState,
    Permission,
    PermissionUnknown,
    PullRequest,
    Reaction,
)
from tests.fakes.github import FakeGitHub
from tests.fakes.github_shapes import ROLES

HEAD = "a" * 40
MERGE = "b" * 40
R1 = DeploymentPayload(rollout="r1", version="v2")


def test_a_pull_request_is_found_by_the_commit_that_merged_it(api: GitHubApi, github: FakeGitHub) -> None:
    github.pull(3, head_sha=MERGE)
    assert api.pull_request_of(MERGE) == 7


def test_an_open_pull_request_is_found_by_its_head(api: GitHubApi, github: FakeGitHub) -> None:
    github.pull(3, head_sha="c" * 40, merge_sha="d" * 40)
    assert api.pull_request_of("c" * 40) == 3
    assert api.pull_request_of("d" * 40) is None, "a trial merge is nobody's commit"


def test_a_fork_cannot_take_a_commits_comment_by_opening_a_pull_request_from_it(
    api: GitHubApi, github: FakeGitHub
) -> None:
    github.pull(3, head_sha="c" * 40)
    github.pull(9, head_sha="c" * 40, author="mallory", from_fork=True)
    assert api.pull_request_of("c" * 40) == 3
    github.pull(8, head_sha="e" * 40, merge_sha="9" * 40, merged=True, author="eve", from_fork=True)
    assert api.pull_request_of("9" * 40) == 8, "what was merged is ours"


def test_a_closed_pull_request_that_was_not_merged_is_none(api: GitHubApi, github: FakeGitHub) -> None:
    github.pull(3, head_sha="c" * 40, state="closed")
    assert api.pull_request_of("c" * 40) is None


def test_a_commit_that_github_does_not_know_has_no_pull_request(api: GitHubApi) -> None:
    assert api.pull_request_of("f" * 40) is None


def test_a_pull_request_is_read(api: GitHubApi, github: FakeGitHub) -> None:
    assert api.pull_request(7) == PullRequest(
        number=7, author="ann", head_sha=HEAD, merge_sha=MERGE, open=False, from_fork=False
    )
    github.pull(8, head_sha="c" * 40, from_fork=True, author="eve")
    assert api.pull_request(8).from_fork
    with pytest.raises(GitHubError, match="404"):
        api.pull_request(9)


def test_a_reply_answers_once_and_a_second_one_edits_it(api: GitHubApi, github: FakeGitHub) -> None:
    question = github.comment(7, "/status", by="ann")
    api.reply(7, "at 10 %", question)
    api.reply(7, "at 10 %", question)
    assert github.sent("PATCH") == []
    api.reply(7, "at 50 %", question)
    assert github.bodies(7) == ["/status", f"at 50 %\n\n<!-- rampgate-reply:{question} -->"]


def test_a_reply_that_somebody_forged_is_not_taken_for_ours(api: GitHubApi, github: FakeGitHub) -> None:
    question = github.comment(7, "/status", by="ann")
    github.comment(7, f"all is well\n<!-- rampgate-reply:{question} -->", by="eve")
    api.reply(7, "aborted", question)
    assert github.bodies(7)[-1].startswith("aborted")


def test_a_reaction_is_put_once(api: GitHubApi, github: FakeGitHub) -> None:
    question = github.comment(7, "/status", by="ann")
    for reaction in (Reaction.SEEN, Reaction.SEEN, Reaction.DONE):
        api.react(question, reaction)
    assert [one["content"] for one in github.reactions[question]] == ["eyes", "+1"]


@pytest.mark.parametrize("role", ROLES)
def test_permission_is_read_from_the_booleans(api: GitHubApi, github: FakeGitHub, role: str) -> None:
    github.role("ann", role, role_name="shop keeper")
    found = api.permission("ann")
    assert isinstance(found, Permission)
    assert {name for name in ROLES["admin"] if getattr(found, name)} == set(ROLES[role])
    assert found.role_name == "shop keeper"


def test_permission_of_a_stranger_is_unknown(api: GitHubApi) -> None:
    found = api.permission("eve")
    assert isinstance(found, PermissionUnknown)
    assert "404" in found.text


@pytest.mark.parametrize("login", ["../../user", "a/b", "a?b=c", "a b", ""])
def test_a_login_cannot_leave_its_place_in_the_path(api: GitHubApi, github: FakeGitHub, login: str) -> None:
    github.role("user", "admin")
    assert isinstance(api.permission(login), PermissionUnknown)
    assert all(one.path.startswith("/repos/acme/shop/collaborators/") for one in github.exchanges)
    github.exchanges.clear()  # GitHub describes no such names


def test_a_rollout_has_one_deployment_whoever_asks(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.deployment(MERGE, "production", R1)
    assert api.deployment(MERGE, "production", R1) == number
    assert api.deployment(MERGE, "production", DeploymentPayload(rollout="r2", version="v2")) != number
    asked = github.sent("POST")[0].body
    assert asked["ref"] == MERGE
    assert asked["auto_merge"] is False
    assert asked["required_contexts"] == []
    assert asked["payload"]["rollout"] == "r1"


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_payload_that_comes_back_as_text_is_still_ours(api: GitHubApi, github: FakeGitHub, rounds: int) -> None:
    number = api.deployment(MERGE, "production", R1)
    payload = github.deployments[number]["payload"]
    for _ in range(rounds):
        payload = json.dumps(payload)
    github.deployments[number]["payload"] = payload
    assert api.deployment(MERGE, "production", R1) == number


@pytest.mark.parametrize("payload", ["", "not json", "[1]", {"type": "other", "rollout": "r1"}, {"rollout": "r1"}])
def test_a_deployment_of_another_tool_is_not_ours(api: GitHubApi, github: FakeGitHub, payload: object) -> None:
    number = api.deployment(MERGE, "production", R1)
    github.deployments[number]["payload"] = payload
    assert api.deployment(MERGE, "production", R1) != number


def test_ours_is_found_behind_a_hundred_others(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.deployment(MERGE, "production", R1)
    for index in range(1000, 1150):
        github.deployments[index] = github.deployments[number] | {"id": index, "payload": {}}
    assert api.deployment(MERGE, "production", R1) == number


def test_a_deployment_says_how_it_stands(api: GitHubApi, github: FakeGitHub) -> None:
    number = api.deployment(MERGE, "production", R1)
    api.deployment_status(number, DeploymentState.IN_PROGRESS, "10 %", "https://x.test/log", "https://x.test")
    api.deployment_status(number, DeploymentState.SUCCESS, "é" * 200)
    first, second = github.deployment_statuses[number]
    assert (first["state"], first["log_url"], first["environment_url"]) == (
        "in_progress",
        "https://x.test/log",
        "https://x.test",
    )
    assert second["description"] == "é" * 139 + "…"


def test_a_commit_status_is_named_for_its_environment(api: GitHubApi, github: FakeGitHub) -> None:
    api.commit_status(HEAD, "production", CommitState.PENDING, "x" * 200, "https://x.test")
    (status,) = github.statuses[HEAD]
    assert (status["context"], status["state"], status["target_url"]) == (
        "rampgate/production",
        "pending",
        "https://x.test",
    )
    assert len(status["description"]) == 140


def test_a_file_is_read_as_the_default_branch_has_it(api: GitHubApi, github: FakeGitHub) -> None:
    github.files[".github/rampgate.yml"] = "flag: café\n".encode()
    github.files["picture"] = b"\xff\xd8"
    assert api.file(".github/rampgate.yml") == "flag: café\n"
    assert api.file("./.github//rampgate.yml") == "flag: café\n"
    assert api.file("nowhere.yml") is None
    with pytest.raises(GitHubError, match="not a text file"):
        api.file("picture")
    with pytest.raises(GitHubError, match="inside the repository"):
        api.file("../../../user")
    assert all("ref" not in one.query for one in github.exchanges)


def test_the_token_is_signed_with_and_never_shown(api: GitHubApi, github: FakeGitHub) -> None:
    api.pull_request(7)
    token = github.exchanges[0].headers["authorization"].split()[-1]
    assert token.startswith("ghs_")
    with pytest.raises(GitHubError) as caught:
        api.pull_request(9)
    assert token not in f"{caught.value!r} {caught.value} {api!r} {vars(api)}"


def test_github_enterprise_is_reached_under_its_own_path_on_every_page() -> None:
    with FakeGitHub(prefix="/api/v3") as enterprise:
        enterprise.pull(7, head_sha=HEAD)
        for index in range(150):
            enterprise.comment(7, str(index), by="ann")
        token = enterprise.token("robot")
        api = GitHubApi.at(api_url=enterprise.url, token=token, repository="acme/shop", say=lambda _: None)
        number = api.tell(7, "production", "hello")
        assert api.tell(7, "production", "hello again") == number
        assert len(enterprise.sent("GET", "/issues/7/comments")) == 2
        assert all(one.status < 300 for one in enterprise.exchanges)


def test_without_github_nothing_is_done_and_it_is_said_once() -> None:
    said: list[str] = []
    nothing = NoGitHub(said.append)
    assert nothing.pull_request_of(HEAD) is None
    assert nothing.seen(7, "production", 0.0) is None
    assert nothing.file("x") is None
    assert said == []
    assert nothing.tell(7, "production", "hello") == 0
    nothing.reply(7, "hello", 1)
    nothing.react(1, Reaction.SEEN)
    nothing.deployment_status(nothing.deployment(HEAD, "production", R1), DeploymentState.SUCCESS, "")
    nothing.commit_status(HEAD, "production", CommitState.SUCCESS, "")
    assert len(said) == 1
    assert isinstance(nothing.permission("ann"), PermissionUnknown)
    with pytest.raises(GitHubError):
        nothing.pull_request(7)
