"""The fast path answers what an evaluation answers, for every shape that a rollout's targeting may have."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rampgate.evaluation import CompiledFlag, compile_flag
from rampgate.flags import Flag, FlagState
from rampgate.targeting import user_split
from tests.rampgate.oracle.documents import NOW
from tests.rampgate.oracle.reference import answer, theirs

USER = {"var": "targetingKey"}
SHARED = {"ramp": {"fractional": [["on", 1], ["off", 3]]}, "key": {"cat": ["s", USER]}, "alias": {"$ref": "ramp"}}
SPLITS: dict[str, Any] = {
    "a salt and the user": {"fractional": [{"cat": ["salt", USER]}, ["on", 10], ["off", 90]]},
    "the flag's key and the user": {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, USER]}, ["on", 1], ["off", 9]]},
    "the shorthand": {"fractional": [["on", 10], ["off", 90]]},
    "weights left out": {"fractional": [["on"], ["off"]]},
    "the user alone": {"fractional": [USER, ["on", 10], ["off", 90]]},
    "the user's path in an array": {"fractional": [{"var": ["targetingKey"]}, ["on", 1], ["off", 1]]},
    "a salt in parts": {"fractional": [{"cat": ["a", {"var": "$flagd.flagKey"}, ":", USER]}, ["on", 1], ["off", 1]]},
    "a salt beyond ascii": {"fractional": [{"cat": ["früh", USER]}, ["on", 1], ["off", 1]]},
    "an empty salt": {"fractional": [{"cat": ["", USER]}, ["on", 1], ["off", 1]]},
    "no salt": {"fractional": [{"cat": [USER]}, ["on", 1], ["off", 1]]},
    "nobody yet": {"fractional": [{"cat": ["salt", USER]}, ["on", 0], ["off", 100]]},
    "everybody": {"fractional": [{"cat": ["salt", USER]}, ["on", 100], ["off", 0]]},
    "one entry": {"fractional": [{"cat": ["salt", USER]}, ["on", 7]]},
    "many entries": {"fractional": [{"cat": ["salt", USER]}, ["on", 1], ["off", 0], ["third", 5], ["on", 2]]},
    "negative weights": {"fractional": [{"cat": ["salt", USER]}, ["on", -4], ["off", 4]]},
    "the default, by null": {"fractional": [{"cat": ["salt", USER]}, ["on", 1], [None, 1]]},
    "a truth for a name": {"fractional": [{"cat": ["salt", USER]}, [True, 1], [False, 1]]},
    "a variant that does not exist": {"fractional": [{"cat": ["salt", USER]}, ["on", 1], ["nowhere", 1]]},
    "behind a guard": {"if": [USER, {"fractional": [{"cat": ["salt", USER]}, ["on", 10], ["off", 90]]}]},
    "behind a full guard": {"if": [USER, {"fractional": [{"cat": ["salt", USER]}, ["on", 1], ["off", 9]]}, None]},
    "a shared split": {"$ref": "alias"},
    "a shared key": {"fractional": [{"$ref": "key"}, ["on", 1], ["off", 1]]},
}
OTHERS: dict[str, Any] = {
    "another attribute": {"fractional": [{"cat": ["salt", {"var": "email"}]}, ["on", 1], ["off", 1]]},
    "a user with a default": {"fractional": [{"cat": ["salt", {"var": ["targetingKey", "x"]}]}, ["on", 1], ["off", 1]]},
    "something behind the user": {"fractional": [{"cat": ["salt", USER, "x"]}, ["on", 1], ["off", 1]]},
    "another outcome for nobody": {"if": [USER, {"fractional": [["on", 1], ["off", 1]]}, "on"]},
    "another guard": {"if": [{"var": "email"}, {"fractional": [["on", 1], ["off", 1]]}]},
    "a number in the salt": {"fractional": [{"cat": [7, USER]}, ["on", 1], ["off", 1]]},
    "a computed weight": {"fractional": [{"cat": ["salt", USER]}, ["on", {"+": [1, 1]}], ["off", 1]]},
    "a computed variant": {"fractional": [{"cat": ["salt", USER]}, [{"if": [True, "on"]}, 1], ["off", 1]]},
    "weights that sum to nothing": {"fractional": [{"cat": ["salt", USER]}, ["on", 0], ["off", 0]]},
    "weights that are too large": {"fractional": [{"cat": ["salt", USER]}, ["on", 1 << 31]]},
    "no entries": {"fractional": [{"cat": ["salt", USER]}]},
    "a condition": {"if": [{"in": [USER, ["a", "b"]]}, "on", {"fractional": [["on", 1], ["off", 1]]}]},
    "a rule that does not exist": {"$ref": "nothing"},
    "a rule in a circle": {"$ref": "circle"},
}
RAMP = {"fractional": [{"cat": ["salt", USER]}, ["on", 10], ["off", 90]]}
LISTED: dict[str, Any] = {
    "one list": {"if": [{"in": [USER, ["user-1", "Zoë", "7"]]}, "third", USER, RAMP]},
    "two lists, the first counts": {
        "if": [{"in": [USER, ["user-1", "user-2"]]}, "off", {"in": [USER, ["user-2", "8"]]}, "on", USER, RAMP, None]
    },
    "nobody listed": {"if": [{"in": [USER, []]}, "third", USER, RAMP]},
    "everybody in": {"if": [{"in": [USER, ["9"]]}, "off", USER, {"fractional": [USER, ["on", 1], ["off", 0]]}]},
    "a list of no variant": {"if": [{"in": [USER, ["user-1"]]}, "nowhere", USER, RAMP]},
    "the empty key": {"if": [{"in": [USER, [""]]}, "third", USER, RAMP]},
}
RULED: dict[str, Any] = {
    "a rule for a list": {"if": [{"starts_with": [USER, "user"]}, "third", USER, RAMP]},
    "a rule and a list": {
        "if": [{"in": [USER, ["1"]]}, "off", {"and": [USER, {"ends_with": [USER, "2"]}]}, "on", USER, RAMP]
    },
    "a list of numbers": {"if": [{"in": [USER, [1, 2]]}, "third", USER, RAMP]},
    "a list of an attribute": {"if": [{"in": [{"var": "tier"}, ["gold"]]}, "third", USER, RAMP]},
}
ALL = SPLITS | OTHERS | LISTED | RULED
BY_KIND: dict[str, tuple[Any, Any, Any]] = {
    "boolean": (True, False, True),
    "string": ("a", "", "c"),
    "number": (0, 1.5, 2),
    "object": ({"a": [1]}, {}, {"b": {"c": None}}),
}
keys = st.text(st.characters(codec="utf-8"), max_size=10) | st.sampled_from(
    ["", "user-1", "user-2", "7", "é", "\ud800"]
)


def flag_with(targeting: Any, kind: str = "string", **changes: Any) -> Flag:
    variants = dict(zip(["on", "off", "third"], BY_KIND[kind], strict=True)) | {"true": BY_KIND[kind][0]}
    rules = SHARED | {"circle": {"$ref": "circle"}}
    whole = {"key": "flag", "variants": variants, "default_variant": "off", "targeting": targeting, "evaluators": rules}
    return Flag(**(whole | changes))


def both(flag: CompiledFlag, key: Any) -> tuple[object, object]:
    return flag.value_for(key), flag.variant_for(key)


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_of_users_is_recognised(name: str) -> None:
    flag = flag_with(SPLITS[name])
    assert user_split(flag.targeting, flag.key, flag.evaluators) is not None


@pytest.mark.parametrize("name", OTHERS | LISTED | RULED)
def test_what_is_more_than_a_split_of_users_is_not_taken_for_one(name: str) -> None:
    flag = flag_with(ALL[name])
    assert user_split(flag.targeting, flag.key, flag.evaluators) is None


@pytest.mark.parametrize("name", LISTED | RULED)
def test_what_a_list_gave_is_told_from_what_the_split_gave(name: str) -> None:
    listed = {"one list": ["user-1", "Zoë", "7"], "a rule for a list": ["user-1", "user-2", "user-99"]}
    flag = compile_flag(flag_with(ALL[name]))
    assert (flag.cut is not None) is (name in LISTED), "users' keys alone decide where lists are lists of keys"
    for number in range(100):
        key = f"user-{number}" if number % 2 else str(number)
        found = flag.evaluate({"targetingKey": key})
        if name in listed:
            assert found.handpicked is (key in listed[name] or (name == "a rule for a list" and key.startswith("user")))
        if found.handpicked:
            assert found.variant in ("third", "on", "off")
        elif found.variant is not None:
            plain = compile_flag(flag_with(ALL[name]["if"][-1] or ALL[name]["if"][-2]))
            assert found.variant == plain.variant_for(key)


def test_ten_thousand_listed_users_are_one_look_into_a_table() -> None:
    users = [f"listed-{number}" for number in range(10_000)]
    flag = compile_flag(flag_with({"if": [{"in": [USER, users]}, "third", USER, RAMP]}))
    assert flag.cut is not None
    assert flag.cut.listed.keys() == set(users)
    assert {flag.variant_for(user) for user in users} == {"third"}
    assert not flag.evaluate({"targetingKey": "somebody"}).handpicked


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=10, deadline=None)
@given(key=keys)
def test_the_fast_path_answers_as_an_evaluation_does(name: str, kind: str, key: str) -> None:
    flag = compile_flag(flag_with(ALL[name], kind))
    for context in ({"targetingKey": key}, MappingProxyType({"targetingKey": key})):  # only a dict has a fast path
        slow = flag.evaluate(context)
        assert both(flag, key) == (slow.value, slow.variant)


@pytest.mark.parametrize("name", SPLITS | LISTED | RULED)
def test_the_fast_path_answers_as_the_reference_does(name: str) -> None:
    flag = flag_with(ALL[name])
    document = {
        "flags": {
            "flag": {
                "state": "ENABLED",
                "variants": flag.variants,
                "defaultVariant": "off",
                "targeting": SHARED["ramp"] if name == "a shared split" else flag.targeting,
            }
        },
        "$evaluators": {"key": SHARED["key"]},
    }
    compiled = compile_flag(flag)
    for key in ("user-1", "user-2", "Zoë", "", "名前", *map(str, range(40))):
        said = theirs(document, "flag", {"targetingKey": key}, NOW)
        assert answer(compiled.evaluate({"targetingKey": key})) == said
        assert both(compiled, key) == (said.value, said.variant)


@pytest.mark.parametrize(
    ("key", "variant"), {"ejOoVL": "on", "SI7p-": "off", "6LvT0": "third", "ceQdGm": "third"}.items()
)
def test_users_at_the_edges_fall_where_the_formula_says_among_many_entries(key: str, variant: str) -> None:
    """The hashes are 0, 2**31 - 1, 2**31 and 2**32 - 1; the edges lie at a quarter and at a half."""
    compiled = compile_flag(flag_with({"fractional": [USER, ["on", 1], ["off", 1], ["third", 2]]}))
    assert compiled.variant_for(key) == variant == compiled.evaluate(MappingProxyType({"targetingKey": key})).variant


@pytest.mark.parametrize("key", ["", None])
def test_behind_a_guard_a_user_without_a_key_gets_the_default_variant(key: Any) -> None:
    """Without one, such users are all hashed as the salt alone, and may go to the canary together."""
    everybody = {"fractional": [{"cat": ["salt", USER]}, ["on", 1]]}
    assert compile_flag(flag_with({"if": [USER, everybody]})).variant_for(key) == "off"
    assert compile_flag(flag_with(everybody)).variant_for(key) == "on"


@pytest.mark.parametrize("key", [None, 7, 1.5, b"bytes", ["a"], {"a": 1}, object()])
@pytest.mark.parametrize("name", ALL)
def test_a_key_that_is_no_text_never_raises(name: str, key: Any) -> None:
    flag = compile_flag(flag_with(ALL[name]))
    slow = flag.evaluate({"targetingKey": key})
    assert both(flag, key) == (slow.value, slow.variant)


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_fixed_flag_has_a_fast_path_too(kind: str) -> None:
    flag = compile_flag(flag_with(None, kind))
    assert both(flag, "anybody") == (BY_KIND[kind][1], "off")


def test_the_app_decides_where_a_flag_is_disabled_or_has_no_default() -> None:
    disabled = compile_flag(flag_with(SPLITS["the shorthand"], state=FlagState.DISABLED))
    open_ended = compile_flag(flag_with(None, default_variant=None))
    assert both(disabled, "user") == both(open_ended, "user") == (None, None)


def test_an_object_is_a_fresh_copy_every_time() -> None:
    for targeting in (None, SPLITS["everybody"], OTHERS["a condition"], LISTED["everybody in"]):
        flag = compile_flag(flag_with(targeting, "object", default_variant="on"))
        first: Any = flag.value_for("a")
        first["a"].append("changed by an app")
        evaluated: Any = flag.evaluate({"targetingKey": "a"}).value
        evaluated["a"].append("changed by an app")
        assert flag.value_for("a") == {"a": [1]}
        assert flag.evaluate({"targetingKey": "a"}).value == {"a": [1]}
