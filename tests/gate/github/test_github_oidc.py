"""The job's own token: exchanged once for a session, masked, and followed by another once the session is over."""

import json
from collections.abc import Iterator

import pytest

from gate.errors import Exit, FlagServerRefusedError, FlagServerUnreachableError, MisuseError
from gate.flagserver_api import FlagServer
from gate.github.oidc import IdTokens
from gate.session import JobSession, audience_of
from tests.fakes.oidc import FakeIssuer
from tests.gate.metrics.scripted import Asked, Reply, ScriptedServer, scripted


def refused(status: int, code: str) -> Reply:
    return Reply(status=status, body=json.dumps({"error": code, "message": f"It is {code}."}).encode())


class Door:
    """A flag server's door: gives sessions s1, s2, …, and refuses those that are over."""

    def __init__(self) -> None:
        self.tokens: list[dict[str, str]] = []
        self.over: dict[str, str] = {}
        self.exchanges: list[Reply] = []

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/v1/session":
            self.tokens.append(json.loads(asked.body))
            if self.exchanges:
                return self.exchanges.pop(0)
            return Reply(status=201, body=json.dumps({"session": f"s{len(self.tokens)}"}).encode())
        code = self.over.get(asked.headers["authorization"].removeprefix("Bearer "))
        return refused(429 if code == "slow_down" else 401, code) if code else Reply(body=b'{"rollouts": []}')


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as server:
        server.script = Door()
        yield server


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


class Job:
    """A job with the permission to ask for tokens."""

    def __init__(self, server: ScriptedServer, issuer: FakeIssuer) -> None:
        self.said: list[str] = []
        session = JobSession(server.url, IdTokens.of_job(issuer.environ), lambda: "production", self.said.append)
        self.api = FlagServer(server.url, session)
        assert isinstance(server.script, Door)
        self.door = server.script
        self.server = server
        self.issuer = issuer


@pytest.fixture
def job(server: ScriptedServer, issuer: FakeIssuer) -> Job:
    return Job(server, issuer)


def test_one_token_is_exchanged_for_all_calls_and_both_are_masked_first(job: Job) -> None:
    for _ in range(3):
        assert job.api.find() == ()
    assert len(job.issuer.issued) == 1
    assert job.door.tokens == [{"token": job.issuer.issued[0], "environment": "production"}]
    assert job.said == [f"::add-mask::{job.issuer.issued[0]}", "::add-mask::s1"]
    exchange, *calls = job.server.asked
    assert "authorization" not in exchange.headers, "the token goes in the body, once"
    assert {one.headers["authorization"] for one in calls} == {"Bearer s1"}
    assert job.issuer.request_token not in str([one.headers for one in job.server.asked])


@pytest.mark.parametrize("code", ["unknown_key", "key_expired", "slow_down", "session_over", "session_bound"])
def test_a_session_that_is_over_is_followed_by_another_and_the_call_repeated(job: Job, code: str) -> None:
    assert job.api.find() == ()
    job.door.over["s1"] = code
    assert job.api.find() == ()
    assert [one.headers.get("authorization") for one in job.server.asked[-3:]] == ["Bearer s1", None, "Bearer s2"]
    assert len(set(job.issuer.issued)) == 2, "a token is good for one exchange"


def test_a_call_is_repeated_once_and_no_more(job: Job) -> None:
    job.door.over |= {"s1": "unknown_key", "s2": "unknown_key"}
    with pytest.raises(FlagServerRefusedError, match="It is unknown_key"):
        job.api.find()
    assert len(job.door.tokens) == 2


def test_what_a_job_may_not_do_is_no_reason_for_another_session(job: Job) -> None:
    job.door.over["s1"] = "session_flag"
    with pytest.raises(FlagServerRefusedError, match=r"trust policy.*docs/trust\.md"):
        job.api.find()
    assert len(job.door.tokens) == 1


def test_a_job_that_is_not_admitted_says_which_claim_fails(job: Job) -> None:
    problem = {"path": "ref", "value": "'refs/heads/evil'", "allowed": "refs/heads/main", "hint": None}
    body = {"error": "token_refused", "message": "No trust policy admits this job.", "problems": [problem]}
    job.door.exchanges = [Reply(status=401, body=json.dumps(body).encode())]
    with pytest.raises(FlagServerRefusedError) as caught:
        job.api.find()
    assert "ref: 'refs/heads/evil' is not allowed: refs/heads/main." in str(caught.value)
    assert (caught.value.exit, len(job.door.tokens)) == (Exit.MISUSE, 1)


def test_an_exchange_without_an_answer_is_tried_again_with_another_token(job: Job) -> None:
    job.door.exchanges = [refused(503, "store_unavailable")] * 2
    assert job.api.find() == ()
    assert len({one["token"] for one in job.door.tokens}) == 3


def test_without_a_token_from_github_the_flag_server_counts_as_silent(job: Job) -> None:
    job.issuer.down = True
    with pytest.raises(FlagServerUnreachableError, match=r"GitHub gave no ID token for the flag server: .* 503"):
        job.api.find()
    assert job.server.asked == []


@pytest.mark.parametrize("left", [{}, {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"}])
def test_a_job_without_the_permission_is_told_which(left: dict[str, str]) -> None:
    with pytest.raises(MisuseError, match="permissions: id-token: write") as caught:
        IdTokens.of_job(left)
    assert "fork's pull request" in str(caught.value)


def test_the_right_to_ask_is_not_shown(issuer: FakeIssuer) -> None:
    assert issuer.request_token not in repr(IdTokens.of_job(issuer.environ))


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://Flags.example.com/base", "https://flags.example.com"),
        ("https://flags.example.com:443", "https://flags.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_token_is_meant_for_the_servers_origin(url: str, audience: str) -> None:
    assert audience_of(url) == audience
