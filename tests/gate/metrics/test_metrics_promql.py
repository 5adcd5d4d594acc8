"""Queries with placeholders: a value stays in its string, and only what counts is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.metrics import promql
from gate.metrics.queries import Placeholder


def _of(text: str, version: str, slot: str = "green") -> str:
    return promql.read(text).of({Placeholder.VERSION: version, Placeholder.SLOT: slot})


def _problems(text: str) -> list[str]:
    return [f"{problem.value}: {problem.allowed} {problem.hint or ''}" for problem in promql.problems(text, "q")]


def _unquoted(literal: str) -> str:
    """A PromQL string literal's value, by the rules of its documentation; the reader must end at its last quote."""
    quote, body = literal[0], literal[1:]
    out = bytearray()
    i = 0
    while body[i] != quote:
        if body[i] != "\\":
            assert body[i] != "\n"
            out += body[i].encode()
            i += 1
            continue
        code = body[i + 1]
        if code == "x":
            out.append(int(body[i + 2 : i + 4], 16))
            i += 4
        elif code == "u":
            out += chr(int(body[i + 2 : i + 6], 16)).encode()
            i += 6
        else:
            out += {"n": "\n", "\\": "\\", quote: quote}[code].encode()
            i += 2
    assert i == len(body) - 1, "the string ended before its last quote"
    return out.decode()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.sampled_from("\"'"))
def test_whatever_a_version_is_called_the_matcher_compares_with_exactly_that(version: str, quote: str) -> None:
    text = "sum(n{version=" + quote + "{{version}}" + quote + "})"
    filled = _of(text, version)
    literal = filled.removeprefix("sum(n{version=").removesuffix("})")
    assert _unquoted(literal) == version


@pytest.mark.parametrize("quote", ["'", '"'])
def test_both_quotes_are_escaped_in_both_kinds_of_string(quote: str) -> None:
    assert _of(f"n{{a={quote}{{{{version}}}}{quote}}}", "'\"") == f"n{{a={quote}\\x27\\x22{quote}}}"


@given(st.text())
def test_no_version_raises(version: str) -> None:
    filled = _of('n{a="{{version}}",b=~"{{version}}.*"}', version)
    assert "\n" not in filled


def test_in_a_regular_expression_a_version_matches_itself_alone() -> None:
    assert _of('n{version=~"{{version}}-.*"}', "1.2+b(3)") == 'n{version=~"1\\\\.2\\\\+b\\\\(3\\\\)-.*"}'
    assert _of('n{version!~"{{ version }}"}', "a|b") == 'n{version!~"a\\\\|b"}'


def test_slot_and_version_may_both_stand_in_a_query() -> None:
    text = "n{slot='{{slot}}', version != \"{{version}}\"}"
    assert promql.problems(text, "q") is not None
    assert not _problems(text)
    assert _of(text, "v2", "blue") == "n{slot='blue', version != \"v2\"}"


def test_a_value_is_never_taken_for_a_placeholder() -> None:
    assert _of('n{a="{{version}}",b="{{slot}}"}', "{{slot}}", "green") == 'n{a="{{slot}}",b="green"}'


@pytest.mark.parametrize(
    "text",
    [
        "sum({{version}}_requests_total)",
        'n{version="v1"} * {{slot}}',
        "n{version=`{{version}}`}",
        'label_replace(n, "{{version}}", "$1", "a", "b")',
        'n{version="v1"} # {{version}}',
        'n{"{{version}}"="x"}',
        'n >= "{{version}}"',
    ],
)
def test_a_placeholder_stands_in_a_matchers_quotes_or_is_refused(text: str) -> None:
    assert len(_problems(text)) == 1
    with pytest.raises(ValueError, match="placeholder"):
        promql.read(text)


def test_an_unknown_placeholder_is_refused_with_the_nearest() -> None:
    (problem,) = _problems('n{version="{{versoin}}"}')
    assert "{{version}}" in problem
    assert Placeholder.VERSION in problem


@pytest.mark.parametrize("text", ["", "  ", "sum(n)", 'sum(n{version="{version}"})', 'n{v="{{version}}"}' + " " * 4000])
def test_a_query_that_is_the_same_for_both_arms_or_none_is_refused(text: str) -> None:
    assert len(_problems(text)) == 1


@pytest.mark.parametrize(
    "name", ["rate", "irate", "increase", "delta", "avg_over_time", "histogram_quantile", "INCREASE", "avg by"]
)
def test_what_is_no_raw_counter_is_refused_with_the_reason(name: str) -> None:
    (problem,) = _problems(f'sum({name} (n{{version="{{{{version}}}}"}}[5m]))')
    assert "raw counters" in problem


@pytest.mark.parametrize("text", ['rate_total{version="{{version}}"}', 'n{version="{{version}}",path="/rate(x)"}'])
def test_a_name_that_merely_sounds_calculated_is_allowed(text: str) -> None:
    assert _problems(text) == []


def test_a_string_that_is_not_closed_is_refused() -> None:
    assert _problems('sum(n{version="{{version}})')
