"""The scenarios of flagd's own testbed (open-feature/flagd-testbed, folder evaluator) for its second bucketing.

Some of the testbed's flags are malformed on purpose. They would not pass our door, so here every flag goes
straight to the evaluator, which must then do what flagd does.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from rampgate.evaluation import Reason, compile_flag
from rampgate.flags import Flag

MATCH, DEFAULT = Reason.TARGETING_MATCH, Reason.DEFAULT
USER_NAME = {"cat": [{"var": "$flagd.flagKey"}, {"var": "user.name"}]}
SHARED_SEED = {"cat": ["shared-seed", {"var": "user.name"}]}
SUITS = [["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]
BALLMER = {"is_ballmer": {"==": ["ballmer@macrosoft.com", {"var": ["email"]}]}}
KEY = {"var": "targetingKey"}


def version(how: str, other: str) -> Any:
    return {"sem_ver": [{"var": "version"}, how, other]}


COMPARED = {
    "if": [
        version("=", "2.0.0"),
        "equal",
        {"if": [version(">", "2.0.0"), "greater", {"if": [version("<", "2.0.0"), "lesser", "none"]}]},
    ]
}
RANGED = {"if": [version("~", "3.0.0"), "minor", {"if": [version("^", "3.0.0"), "major", "none"]}]}
AFFIXES = {
    "if": [
        {"starts_with": [{"var": "id"}, "abc"]},
        "prefix",
        {"if": [{"ends_with": [{"var": "id"}, "xyz"]}, "postfix", "none"]},
    ]
}
TIER = {"==": [{"var": "tier"}, "premium"]}
NESTED_NAME = {"fractional": [KEY, [{"if": [TIER, "premium", "standard"]}, 50], ["standard", 50]]}
NESTED_VARIABLE = {"fractional": [KEY, [{"var": "color"}, 50], ["blue", 50]]}
NESTED_WEIGHT = {"fractional": [KEY, ["red", {"if": [TIER, 100, 0]}], ["blue", 10]]}


@dataclass(frozen=True, slots=True)
class Scenario:
    """``variant`` is the variant served; an error is told by its reason."""

    key: str
    targeting: Any
    variant: str | None
    context: dict[str, Any] = field(default_factory=dict)
    reason: Reason = MATCH


def named(key: str, by: Any, expected: dict[str, str]) -> list[Scenario]:
    return [
        Scenario(key, {"fractional": [by, *SUITS]}, suit, {"user": {"name": name}}) for name, suit in expected.items()
    ]


SCENARIOS = [
    *named(
        "fractional-flag",
        USER_NAME,
        {"jack": "hearts", "queen": "spades", "ten": "clubs", "nine": "diamonds", "3": "clubs"},
    ),
    *named(
        "fractional-flag-A-shared-seed",
        SHARED_SEED,
        {"seven": "hearts", "eight": "diamonds", "nine": "clubs", "two": "spades"},
    ),
    *named(
        "fractional-flag-B-shared-seed",
        SHARED_SEED,
        {"seven": "hearts", "eight": "diamonds", "nine": "clubs", "two": "spades"},
    ),
    *(
        Scenario("fractional-flag-shorthand", {"fractional": [["heads"], ["tails", 1]]}, side, {"targetingKey": key})
        for key, side in {"jon@company.com": "heads", "jane@company.com": "tails"}.items()
    ),
    *(
        Scenario(
            "fractional-hash-edge-flag",
            {"fractional": [KEY, ["lower", 50], ["upper", 50]]},
            half,
            {"targetingKey": key},
        )
        for key, half in {
            "ejOoVL": "lower",
            "bY9fO-": "lower",
            "SI7p-": "lower",
            "6LvT0": "upper",
            "ceQdGm": "upper",
        }.items()
    ),
    Scenario("nested-if", NESTED_NAME, "premium", {"targetingKey": "jon@company.com", "tier": "premium"}),
    Scenario("nested-if", NESTED_NAME, "standard", {"targetingKey": "jon@company.com", "tier": "basic"}),
    Scenario("nested-if", NESTED_NAME, "standard", {"targetingKey": "user1", "tier": "premium"}),
    Scenario("nested-var", NESTED_VARIABLE, "red", {"targetingKey": "jon@company.com", "color": "red"}),
    Scenario("nested-var", NESTED_VARIABLE, "blue", {"targetingKey": "user1", "color": "red"}),
    Scenario("nested-var", NESTED_VARIABLE, None, {"targetingKey": "jon@company.com", "color": "yellow"}, Reason.ERROR),
    Scenario("nested-var", NESTED_VARIABLE, "fallback", {"targetingKey": "jon@company.com"}, DEFAULT),
    Scenario("nested-weight", NESTED_WEIGHT, "red", {"targetingKey": "jon@company.com", "tier": "premium"}),
    Scenario("nested-weight", NESTED_WEIGHT, "blue", {"targetingKey": "jon@company.com", "tier": "basic"}),
    Scenario("nested-weight", NESTED_WEIGHT, "red", {"targetingKey": "user1", "tier": "premium"}),
    Scenario("nested-weight", NESTED_WEIGHT, "blue", {"targetingKey": "user1", "tier": "basic"}),
    Scenario(
        "as-condition",
        {"if": [{"fractional": [[False, 0], [True, 100]]}, "big", "small"]},
        "big",
        {"targetingKey": "some-targeting-key"},
    ),
    Scenario(
        "as-condition",
        {"if": [{"fractional": [[False, 100], [True, 0]]}, "big", "small"]},
        "small",
        {"targetingKey": "some-targeting-key"},
    ),
    Scenario("single-entry", {"fractional": [["single", 1]]}, "single", {"targetingKey": "anybody"}),
    Scenario(
        "null-bucket-key", {"fractional": [{"var": "missing_key"}, ["one", 50], ["two", 50]]}, "fallback", {}, DEFAULT
    ),
    Scenario(
        "zero-weights", {"fractional": [KEY, ["one", 0], ["two", 0]]}, "fallback", {"targetingKey": "user"}, DEFAULT
    ),
    Scenario("negative-weight", {"fractional": [KEY, ["one", -50], ["two", 100]]}, "two", {"targetingKey": "user"}),
    *(
        Scenario("equal-greater-lesser-version-flag", COMPARED, result, {"version": text})
        for text, result in {
            "2.0.0": "equal",
            "2.1.0": "greater",
            "1.9.0": "lesser",
            "2.0.0-alpha": "lesser",
            "2.0.0.0": "none",
        }.items()
    ),
    *(
        Scenario("major-minor-version-flag", RANGED, result, {"version": text})
        for text, result in {"3.0.1": "minor", "3.1.0": "major", "4.0.0": "none"}.items()
    ),
    Scenario("invalid-version", version("=", "1.0.0"), "fallback", {"version": "not-a-version"}, DEFAULT),
    Scenario("invalid-operator", version("===", "1.0.0"), "fallback", {"version": "1.0.0"}, DEFAULT),
    Scenario("wrong-arguments", {"sem_ver": [{"var": "version"}, "="]}, "fallback", {"version": "1.0.0"}, DEFAULT),
    Scenario("wrong-arguments", {"starts_with": ["abc"]}, "fallback", {}, DEFAULT),
    Scenario("wrong-arguments", {"ends_with": ["xyz"]}, "fallback", {}, DEFAULT),
    Scenario("not-text", {"starts_with": [{"var": "num"}, "abc"]}, "fallback", {"num": 3}, DEFAULT),
    *(
        Scenario("starts-ends-flag", AFFIXES, result, {"id": text})
        for text, result in {"abcdef": "prefix", "uvwxyz": "postfix", "abcxyz": "prefix", "lmnopq": "none"}.items()
    ),
    Scenario("shared", {"if": [{"$ref": "is_ballmer"}, "hi", "bye"]}, "hi", {"email": "ballmer@macrosoft.com"}),
    Scenario("shared", {"if": [{"$ref": "is_ballmer"}, "hi", "bye"]}, "bye", {}),
    Scenario("shared", {"if": [{"$ref": "nonexistent_evaluator"}, "hi", "bye"]}, None, {}, Reason.ERROR),
    Scenario("targeting-key-flag", {"if": [{"==": [KEY, "5c3d"]}, "hit", None]}, "hit", {"targetingKey": "5c3d"}),
    Scenario(
        "targeting-key-flag",
        {"if": [{"==": [KEY, "5c3d"]}, "hit", None]},
        "fallback",
        {"targetingKey": "f20b"},
        DEFAULT,
    ),
]
NAMES = [
    "clubs", "diamonds", "hearts", "spades", "heads", "tails", "lower", "upper", "premium", "standard", "red", "green",
    "blue", "big", "small", "single", "one", "two", "equal", "greater", "lesser", "minor", "major", "none", "prefix",
    "postfix", "hi", "bye", "hit", "fallback",
]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.key} {scenario.context}")
def test_a_scenario_of_the_testbed(scenario: Scenario) -> None:
    flag = Flag(
        key=scenario.key,
        variants={name: f"the {name}" for name in NAMES},
        default_variant="fallback",
        targeting=scenario.targeting,
        evaluators=BALLMER,
    )
    found = compile_flag(flag).evaluate(scenario.context)
    assert (found.variant, found.reason) == (scenario.variant, scenario.reason)
    assert found.value == (None if scenario.variant is None else f"the {scenario.variant}")
