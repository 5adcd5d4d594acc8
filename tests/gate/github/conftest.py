"""A GitHub for each test, whose every exchange must be in GitHub's own description; and our side of it."""

from collections.abc import Callable, Iterator

import pytest

from gate.github.api import GitHubApi
from gate.github.calls import Manners
from tests.fakes.github import FakeGitHub
from tests.fakes.github_contract import contract

BOT = "github-actions[bot]"
HEAD = "a" * 40
MERGE = "b" * 40
QUICK = Manners(timeout=5, pause=0.0)


class Clock:
    """GitHub's clock: whole seconds, which the test moves."""

    def __init__(self) -> None:
        self.now = 1_795_391_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def github(clock: Clock) -> Iterator[FakeGitHub]:
    with FakeGitHub("acme/shop", clock) as fake:
        fake.pull(7, head_sha=HEAD, merge_sha=MERGE, merged=True)
        yield fake
        departures = [fault for exchange in fake.exchanges for fault in contract().departures(exchange)]
    assert departures == []


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def connect(github: FakeGitHub, said: list[str]) -> Callable[..., GitHubApi]:
    """A new connection, as a new run of the Action has it; by default with a workflow's own token."""

    def new(manners: Manners = QUICK, token: str | None = None) -> GitHubApi:
        token = token or github.token(BOT, reads_user=False)
        return GitHubApi.at(api_url=github.url, token=token, repository="acme/shop", say=said.append, manners=manners)

    return new


@pytest.fixture
def api(connect: Callable[..., GitHubApi]) -> GitHubApi:
    return connect()
