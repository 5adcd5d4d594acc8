"""Targeting at the door, rule by rule: what flagd's schema admits, and what it does not."""

from typing import Any

import pytest

from rampgate.flags import read
from rampgate.flags.rules import ARGUMENTS
from rampgate.targeting import MAKERS, OPERATORS

SOUND: list[Any] = [
    {},
    {"if": [True, "on", "off"]},
    {"if": [{"===": [{"var": "env"}, "production"]}]},
    {"if": [False, "a", False, "b", True, "c"]},
    {"?:": [True, "on"]},
    {"var": "email"},
    {"var": ["email", "nobody"]},
    {"var": []},
    {"var": ""},
    {"var": 1},
    {"var": "$flagd.timestamp"},
    {"var": ["$flagd.flagKey"]},
    {"var": {"if": [True, "a", "b"]}},
    {"!": True},
    {"!!": [["0"]]},
    {"+": "3.14"},
    {"-": 2},
    {"-": [2, 1]},
    {"<": [1, 2, 3]},
    {"substr": ["jsonlogic", 1, 3]},
    {"missing": ["a", "b"]},
    {"missing": {"merge": [["a"], {"if": [True, ["b"]]}]}},
    {"missing_some": [1, ["a", "b"]]},
    {"reduce": [{"var": "sizes"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]},
    {"all": [[1, 2], {">": [{"var": ""}, 0]}]},
    {"in": ["Ringo", ["John", "Paul", {"var": "drummer"}]]},
    {"starts_with": [{"var": "id"}, "abc"]},
    {"ends_with": [{"cat": ["a", "b"]}, {"var": "suffix"}]},
    {"sem_ver": [{"var": "version"}, ">=", "1.2.3-rc.1+build"]},
    {"sem_ver": ["v1", "^", {"var": "version"}]},
    {"fractional": [["on", 25], ["off", 75]]},
    {"fractional": [["on"], ["off", 1]]},
    {"fractional": [["on", 1]]},
    {"fractional": [["on", 0], ["off", 0]]},
    {"fractional": [["on", 50.0], ["off", 50]]},
    {"fractional": [{"var": "email"}, ["on", 25], ["off", 75]]},
    {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]}, ["on", 1], ["off", 1]]},
    {
        "fractional": [
            ["on", {"-": [{"var": "$flagd.timestamp"}, 17]}],
            ["off", {"-": [18, {"var": "$flagd.timestamp"}]}],
        ]
    },
    {"fractional": [["on", 1], [True, 1], [1, 1], [None, 1], [{"fractional": [["on", 25], ["off", 75]]}, 1]]},
    {"fractional": [["on", (1 << 31) - 2], ["off", 1]]},
]
UNSOUND: list[tuple[Any, str]] = [
    ({"not-a-real-rule": [1, 2]}, ".not-a-real-rule"),
    ({"log": "x"}, ".log"),
    ({"fractionalEvaluation": [["on", 1]]}, ".fractionalEvaluation"),
    ({"if": []}, ".if"),
    ({"==": [1]}, ".=="),
    ({"==": [1, 2, 3]}, ".=="),
    ({">": [3, 2, 1]}, ".>"),
    ({"!": [1, 2]}, ".!"),
    ({"*": [2]}, ".*"),
    ({"reduce": [[1], {"var": "current"}]}, ".reduce"),
    ({"and": []}, ".and"),
    ({"if": [{"a": 1, "b": 2}, "on"]}, ".if[0]"),
    ({"if": [{}, "on"]}, ".if[0]"),
    ({"in": ["a", ["b", {"nope": 1}]]}, ".in[1][1].nope"),
    ({"+": [1, float("nan")]}, ".+[1]"),
    ({"+": [1, b"no JSON"]}, ".+[1]"),
    ({"var": "$flagd.invalidProp"}, ".var"),
    ({"var": ["$flagd.time", 0]}, ".var"),
    ({"var": True}, ".var"),
    ({"var": ["a", 1, 2]}, ".var"),
    ({"missing": [1]}, ".missing[0]"),
    ({"missing_some": ["1", ["a"]]}, ".missing_some[0]"),
    ({"missing_some": [1, "a"]}, ".missing_some[1]"),
    ({"missing_some": [1, ["a", 2]]}, ".missing_some[1][1]"),
    ({"starts_with": ["abc"]}, ".starts_with"),
    ({"starts_with": [{"var": "id"}, 3]}, ".starts_with[1]"),
    ({"ends_with": [None, "a"]}, ".ends_with[0]"),
    ({"sem_ver": [{"var": "version"}, "="]}, ".sem_ver"),
    ({"sem_ver": [{"var": "version"}, "=", "2.0.0.0"]}, ".sem_ver[2]"),
    ({"sem_ver": [{"var": "version"}, "===", "2.0.0"]}, ".sem_ver[1]"),
    ({"sem_ver": [{"var": "version"}, {"var": "range"}, "2.0.0"]}, ".sem_ver[1]"),
    ({"sem_ver": [1, "=", "1.0.0"]}, ".sem_ver[0]"),
    ({"fractional": []}, ".fractional"),
    ({"fractional": [{"var": "email"}]}, ".fractional"),
    ({"fractional": ["email", ["on", 1]]}, ".fractional[0]"),
    ({"fractional": [["on", 25.5], ["off", 75]]}, ".fractional[0][1]"),
    ({"fractional": [["on", -25], ["off", 75]]}, ".fractional[0][1]"),
    ({"fractional": [["on", "25"], ["off", 75]]}, ".fractional[0][1]"),
    ({"fractional": [["on", True], ["off", 75]]}, ".fractional[0][1]"),
    ({"fractional": [["on", 1, 2], ["off", 75]]}, ".fractional[0]"),
    ({"fractional": [[], ["off", 75]]}, ".fractional[0]"),
    ({"fractional": [["on", 1], "off"]}, ".fractional[1]"),
    ({"fractional": [["on", 1 << 31]]}, ".fractional"),
    ({"fractional": [["on", (1 << 31) - 1], ["off", 1]]}, ".fractional"),
    ({"fractional": [[{"nope": 1}, 1]]}, ".fractional[0][0].nope"),
    ({"fractional": [["on", {"nope": 1}]]}, ".fractional[0][1].nope"),
    ({"$ref": 3}, ".$ref"),
]


def problems_of(targeting: Any) -> list[str]:
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "targeting": targeting}
    return [problem.path for problem in read({"flags": {"flag": flag}}).problems]


@pytest.mark.parametrize("targeting", SOUND, ids=str)
def test_a_sound_rule_passes_the_door(targeting: Any) -> None:
    assert problems_of(targeting) == []


@pytest.mark.parametrize(("targeting", "path"), UNSOUND, ids=lambda value: str(value)[:60])
def test_an_unsound_rule_is_named_where_it_stands(targeting: Any, path: str) -> None:
    assert problems_of(targeting) == [f"flags.flag.targeting{path}"]


def test_the_same_rules_hold_within_others() -> None:
    nested = {"if": [{"and": [True, {"==": [1]}]}, {"fractional": [["on", -1]]}, {"cat": [{"bad": 1}]}]}
    assert problems_of(nested) == [
        "flags.flag.targeting.if[0].and[1].==",
        "flags.flag.targeting.if[1].fractional[0][1]",
        "flags.flag.targeting.if[2].cat[0].bad",
    ]


def test_the_door_knows_exactly_the_operators_that_are_evaluated() -> None:
    assert set(ARGUMENTS) == set(OPERATORS) | set(MAKERS)


def test_a_misspelt_operator_is_answered_with_the_nearest() -> None:
    flag = {"state": "ENABLED", "variants": {"on": True}, "targeting": {"fractionl": [["on", 1]]}}
    (problem,) = read({"flags": {"flag": flag}}).problems
    assert problem.hint == "fractional"
    assert "starts_with" in problem.allowed
