"""JSON logic means what json-logic-js says it means, which is its definition."""

import copy
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.targeting import UnknownOperatorError, compile_rule
from rampgate.targeting.coercion import text

VECTORS = json.loads((Path(__file__).parent / "oracle" / "json_logic_js.json").read_text())["cases"]
EMPTY: Mapping[str, Any] = {}


def result_of(logic: Any, data: Any = EMPTY, now: float = 0.0) -> Any:
    return compile_rule(logic, "flag", {}).rule(data, now)


def as_json(value: Any) -> Any:
    """What JSON can tell apart: one kind of number, and null where a number is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        return value
    if isinstance(value, list):
        return [None if isinstance(one, float) and not math.isfinite(one) else as_json(one) for one in value]
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    return ("number", float(f"{value:.12g}"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: json.dumps(vector["logic"])[:60])
def test_a_random_rule_gives_what_javascript_gave(vector: Any) -> None:
    result = result_of(vector["logic"], vector["data"])
    if "number" in vector:
        assert text(result) == vector["number"]
    else:
        assert as_json(result) == as_json(vector["result"])


# From the published test suite of JSON logic, where the random rules seldom come.
PUBLISHED: list[tuple[Any, Any, Any]] = [
    ({"substr": ["jsonlogic", -5]}, None, "logic"),
    ({"substr": ["jsonlogic", 0, 1]}, None, "j"),
    ({"substr": ["jsonlogic", -1, 1]}, None, "c"),
    ({"substr": ["jsonlogic", 4, 5]}, None, "logic"),
    ({"substr": ["jsonlogic", -5, 5]}, None, "logic"),
    ({"substr": ["jsonlogic", -5, -2]}, None, "log"),
    ({"substr": ["jsonlogic", 1, -5]}, None, "son"),
    ({"cat": ["Robocop", 2]}, None, "Robocop2"),
    ({"+": [2, 2, 2, 2, 2]}, None, 10),
    ({"+": "3.14"}, None, 3.14),
    ({"-": [3]}, None, -3),
    ({"%": [3, 2]}, None, 1),
    ({"merge": [[1], [2, 3], 4, [[5]]]}, None, [1, 2, 3, 4, [5]]),
    ({"merge": [1, "a"]}, None, [1, "a"]),
    ({"var": "a.b"}, {"a": {"b": "c"}}, "c"),
    ({"var": ["a.q", 9]}, {"a": {"b": "c"}}, 9),
    ({"var": 1}, ["apple", "banana"], "banana"),
    ({"var": "1.1"}, ["apple", ["banana", "beer"]], "beer"),
    ({"missing": ["a", "b"]}, {"a": "apple"}, ["b"]),
    ({"missing": {"merge": ["vin", {"if": [{"var": "financing"}, ["apr"], []]}]}}, {"financing": True}, ["vin", "apr"]),
    ({"missing_some": [2, ["a", "b", "c"]]}, {"a": "x", "c": "y"}, []),
    ({"missing_some": [2, ["a", "b", "c"]]}, {"a": "x"}, ["b", "c"]),
    ({"filter": [{"var": "integers"}, {">=": [{"var": ""}, 2]}]}, {"integers": [1, 2, 3]}, [2, 3]),
    ({"map": [{"var": "desserts"}, {"var": "qty"}]}, {"desserts": [{"qty": 1}, {"qty": 2}]}, [1, 2]),
    ({"reduce": [[1, 2, 3, 4], {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, None, 10),
    ({"reduce": [{"var": "none"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, {}, 0),
    ({"all": [[], {">": [{"var": ""}, 0]}]}, None, False),
    ({"none": [[], {">": [{"var": ""}, 0]}]}, None, True),
    ({"some": [[], {">": [{"var": ""}, 0]}]}, None, False),
    ({"if": [False, "a", False, "b"]}, None, None),
    ({"if": []}, None, None),
    ({"if": ["only"]}, None, "only"),
    ({"and": [1, 0]}, None, 0),
    ({"or": [[], "x"]}, None, "x"),
    ({"!": [[]]}, None, True),
    ({"!!": ["0"]}, None, True),
    ([1, {"+": [1, 1]}], None, [1, 2]),
    ({"two": 1, "operators": 2}, None, {"two": 1, "operators": 2}),
    ("literal", None, "literal"),
]


@pytest.mark.parametrize(("logic", "data", "expected"), PUBLISHED, ids=lambda value: json.dumps(value)[:50])
def test_a_published_rule_gives_the_published_result(logic: Any, data: Any, expected: Any) -> None:
    # A context is always an object; other data is what the members of an array are.
    if data is None or isinstance(data, dict):
        assert result_of(logic, data or {}) == expected
    else:
        assert result_of({"map": [[data], logic]}) == [expected]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"), (-2.5, "-2.5"), (0.1, "0.1"), (-0.0, "0"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (1.5e300, "1.5e+300"), (1e-6, "0.000001"), (1e-7, "1e-7"), (1.25e-9, "1.25e-9"), (123456.789, "123456.789"),
        (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (float("nan"), "NaN"), (True, "true"),
        (None, "null"), ([1, None, [2, "a"]], "1,,2,a"), ({}, "[object Object]"),
        (12345678901234567890, "12345678901234567890"),
    ],
)  # fmt: skip
def test_values_are_written_as_javascript_writes_them(value: Any, written: str) -> None:
    assert text(value) == written


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_reads_back_as_itself(value: float) -> None:
    assert float(text(value)) == value


def test_the_flag_s_own_properties_are_there_whatever_the_context_says() -> None:
    context = {"$flagd": {"flagKey": "forged", "timestamp": 1}, "a": 2}
    assert result_of({"var": "$flagd.flagKey"}, context) == "flag"
    assert result_of({"var": "$flagd.timestamp"}, context, now=1234.9) == 1234
    assert result_of({"var": ["$flagd.other", "none"]}, context) == "none"
    assert result_of({"var": "$flagd"}, context, now=5) == {"flagKey": "flag", "timestamp": 5}
    assert result_of({"var": ""}, context, now=5) == {"a": 2, "$flagd": {"flagKey": "flag", "timestamp": 5}}
    assert result_of({"var": {"cat": ["$flagd.", "flagKey"]}}, context) == "flag"
    assert result_of({"missing": ["$flagd.flagKey", "$flagd.nope", "a"]}, context) == ["$flagd.nope"]


def test_a_rule_asks_for_the_time_only_where_it_needs_it() -> None:
    def asks(logic: Any) -> bool:
        return compile_rule(logic, "flag", {}).uses_time

    assert asks({"if": [{">": [{"var": "$flagd.timestamp"}, 3]}, "a"]})
    assert not asks({"if": [{"var": "a"}, {"var": "$flagd.flagKey"}]})


def test_a_shared_rule_is_compiled_for_the_scope_that_it_is_used_in() -> None:
    evaluators = {"big": {">": [{"var": ["", 0]}, 1]}, "own": {"==": [{"var": "$flagd.flagKey"}, "flag"]}}
    rule = compile_rule({"and": [{"$ref": "own"}, {"some": [[1, 2], {"$ref": "big"}]}]}, "flag", evaluators).rule
    assert rule({}, 0.0) is True
    within = {"and": [{"$ref": "own"}, {"some": [{"var": "members"}, {"$ref": "own"}]}]}
    rule = compile_rule(within, "flag", evaluators).rule
    assert rule({"members": [{"$flagd": {"flagKey": "flag"}}]}, 0.0) is True
    assert rule({"members": [{}]}, 0.0) is False


@pytest.mark.parametrize("logic", [{"nope": []}, {"$ref": "nothing"}, {"$ref": 3}, {"and": [True, {"nope": 1}]}])
def test_an_unknown_operator_is_an_error_once_it_is_reached(logic: Any) -> None:
    with pytest.raises(UnknownOperatorError):
        result_of(logic)
    assert result_of({"if": [True, "a", logic]}) == "a"


def test_dates_compare_as_moments() -> None:
    context = {"since": datetime(2026, 1, 1, tzinfo=UTC)}
    assert result_of({"==": [{"-": [{"var": "since"}, 0]}, 1767225600000]}, context) is True
    assert result_of({"cat": [{"var": "since"}]}, context) == "2026-01-01T00:00:00+00:00"


def test_compiling_neither_changes_nor_keeps_the_rule() -> None:
    logic: Any = {"in": [{"var": "name"}, ["a", ["b"]]]}
    before = copy.deepcopy(logic)
    rule = compile_rule(logic, "flag", {}).rule
    assert rule({"name": "a"}, 0.0) is True
    assert logic == before
