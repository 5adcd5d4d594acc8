"""The Action without a stored key: by its job's token it releases, is cut off, comes back, and is aborted."""

import re
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from rampgate.machine.state import Phase, Reason
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.process import FlagServer, bearer
from tests.scenarios.action import REPOSITORY, Run, Shop
from tests.scenarios.action import shop as open_shop
from tests.scenarios.waiting import until, until_rollout

POLICY = {
    "environment": "production",
    "flags": ["*"],
    "repository": REPOSITORY,
    "repository_id": "1",
    "owner_id": "7",
    "workflows": [".github/workflows/release.yml"],
    "job_environments": ["production"],
}


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


def free_port() -> int:
    """A port that was free a moment ago: the server must know its own address before it listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def trusting(tmp_path: Path, issuer: FakeIssuer) -> Iterator[Shop]:
    """A shop whose flag server trusts its jobs."""
    port = free_port()
    settings = {"public_url": f"http://127.0.0.1:{port}", "oidc_issuer": issuer.url, "log_level": "info"}
    with FlagServer(tmp_path, port=port, **settings) as server, open_shop(tmp_path, server) as shop:
        made = requests.post(f"{server.url}/v1/trust", json=POLICY, headers=bearer(server.admin_key), timeout=20)
        assert made.status_code == 201, made.text
        yield shop


def without_a_key(shop: Shop, event_name: str, event: Mapping[str, object], *arguments: str, **environ: str) -> Run:
    inputs = {"flag-server-key": "", "version": "v2"}
    return shop.run(event_name, event, *arguments, inputs=inputs, environ=environ)


def end_sessions(shop: Shop) -> None:
    admin = bearer(shop.server.admin_key)
    listed = requests.get(f"{shop.server.url}/v1/sessions", headers=admin, timeout=20).json()["sessions"]
    for one in listed:
        requests.delete(f"{shop.server.url}/v1/sessions/{one['selector']}", headers=admin, timeout=20)


def test_a_release_by_the_jobs_own_token_survives_its_session_and_obeys_an_abort(
    trusting: Shop, issuer: FakeIssuer
) -> None:
    shop = trusting
    shop.configure(steps=[{"share": 10, "bake": "10m"}, {"share": 100, "bake": "10m"}])
    run = without_a_key(shop, "push", {"ref": "refs/heads/main"}, **issuer.environ)
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    assert len(issuer.issued) == 1

    end_sessions(shop)
    until(lambda: len(issuer.issued) == 2)
    looked = len(shop.entries())
    until(lambda: len(shop.entries()) > looked)
    assert shop.api.rollout(rollout.id).state.phase is Phase.PROGRESSING

    issuer.job |= {"environment": None, "event_name": "issue_comment", "run_id": "4712"}
    comment = without_a_key(shop, "issue_comment", shop.say("/abort it is bad"), **issuer.environ)
    assert comment.code() == 0, comment.log
    assert comment.outputs["decision"] == "obeyed"
    assert run.code() == 1, run.log
    assert run.outputs["reason"] == "aborted"
    assert shop.api.rollout(rollout.id).state.phase is Phase.REVERTED

    state = {f"STATE_{name}": value for name, value in run.state.items()}
    post = without_a_key(shop, "push", {"ref": "refs/heads/main"}, "post", **issuer.environ, **state)
    assert post.code() == 0, post.log

    actors = {one.actor for one in shop.entries() if one.actor != "clock"}
    assert actors == {
        "acme/shop run 4711 attempt 1 (push) by ada", "acme/shop run 4712 attempt 1 (issue_comment) by ada",
    }  # fmt: skip
    check_nothing_leaked(shop, issuer, run, comment, post)


def test_a_pull_requests_own_token_gets_its_forecast_and_without_a_policy_a_word(
    trusting: Shop, issuer: FakeIssuer
) -> None:
    shop = trusting
    shop.configure(metrics=[{"errors": "flagserver"}])
    head = {"sha": f"{shop.number:039x}f", "repo": {"id": 1}}
    event = {"action": "opened", "pull_request": {"number": shop.number, "head": head}}
    file = ".github/workflows/rampgate-check.yml"
    issuer.job |= {
        "environment": None, "event_name": "pull_request", "ref": "refs/pull/7/merge",
        "workflow_ref": f"{REPOSITORY}/{file}@refs/pull/7/merge",
    }  # fmt: skip

    untrusted = without_a_key(shop, "pull_request", event, **issuer.environ)
    assert untrusted.code() == 0, untrusted.log
    assert "No trust policy admits this job" in untrusted.log
    assert shop.bodies() == []

    policy = {key: value for key, value in POLICY.items() if key != "job_environments"}
    policy |= {"role": "forecast", "events": ["pull_request"], "refs": ["refs/pull/*"], "workflows": [file]}
    admin = bearer(shop.server.admin_key)
    assert requests.post(f"{shop.server.url}/v1/trust", json=policy, headers=admin, timeout=20).status_code == 201
    slots = {"stable": {"name": "blue", "version": "v1"}, "idle": {"name": "green", "version": None}}
    flag = f"{shop.server.url}/v1/production/flags/{shop.flag}"
    made = requests.put(flag, json={"kind": "rollout", "slots": slots}, headers=bearer(shop.key), timeout=20)
    assert made.status_code == 201, made.text

    run = without_a_key(shop, "pull_request", event, **issuer.environ)

    assert run.code() == 0, run.log
    (told,) = shop.bodies()
    assert "dark → 10 % → 50 % → 100 %" in told
    assert f"the apps have counted nothing of {shop.flag}" in told
    check_nothing_leaked(shop, issuer, run, untrusted)


def test_a_sweep_by_its_jobs_own_token_undoes_what_a_killed_job_has_left(trusting: Shop, issuer: FakeIssuer) -> None:
    shop = trusting
    shop.configure(steps=[{"share": 10, "bake": "10m"}, {"share": 100, "bake": "10m"}])
    run = without_a_key(shop, "push", {"ref": "refs/heads/main"}, **issuer.environ)
    rollout = until_rollout(shop.api, shop.rollout().id, lambda one: one.share > 0)
    run.signal(signal.SIGKILL)
    run.code()
    until_rollout(shop.api, rollout.id, lambda one: one.state.needs_hands)

    # As GitHub does: a schedule's job in no environment, on the default branch.
    issuer.job |= {"environment": None, "event_name": "schedule", "run_id": "4713"}
    swept = without_a_key(shop, "schedule", {"schedule": "*/5 * * * *"}, **issuer.environ)

    assert swept.code() == 0, swept.log
    assert "1 rollout waited for hands" in swept.log
    assert (swept.outputs["decision"], swept.outputs["reason"]) == ("nothing", "swept")
    ended = shop.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.GATE_LOST, ())
    assert shop.room.running == {"blue": "v1"}
    assert "acme/shop run 4713 attempt 1 (schedule) by ada" in {one.actor for one in shop.entries()}
    check_nothing_leaked(shop, issuer, run, swept)


def check_nothing_leaked(shop: Shop, issuer: FakeIssuer, *runs: Run) -> None:
    """Tokens and sessions stand in no file of a run but where they are masked, and nowhere on the server."""
    signatures = [token.rpartition(".")[2] for token in issuer.issued]
    for run in runs:
        shown = "\n".join(line for line in run.log.splitlines() if not line.startswith("::add-mask::"))
        shown += "".join((run.folder / name).read_text() for name in ("output", "state", "summary.md"))
        assert not [one for one in (*signatures, issuer.request_token) if one in shown]
        assert re.search(r"rg_session_\w{12}_", shown) is None
    server = shop.server.log + "".join(
        requests.get(f"{shop.server.url}{path}", headers=bearer(shop.server.admin_key), timeout=20).text
        for path in ("/v1/audit?limit=1000", "/v1/sessions")
    )
    assert not [one for one in signatures if one in server]
    assert re.search(r"rg_session_\w{12}_[\w-]{43}", server) is None
    assert shop.token not in server
    sent = [one for exchange in shop.github.exchanges for one in exchange.headers.values()]
    assert not [one for one in signatures if one in "".join(sent)]


def test_a_job_without_the_permission_is_told_so_before_anything_begins(trusting: Shop) -> None:
    run = without_a_key(trusting, "push", {"ref": "refs/heads/main"})
    assert run.code() == 2
    assert "permissions: id-token: write" in run.log
    assert trusting.api.find(flag=trusting.flag) == ()
