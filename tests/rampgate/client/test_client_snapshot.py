"""Snapshots: how one follows on another, and that a lookup itself sees that it is too old."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.bucketing import first_share
from rampgate.client.answers import answer
from rampgate.client.counts import Counts
from rampgate.client.snapshot import NOTHING, Snapshot, UnreadableSnapshotError
from rampgate.client.workshop import Workshop
from rampgate.evaluation import ErrorCode, Reason
from rampgate.flags import ValueType
from tests.rampgate.client.scripted import document, plain, ramp, ramping

USERS = [f"user-{number}" for number in range(300)]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def workshop(clock: Clock, counts: Counts | None = None) -> Workshop:
    return Workshop(clock=clock, counts=counts)


def exposures(counts: Counts) -> dict[str, int]:
    return {str(entry["variant"]): int(str(entry["exposures"])) for entry in counts.drain()[0]}


@given(st.integers(1, 99_999))
def test_a_ramping_flag_gives_each_user_the_slot_of_the_hash(share: int) -> None:
    clock = Clock()
    snapshot = workshop(clock).from_document(document({"shop": ramping(share)}, {"shop": ramp()}), clock.now, NOTHING)
    for user in USERS[:50]:
        expected = "green" if first_share("shop", user) <= share else "blue"
        assert snapshot.strings["shop"](user) == expected


@pytest.mark.parametrize("counted", [True, False])
def test_a_flag_in_a_rollout_is_stable_once_contact_is_older_than_its_bound_and_others_keep_their_value(
    counted: bool,
) -> None:
    clock, counts = Clock(), Counts()
    flags = {"shop": ramping(99_999), "other": ramping(99_999), "plain": plain()}
    made = workshop(clock, counts if counted else None)
    snapshot = made.from_document(document(flags, {"shop": ramp(staleAfter=60.0)}), clock.now, NOTHING)
    clock.now += 60.0
    assert {snapshot.strings["shop"](user) for user in USERS} == {"green"}
    clock.now += 0.001
    assert {snapshot.strings["shop"](user) for user in USERS} == {"blue"}
    assert {snapshot.strings["other"](user) for user in USERS} == {"green"}
    assert snapshot.booleans["plain"]("anybody") is True
    found = answer(snapshot, "shop", "somebody", None, clock.now)
    assert (found.resolution.value, found.resolution.reason, found.counted) == ("blue", Reason.STALE, False)
    snapshot.as_of[0] = clock.now
    assert {snapshot.strings["shop"](user) for user in USERS} == {"green"}
    assert exposures(counts) == ({"green": 2 * len(USERS)} if counted else {})


def test_a_stale_answer_is_not_counted_and_a_fresh_one_once() -> None:
    clock, counts = Clock(), Counts()
    snapshot = workshop(clock, counts).from_document(
        document({"shop": ramping(50_000)}, {"shop": ramp()}), clock.now, NOTHING
    )
    seen = [snapshot.strings["shop"](user) for user in USERS]
    clock.now += 61
    for user in USERS:
        snapshot.strings["shop"](user)
    assert exposures(counts) == {"green": seen.count("green"), "blue": seen.count("blue")}


def test_a_release_flag_turns_off_when_it_is_stale() -> None:
    clock = Clock()
    flag = {"state": "ENABLED", "variants": {"off": False, "on": True}, "defaultVariant": "on"}
    rollouts = {"new": ramp(stable="off", canary="on", staleAfter=10.0)}
    snapshot = workshop(clock).from_document(document({"new": flag}, rollouts), clock.now, NOTHING)
    assert snapshot.booleans["new"]("u") is True
    clock.now += 11
    assert snapshot.booleans["new"]("u") is False


def test_a_change_replaces_what_it_names_and_keeps_the_rest() -> None:
    clock = Clock()
    made = workshop(clock)
    first = made.from_document(document({"a": plain(), "b": plain(), "c": plain()}), 1.0, NOTHING)
    change = {"version": "v2", "previous": "v1", "flags": {"b": plain(False)}, "removed": ["c", "no"], "rollouts": {}}
    second = made.from_change(change, 2.0, first)
    assert sorted(second.entries) == ["a", "b"]
    assert (second.booleans["a"]("u"), second.booleans["b"]("u")) == (True, False)
    assert second.entries["a"].compiled is first.entries["a"].compiled
    assert (second.version, second.as_of[0]) == ("v2", 2.0)
    assert sorted(first.entries) == ["a", "b", "c"]
    assert first.booleans["b"]("u") is True


@pytest.mark.parametrize("way", ["document", "change"])
def test_a_flag_that_cannot_be_read_keeps_its_last_good_version(way: str) -> None:
    made = workshop(Clock())
    first = made.from_document(document({"a": plain(), "b": plain()}), 1.0, NOTHING)
    bad = {"a": {"state": "MAYBE"}, "b": plain(False), "new": {"state": 7}}
    if way == "document":
        second = made.from_document(document(bad, version="v2"), 2.0, first)
    else:
        second = made.from_change({"version": "v2", "flags": bad, "rollouts": {}}, 2.0, first)
    assert (second.booleans["a"]("u"), second.booleans["b"]("u")) == (True, False)
    assert "new" not in second.entries


def test_a_rollout_that_ends_frees_its_flag_from_the_clock() -> None:
    clock = Clock()
    made = workshop(clock)
    first = made.from_document(document({"shop": ramping(99_999)}, {"shop": ramp()}), clock.now, NOTHING)
    second = made.from_change({"version": "v2", "flags": {}, "rollouts": {}}, clock.now, first)
    clock.now += 1e6
    assert first.strings["shop"]("u") == "blue"
    assert second.strings["shop"]("u") == "green"
    assert second.poll is None


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "text",
        {},
        {"version": 3, "flags": {}},
        {"version": "v", "flags": []},
        {"version": "v", "flags": {}, "bucketing": "v3"},
        {"version": "v", "flags": {}, "rollouts": []},
        {"version": "v", "flags": {}, "rollouts": {"shop": 1}},
        {"version": "v", "flags": {}, "rollouts": {"shop": {}}},
        {"version": "v", "flags": {}, "rollouts": {"shop": ramp(staleAfter="soon")}},
        {"version": "v", "flags": {}, "rollouts": {"shop": ramp(staleAfter=0)}},
        {"version": "v", "flags": {}, "rollouts": {"shop": ramp(poll=float("nan"))}},
    ],
)
def test_what_is_no_snapshot_is_refused(broken: Any) -> None:
    with pytest.raises(UnreadableSnapshotError):
        workshop(Clock()).from_document(broken, 1.0, NOTHING)


def test_the_shortest_wish_of_any_rollout_counts() -> None:
    rollouts = {"a": ramp(heartbeat=5.0, poll=20.0, staleAfter=40.0), "b": ramp(heartbeat=9.0, poll=6.0)}
    snapshot = workshop(Clock()).from_document(document({}, rollouts), 1.0, NOTHING)
    assert (snapshot.heartbeat, snapshot.poll, snapshot.patience) == (5.0, 6.0, 40.0)
    assert (NOTHING.heartbeat, NOTHING.poll, NOTHING.patience) == (15.0, None, 60.0)


def _answers() -> Snapshot:
    rule = {"if": [{"==": [{"var": "plan"}, "gold"]}, "on", None]}
    flags = {
        "gold": {**plain(False), "targeting": rule},
        "off": {**plain(), "state": "DISABLED"},
        "no-default": {"state": "ENABLED", "variants": {"on": True}},
        "shop": ramping(50_000),
    }
    return workshop(Clock()).from_document(document(flags, {"shop": ramp()}), 1000.0, NOTHING)


@pytest.mark.parametrize(
    ("flag", "user", "value", "reason", "counted"),
    [
        ("gold", {"targetingKey": "u", "plan": "gold"}, True, Reason.TARGETING_MATCH, True),
        ("gold", {"plan": "tin"}, False, Reason.DEFAULT, False),
        ("gold", None, False, Reason.DEFAULT, False),
        ("off", "u", None, Reason.DISABLED, False),
        ("no-default", "u", None, Reason.DEFAULT, False),
    ],
)
def test_reasons_say_why_and_only_evidence_is_counted(
    flag: str, user: object, value: object, reason: Reason, counted: bool
) -> None:
    found = answer(_answers(), flag, user, None, 1000.0)
    assert (found.resolution.value, found.resolution.reason, found.counted) == (value, reason, counted)


@pytest.mark.parametrize(
    ("flag", "user", "wanted", "code"),
    [
        ("nope", "u", None, ErrorCode.FLAG_NOT_FOUND),
        ("shop", "u", ValueType.BOOLEAN, ErrorCode.TYPE_MISMATCH),
        ("shop", 7, None, ErrorCode.INVALID_CONTEXT),
        (["shop"], "u", None, ErrorCode.GENERAL),
    ],
)
def test_what_goes_wrong_is_an_answer(flag: Any, user: object, wanted: ValueType | None, code: ErrorCode) -> None:
    found = answer(_answers(), flag, user, wanted, 1000.0)
    assert (found.resolution.error_code, found.resolution.value, found.counted) == (code, None, False)


def test_before_the_first_contact_the_answer_says_so() -> None:
    assert answer(NOTHING, "shop", "u", None, 0.0).resolution.error_code is ErrorCode.PROVIDER_NOT_READY
