"""What environments may not be called: the words that stand in their place in other paths; and what nothing is."""

from dataclasses import replace
from typing import Any

import pytest

from flagserver import wire
from flagserver.auth import Role
from flagserver.names import TAKEN
from flagserver.views import ROUTES
from tests.flagserver.dashboard.visitor import Visitor
from tests.flagserver.inside import PLAN, Clock, Inside, new_rollout
from tests.flagserver.trusting import POLICY

PLAIN = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}

WAYS: dict[str, tuple[str, str, Any]] = {
    "a flag": ("PUT", "/v1/locks/flags/shop", {"flag": PLAIN}),
    "a segment": ("PUT", "/v1/locks/segments/staff", {"users": ["ada"]}),
    "a key": ("POST", "/v1/keys", {"role": "sdk", "name": "x", "environment": "locks"}),
    "a trust policy": ("POST", "/v1/trust", {**POLICY, "environment": "locks"}),
}


def test_the_words_that_are_taken_are_those_of_the_routes() -> None:
    words = {route.path.split("/")[2] for route in ROUTES if route.path.startswith("/v1/")}
    assert {one for one in words if not one.startswith("{")} == TAKEN


@pytest.mark.parametrize("way", WAYS)
def test_no_environment_is_made_under_a_word_of_the_apis_own(inside: Inside, way: str) -> None:
    method, path, body = WAYS[way]
    reply = inside.call(method, path, body, role=Role.ADMIN)
    assert reply.status_code == 422, reply.text
    problems = reply.get_json()["problems"]
    assert [(one["path"], one["value"]) for one in problems] == [("environment", "'locks'")]
    assert "no path of the API's own: not audit, followers" in problems[0]["allowed"]


def test_no_rollout_begins_in_such_an_environment(inside: Inside) -> None:
    body = wire.NEW_ROLLOUT.dump_json(new_rollout(plan=replace(PLAN, environment="rollouts")))
    reply = inside.call("POST", "/v1/rollouts", body, role=Role.ADMIN)
    assert (reply.status_code, reply.get_json()["problems"][0]["path"]) == (422, "plan.environment")


NUL_PATHS = (
    "/v1/rollouts/%00", "/v1/rollouts?flag=%00", "/v1/production/flags/%00", "/v1/queue?flag=%00",
    "/v1/audit?actor=%00", "/v1/trust/%00", "/ui/rollouts/%00", "/ui/history?flag=%00",
)  # fmt: skip


def test_a_text_that_no_database_may_hold_is_refused_or_found_nowhere(postgres_url: str, clock: Clock) -> None:
    with Inside(postgres_url, clock) as inside:
        visitor = Visitor(inside)
        visitor.login(inside.keys[Role.ADMIN])
        for path in NUL_PATHS:
            pages = path.startswith("/ui")
            reply = visitor.get(path) if pages else inside.call("GET", path, role=Role.ADMIN)
            assert reply.status_code == 400, (path, reply.text)
        assert inside.call("DELETE", "/v1/keys/%00", role=Role.ADMIN).status_code == 400
