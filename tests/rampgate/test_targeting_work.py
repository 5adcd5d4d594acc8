"""A rule that repeats too much is given up: an evaluation is never more than so much work, whatever the context."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rampgate.evaluation import ErrorCode, compile_flag
from rampgate.flags import read
from rampgate.targeting import compile_rule
from rampgate.targeting.work import MOST_WORK

LIST = {"var": "l"}
TWICE = [{"var": "accumulator"}, {"var": "accumulator"}]
NESTED = {"some": [LIST, {"some": [{"merge": [[1] * 100]}, {"some": [{"merge": [[1] * 100]}, {"==": [1, 2]}]}]}]}
EXPONENTIAL: dict[str, Any] = {
    "text that doubles": {"reduce": [LIST, {"cat": TWICE}, "x"]},
    "a list that doubles": {"reduce": [LIST, {"merge": TWICE}, [1]]},
    "a list that holds itself twice, as text": {"cat": [{"reduce": [LIST, TWICE, "x"]}]},
    "the same as a number": {"+": [{"reduce": [LIST, TWICE, 1]}, 1]},
    "lists within lists": NESTED,
    "names looked for again and again": {"reduce": [LIST, {"if": [{"missing": TWICE[:1]}, *TWICE]}, ["x"] * 5000]},
    "a long path walked again and again": {"reduce": [LIST, {"if": [{"var": TWICE[:1]}, *TWICE]}, "a." * 200_000]},
    "a search in what grows": {"reduce": [LIST, {"merge": [{"in": [7, {"var": "accumulator"}]}, *TWICE]}, [1]]},
}


def asked(rule: object, **context: object) -> Any:
    targeting = {"if": [{"==": [rule, "never"]}, "on", "off"]}
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on", "targeting": targeting}
    found = read({"flags": {"lamp": flag}})
    assert found.problems == ()
    return compile_flag(found.flags["lamp"]).evaluate({"targetingKey": "ada", **context})


@pytest.mark.parametrize("rule", EXPONENTIAL.values(), ids=EXPONENTIAL)
def test_what_grows_without_end_is_given_up_and_says_so(rule: object) -> None:
    answer = asked(rule, l=[1] * 30)
    assert answer.error_code is ErrorCode.GENERAL
    assert "repeats too much" in answer.error_message
    assert asked(rule, l=[1]).error_code is None, "and the next evaluation has as much again"


def test_a_long_array_is_looked_through_all_the_same() -> None:
    rule = {"some": [LIST, {"==": [{"var": ""}, 20_000]}]}
    assert compile_rule(rule, "lamp", {}).rule({"l": list(range(20_001))}, 0.0) is True
    assert asked({"some": [LIST, {"==": [{"var": ""}, -1]}]}, l=[0] * MOST_WORK).error_code is ErrorCode.GENERAL


def test_each_thread_has_its_own_work_to_do() -> None:
    rule = compile_rule({"reduce": [LIST, {"+": [{"var": "accumulator"}, 1]}, 0]}, "lamp", {}).rule
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: rule({"l": [0] * 10_000}, 0.0), range(16)))
    assert done == [10_000] * 16


@pytest.mark.parametrize(("first", "end"), [(10, math.inf), (-10, -math.inf)])
def test_a_product_beyond_all_numbers_is_infinite(first: int, end: float) -> None:
    rule = compile_rule({"reduce": [LIST, {"*": [{"var": "accumulator"}, 1e300, 1e300]}, first]}, "lamp", {}).rule
    assert rule({"l": [1] * 5}, 0.0) == end
    squared = compile_rule({"reduce": [LIST, {"*": TWICE}, 10]}, "lamp", {}).rule
    assert squared({"l": [1] * 200}, 0.0) == math.inf


@pytest.mark.parametrize("members", [[], [[]], [1, [2, [3, None]], []], [None, ["a"]], [[[[]]]]])
def test_an_array_as_text_is_its_members_texts_and_theirs(members: list[Any]) -> None:
    def joined(array: list[Any]) -> str:
        return ",".join("" if one is None else joined(one) if isinstance(one, list) else str(one) for one in array)

    assert compile_rule({"cat": [LIST]}, "lamp", {}).rule({"l": members}, 0.0) == joined(members)


def test_arrays_deep_within_arrays_are_made_text_and_one_that_holds_itself_is_an_error() -> None:
    deep: list[Any] = [1, None, 2]
    for _ in range(5_000):
        deep = [deep]
    assert compile_rule({"cat": [LIST]}, "lamp", {}).rule({"l": deep}, 0.0) == "1,,2"
    endless: list[Any] = []
    endless.append(endless)
    assert asked({"cat": [LIST]}, l=endless).error_code is ErrorCode.GENERAL
