"""Whose a rollout is: a repository's by GitHub's number of it, whatever it is called meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flagserver.views.route import Call
from flagserver.watching import Watching
from rampgate.machine.events import Told
from rampgate.machine.state import Order
from rampgate.plan import Supersede
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.inside import PLAN, Clock, new_rollout
from tests.flagserver.trusting import Trusting

ABORT = Told(order=Order.REVERT, by="@ann", text="bad")
COMMENT = {"event_name": "issue_comment", "environment": None, "run_id": "4712"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture
def there(database_url: str, clock: Clock, issuer: FakeIssuer) -> Iterator[Trusting]:
    with Trusting(database_url, clock, issuer) as there:
        yield there


def test_a_repository_that_is_renamed_in_mid_ramp_keeps_its_rollout(there: Trusting) -> None:
    rollout = there.begin(there.session())
    assert rollout.repository_id == "1"
    workflow = "acme/store/.github/workflows/release.yml@refs/heads/main"
    renamed = there.session(repository="acme/store", workflow_ref=workflow, **COMMENT)
    assert there.reads(renamed, f"/v1/rollouts/{rollout.id}") == 200
    listed = there.call("GET", "/v1/rollouts", role=None, X_API_Key=renamed).get_json()["rollouts"]
    assert [one["id"] for one in listed] == [rollout.id]
    assert there.tells(renamed, rollout, ABORT)[0] == 200


def test_whoever_takes_over_a_repositorys_name_does_not_take_over_its_rollouts(there: Trusting) -> None:
    there.trust(repository_id="2")
    rollout = there.begin(there.session())
    taker = there.session(repository_id="2", **COMMENT)
    assert there.reads(taker, f"/v1/rollouts/{rollout.id}") == 403
    assert there.call("GET", "/v1/rollouts", role=None, X_API_Key=taker).get_json()["rollouts"] == []
    assert there.ask(there.session(), repository_id="2").get_json()["error"] == "session_repository"


def test_rollouts_from_before_the_number_was_kept_go_by_the_name(there: Trusting) -> None:
    rollout = there.create(replace(new_rollout(), repository="ACME/shop"))
    abort = there.session(**COMMENT)
    listed = there.call("GET", "/v1/rollouts", role=None, X_API_Key=abort).get_json()["rollouts"]
    assert [one["id"] for one in listed] == [rollout.id]
    assert there.tells(abort, rollout, ABORT)[0] == 200


def waiting(there: Trusting, session: str, version: str, **changes: str) -> str:
    """Ask for a rollout that has to wait; the key of its place in the line."""
    plan = replace(PLAN, supersede=Supersede.QUEUE)
    assert there.ask(session, version, plan=plan, **changes).status_code == 409
    return f"run-{version}"


def in_line(there: Trusting, session: str) -> list[str]:
    listed = there.call("GET", "/v1/queue", role=None, X_API_Key=session).get_json()["waiting"]
    return [one["version"] for one in listed]


def test_a_place_in_the_line_is_a_repositorys_by_its_number(there: Trusting) -> None:
    there.begin(there.session())
    key = waiting(there, there.session(run_id="2"), "v3")
    there.trust(repository_id="2")
    taker = there.session(repository_id="2", **COMMENT)
    assert in_line(there, taker) == []
    left = there.call("DELETE", f"/v1/queue?flag=shop&key={key}", role=None, X_API_Key=taker)
    assert (left.status_code, left.get_json()["error"]) == (403, "session_repository")
    workflow = "acme/store/.github/workflows/release.yml@refs/heads/main"
    renamed = there.session(repository="acme/store", workflow_ref=workflow, **COMMENT)
    assert in_line(there, renamed) == ["v3"]
    left = there.call("DELETE", f"/v1/queue?flag=shop&key={key}", role=None, X_API_Key=renamed)
    assert (left.status_code, in_line(there, renamed)) == (204, [])


def test_a_newer_commit_takes_the_place_of_its_own_repositorys_alone(there: Trusting) -> None:
    main = {"ref": "refs/heads/main"}
    there.begin(there.session())
    waiting(there, there.session(run_id="2"), "v3", **main)
    there.trust(repository_id="2")
    there.clock.go(1.0)
    waiting(there, there.session(run_id="3", repository_id="2"), "v4", **main)
    everybody = there.call("GET", "/v1/queue").get_json()["waiting"]
    assert [one["version"] for one in everybody] == ["v3", "v4"]
    waiting(there, there.session(run_id="4"), "v5", **main)
    everybody = there.call("GET", "/v1/queue").get_json()["waiting"]
    assert [one["version"] for one in everybody] == ["v5", "v4"]


def test_the_stream_of_an_environment_forgets_what_became_another_repositorys(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    caller = there.services.keyring.caller(session)
    assert caller is not None
    call = Call(params={}, query={}, headers={}, body=b"", caller=caller)
    with ThreadPoolExecutor(1) as readers:
        watching = Watching(there.services, readers)
        assert set(watching._read(call, "production", (rollout.id,))) == {rollout.id}
        there.clock.go(PLAN.lease)
        theirs = replace(new_rollout(key="another"), repository="acme/other", repository_id="9")
        assert there.create(theirs, status=200).id == rollout.id
        assert watching._read(call, "production", (rollout.id,)) == {}
