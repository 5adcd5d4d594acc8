"""Sessions of pull requests: they read what a forecast of their flags is made of, and nothing else at all."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from flagserver.auth import Role
from flagserver.auth.policies import POLICY as POLICY_TYPE
from flagserver.cli import cli
from flagserver.errors import NotAllowedError
from flagserver.views import ROUTES
from flagserver.views.route import Route, admit
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.inside import Clock
from tests.flagserver.trusting import Trusting

FILE = ".github/workflows/rampgate-check.yml"
PULL = {
    "event_name": "pull_request", "ref": "refs/pull/7/merge", "environment": None,
    "workflow_ref": f"acme/shop/{FILE}@refs/pull/7/merge",
}  # fmt: skip
READS = {("GET", "/v1/{environment}/flags/{key}"), ("GET", "/v1/{environment}/flags/{key}/telemetry")}


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture
def there(sqlite_url: str, clock: Clock, issuer: FakeIssuer) -> Iterator[Trusting]:
    with Trusting(sqlite_url, clock, issuer) as there:
        there.trust(
            role="forecast", events=["pull_request"], refs=["refs/pull/*"], workflows=[FILE], job_environments=[]
        )
        yield there


def is_admitted(there: Trusting, route: Route, session: str) -> bool:
    try:
        admit(there.services, route, {"x-api-key": session}, {})
    except NotAllowedError:
        return False
    return True


def test_of_all_routes_a_pull_request_reaches_two_and_the_end_of_its_session(there: Trusting) -> None:
    session = there.session(**PULL)
    reached = {(one.method, one.path) for one in ROUTES if one.role is not None and is_admitted(there, one, session)}
    assert reached == {*READS, ("DELETE", "/v1/session")}
    assert there.call("DELETE", "/v1/session", role=None, X_API_Key=session).status_code == 204


def test_it_reads_its_flags_slots_and_counts_but_not_who_gets_what(there: Trusting) -> None:
    there.begin(there.session())
    session = there.session(**PULL)
    read = there.call("GET", "/v1/production/flags/shop", role=None, X_API_Key=session)
    assert read.status_code == 200
    assert read.get_json()["slots"]["stable"]["name"] == "blue"
    assert read.get_json()["flag"] == {}
    assert there.reads(session, "/v1/production/flags/shop/telemetry") == 200


@pytest.mark.parametrize("path", ["/v1/production/flags/cart", "/v1/production/flags/cart/telemetry"])
def test_another_flag_and_another_environment_are_not_its_business(there: Trusting, path: str) -> None:
    session = there.session(**PULL)
    assert there.reads(session, path) == 403
    assert there.reads(session, path.replace("production", "staging").replace("cart", "shop")) == 403


def test_a_stored_key_cannot_have_the_role(there: Trusting) -> None:
    wanted = {"role": "forecast", "environment": "production", "name": "reader"}
    refused = there.call("POST", "/v1/keys", wanted, role=Role.ADMIN)
    assert (refused.status_code, refused.get_json()["problems"][0]["path"]) == (422, "role")


def test_the_command_line_knows_what_a_forecasting_policy_is_about(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, there: Trusting
) -> None:
    monkeypatch.setenv("FLAGSERVER_DATABASE_URL", sqlite_url)
    asked = [
        *("trust", "add", "--repository", "acme/shop", "--repository-id", "41", "--owner-id", "7", "--flag", "shop"),
        *("--environment", "production", "--workflow", FILE, "--role", "forecast"),
    ]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    made = POLICY_TYPE.validate_python(there.services.trust.read(done.output.strip()).document)
    assert (made.events, made.refs, made.role) == (("pull_request",), ("refs/pull/*",), Role.FORECAST)
