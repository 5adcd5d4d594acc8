"""Where we answer differently from flagd's evaluator for Python, on purpose: docs/evaluation.md gives the reasons.

Each row holds both answers, so that a reference that mends its ways is noticed here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rampgate.evaluation import ErrorCode, compile_flag, compile_flags
from rampgate.flags import Flag, read
from tests.rampgate.oracle.documents import NOW
from tests.rampgate.oracle.reference import ours, theirs

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "evaluation.md"
CRASH, ERROR = "CRASH", "ERROR"


@dataclass(frozen=True, slots=True)
class Departure:
    """``reference`` and ``rampgate`` name the variant served, ``None`` being the default one."""

    name: str
    targeting: Any
    reference: str | None
    rampgate: str | None
    context: dict[str, Any] = field(default_factory=dict)


def when(condition: Any) -> Any:
    return {"if": [condition, "yes", "no"]}


DEPARTURES = [
    Departure("a missing number is not zero", when({"==": [{"var": "age"}, 0]}), "yes", "no"),
    Departure("a missing attribute is not false", when({"==": [{"var": "vip"}, False]}), "yes", "no"),
    Departure("a missing text does not sort as null", when({"<": [{"var": "name"}, "x"]}), "yes", "no"),
    Departure("true is no number", when({"===": [True, 1]}), "yes", "no"),
    Departure("true is not among numbers", when({"in": [True, [1]]}), "yes", "no"),
    Departure("an array equals only itself", when({"===": [["a"], ["a"]]}), "yes", "no"),
    Departure("empty text counts as zero", when({"==": ["", 0]}), "no", "yes"),
    Departure("underscores are not digits", when({"==": ["1_0", 10]}), "yes", "no"),
    Departure("a third null is compared", when({"<": [1, 2, {"var": "limit"}]}), "yes", "no"),
    Departure("minus a missing number", when({"<": [{"-": [5, {"var": "n"}]}, 0]}), "yes", "no"),
    Departure("plus a missing number is no number", when({"==": [{"+": [1, {"var": "n"}]}, 1]}), "yes", "no"),
    Departure("plus reads the number a text begins with", when({"==": [{"+": ["3px", 0]}, 3]}), "no", "yes"),
    Departure("remainders keep the dividend's sign", when({"==": [{"%": [-1, 5]}, -1]}), "no", "yes"),
    Departure("a division by zero is infinite", when({">": [{"/": [1, 0]}, 1]}), CRASH, "yes"),
    Departure("truth joined to text is lower case", when({"==": [{"cat": [True]}, "true"]}), "no", "yes"),
    Departure("null joined to text adds nothing", when({"==": [{"cat": ["a", {"var": "b"}]}, "a"]}), "no", "yes"),
    Departure(
        "long fractions keep their digits",
        when({"==": [{"cat": [0.1234567890123456]}, "0.1234567890123456"]}),
        "no",
        "yes",
    ),
    Departure(
        "the start of a reduction is evaluated", when({"==": [{"reduce": [[], 1, {"+": [2, 3]}]}, 5]}), "no", "yes"
    ),
    Departure(
        "a whole weight may be written 100.0", {"fractional": [["yes", 100.0]]}, None, "yes", {"targetingKey": "u"}
    ),
    Departure(
        "a computed weight may be 100.0", {"fractional": [["yes", {"/": [200, 2]}]]}, None, "yes", {"targetingKey": "u"}
    ),
    Departure("a split in an array's scope decides nothing", {"map": [[1], {"fractional": [["yes"]]}]}, CRASH, ERROR),
    Departure("a targeting key that is no text", {"fractional": [["yes"]]}, CRASH, None, {"targetingKey": 7}),
    Departure("an array's index is no attribute's name", when({"==": [{"var": 1}, "b"]}), "no", "yes", {"1": "b"}),
    Departure("a number names a variant as JSON writes it", {"/": [2, 2]}, ERROR, "1"),
    Departure(
        "a name that is not JSON's",
        when({"==": [{"var": "when"}, {"var": "text"}]}),
        CRASH,
        "no",
        {"when": {1}, "text": "x"},
    ),
]


@pytest.mark.parametrize("departure", DEPARTURES, ids=lambda departure: departure.name)
def test_we_depart_from_the_reference_here(departure: Departure) -> None:
    document = {
        "flags": {
            "flag": {
                "state": "ENABLED",
                "variants": {"yes": "yes", "no": "no", "fallback": "fallback", "1": "1"},
                "defaultVariant": "fallback",
                "targeting": departure.targeting,
            }
        }
    }
    said = {who: ask(document, "flag", departure.context, NOW) for who, ask in (("theirs", theirs), ("ours", ours))}
    served = {
        who: None if answer.reason == "DEFAULT" else answer.variant or answer.reason for who, answer in said.items()
    }
    assert served == {"theirs": departure.reference, "ours": departure.rampgate}


def test_every_departure_is_argued_in_the_documentation() -> None:
    rows = [line.split("|")[1].strip() for line in DOCUMENTATION.read_text().splitlines() if line.startswith("| ")]
    assert [departure.name for departure in DEPARTURES] == rows[rows.index(DEPARTURES[0].name) :]


@pytest.mark.parametrize("key", ["\ud800", "a\udfff", "\ude00\ud83d"])
def test_a_key_with_half_a_surrogate_pair_is_an_error_and_not_the_end_of_the_process(key: str) -> None:
    """The reference, given such a key, takes the interpreter down with it: the hash dereferences null."""
    split = {"fractional": [{"cat": ["salt", {"var": "targetingKey"}]}, ["a", 1], ["b", 1]]}
    flag = Flag(key="flag", variants={"a": 1, "b": 2}, default_variant="b", targeting=split)
    compiled = compile_flag(flag)
    assert compiled.evaluate({"targetingKey": key}).error_code is ErrorCode.GENERAL
    assert (compiled.value_for(key), compiled.variant_for(key)) == (None, None)


def documents_refused_whole() -> list[tuple[str, dict[str, Any]]]:
    good = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}
    escaped = good | {"targeting": {"if": [{"$ref": "rule"}, "a", None]}}
    return [
        ("one malformed flag", {"flags": {"good": good, "bad": {"state": "ENABLED"}}}),
        ("a property it does not know", {"flags": {"good": good | {"description": "why"}}}),
        ("flags in an array", {"flags": [good | {"key": "good"}]}),
        ("an escape in a shared rule", {"flags": {"good": escaped}, "$evaluators": {"rule": {"==": ["é", "\\d"]}}}),
    ]


@pytest.mark.parametrize(("name", "document"), documents_refused_whole(), ids=lambda value: str(value)[:40])
def test_we_serve_the_sound_flags_of_a_document_that_the_reference_refuses_whole(
    name: str, document: dict[str, Any]
) -> None:
    compiled = compile_flags(read(document))
    assert compiled["good"].evaluate({}).value == 1, name


def test_shared_rules_may_refer_to_later_ones() -> None:
    document = {
        "flags": {
            "flag": {
                "state": "ENABLED",
                "variants": {"yes": 1, "no": 0},
                "defaultVariant": "no",
                "targeting": {"if": [{"$ref": "first"}, "yes", "no"]},
            }
        },
        "$evaluators": {"second": {"==": [{"var": "plan"}, "pro"]}, "first": {"!": {"$ref": "second"}}},
    }
    assert ours(document, "flag", {"plan": "pro"}, NOW).variant == "no"
    assert theirs(document, "flag", {"plan": "pro"}, NOW).error == "PARSE_ERROR"
