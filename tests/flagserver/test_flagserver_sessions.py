"""Sessions of jobs: each steers one rollout, dies soon after its lease, and is known to every replica."""

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from flagserver.auth import Role
from flagserver.auth.sessions import AFTER_LEASE, AT_MOST, RENEW_EVERY, UNBOUND
from flagserver.cli import cli
from flagserver.services import assemble
from flagserver.settings import Settings
from rampgate.evidence import Look, Verdict, VerdictReason, VerdictWord
from rampgate.machine.events import (
    Attached,
    CarriedOut,
    Deployed,
    HookProgressed,
    Judged,
    RetirementBegun,
    Told,
    Verified,
)
from rampgate.machine.state import ActionKind, Order
from rampgate.rollout import Rollout
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.inside import PLAN, Clock, new_rollout
from tests.flagserver.trusting import ORIGIN, POLICY, Trusting

ABORT = Told(order=Order.REVERT, by="@ann", text="bad")
COMMENT = {"event_name": "issue_comment", "environment": None, "run_id": "4712"}
SELECTOR = slice(11, 23)


@pytest.fixture(scope="module")
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture
def there(sqlite_url: str, clock: Clock, issuer: FakeIssuer) -> Iterator[Trusting]:
    with Trusting(sqlite_url, clock, issuer) as there:
        yield there


@pytest.fixture
def there_each(database_url: str, clock: Clock, issuer: FakeIssuer) -> Iterator[Trusting]:
    """The same on each kind of database."""
    with Trusting(database_url, clock, issuer) as there:
        yield there


def judged(at: float) -> Judged:
    verdict = Verdict(word=VerdictWord.HEALTHY, reason=VerdictReason.NOT_WORSE, text="Fine.", no_harm=True)
    look = Look(at=at, step=1, share=10_000, reading=None, stable=None, canary=None, verdict=verdict)
    return Judged(fence=1, revision=1, attempt=1, look=look)


def progress(rollout: Rollout, fence: int) -> HookProgressed:
    return HookProgressed(fence=fence, action=rollout.state.actions[0].number)


def test_a_policy_with_words_of_a_newer_server_admits_nobody_here_and_keeps_nobody_out(there: Trusting) -> None:
    newer = json.dumps({**POLICY, "only_on_fridays": True})
    with there.services.store.write() as tx:
        tx.run(sa.text("UPDATE trust_policies SET document = :newer").bindparams(newer=newer))
    refused = there.exchange()
    assert (refused.status_code, refused.get_json()["error"]) == (503, "newer_words")
    there.trust()
    assert there.exchange().status_code == 201


def test_a_session_releases_from_beginning_to_end(there_each: Trusting) -> None:
    there = there_each
    session = there.session()
    rollout = there.begin(session)
    fence = there.takes_lease(session, rollout)
    for kind, event in ((ActionKind.DEPLOY, Deployed), (ActionKind.VERIFY, Verified)):
        status, _ = there.tells(session, rollout, event(fence=fence, action=there.action(rollout, kind)))
        assert status == 200
    status, answer = there.tells(session, rollout, Told(order=Order.ADVANCE, by="@ann"))
    assert (status, answer["rollout"]["share"]) == (200, 10_000)
    there.services.keyring.refresh()
    assert there.reads(session, f"/v1/rollouts/{rollout.id}/events") == 200
    assert there.reads(session, f"/v1/rollouts/{rollout.id}/telemetry") == 200


def test_a_session_steers_the_rollout_that_it_asked_for_and_no_other(there_each: Trusting) -> None:
    there = there_each
    there.services.trust.remove(there.policy, by="test")
    there.policy = there.trust(flags=["shop", "cart"])
    first, second = there.session(), there.session()
    shop = there.begin(first)
    cart = there.begin(second, plan=replace(PLAN, flag="cart"))
    for event in (Attached(holder="thief"), ABORT):
        status, refused = there.tells(first, cart, event)
        assert (status, refused["error"]) == (403, "session_bound")
        assert shop.id in refused["message"]
    assert there.ask(first, "v3", plan=replace(PLAN, flag="other")).get_json()["error"] == "session_flag"
    again = there.ask(first, "v9", plan=replace(PLAN, flag="cart"), key="new")
    assert (again.status_code, again.get_json()["error"]) == (403, "session_bound")
    assert there.look(cart).state.phase.value == "deploying", "nothing of a refused request stays"
    assert there.ask(first).status_code == 200, "its own rollout it may ask for again"


def test_an_abort_needs_no_environment_and_may_be_of_any_rollout_of_the_repository(there: Trusting) -> None:
    rollout = there.begin(there.session())
    abort = there.session(**COMMENT)
    assert there.reads(abort, f"/v1/rollouts/{rollout.id}") == 200
    listed = there.call("GET", "/v1/rollouts", role=None, X_API_Key=abort).get_json()["rollouts"]
    assert [one["id"] for one in listed] == [rollout.id]
    assert there.tells(abort, rollout, Told(order=Order.PAUSE, by="@ann"))[0] == 200
    status, answer = there.tells(abort, rollout, ABORT)
    assert (status, answer["verb"]) == (200, "revert")


def test_the_aborting_job_undoes_the_deployment_where_nobody_else_does(there: Trusting) -> None:
    rollout = there.begin(there.session())
    gone = there.to_step(rollout)
    there.clock.go(PLAN.lease + PLAN.stale_after + 1)
    assert there.look(rollout).state.needs_hands
    abort = there.session(**COMMENT)
    fence = there.takes_lease(abort, rollout, "abort-job")
    assert fence > gone
    action = there.look(rollout).state.actions[0].number
    assert there.tells(abort, rollout, CarriedOut(fence=fence, action=action))[0] == 200


@pytest.mark.parametrize("order", [Order.ADVANCE, Order.COMPLETE, Order.RESUME])
def test_without_its_environment_a_job_widens_nothing(there: Trusting, order: Order) -> None:
    rollout = there.begin(there.session())
    outside = there.session(**COMMENT)
    refused = there.tells(outside, rollout, Told(order=order, by="@ann"))
    assert (refused[0], refused[1]["error"]) == (403, "session_environment")
    asked = there.ask(outside, "v3")
    assert (asked.status_code, asked.get_json()["error"]) == (403, "session_environment")
    assert "the claim `environment`" in asked.get_json()["message"]


def test_without_its_environment_a_job_that_holds_the_lease_judges_nothing(there: Trusting) -> None:
    rollout = there.begin(there.session())
    outside = there.session(**COMMENT)
    there.takes_lease(outside, rollout)
    healthy = judged(there.clock.now)
    for event in (Deployed(fence=1, action=1), Verified(fence=1, action=1), healthy, RetirementBegun(fence=1)):
        assert there.tells(outside, rollout, event)[1]["error"] == "session_environment"


def test_a_policy_that_names_no_environment_asks_for_none(there: Trusting) -> None:
    there.trust(repository_id="41", job_environments=[])
    assert there.ask(there.session(repository_id="41", environment=None)).status_code == 201


def test_a_rollout_of_another_repository_is_not_the_sessions_to_see_or_end(there: Trusting) -> None:
    foreign = there.create(new_rollout(repository="acme/other"))
    nobodys = there.create(new_rollout("v3", plan=replace(PLAN, flag="cart"), key="cart"))
    session = there.session()
    assert there.tells(session, foreign, ABORT)[1]["error"] == "session_repository"
    assert there.tells(session, nobodys, ABORT)[1]["error"] == "session_flag"
    for one in (foreign, nobodys):
        for suffix in ("", "/events", "/telemetry", "/telemetry/minutes"):
            assert there.reads(session, f"/v1/rollouts/{one.id}{suffix}") == 403
    listed = there.call("GET", "/v1/rollouts?repository=acme/other", role=None, X_API_Key=session)
    assert listed.get_json()["rollouts"] == []
    forged = there.call("POST", "/v1/rollouts", None, role=None, X_API_Key=session)
    assert forged.status_code in (400, 422)


def test_a_session_writes_no_flags_makes_no_keys_and_sends_no_counts(there: Trusting) -> None:
    session = there.session()
    for method, path in (
        ("PUT", "/v1/production/flags/shop"), ("DELETE", "/v1/production/flags/shop"), ("POST", "/v1/telemetry"),
    ):  # fmt: skip
        refused = there.call(method, path, {}, role=None, X_API_Key=session)
        assert (refused.status_code, refused.get_json()["error"]) == (403, "session"), path
    for path in ("/v1/keys", "/v1/trust", "/v1/sessions", "/v1/audit"):
        assert there.call("GET", path, role=None, X_API_Key=session).get_json()["error"] == "role"
    assert there.reads(session, "/v1/production/flags/shop") == 404
    assert there.reads(session, "/v1/staging/flags/shop") == 403


def test_a_session_locks_its_own_flags_and_lifts_what_it_could_widen(there: Trusting) -> None:
    inside, outside = there.session(), there.session(**COMMENT)
    there.begin(there.session())
    lock = {"reason": "incident", "by": "@ann", "flag": "shop", "name": "incident"}
    held = there.call("POST", "/v1/locks", lock, role=None, X_API_Key=outside)
    assert held.status_code == 201, held.text
    where = f"/v1/locks/{held.get_json()['id']}"
    for other in ({**lock, "flag": "cart"}, {**lock, "flag": None}):
        refused = there.call("POST", "/v1/locks", other, role=None, X_API_Key=outside)
        assert (refused.status_code, refused.get_json()["error"]) == (403, "session_flag")
    assert there.call("DELETE", where, role=None, X_API_Key=outside).get_json()["error"] == "session_environment"
    assert there.call("DELETE", where, role=None, X_API_Key=inside).status_code == 204


def test_a_session_makes_tester_tokens_for_its_own_flags_where_it_may_widen(there: Trusting) -> None:
    inside, outside = there.session(), there.session(**COMMENT)
    there.begin(there.session())

    def asked(session: str, flag: str) -> tuple[int, str | None]:
        made = there.call("POST", f"/v1/production/flags/{flag}/tester-tokens", {}, role=None, X_API_Key=session)
        return made.status_code, made.get_json().get("error")

    assert asked(inside, "shop") == (201, None)
    assert asked(inside, "cart") == (403, "session_flag")
    assert asked(outside, "shop") == (403, "session_environment")


def test_a_session_that_only_reads_steers_nothing(there: Trusting) -> None:
    there.trust(repository_id="42", role="sdk")
    session = there.session(repository_id="42")
    assert there.reads(session, "/v1/production/snapshot") == 200
    assert there.ask(session).get_json()["error"] == "role"


def test_work_renews_a_session_and_silence_ends_it(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    fence = there.takes_lease(session, rollout)
    for _ in range(15):
        there.clock.go(PLAN.lease - 1)
        assert there.tells(session, rollout, progress(there.look(rollout), fence))[0] == 200
        there.services.keyring.refresh()
    assert there.reads(session, "/v1/rollouts") == 200
    there.clock.go(PLAN.lease + AFTER_LEASE + RENEW_EVERY)
    refused = there.call("GET", "/v1/rollouts", role=None, X_API_Key=session)
    assert (refused.status_code, refused.get_json()["error"]) == (401, "key_expired")


def test_an_order_renews_nothing(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    there.clock.go(PLAN.lease + AFTER_LEASE - 1)
    assert there.tells(session, rollout, ABORT)[0] == 200
    there.services.keyring.refresh()
    there.clock.go(1)
    assert there.reads(session, "/v1/rollouts") == 401


def test_a_session_that_steers_nothing_ends_too(there: Trusting) -> None:
    session = there.session()
    there.clock.go(UNBOUND - 1)
    assert there.reads(session, "/v1/rollouts") == 200
    there.clock.go(1)
    assert there.reads(session, "/v1/rollouts") == 401


def test_no_work_makes_a_session_outlive_its_cap(there: Trusting) -> None:
    session = there.session()
    with there.services.store.write() as tx:
        tx.run(sa.text(f"UPDATE sessions SET until = {there.clock.now + 2 * AT_MOST}"))
        tx.run(sa.text("UPDATE versions SET version = version + 1 WHERE name = 'sessions'"))
    there.services.keyring.refresh()
    there.clock.go(AT_MOST - 1)
    assert there.reads(session, "/v1/rollouts") == 200
    there.clock.go(1)
    assert there.reads(session, "/v1/rollouts") == 401


def test_a_renewal_is_written_now_and_then_and_never_for_each_event(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    fence = there.takes_lease(session, rollout)

    def until() -> float:
        return there.services.sessions.every()[0].until

    first = until()
    there.clock.go(RENEW_EVERY)
    there.tells(session, rollout, progress(rollout, fence))
    assert until() == first
    there.clock.go(1)
    there.tells(session, rollout, progress(rollout, fence))
    assert until() == there.clock.now + PLAN.lease + AFTER_LEASE


def test_another_replica_knows_of_a_session_and_of_its_end(
    there_each: Trusting, database_url: str, clock: Clock, issuer: FakeIssuer
) -> None:
    there = there_each
    settings = Settings(database_url=database_url, public_url=ORIGIN, oidc_issuer=issuer.url)
    other = assemble(settings, clock=clock)
    try:
        session = there.session()
        rollout = there.begin(session)
        other.steward.turn()
        caller = other.keyring.caller(session)
        assert caller is not None
        assert caller.grant is not None
        assert (caller.grant.rollout, caller.environment) == (rollout.id, "production")
        listed = there.call("GET", "/v1/sessions", role=Role.ADMIN).get_json()["sessions"]
        assert [one["grant"]["rollout"] for one in listed] == [rollout.id]
        ended = there.call("DELETE", f"/v1/sessions/{session[SELECTOR]}", role=Role.ADMIN)
        assert ended.status_code == 204
        other.steward.turn()
        assert other.keyring.caller(session) is None
        assert there.call("DELETE", f"/v1/sessions/{session[SELECTOR]}", role=Role.ADMIN).status_code == 404
    finally:
        other.store.close()


def test_what_one_replica_has_not_heard_yet_is_refused_by_the_database(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    there.services.keyring.refresh()
    with there.services.store.write() as tx:
        # As another replica would, without this one's having looked since.
        tx.run(sa.text(f"UPDATE sessions SET revoked_at = {there.clock.now}"))
    status, refused = there.tells(session, rollout, ABORT)
    assert (status, refused["error"]) == (401, "session_over")


def test_the_sessions_are_listed_and_ended_on_the_box(
    there: Trusting, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAGSERVER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("FLAGSERVER_LOG_LEVEL", "error")
    monkeypatch.setattr("flagserver.store.engine.Store.now", lambda _: there.clock.now)
    session = there.session()
    listed = CliRunner().invoke(cli, ["trust", "sessions"]).stdout
    assert listed.split()[:4] == [session[SELECTOR], there.policy, "production", "no"]
    assert session not in listed
    assert CliRunner().invoke(cli, ["trust", "end", session[SELECTOR]]).exit_code == 0
    there.services.keyring.refresh()
    assert there.reads(session, "/v1/rollouts") == 401
    assert CliRunner().invoke(cli, ["trust", "sessions"]).stdout == ""


def test_a_job_ends_its_own_session(there: Trusting) -> None:
    session = there.session()
    assert there.call("DELETE", "/v1/session", role=None, X_API_Key=session).status_code == 204
    assert there.reads(session, "/v1/rollouts") == 401
    assert there.call("DELETE", "/v1/session").status_code == 404, "a key is no session"


@pytest.mark.parametrize("change", ["PUT", "DELETE"])
def test_a_policy_that_changes_or_goes_ends_its_sessions(there: Trusting, change: str) -> None:
    session = there.session()
    body = {**POLICY, "flags": ["cart"]} if change == "PUT" else None
    assert there.call(change, f"/v1/trust/{there.policy}", body, role=Role.ADMIN).status_code in (200, 204)
    assert there.reads(session, "/v1/rollouts") == 401
    assert there.call("DELETE", "/v1/trust/tp_nothing", role=Role.ADMIN).get_json()["error"] == "policy_not_found"
    listed = there.call("GET", "/v1/trust", role=Role.ADMIN).get_json()["policies"]
    assert [one["policy"]["flags"] for one in listed] == ([["cart"]] if change == "PUT" else [])


def test_the_audit_log_names_the_job_and_the_history_too(there: Trusting) -> None:
    session = there.session()
    rollout = there.begin(session)
    there.tells(session, rollout, ABORT)
    job = "acme/shop run 4711 attempt 1 (push) by ada"
    lines = there.call("GET", "/v1/audit", role=Role.ADMIN).get_json()["entries"]
    said = {one["action"]: one for one in lines}
    assert said["trust.added"]["after"]["repository_id"] == "1"
    assert said["session.created"]["actor"] == job
    assert said["rollout.created"]["actor"].startswith(job)
    assert (said["rollout.created"]["key"], said["rollout.created"]["run"]) == (
        session[SELECTOR], "acme/shop/actions/runs/4711/attempts/1",
    )  # fmt: skip
    history = there.call("GET", f"/v1/rollouts/{rollout.id}/events").get_json()["entries"]
    assert {one["actor"] for one in history} == {job}


def test_no_secret_is_kept_or_said(there: Trusting, capsys: pytest.CaptureFixture[str], sqlite_url: str) -> None:
    tokens = [there.token(), there.token(aud="elsewhere"), there.token(repository_id="2")]
    session = there.session()
    answers = [there.exchange(token).text for token in tokens]
    there.begin(session)
    shown = [there.call("GET", path, role=Role.ADMIN).text for path in ("/v1/sessions", "/v1/audit", "/v1/trust")]
    shown += [repr(there.services.keyring.caller(session)), *answers[1:], "".join(capsys.readouterr())]
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as kept:
        shown.append("\n".join(kept.iterdump()))
    everything = "\n".join(shown)
    secrets: list[Any] = [session[24:], *(token.rpartition(".")[2] for token in tokens)]
    assert not [one for one in secrets if one in everything]
    assert re.search(r"rg_session_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", everything) is None
