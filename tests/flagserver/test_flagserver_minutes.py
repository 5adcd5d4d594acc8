"""What apps counted, minute by minute, as forecasts and simulations read it."""

import json
from typing import Any

from flagserver.auth import Role
from tests.flagserver.inside import Inside, new_rollout


def count(server: Inside, batch: str, *counts: dict[str, Any]) -> None:
    body = {"batch": batch, "client": "web", "sent_at": server.clock.now, "counts": counts}
    assert server.call("POST", "/v1/telemetry", body, role=Role.SDK).get_json() == {"applied": True}


def minutes(server: Inside, query: str = "", path: str = "/v1/production/flags/shop/telemetry") -> dict[str, Any]:
    reply = server.call("GET", f"{path}?{query}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.get_json()
    return found


def test_each_whole_minute_is_told_by_variant_and_never_changes(server: Inside) -> None:
    server.clock.now -= server.clock.now % 60
    rollout = server.create(new_rollout())
    began = server.clock.now
    mine = {"flag": "shop", "rollout": rollout.id, "attempt": 1}
    count(server, "1", {**mine, "variant": "green", "requests": 4, "errors": 1, "exposures": 4})
    count(server, "2", {**mine, "variant": "blue", "requests": 9}, {"flag": "shop", "variant": "blue", "requests": 2})
    assert minutes(server) == {"minutes": [], "next": None}
    server.clock.go(60.0)
    count(server, "3", {**mine, "variant": "green", "requests": 5})
    found = minutes(server)["minutes"]
    told = [(one["at"], one["rollout"], one["variant"], one["requests"], one["errors"]) for one in found]
    assert told == [
        (began, None, "blue", 2, 0), (began, rollout.id, "blue", 9, 0), (began, rollout.id, "green", 4, 1),
    ]  # fmt: skip
    assert found[1]["active_users"] is None
    of_rollout = minutes(server, path=f"/v1/rollouts/{rollout.id}/telemetry/minutes")["minutes"]
    assert [one["variant"] for one in of_rollout] == ["blue", "green"]


def test_minutes_are_paged_by_whole_minutes_and_exported_as_lines(server: Inside) -> None:
    server.create(new_rollout())
    for number in range(4):
        count(server, str(number), *({"flag": "shop", "variant": one, "requests": number} for one in ("blue", "green")))
        server.clock.go(60.0)
    first = minutes(server, "limit=3")
    assert len(first["minutes"]) == 6
    rest = minutes(server, f"since={first['next']}")
    assert ([one["requests"] for one in rest["minutes"]], rest["next"]) == ([3, 3], None)
    assert minutes(server, f"until={first['next']}")["minutes"] == first["minutes"]
    lines = server.call("GET", "/v1/production/flags/shop/telemetry", Accept="application/x-ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == [*first["minutes"], *rest["minutes"]]


def test_a_flag_that_does_not_exist_has_no_minutes(server: Inside) -> None:
    reply = server.call("GET", "/v1/production/flags/nothing/telemetry")
    assert (reply.status_code, reply.get_json()["error"]) == (404, "flag_not_found")
    for query in ("since=x", "until=-1", "since=nan", "limit=0"):
        assert server.call("GET", f"/v1/production/flags/shop/telemetry?{query}").status_code == 400
