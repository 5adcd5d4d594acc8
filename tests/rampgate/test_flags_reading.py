"""Reading flagd documents: every problem at once, the sound flags always, and the document back."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.flags import Flag, FlagSet, FlagState, read, write, write_flag
from rampgate.plan import Problem

GOOD: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
REFERS = GOOD | {"targeting": {"if": [{"$ref": "staff"}, "on", None]}}


def paths(document: Any) -> list[str]:
    return [problem.path for problem in read(document).problems]


def with_flag(**changes: Any) -> dict[str, Any]:
    """A document of one flag, and a sound one beside it."""
    return {"flags": {"flag": GOOD | changes, "sound": GOOD}}


def without(name: str) -> dict[str, Any]:
    return {"flags": {"flag": {key: value for key, value in GOOD.items() if key != name}, "sound": GOOD}}


@pytest.mark.parametrize("document", [None, 3, "flags", [], [GOOD], True, object()])
def test_a_document_that_is_no_object_is_one_problem(document: Any) -> None:
    assert paths(document) == ["document"]


@pytest.mark.parametrize("document", [{}, {"flags": None}, {"flags": 7}, {"flag": {}}])
def test_a_document_without_flags_is_one_problem(document: Any) -> None:
    assert paths(document) == ["flags"]


def test_no_flags_are_no_problem() -> None:
    assert read({"flags": {}}) == FlagSet()


def test_both_forms_of_flags_read_alike() -> None:
    by_key = {"flags": {"one": GOOD, "two": REFERS}, "$evaluators": {"staff": {"var": "staff"}}}
    in_array = by_key | {"flags": [GOOD | {"key": "one"}, REFERS | {"key": "two"}]}
    assert read(in_array) == read(by_key)
    assert read(by_key).problems == ()


@pytest.mark.parametrize(
    ("flags", "path"),
    [
        ([GOOD], "flags[0].key"),
        ([GOOD | {"key": ""}], "flags[0].key"),
        ([GOOD | {"key": 3}], "flags[0].key"),
        (["flag"], "flags[0]"),
        ([GOOD | {"key": "a"}, GOOD | {"key": "a"}], "flags[1]"),
        ({"": GOOD}, "flags"),
        ({3: GOOD}, "flags"),
    ],
)
def test_a_flag_needs_a_key_of_its_own(flags: Any, path: str) -> None:
    assert paths({"flags": flags}) == [path]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (without("state"), "flags.flag.state"),
        (with_flag(state="enabled"), "flags.flag.state"),
        (with_flag(state=True), "flags.flag.state"),
        (without("variants"), "flags.flag.variants"),
        (with_flag(variants={}, defaultVariant=None), "flags.flag.variants"),
        (with_flag(variants=[True]), "flags.flag.variants"),
        (with_flag(variants={"on": True, "off": "no"}), "flags.flag.variants.off"),
        (with_flag(variants={"on": 1, "off": False}), "flags.flag.variants.off"),
        (with_flag(variants={"on": None, "off": False}), "flags.flag.variants.on"),
        (with_flag(variants={"on": ["a"], "off": ["b"]}), "flags.flag.variants.on"),
        (with_flag(variants={"off": 1 << 53}), "flags.flag.variants.off"),
        (with_flag(variants={"off": float("inf")}), "flags.flag.variants.off"),
        (with_flag(variants={"off": {"deep": [1, {"er": float("nan")}]}}), "flags.flag.variants.off"),
        (with_flag(variants={"off": {3: 1}}), "flags.flag.variants.off"),
        (with_flag(variants={"off": {"a": object()}}), "flags.flag.variants.off"),
        (with_flag(variants={"": True, "off": False}), "flags.flag.variants"),
        (with_flag(defaultVariant="of"), "flags.flag.defaultVariant"),
        (with_flag(defaultVariant=""), "flags.flag.defaultVariant"),
        (with_flag(defaultVariant=False), "flags.flag.defaultVariant"),
        (with_flag(targeting="on"), "flags.flag.targeting"),
        (with_flag(targeting=[{"var": "a"}]), "flags.flag.targeting"),
        (with_flag(targeting={"if": [], "and": []}), "flags.flag.targeting"),
        (with_flag(metadata=["a"]), "flags.flag.metadata"),
        (with_flag(metadata={"owner": None}), "flags.flag.metadata.owner"),
        (with_flag(metadata={"owner": {"team": "a"}}), "flags.flag.metadata.owner"),
        (with_flag(metadata={"ttl": float("nan")}), "flags.flag.metadata.ttl"),
        (with_flag(note=object()), "flags.flag.note"),
        ({"flags": {"flag": 3, "sound": GOOD}}, "flags.flag"),
        ({"flags": {"flag": {}, "sound": GOOD}}, "flags.flag.state"),
    ],
)
def test_a_bad_flag_is_named_and_left_out_and_takes_no_other_down(document: Any, path: str) -> None:
    flagset = read(document)
    assert flagset.problems[0].path == path
    assert set(flagset.flags) == {"sound"}


def test_every_problem_of_every_flag_is_named_at_once() -> None:
    document = {
        "flags": {
            "one": {"state": "ON", "variants": {"a": 1, "b": "2"}, "defaultVariant": "c", "metadata": {"x": []}},
            "two": {"state": "ENABLED"},
            "three": GOOD | {"targeting": {"fractional": [["on", -1], ["off", "2"]]}},
        },
        "metadata": {"set": None},
        "$evaluators": {"rule": 3},
    }
    assert paths(document) == [
        "$evaluators.rule",
        "metadata.set",
        "flags.one.state",
        "flags.one.variants.b",
        "flags.one.defaultVariant",
        "flags.one.metadata.x",
        "flags.two.variants",
        "flags.three.targeting.fractional[0][1]",
        "flags.three.targeting.fractional[1][1]",
    ]


def test_a_problem_says_where_and_what_and_what_is_allowed_and_what_was_meant() -> None:
    assert read(with_flag(defaultVariant="of")).problems == (
        Problem("flags.flag.defaultVariant", '"of"', "null, or one of on, off", "off"),
    )
    assert read(with_flag(state="Enabled")).problems == (
        Problem("flags.flag.state", '"Enabled"', "ENABLED or DISABLED", "ENABLED"),
    )


@pytest.mark.parametrize("default", [{}, {"defaultVariant": None}])
def test_a_flag_may_leave_the_default_to_the_app(default: dict[str, Any]) -> None:
    document = {"flags": {"flag": {"state": "DISABLED", "variants": {"on": 1}} | default}}
    assert read(document).flags["flag"] == Flag(key="flag", state=FlagState.DISABLED, variants={"on": 1})


def test_properties_that_we_do_not_know_are_kept() -> None:
    document = {
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {"flag": GOOD | {"description": "why", "tags": ["a"]}},
    }
    flagset = read(document)
    assert flagset.problems == ()
    assert write(flagset) == document


def test_a_whole_document_comes_back() -> None:
    document = {
        "flags": {"one": REFERS | {"metadata": {"owner": "shop"}}, "two": GOOD},
        "$evaluators": {"staff": {"in": ["@us.example", {"var": "email"}]}},
        "metadata": {"flagSetId": "production", "ttl": 30, "live": True},
    }
    assert write(read(document)) == document
    json.dumps(write(read(document)))


def test_a_changed_flag_is_written_as_it_is_now() -> None:
    flag = read({"flags": {"flag": REFERS}, "$evaluators": {"staff": {"var": "staff"}}}).flags["flag"]
    changed = replace(flag, targeting=None, default_variant="on")
    assert write_flag(changed) == {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


def test_what_was_read_shares_nothing_with_the_document() -> None:
    rule = {"if": [{"var": "staff"}, {"fractional": [["on", 1], ["off", 1]]}, None]}
    document: Any = {
        "flags": {"flag": {"state": "ENABLED", "variants": {"on": {"sizes": [1]}, "off": {}}, "targeting": rule}},
        "$evaluators": {"unused": {"in": ["a", ["b"]]}},
    }
    before = copy.deepcopy(document)
    flagset = read(document)
    expected = write(flagset)
    document["flags"]["flag"]["variants"]["on"]["sizes"].append(2)
    rule["if"][1]["fractional"].append("x")  # type: ignore[index]
    document["$evaluators"]["unused"]["in"][1].append("c")
    assert write(flagset) == expected == before


@pytest.mark.parametrize(
    ("evaluators", "found"),
    [
        ({"other": {"var": "x"}}, ["flags.flag.targeting.if[0].$ref"]),
        ({}, ["flags.flag.targeting.if[0].$ref"]),
        ({"staff": {"nope": [1]}}, ["$evaluators.staff.nope", "flags.flag.targeting.if[0].$ref"]),
        ({"staff": {"$ref": "staff"}}, ["$evaluators.staff", "flags.flag.targeting.if[0].$ref"]),
        ({"staff": {"!": {"$ref": "b"}}, "b": {"$ref": "c"}, "c": {"$ref": "b"}}, [
            "$evaluators.staff",
            "$evaluators.b",
            "$evaluators.c",
            "flags.flag.targeting.if[0].$ref",
        ]),
        (["staff"], ["$evaluators", "flags.flag.targeting.if[0].$ref"]),
        ({"staff": "yes"}, ["$evaluators.staff", "flags.flag.targeting.if[0].$ref"]),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_sound_is_a_problem_of_the_flag_that_refers(evaluators: Any, found: list[str]) -> None:
    document = {"flags": {"flag": REFERS, "sound": GOOD}, "$evaluators": evaluators}
    assert paths(document) == found
    assert set(read(document).flags) == {"sound"}


def test_a_reference_that_was_misspelt_is_answered_with_the_nearest_name() -> None:
    document = {"flags": {"flag": REFERS}, "$evaluators": {"staf": {"var": "x"}}}
    assert read(document).problems[0].hint == "staf"


def test_shared_rules_may_refer_to_each_other_in_any_order() -> None:
    evaluators = {
        "staff": {"and": [{"$ref": "us"}, {"$ref": "late"}]},
        "late": {"!": {"$ref": "us"}},
        "us": {"var": "u"},
    }
    assert paths({"flags": {"flag": REFERS}, "$evaluators": evaluators}) == []


def test_shared_rules_cannot_make_a_flag_grow_without_bounds() -> None:
    """Each rule refers twice to the next: thirty of them would be a thousand million rules."""
    doubling: dict[str, Any] = {f"r{n}": {"and": [{"$ref": f"r{n + 1}"}, {"$ref": f"r{n + 1}"}]} for n in range(30)}
    document = {
        "flags": {"flag": GOOD | {"targeting": {"$ref": "r0"}}},
        "$evaluators": doubling | {"r30": {"var": "a"}},
    }
    assert any("too many rules" in problem.value for problem in read(document).problems)
    assert read(document).flags == {}


def nested(depth: int) -> Any:
    rule: Any = {"var": "a"}
    for _ in range(depth):
        rule = {"!": rule}
    return rule


@pytest.mark.parametrize("depth", [120, 5_000, 100_000])
def test_a_rule_nested_beyond_reason_is_a_problem_and_no_crash(depth: int) -> None:
    assert paths(with_flag(targeting=nested(depth)))[0].startswith("flags.flag.targeting")
    assert paths({"flags": {}, "$evaluators": {"deep": nested(depth)}})[0].startswith("$evaluators.deep")


def test_rules_may_be_nested_by_reference_only_as_deep_as_by_hand() -> None:
    chain: dict[str, Any] = {f"r{n}": {"!": {"$ref": f"r{n + 1}"}} for n in range(200)} | {"r200": {"var": "a"}}
    assert paths({"flags": {}, "$evaluators": chain})


@given(document=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["flags", "$evaluators", "metadata", "state", "variants", "defaultVariant", "targeting",
                         "key", "if", "var", "fractional", "$ref", "sem_ver", "in", "a"]), inner, max_size=5),
    max_leaves=25,
))  # fmt: skip
def test_no_document_makes_reading_raise(document: Any) -> None:
    flagset = read(document)
    assert read(write(flagset)).flags == flagset.flags
