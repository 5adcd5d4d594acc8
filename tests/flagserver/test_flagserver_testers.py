"""Testers: a signed, expiring token forces its holder onto an arm while its slot is up, at 0 % too. Nothing counts."""

from dataclasses import replace
from typing import Any

import pytest

from flagserver.app import create_app
from flagserver.auth import Role
from rampgate.evidence import ArmName
from rampgate.forcing import NAME, Token, mint, new_key
from rampgate.machine.events import Deployed, Verified
from rampgate.machine.state import ActionKind, Order
from tests.flagserver.inside import PLAN, Inside, new_rollout

ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)
ONE = "/ofrep/v1/evaluate/flags/shop"
ALL = "/ofrep/v1/evaluate/flags"


def token(server: Inside, **wanted: object) -> str:
    reply = server.call("POST", "/v1/production/flags/shop/tester-tokens", wanted)
    assert reply.status_code == 201, reply.text
    made = reply.get_json()
    assert made["query"] == f"rampgate-force={made['token']}"
    return str(made["token"])


def answered(server: Inside, text: str = "", *, by: str = "header", user: str = "tester-7") -> dict[str, Any]:
    attributes = {NAME: text} if by == "context" else {}
    headers = {"Rampgate_Force": text} if by == "header" else {}
    body = {"context": {"targetingKey": user, **attributes}}
    found: dict[str, Any] = server.call("POST", ONE, body, role=Role.SDK, **headers).get_json()
    return found


@ON_EACH_DATABASE
@pytest.mark.parametrize("by", ["header", "context"])
def test_a_tester_visits_the_dark_version_once_it_is_deployed_and_until_it_is_taken_away(
    server: Inside, by: str
) -> None:
    rollout = server.create(new_rollout())
    text = token(server)
    fence = server.attach(rollout)

    def variant() -> str:
        found = answered(server, text, by=by)
        assert answered(server)["variant"] == "blue", "everybody else is on stable"
        visiting = found["metadata"].get("forced") == "canary"
        assert visiting is (found["variant"] == "green")
        assert found["metadata"]["counted"] is not visiting
        return str(found["variant"])

    assert variant() == "blue", "while it deploys there is nothing to visit"
    server.say(rollout, Deployed(fence=fence, action=server.action(rollout, ActionKind.DEPLOY)))
    assert variant() == "green", "while it is verified testers look at it, too"
    server.say(rollout, Verified(fence=fence, action=server.action(rollout, ActionKind.VERIFY)))
    assert variant() == "green", "in the dark"
    server.tell(rollout, Order.REVERT)
    assert variant() == "blue", "from a revert on its slot is taken away"


@pytest.mark.parametrize("by", ["Rampgate_Force", "Cookie"])
def test_behind_a_proxy_a_tester_is_sent_to_the_dark_pool(server: Inside, by: str) -> None:
    server.client = create_app(server.services).test_client(use_cookies=False)
    server.to_step(server.create(new_rollout()), 0)
    text = token(server)
    carried = f"rampgate-user=ada; {NAME}={text}" if by == "Cookie" else text

    def pool(**headers: str) -> tuple[str, str]:
        path = "/edge/v1/decide?flag=shop&user=header:x-user"
        reply = server.call("GET", path, role=Role.SDK, X_User="ada", **headers)
        return reply.headers["Rampgate-Variant"], reply.headers["Rampgate-Counted"]

    assert pool() == ("blue", "true")
    assert pool(**{by: carried}) == ("green", "false")


def test_a_lapsed_lease_ends_visits_before_it_is_recorded(server: Inside) -> None:
    rollout = server.create(new_rollout())
    text = token(server)
    server.to_step(rollout, 0)
    assert answered(server, text)["variant"] == "green"
    server.clock.go(PLAN.lease + 0.001)
    assert answered(server, text)["variant"] == "blue"
    assert "forceKey" not in server.snapshot()["rollouts"]["shop"]


def test_a_tester_may_stay_on_stable_while_others_widen(server: Inside) -> None:
    rollout = server.create(new_rollout(plan=replace(PLAN, steps=PLAN.steps[1:])))
    text = token(server, arm="stable")
    server.to_step(rollout)
    found = answered(server, text, user="ada")
    assert (found["variant"], found["metadata"]["forced"]) == ("blue", "stable")


def test_a_token_ends_at_its_moment_and_says_so(server: Inside) -> None:
    rollout = server.create(new_rollout(plan=replace(PLAN, lease=600, stale_after=600, scale_down_delay=1200)))
    text = token(server, seconds=60)
    server.to_step(rollout, 0)
    server.clock.go(59)
    assert answered(server, text)["variant"] == "green"
    server.clock.go(1)
    found = answered(server, text)
    assert (found["variant"], found["metadata"]["force"]) == ("blue", "ignored: the token has expired")


def test_what_is_no_token_of_this_environment_is_ignored_and_says_so(server: Inside) -> None:
    server.to_step(server.create(new_rollout()), 0)
    text = token(server)
    for odd in ("hello", text[:-2] + "zz", text.replace("rgf1", "rgf2")):
        found = answered(server, odd)
        assert found["variant"] == "blue"
        assert found["metadata"]["force"].startswith("ignored: the token is not one of this environment")


def test_of_a_flag_in_no_rollout_a_token_forces_nothing(server: Inside) -> None:
    rollout = server.create(new_rollout())
    text = token(server)
    server.tell(rollout, Order.REVERT)
    found = answered(server, text)
    assert (found["variant"], found["metadata"]["force"]) == ("blue", "ignored: no rollout has a new version up")


def test_revoking_makes_every_token_worthless_and_new_ones_good(server: Inside) -> None:
    server.to_step(server.create(new_rollout()), 0)
    old = token(server)
    assert server.call("DELETE", "/v1/production/tester-tokens").status_code == 204
    assert answered(server, old)["variant"] == "blue"
    assert answered(server, token(server))["variant"] == "green"
    lines = server.call("GET", "/v1/audit?action=tester_token", role=Role.ADMIN).get_json()["entries"]
    assert [one["action"] for one in lines] == [
        "tester_token.made", "tester_token.all_revoked", "tester_token.made",
    ]  # fmt: skip
    assert old not in str(lines)


def test_the_tag_of_all_flags_covers_the_token_and_its_end(server: Inside) -> None:
    server.to_step(server.create(new_rollout(plan=replace(PLAN, lease=600, stale_after=600, scale_down_delay=1200))), 0)
    text = token(server, seconds=60)
    body = {"context": {"targetingKey": "tester-7"}}

    def tag(**headers: str) -> str:
        reply = server.call("POST", ALL, body, role=Role.SDK, **headers)
        assert (
            server.call("POST", ALL, body, role=Role.SDK, If_None_Match=reply.headers["ETag"], **headers).status_code
            == 304
        )
        return str(reply.headers["ETag"])

    forced = tag(Rampgate_Force=text)
    assert forced != tag()
    assert forced == tag(Rampgate_Force=text)
    server.clock.go(60)
    assert forced != tag(Rampgate_Force=text)


def test_the_key_is_in_the_snapshot_while_there_is_something_to_visit_and_in_no_other_answer(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.to_step(rollout, 0)
    assert "forceKey" not in server.snapshot()["rollouts"]["shop"], "nobody has asked for a token yet"
    token(server)
    key = server.snapshot()["rollouts"]["shop"]["forceKey"]
    assert len(key) == 64
    for path in ("/v1/production/flags/shop", f"/v1/rollouts/{rollout.id}", "/v1/production/flags"):
        assert key not in server.call("GET", path, role=Role.ADMIN).text
    assert key not in server.call("GET", "/v1/audit", role=Role.ADMIN).text
    assert key not in server.call("POST", ALL, {"context": {"targetingKey": "a"}}, role=Role.SDK).text


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        ({"seconds": 59}, ["seconds"]), ({"seconds": 2_592_001}, ["seconds"]), ({"arm": "green"}, ["arm"]),
        ({"seconds": 1, "why": ""}, ["seconds", "why"]), ({"flag": "x"}, ["flag"]),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_is_refused(server: Inside, wanted: object, paths: list[str]) -> None:
    server.create(new_rollout())
    reply = server.call("POST", "/v1/production/flags/shop/tester-tokens", wanted)
    assert reply.status_code == 422
    assert [one["path"] for one in reply.get_json()["problems"]] == paths


def test_tokens_are_for_flags_with_arms_and_made_by_operators(server: Inside) -> None:
    path = "/v1/production/flags/{}/tester-tokens"
    plain = {"flag": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}
    server.call("PUT", "/v1/production/flags/plain", plain)
    assert server.call("POST", path.format("plain"), {}).get_json()["error"] == "kind_differs"
    assert server.call("POST", path.format("none"), {}).status_code == 404
    assert server.call("POST", path.format("plain"), {}, role=Role.SDK).status_code == 403
    assert server.call("DELETE", "/v1/production/tester-tokens", role=Role.SDK).status_code == 403


def test_a_key_of_another_environment_signs_nothing_here(server: Inside) -> None:
    server.to_step(server.create(new_rollout()), 0)
    token(server)
    forged = Token(environment="production", flag="shop", arm=ArmName.CANARY, expires=server.clock.now + 60, id="x")
    assert answered(server, mint(forged, new_key()))["variant"] == "blue"


def test_a_preview_says_who_is_in_and_from_which_share_on(server: Inside) -> None:
    rollout = server.create(new_rollout())
    server.call("PUT", "/v1/production/flags/shop/lists", {"canary": {"users": ["ada"]}})
    asked = {"users": ["ada", *(f"user-{number}" for number in range(200))]}
    path = "/v1/production/flags/shop/cohort"
    server.to_step(rollout)
    found = server.call("POST", path, asked, role=Role.SDK).get_json()
    assert {name: found[name] for name in ("flag", "rollout", "salt", "share")} == {
        "flag": "shop", "rollout": rollout.id, "salt": rollout.id, "share": 10_000,
    }  # fmt: skip
    ada, *others = found["users"]
    assert (ada["variant"], ada["why"]) == ("green", "listed")
    for one in others:
        assert one["why"] == "share"
        assert (one["variant"] == "green") is (one["from"] <= 10_000)
        assert answered(server, user=one["user"])["variant"] == one["variant"]
    assert any(one["variant"] == "green" for one in others)
    asking = server.call("POST", path, {**asked, "salt": "spring"}, role=Role.SDK).get_json()
    assert (asking["salt"], {one["variant"] for one in asking["users"]}) == ("spring", {None})
    assert [one["from"] for one in asking["users"]] != [one["from"] for one in found["users"]]


def test_without_a_rollout_a_preview_says_what_everybody_gets(server: Inside) -> None:
    plain = {"flag": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}
    server.call("PUT", "/v1/production/flags/plain", plain)
    found = server.call("POST", "/v1/production/flags/plain/cohort", {"users": ["ada"]}).get_json()
    assert found["users"] == [{"user": "ada", "variant": "a", "from": None, "why": "no_rollout"}]
    assert server.call("POST", "/v1/production/flags/none/cohort", {"users": ["ada"]}).status_code == 404
    for body in ({"users": ["x"] * 1001}, {"users": ["a"], "salt": "no salt"}, {"users": [""]}):
        assert server.call("POST", "/v1/production/flags/plain/cohort", body).status_code == 422
