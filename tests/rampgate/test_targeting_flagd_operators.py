"""flagd's own operators: versions, beginnings and ends, and the split."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampgate.flags.versions import parse_version
from rampgate.targeting import compile_rule

# In the order of https://semver.org/ section 11, least first.
IN_ORDER = [
    "0.9.9", "1.0.0-0.3.7", "1.0.0-1", "1.0.0-2", "1.0.0-11", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
    "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0",
]  # fmt: skip
NOT_VERSIONS = [
    "",
    "v",
    "2.0.0.0",
    "not-a-version",
    "1.0.0-",
    "1.0.0+",
    "01.0.0",
    "1.0.0-01",
    "1..0",
    " 1.0.0",
    "1.0.0\n",
    "１.0.0",
]


def result_of(logic: Any, **context: Any) -> Any:
    return compile_rule(logic, "flag", {}).rule(context, 0.0)


def compare(one: Any, how: Any, other: Any) -> Any:
    return result_of({"sem_ver": [one, how, other]})


@given(first=st.integers(0, len(IN_ORDER) - 1), second=st.integers(0, len(IN_ORDER) - 1))
def test_versions_are_ordered_as_their_specification_says(first: int, second: int) -> None:
    one, other = IN_ORDER[first], IN_ORDER[second]
    assert compare(one, "<", other) is (first < second)
    assert compare(one, "<=", other) is (first <= second)
    assert compare(one, ">", other) is (first > second)
    assert compare(one, ">=", other) is (first >= second)
    assert compare(one, "=", other) is (first == second)
    assert compare(one, "!=", other) is (first != second)


@pytest.mark.parametrize(
    ("one", "how", "other", "expected"),
    [
        ("3.0.1", "~", "3.0.0", True),
        ("3.1.0", "~", "3.0.0", False),
        ("3.1.0", "^", "3.0.0", True),
        ("4.0.0", "^", "3.0.0", False),
        ("v1.0.0", "=", "1.0.0", True),
        ("V1.0.0", "=", "v1.0.0", True),
        ("1", "=", "1.0.0", True),
        ("1.5", "^", "1", True),
        ("1.2-rc.1", "<", "1.2", True),
        (2, "=", "2.0.0", True),
        (1.5, "=", "1.5.0", True),
        ("1.0.0+one", "=", "1.0.0+other", True),
        ("1.0.0", "===", "1.0.0", None),
        ("1.0.0", 3, "1.0.0", None),
        (None, "=", "1.0.0", None),
        (True, "=", "1.0.0", None),
    ],
)
def test_versions_are_read_as_flagd_reads_them(one: Any, how: Any, other: Any, expected: Any) -> None:
    assert compare(one, how, other) is expected


@pytest.mark.parametrize("text", NOT_VERSIONS)
def test_what_is_no_version_compares_to_nothing(text: str) -> None:
    assert parse_version(text) is None
    assert compare(text, "!=", "1.0.0") is None


@pytest.mark.parametrize("arguments", [[], ["abc"], ["abc", "a", "b"], ["abc", 3], [None, "a"], [["a"], "a"]])
def test_a_comparison_of_text_that_has_none_is_null(arguments: Any) -> None:
    assert result_of({"starts_with": arguments}) is None
    assert result_of({"ends_with": arguments}) is None


def test_beginnings_and_ends() -> None:
    assert result_of({"starts_with": [{"var": "id"}, "abc"]}, id="abcd") is True
    assert result_of({"ends_with": [{"var": "id"}, "abc"]}, id="abcd") is False


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["salt"],
        ["salt", "on"],
        ["salt", []],
        ["salt", ["on", 1, 2]],
        ["salt", ["on", "1"]],
        ["salt", ["on", True]],
        ["salt", ["on", 1.5]],
        ["salt", ["on", None]],
        ["salt", ["on", 0]],
        ["salt", ["on", -1]],
        ["salt", ["on", 1 << 31]],
        ["", ["on", 1]],
        [{"var": "missing"}, ["on", 1]],
        [7, ["on", 1]],
        [True, ["on", 1]],
    ],
)
def test_a_split_that_decides_nothing_is_null(arguments: Any) -> None:
    assert result_of({"fractional": arguments}, targetingKey="user") is None


@pytest.mark.parametrize("key", [None, "", 7, ["user"]])
def test_the_shorthand_needs_a_targeting_key(key: Any) -> None:
    assert result_of({"fractional": [["on", 1]]}, targetingKey=key) is None
    assert result_of({"fractional": [["on", 1]]}) is None


def test_a_split_within_a_split_needs_a_salt_of_its_own() -> None:
    """Hashed alike, all users of the outer half would fall on one side of the inner one."""

    def halves(salt: str) -> list[str]:
        inner = {"fractional": [{"cat": [salt, {"var": "targetingKey"}]}, ["a", 1], ["b", 1]]}
        outer = {"fractional": [{"cat": ["outer", {"var": "targetingKey"}]}, [inner, 1], ["none", 1]]}
        rule = compile_rule(outer, "flag", {}).rule
        return [str(rule({"targetingKey": f"user-{number}"}, 0.0)) for number in range(2000)]

    assert set(halves("outer")) == {"a", "none"}
    assert halves("inner").count("a") == pytest.approx(500, abs=80)


def test_weights_may_follow_the_clock() -> None:
    start, end = 1000, 2000
    ramp = {
        "fractional": [
            {"cat": ["salt", {"var": "targetingKey"}]},
            ["on", {"-": [{"var": "$flagd.timestamp"}, start]}],
            ["off", {"-": [end, {"var": "$flagd.timestamp"}]}],
        ]
    }
    rule = compile_rule(ramp, "flag", {}).rule
    users = [{"targetingKey": f"user-{number}"} for number in range(1000)]

    def served(now: float) -> set[str]:
        return {str(user["targetingKey"]) for user in users if rule(user, now) == "on"}

    assert served(start - 50) == served(start) == set()
    assert served(1250) < served(1500) < served(1750)
    assert len(served(1500)) == pytest.approx(500, abs=60)
    assert len(served(end)) == len(served(end + 50)) == len(users)
