"""What a flag answers: values, variants, reasons and errors in OpenFeature's words, and never an exception."""

import threading
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.evaluation import ErrorCode, Reason, Resolution, compile_flag, compile_flags
from rampgate.flags import Flag, FlagState, ValueType, read

VARIANTS = {"on": "yes", "off": "no", "true": "truth", "1": "one"}


def flag(targeting: Any = None, **changes: Any) -> Flag:
    return Flag(**({"key": "flag", "variants": VARIANTS, "default_variant": "off", "targeting": targeting} | changes))


def resolve(
    targeting: Any, context: Any = MappingProxyType({}), now: float | None = None, **changes: Any
) -> Resolution:
    return compile_flag(flag(targeting, **changes)).evaluate(context, now)


@pytest.mark.parametrize("targeting", [None, {}])
def test_without_targeting_the_default_variant_is_served(targeting: Any) -> None:
    assert resolve(targeting) == Resolution("no", "off", Reason.STATIC)


def test_a_disabled_flag_leaves_the_value_to_the_app() -> None:
    rule = {"if": [True, "on"]}
    assert resolve(rule, state=FlagState.DISABLED) == Resolution(None, None, Reason.DISABLED)


def test_a_flag_without_default_leaves_the_value_to_the_app() -> None:
    assert resolve(None, default_variant=None) == Resolution(None, None, Reason.DEFAULT)
    assert resolve({"if": [False, "on"]}, default_variant=None) == Resolution(None, None, Reason.DEFAULT)


@pytest.mark.parametrize(
    ("targeting", "value", "variant"),
    [
        ({"if": [True, "on"]}, "yes", "on"),
        ({"==": [1, 1]}, "truth", "true"),
        ({"+": [0, 1]}, "one", "1"),
        ({"+": [0.5, 0.5]}, "one", "1"),
    ],
)
def test_targeting_names_a_variant(targeting: Any, value: str, variant: str) -> None:
    assert resolve(targeting) == Resolution(value, variant, Reason.TARGETING_MATCH)


def test_targeting_that_says_nothing_means_the_default_variant() -> None:
    assert resolve({"if": [False, "on"]}) == Resolution("no", "off", Reason.DEFAULT)


@pytest.mark.parametrize(
    "targeting", [{"cat": ["nowhere"]}, {"merge": ["on"]}, {"==": [1, 2]}, {"cat": [""]}, {"/": [0, 0]}]
)
def test_targeting_that_names_no_variant_is_an_error(targeting: Any) -> None:
    found = resolve(targeting)
    assert (found.value, found.variant, found.reason) == (None, None, Reason.ERROR)
    assert found.error_code is ErrorCode.GENERAL


def test_an_unknown_operator_is_a_parse_error() -> None:
    found = resolve({"nope": 1})
    assert (found.reason, found.error_code) == (Reason.ERROR, ErrorCode.PARSE_ERROR)
    assert "nope" in str(found.error_message)


def test_a_rule_nested_beyond_reason_is_a_parse_error() -> None:
    rule: Any = {"var": "a"}
    for _ in range(50_000):
        rule = {"!": rule}
    assert resolve(rule).error_code is ErrorCode.PARSE_ERROR


def test_a_default_variant_that_does_not_exist_is_an_error() -> None:
    assert resolve(None, default_variant="nowhere").error_code is ErrorCode.GENERAL


@pytest.mark.parametrize("context", [None, 3, "user", ["user"]])
def test_a_context_that_is_none_is_an_invalid_context(context: Any) -> None:
    assert resolve({"var": "a"}, context).error_code is ErrorCode.INVALID_CONTEXT


def test_the_error_message_does_not_repeat_what_the_context_holds() -> None:
    class Secret(Mapping[str, object]):
        def __getitem__(self, name: str) -> object:
            raise RuntimeError("hunter2")

        def __iter__(self) -> Any:
            return iter(())

        def __len__(self) -> int:
            return 0

        def get(self, _name: str, _default: object = None) -> Any:
            raise RuntimeError("hunter2")

    found = resolve({"var": "password"}, Secret())
    assert found.error_code is ErrorCode.GENERAL
    assert "hunter2" not in str(found.error_message)


def test_the_time_is_a_value_and_the_clock_serves_where_none_is_given() -> None:
    late = {"if": [{">": [{"var": "$flagd.timestamp"}, 1_700_000_000]}, "on", "off"]}
    assert resolve(late, now=1_600_000_000).variant == "off"
    assert resolve(late, now=1_800_000_000).variant == "on"
    assert resolve(late).variant == "on"


def test_metadata_of_the_set_is_overridden_by_the_flag_s_own() -> None:
    document = {
        "flags": {"flag": {"state": "ENABLED", "variants": {"on": 1}, "metadata": {"owner": "shop", "ttl": 3}}},
        "metadata": {"owner": "everybody", "flagSetId": "production"},
    }
    compiled = compile_flags(read(document))["flag"]
    assert compiled.metadata == {"owner": "shop", "ttl": 3, "flagSetId": "production"}
    assert compiled.evaluate({}).metadata == compiled.metadata


@pytest.mark.parametrize(
    ("variants", "kind"),
    [
        ({"a": True}, ValueType.BOOLEAN),
        ({"a": "text"}, ValueType.STRING),
        ({"a": 1, "b": 2.5}, ValueType.NUMBER),
        ({"a": {}}, ValueType.OBJECT),
        ({"a": 1, "b": True}, None),
        ({}, None),
    ],
)
def test_a_flag_knows_its_type(variants: Any, kind: ValueType | None) -> None:
    assert compile_flag(flag(variants=variants)).type is kind


def test_nothing_about_a_compiled_flag_can_be_changed() -> None:
    variants: Any = {"on": {"sizes": [1]}, "off": {}}
    rule: Any = {"if": [{"in": [{"var": "name"}, ["a"]]}, "on", "off"]}
    compiled = compile_flag(flag(rule, variants=variants))
    variants["on"]["sizes"].append(2)
    rule["if"][0]["in"][1].append("b")
    assert compiled.evaluate({"name": "a"}).value == {"sizes": [1]}
    assert compiled.evaluate({"name": "b"}).variant == "off"
    with pytest.raises(FrozenInstanceError):
        compiled.key = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        compiled.variants["on"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        compiled.metadata["on"] = 1  # type: ignore[index]


def test_many_threads_ask_at_once_and_get_the_same_answers() -> None:
    rule = {"if": [{"in": [{"var": "plan"}, ["pro"]]}, "on", {"fractional": [["on", 1], ["off", 1]]}]}
    compiled = compile_flag(flag(rule))
    users = [{"targetingKey": f"user-{number}", "plan": "pro" if number % 7 == 0 else "free"} for number in range(500)]
    expected = [compiled.evaluate(user) for user in users]
    start, found = threading.Barrier(8), []

    def ask() -> None:
        start.wait(timeout=10)
        found.append([compiled.evaluate(user) for user in users])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == [expected] * 8


anything: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([b"x", object(), {1, 2}, 10**400, "\ud800", "9" * 5000, 1j]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
operators = st.sampled_from([*"!+-*/%<>", "==", "===", "!=", "<=", ">=", "!!", "in", "cat", "substr", "merge", "min",
    "max", "if", "and", "or", "map", "filter", "reduce", "all", "some", "none", "var", "missing", "missing_some",
    "starts_with", "ends_with", "sem_ver", "fractional", "$ref", "nope"])  # fmt: skip
wild_rules = st.recursive(
    anything | st.sampled_from("abc").map(lambda name: {"var": name}),
    lambda inner: st.tuples(operators, st.lists(inner, max_size=4) | inner).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=12,
)


@given(rule=wild_rules, context=st.dictionaries(st.sampled_from(["a", "b", "c", "targetingKey"]), anything))
def test_no_rule_and_no_context_make_an_evaluation_raise(rule: Any, context: Any) -> None:
    compiled = compile_flag(flag({"if": [rule, rule, "off"]}, evaluators={"a": rule}))
    assert compiled.evaluate(context).reason in Reason
    compiled.value_for(context.get("targetingKey", "user"))
