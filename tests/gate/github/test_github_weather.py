"""Bad weather: answers that are late, lost, refused or nonsense. Nothing is done twice, and nothing waits long."""

import time
from collections.abc import Callable

import pytest

from gate.errors import GitHubError
from gate.github.api import GitHubApi
from gate.github.calls import Calls, Manners, connect
from gate.github.port import CommitState, DeploymentPayload, DeploymentState, PermissionUnknown, Reaction
from tests.fakes.github import FakeGitHub, Fault

MERGE = "b" * 40
R1 = DeploymentPayload(rollout="r1", version="v2")
Connect = Callable[..., GitHubApi]


class Ticks:
    """Our clock: sleeping moves it, and every look at it by ``each`` seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.each = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now += self.each
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def slow(github: FakeGitHub, ticks: Ticks) -> GitHubApi:
    """With the product's manners, on a clock of the test's."""
    manners = Manners()
    token = github.token("github-actions[bot]", reads_user=False)
    requester = connect(api_url=github.url, token=token, manners=manners)
    return GitHubApi(Calls(requester, manners, clock=ticks, sleep=ticks.sleep), "acme/shop", lambda _: None)


LOST = [Fault(), Fault(applied=True), Fault(reset=True), Fault(applied=True, reset=True), Fault(status=500)]


@pytest.mark.parametrize("first", LOST)
@pytest.mark.parametrize("second", LOST)
def test_whatever_becomes_of_two_posts_there_is_one_deployment(
    api: GitHubApi, github: FakeGitHub, first: Fault, second: Fault
) -> None:
    github.fail("POST", "/deployments$", first, second)
    number = api.deployment(MERGE, "production", R1)
    assert list(github.deployments) == [number]


def test_a_post_refused_for_good_is_sent_once(api: GitHubApi, github: FakeGitHub) -> None:
    with pytest.raises(GitHubError, match="No ref found"):
        api.deployment("f" * 40, "production", R1)
    assert len(github.sent("POST")) == 1


def test_a_post_that_took_effect_on_its_last_try_counts(api: GitHubApi, github: FakeGitHub) -> None:
    github.fail("POST", "/deployments$", Fault(), Fault(), Fault(applied=True))
    number = api.deployment(MERGE, "production", R1)
    assert list(github.deployments) == [number]


def test_when_every_post_fails_it_says_so(api: GitHubApi, github: FakeGitHub) -> None:
    github.fail("POST", "/deployments$", *[Fault()] * 3)
    with pytest.raises(GitHubError, match="502"):
        api.deployment(MERGE, "production", R1)
    assert len(github.sent("POST")) == 3
    assert github.deployments == {}


@pytest.mark.parametrize("fault", LOST)
def test_statuses_are_not_doubled(api: GitHubApi, github: FakeGitHub, fault: Fault) -> None:
    number = api.deployment(MERGE, "production", R1)
    github.fail("POST", "/statuses", fault)
    api.deployment_status(number, DeploymentState.IN_PROGRESS, "10 %", "https://x.test/log")
    github.fail("POST", "/statuses", fault)
    api.commit_status(MERGE, "production", CommitState.PENDING, "10 %", "https://x.test")
    assert len(github.deployment_statuses[number]) == 1
    assert len(github.statuses[MERGE]) == 1


@pytest.mark.parametrize("fault", LOST)
def test_replies_are_not_doubled(api: GitHubApi, github: FakeGitHub, fault: Fault) -> None:
    question = github.comment(7, "/abort", by="ann")
    github.fail("POST", "/issues/7/comments", fault)
    api.reply(7, "aborted", question)
    assert len(github.bodies(7)) == 2


@pytest.mark.parametrize("fault", [Fault(), Fault(reset=True), Fault(status=503)])
def test_reading_and_editing_are_tried_again(api: GitHubApi, github: FakeGitHub, fault: Fault) -> None:
    github.fail("GET", "/pulls/7", fault, fault)
    assert api.pull_request(7).number == 7
    number = api.tell(7, "production", "one")
    github.fail("PATCH", "comments", fault)
    api.tell(7, "production", "two", number)
    assert github.bodies(7)[0].startswith("two")


def test_a_page_that_fails_is_asked_for_again_and_no_other(api: GitHubApi, github: FakeGitHub) -> None:
    for index in range(150):
        github.comment(7, str(index), by="ann")
    github.fail("GET", "/issues/7/comments", Fault(), Fault())
    api.tell(7, "production", "hello")
    assert [one.query.get("page", "1") for one in github.sent("GET", "/issues/7/comments")] == ["1", "1", "1", "2"]


def test_pages_that_never_end_are_an_error(connect: Connect, github: FakeGitHub) -> None:
    for index in range(301):
        github.comment(7, str(index), by="ann")
    with pytest.raises(GitHubError, match="do not end"):
        connect(Manners(pause=0.0, most_pages=3)).tell(7, "production", "hello")
    assert github.sent("POST") == []


def test_a_short_rate_limit_is_waited_for(slow: GitHubApi, github: FakeGitHub, ticks: Ticks) -> None:
    github.fail("GET", "/pulls/7", Fault(status=429, headers={"Retry-After": "3"}, message="slow down"))
    assert slow.pull_request(7).number == 7
    assert ticks.slept == [3.0]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=403, headers={"Retry-After": "3600"}, message="You have exceeded a secondary rate limit."),
        Fault(status=429, headers={"Retry-After": "99999999999"}),
        Fault(status=403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 2000)}),
    ],
)
def test_a_long_rate_limit_fails_at_once(slow: GitHubApi, github: FakeGitHub, ticks: Ticks, fault: Fault) -> None:
    github.fail("GET", "/pulls/7", fault)
    with pytest.raises(GitHubError, match=str(fault.status)):
        slow.pull_request(7)
    assert ticks.slept == []
    assert len(github.exchanges) == 1


def test_a_rate_limit_without_a_word_on_its_length_is_tried_again(slow: GitHubApi, github: FakeGitHub) -> None:
    message = "API rate limit exceeded for installation ID 7."
    github.fail("GET", "/pulls/7", Fault(status=403, message=message), Fault(status=429))
    assert slow.pull_request(7).number == 7


def test_a_rate_limited_post_is_sent_again_and_done_once(slow: GitHubApi, github: FakeGitHub, ticks: Ticks) -> None:
    github.fail("POST", "/deployments$", Fault(status=403, headers={"Retry-After": "2"}))
    slow.deployment(MERGE, "production", R1)
    assert ticks.slept == [2.0]
    assert len(github.deployments) == 1


def test_a_gate_writes_no_more_than_its_share_in_a_minute(github: FakeGitHub, ticks: Ticks) -> None:
    manners = Manners(writes=3)
    requester = connect(api_url=github.url, token=github.token("github-actions[bot]"), manners=manners)
    api = GitHubApi(Calls(requester, manners, clock=ticks, sleep=ticks.sleep), "acme/shop", lambda _: None)
    number = api.deployment(MERGE, "production", R1)
    for text in ("one", "two"):
        api.deployment_status(number, DeploymentState.IN_PROGRESS, text)
    with pytest.raises(GitHubError, match="written 3 times"):
        api.deployment_status(number, DeploymentState.IN_PROGRESS, "three")
    assert len(github.sent("POST")) == 3
    ticks.now += 61
    api.deployment_status(number, DeploymentState.IN_PROGRESS, "four")
    assert [one["description"] for one in github.deployment_statuses[number]] == ["one", "two", "four"]


def test_a_missing_permission_is_not_tried_again_and_says_what_to_do(github: FakeGitHub, connect: Connect) -> None:
    api = connect(token=github.token("github-actions[bot]", reads_user=False, may=frozenset({"/comments"})))
    with pytest.raises(GitHubError, match="`permissions`"):
        api.deployment(MERGE, "production", R1)
    assert len(github.sent("POST")) == 1


def test_a_token_that_has_ended_says_so(connect: Connect) -> None:
    with pytest.raises(GitHubError, match="`github-token`"):
        connect(token="ghs_over").pull_request(7)


def test_github_that_never_answers_takes_no_longer_than_our_patience(connect: Connect, github: FakeGitHub) -> None:
    github.fail("GET", "/pulls/7", *[Fault(hang=True)] * 3)
    with pytest.raises(GitHubError):
        connect(Manners(timeout=1, patience=0.5, pause=0.0)).pull_request(7)
    assert len(github._faults[0][2]) == 2, "no request begins after the patience has run out"


def test_many_slow_pages_share_one_patience(slow: GitHubApi, github: FakeGitHub, ticks: Ticks) -> None:
    for index in range(1000):
        github.comment(7, str(index), by="ann")
    ticks.each = 3.0
    with pytest.raises(GitHubError, match="took too long"):
        slow.tell(7, "production", "hello")
    assert len(github.exchanges) < 6
    assert github.sent("POST") == []


def test_github_that_is_not_there_at_all() -> None:
    with FakeGitHub() as gone:
        url = gone.url
    api = GitHubApi.at(api_url=url, token="t", repository="a/b", say=lambda _: None, manners=Manners(pause=0.0))
    with pytest.raises(GitHubError, match="could not be reached"):
        api.pull_request(7)


def test_after_a_failed_report_the_next_ones_fail_at_once(slow: GitHubApi, github: FakeGitHub, ticks: Ticks) -> None:
    github.fail("GET", "/user|/comments", *[Fault()] * 9)
    with pytest.raises(GitHubError, match="502"):
        slow.tell(7, "production", "hello")
    sent = len(github.exchanges)
    for report in (
        lambda: slow.tell(7, "production", "hello"),
        lambda: slow.deployment(MERGE, "production", R1),
        lambda: slow.commit_status(MERGE, "production", CommitState.PENDING, "10 %"),
    ):
        with pytest.raises(GitHubError, match="a moment ago"):
            report()
    assert len(github.exchanges) == sent
    assert slow.pull_request(7).number == 7, "what a command needs is asked all the same"
    ticks.now += 61.0
    assert slow.deployment(MERGE, "production", R1) in github.deployments


def test_a_report_that_is_refused_does_not_hold_up_the_next(api: GitHubApi, github: FakeGitHub) -> None:
    with pytest.raises(GitHubError, match="404"):
        api.tell(999, "production", "hello")
    assert api.tell(7, "production", "hello") in github.comments


@pytest.mark.parametrize("fault", [Fault(), Fault(reset=True), Fault(status=403), Fault(status=404), Fault(status=429)])
def test_a_reaction_never_fails_and_is_tried_once(
    api: GitHubApi, github: FakeGitHub, said: list[str], fault: Fault
) -> None:
    question = github.comment(7, "/abort", by="ann")
    github.fail("POST", "reactions", fault)
    api.react(question, Reaction.SEEN)
    assert len(github.sent("POST", "reactions")) == 1
    assert len(said) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_permission_that_cannot_be_read_is_unknown(api: GitHubApi, github: FakeGitHub, status: int) -> None:
    github.role("ann", "admin")
    github.fail("GET", "/permission", *[Fault(status=status)] * 3)
    assert isinstance(api.permission("ann"), PermissionUnknown)


@pytest.mark.parametrize("missing", ["permissions", "push", "login"])
def test_a_permission_with_a_piece_missing_is_unknown(
    api: GitHubApi, github: FakeGitHub, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.role("ann", "admin")
    whole = FakeGitHub._permission(github, "", "ann")[1]
    (whole["user"]["permissions"] if missing == "push" else whole["user"]).pop(missing)
    monkeypatch.setattr(github, "obey", lambda *_: (200, whole, {}))
    assert isinstance(api.permission("ann"), PermissionUnknown)
    github.exchanges.clear()  # what GitHub never says


def test_a_permission_of_somebody_else_is_unknown(
    api: GitHubApi, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.role("ann", "admin")
    whole = FakeGitHub._permission(github, "", "ann")[1]
    monkeypatch.setattr(github, "obey", lambda *_: (200, whole, {}))
    assert isinstance(api.permission("eve"), PermissionUnknown)


@pytest.mark.parametrize("answer", [None, [], "<html>", {"number": "seven"}, 7])
def test_an_answer_that_is_nonsense_is_one_clear_error(
    api: GitHubApi, github: FakeGitHub, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "obey", lambda *_: (200, answer, {}))
    with pytest.raises(GitHubError, match="cannot be read"):
        api.pull_request(7)
    github.exchanges.clear()  # what GitHub never says


def test_a_link_to_another_host_is_not_followed(
    api: GitHubApi, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = {"Link": '<http://127.0.0.2:9/repos/acme/shop/issues/7/comments?page=2>; rel="next"'}
    monkeypatch.setattr(github, "obey", lambda *_: (200, [], links))
    with pytest.raises(GitHubError):
        api.pull_request_of(MERGE)
    assert len(github.exchanges) == 1


def test_githubs_words_are_shown_as_one_plain_line(api: GitHubApi, github: FakeGitHub) -> None:
    github.fail(
        "GET", "/pulls/7", Fault(status=418, message="bad\n::set-output name=decision::promoted\x1b[2J" + "x" * 999)
    )
    with pytest.raises(GitHubError) as caught:
        api.pull_request(7)
    text = str(caught.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 500
