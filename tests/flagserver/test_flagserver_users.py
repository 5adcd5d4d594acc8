"""Distinct users: united over processes, by minute; absent where somebody could not say, and never too few."""

import math
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagserver.auth import Role
from flagserver.store.users import MOST_AFFECTED, REGISTERS, estimate
from rampgate.client.users import Users, hashed, register
from rampgate.rollout import Rollout
from tests.flagserver.inside import Inside, new_rollout

KEY = "the key of a rollout"
_ids = count()


def sketch(users: Iterable[str]) -> bytes:
    registers = bytearray(REGISTERS)
    for user in users:
        word = register(hashed(user, KEY))
        registers[word >> 4] = max(registers[word >> 4], word & 15)
    return bytes(registers)


def report(requests: Iterable[tuple[str, bool]]) -> Mapping[str, Any] | None:
    """What a client says of these requests: a user each, and whether it went well."""
    users = Users(KEY)
    for user, ok in requests:
        users.add(user, ok)
    return users.drain()


def post(inside: Inside, rollout: Rollout, users: object, variant: str = "green", requests: int = 5) -> None:
    one = {"flag": "shop", "rollout": rollout.id, "attempt": 1, "variant": variant, "requests": requests}
    body = {"batch": f"b{next(_ids)}", "client": "app", "sent_at": 1.0, "counts": [one | {"users": users}]}
    reply = inside.call("POST", "/v1/telemetry", body, role=Role.SDK)
    assert reply.get_json() == {"applied": True}, reply.text


def counted(inside: Inside, rollout: Rollout, arm: str = "canary") -> tuple[int | None, int | None]:
    found = inside.call("GET", f"/v1/rollouts/{rollout.id}/telemetry").get_json()[arm]
    return found["active_users"], found["affected_users"]


@pytest.mark.parametrize("users", [0, 1, 10, 300, 5_000, 40_000])
def test_a_sketch_is_right_to_a_few_percent(users: int) -> None:
    found = estimate(sketch(f"user-{number}" for number in range(users)))
    assert abs(found - users) <= 5 * 1.04 / math.sqrt(REGISTERS) * users


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=60), st.lists(st.text(max_size=8), max_size=60))
def test_more_users_never_make_a_smaller_estimate_and_the_same_ones_change_nothing(
    first: list[str], second: list[str]
) -> None:
    assert estimate(sketch(first)) <= estimate(sketch(first + second))
    assert sketch(first + second) == sketch(second + first + first)


def test_several_processes_count_a_user_once(inside_each: Inside) -> None:
    rollout = inside_each.create(new_rollout())
    for _ in range(8):
        post(inside_each, rollout, report([("storm", False)] * 100 + [("storm", True), ("calm", True)]))
    assert counted(inside_each, rollout) == (2, 1)
    assert counted(inside_each, rollout, "stable") == (0, 0)


def test_each_minute_counts_its_users_anew_and_their_sum_only_rises(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    before = (0, 0)
    for minute in range(4):
        post(inside, rollout, report([("a", True), ("b", False)]))
        post(inside, rollout, report([("b", False)]))
        now = counted(inside, rollout)
        assert now == (2 * (minute + 1), minute + 1)
        assert now > before
        before = now
        inside.clock.go(60)


@pytest.mark.parametrize(
    "users",
    [None, {"active": "", "affected": None}],
    ids=["a client that knows no users", "a client that had too many"],
)
def test_one_client_that_cannot_say_makes_the_figures_of_that_arm_absent(inside: Inside, users: object) -> None:
    rollout = inside.create(new_rollout())
    post(inside, rollout, report([("a", False)]))
    post(inside, rollout, report([("a", False)]), variant="blue")
    post(inside, rollout, users)
    inside.clock.go(120)
    post(inside, rollout, report([("a", False)]))
    assert counted(inside, rollout) == (None, None)
    assert counted(inside, rollout, "stable") == (1, 1)


def test_exposures_alone_say_nothing_of_users(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    post(inside, rollout, None, requests=0)
    assert counted(inside, rollout) == (0, 0)


def test_above_the_cap_the_figure_is_absent(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    for part in range(MOST_AFFECTED // 4000 + 1):
        assert counted(inside, rollout)[1] == part * 4000
        post(inside, rollout, report((f"{part}-{number}", False) for number in range(4000)))
    assert counted(inside, rollout) == (None, None)


def test_a_client_leaves_out_more_users_than_a_report_can_hold() -> None:
    found = report((str(number), False) for number in range(4098))
    assert found is not None
    assert found["affected"] is None


@pytest.mark.parametrize(
    "users",
    [
        {"active": "?", "affected": ""},
        {"active": "AAA=", "affected": ""},
        {"active": "", "affected": "AAAA"},
        {"active": "AAAAAAAA", "affected": "", "names": ["ada"]},
    ],
    ids=["no base64", "no rank", "half a hash", "unknown field"],
)
def test_users_that_cannot_be_read_are_refused(inside: Inside, users: object) -> None:
    rollout = inside.create(new_rollout())
    one = {"flag": "shop", "rollout": rollout.id, "attempt": 1, "variant": "green", "requests": 5, "users": users}
    body = {"batch": "b", "client": "app", "sent_at": 1.0, "counts": [one]}
    assert inside.call("POST", "/v1/telemetry", body, role=Role.SDK).status_code == 422


def test_a_rollout_has_a_key_of_its_own_which_only_its_snapshot_tells(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    key = inside.snapshot()["rollouts"]["shop"]["hashKey"]
    assert len(key) == 32
    assert key not in inside.call("GET", f"/v1/rollouts/{rollout.id}").text


def test_a_hash_depends_on_the_key() -> None:
    assert hashed("ada", "one") != hashed("ada", "two")
    assert 0 <= hashed("\ud800", "one") < 2**64
