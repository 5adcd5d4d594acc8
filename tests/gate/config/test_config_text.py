"""The traps of YAML, each refused by name, and none of them a crash."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gate.config import load
from gate.config.text import parse, scalar
from gate.errors import ConfigError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file: nothing"),
        ("- a", "the file: a list"),
        ("flag", "the file: a single value"),
        ("flag: shop\n\tsteps: [1]", "line 2, column 1: a tab"),
        ("flag: [1", "line 1, column"),
        ("flag: shop: x", "line 1, column 11"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: 1\nb: 2\na: 3", "each key once; it stands on line 1 already"),
        ("x: {a: 1, a: 2}", "x.a: the same key again, on line 1,"),
        ("a: &a [*a]", "an alias of what it stands in"),
        ("a: !!python/object/apply:os.system [ls]", "the tag"),
        ("a: !env HOME", "the tag !env"),
        ("? [a]\n: 1", "a list or mapping as a key"),
        ("confirm:", "confirm: nothing"),
        ("a: *b", "line 1, column 4"),
        ("a: '\0'", "not YAML"),
        (BOMB, "unfolds without end"),
        ("a: " + "[" * 2000 + "]" * 2000, "very deep nesting"),
        ("a: " + "[" * 30 + "1" + "]" * 30, "very deep nesting"),
        ("a: " + "x" * 70_000, "at most 64 KiB"),
    ],
)
def test_a_trap_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, where="rampgate.yml")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "y", "1:30", "0x10", "1_000", "2026-11-22", ".inf", "1e999"]
)
def test_words_that_older_yaml_turns_into_something_else_stay_words(word: str) -> None:
    assert scalar(word) == word


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("~", None), ("", None), ("007", 7), ("-1.5e3", -1500.0)]
)
def test_plain_values_are_what_they_look_like(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_quotes_make_text_and_anchors_may_repeat_a_value() -> None:
    document, found = parse("a: '10'\nb: &x {c: 1}\nd: *x\non: \"true\"")
    assert found == []
    assert document == {"a": "10", "b": {"c": 1}, "d": {"c": 1}, "on": "true"}


@given(st.text(max_size=200))
def test_any_text_gives_values_or_problems_and_never_a_crash(text: str) -> None:
    document, found = parse(text)
    assert all(isinstance(key, str) for key in document)
    assert all(problem.path and problem.allowed for problem in found)


_VALUES = st.recursive(
    st.booleans() | st.integers(-99, 99) | st.text("abc:-#{}[]&*!|>'\"%@` \n", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), _VALUES, min_size=1, max_size=4))
def test_what_a_yaml_writer_writes_is_read_back(document: dict[str, object]) -> None:
    assert parse(yaml.safe_dump(document)) == (document, [])
