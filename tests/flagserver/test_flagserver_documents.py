"""Environments as documents: out, and in again somewhere else, with all that flagd does not know of them."""

import json
from typing import Any

import pytest

from flagserver.auth import Role
from flagserver.errors import ConflictError, InvalidError
from rampgate.flags import read
from tests.flagserver.inside import Inside, new_rollout

PLAIN = {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a"}
LISTS = {"canary": {"users": ["ada"], "segments": ["staff"]}, "stable": {"users": ["bob"], "segments": []}}
STAFF = {"users": ["cy"], "rule": {"ends_with": [{"var": "email"}, "@shop.example"]}}


@pytest.fixture
def full(inside: Inside) -> Inside:
    """A server with a plain flag, one in a ramp, one that is released by a switch, lists and a segment."""
    inside.call("PUT", "/v1/production/segments/staff", STAFF)
    inside.call("PUT", "/v1/production/flags/banner", {"flag": PLAIN})
    inside.call("PUT", "/v1/production/flags/search", {"kind": "release"})
    inside.to_step(inside.create(new_rollout()))
    assert inside.call("PUT", "/v1/production/flags/shop/lists", LISTS).status_code == 200
    return inside


def given(server: Inside, environment: str, *, plain: bool = False) -> Any:
    """The environment's document as a file has it."""
    return json.loads(json.dumps(server.services.documents.give(environment, plain=plain)))


def test_an_environment_goes_out_and_comes_in_elsewhere_with_slots_lists_and_segments(full: Inside) -> None:
    documents = full.services.documents
    document = given(full, "production")
    assert document["rampgate"]["flags"]["shop"]["lists"] == LISTS
    assert documents.take("staging", document, by="test") == (3, 1)
    again = given(full, "staging")
    assert again["rampgate"] == document["rampgate"]
    assert again["flags"]["banner"] == document["flags"]["banner"]
    shop = again["flags"]["shop"]
    assert (shop["defaultVariant"], "targeting" in shop) == ("blue", False), "a ramp is not carried along"
    assert documents.take("staging", document, by="test") == (3, 1)
    assert given(full, "staging") == again


def test_a_ramp_goes_on_while_its_flag_is_written_back(full: Inside) -> None:
    before = full.snapshot()
    document = given(full, "production")
    document["rampgate"]["flags"]["shop"]["slots"]["stable"]["version"] = "another"
    full.services.documents.take("production", document, by="test")
    assert full.snapshot() == before


def test_a_flagd_file_leaves_lists_and_segments_alone(full: Inside) -> None:
    flags = given(full, "production", plain=True)
    assert set(flags) == {"$schema", "flags"}
    assert read(flags).problems == ()
    full.services.documents.take("production", {"flags": {"banner": PLAIN}}, by="test")
    assert given(full, "production")["rampgate"]["flags"]["shop"]["lists"] == LISTS
    full.services.documents.take("bare", {"flags": {"banner": PLAIN}}, by="test")
    assert set(given(full, "bare")) == {"$schema", "flags"}


def test_everything_wrong_beside_the_flags_is_told_at_once_and_nothing_is_written(full: Inside) -> None:
    document = {
        "flags": {"one": {"state": "ENABLED", "variants": {"blue": 1, "green": 2}}, "two": PLAIN},
        "rampgate": {
            "flags": {"one": {"kind": "rollout", "lists": {"canary": {"segments": ["nobody"]}}}},
            "segments": {"odd": {"users": [""]}, "staff": {"rule": {"nonsense": []}}},
        },
    }
    with pytest.raises(InvalidError) as caught:
        full.services.documents.take("elsewhere", document, by="test")
    assert [one.path for one in caught.value.problems] == [
        "rampgate.segments.odd.users[0]", "rampgate.segments.staff.rule.nonsense",
        "rampgate.flags.one.lists.canary.segments[0]",
    ]  # fmt: skip
    assert given(full, "elsewhere")["flags"] == {}
    for beside, path in (
        ({"flags": {"gone": {}}}, "rampgate.flags"),
        ({"flags": {"two": {"lists": {"canary": {"users": ["ada"]}}}}}, "rampgate.flags.two.kind"),
        ({"list": {}}, "rampgate.list"),
    ):
        with pytest.raises(InvalidError) as caught:
            full.services.documents.take("elsewhere", {**document, "rampgate": beside}, by="test")
        assert [one.path for one in caught.value.problems] == [path]


def test_what_is_frozen_in_a_ramp_no_file_changes(full: Inside) -> None:
    shop = {"state": "DISABLED", "variants": {"blue": "blue", "green": "green"}}
    with pytest.raises(ConflictError):
        full.services.documents.take("production", {"flags": {"banner": PLAIN, "shop": shop}}, by="test")


def test_what_says_the_same_as_before_is_neither_written_nor_noted(full: Inside) -> None:
    def noted() -> int:
        log = full.call("GET", "/v1/audit?action=flag&limit=500", role=Role.ADMIN).get_json()["entries"]
        return len(log)

    document = given(full, "production")
    full.services.documents.take("production", document, by="test")
    before = noted(), full.snapshot()
    full.services.documents.take("production", document, by="test")
    assert full.call("PUT", "/v1/production/flags/banner", {"flag": PLAIN}).status_code == 200
    assert (noted(), full.snapshot()) == before
    full.call("PUT", "/v1/production/flags/banner", {"flag": {**PLAIN, "defaultVariant": "b"}})
    assert noted() == before[0] + 1


def test_every_flag_of_an_import_has_its_line_in_a_log_that_is_whole(full: Inside) -> None:
    full.services.documents.take("staging", {"flags": {f"f{number}": PLAIN for number in range(20)}}, by="test")
    found = full.call("GET", "/v1/audit?environment=staging&limit=500", role=Role.ADMIN).get_json()["entries"]
    assert [one["subject"] for one in found] == sorted(f"f{number}" for number in range(20))
    assert full.call("GET", "/v1/audit/check", role=Role.ADMIN).get_json()["whole"] is True
