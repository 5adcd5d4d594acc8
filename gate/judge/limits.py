"""Fixed limits beside the test: conditions on the canary's own figures, counted as Argo Rollouts counts them.

No guarantee covers them: a limit is as right as the person who set it. Conditions are Python's comparisons and
nothing more; nothing here is ever evaluated as code. Source of the counting: Argo Rollouts, `analysis/analysis.go`.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from math import isfinite

from rampgate.criteria import Limit

NAMES = ("result", "stable", "requests", "p50", "p90", "p95", "p99")
"""What a condition may name: the canary's figure, stable's, the canary's requests, and quantiles of a histogram."""

_LONGEST = 300
_COMPARE: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_CALCULATE: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Measurement(StrEnum):
    """What one measurement came to."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How one limit has fared: ``failures`` and ``inconclusive`` in all, ``errors`` in a row, and the last one."""

    failures: int = 0
    inconclusive: int = 0
    errors: int = 0
    last: Measurement | None = None


def condition(text: str) -> ast.expr:
    """Read a condition.

    Raises:
        ValueError: it is none, with what is wrong.
    """
    return _parsed(text)


def at_most(value: float, of: str = "result") -> str:
    """The condition that fails above this value: what ``max`` in a configuration stands for."""
    return f"{of} > {value!r}"


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.expr:
    if not text.strip() or len(text) > _LONGEST:
        raise ValueError(f"a condition has 1 to {_LONGEST} characters")
    plain = re.sub(r"([\d.]+)\s*%(?!\s*[\w(])", r"(\1 / 100)", text)
    plain = re.sub(r"([\d.]+)\s*(ms|s)\b", lambda one: f"({one[1]} / {1000 if one[2] == 'ms' else 1})", plain)
    plain = re.sub(r"!(?!=)", " not ", plain.replace("&&", " and ").replace("||", " or ")).replace(
        "result[0]", "result"
    )
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
        _check(tree, truth=True)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no condition such as `result <= 2%`") from None
    return tree


def _check(node: ast.expr, *, truth: bool) -> None:
    """Raises ``ValueError`` for whatever is not a comparison of figures, or such comparisons joined."""
    match node:
        case ast.BoolOp(values=parts) if truth:
            for part in parts:
                _check(part, truth=True)
        case ast.UnaryOp(op=ast.Not(), operand=inner) if truth:
            _check(inner, truth=True)
        case ast.Compare(left=left, ops=ops, comparators=rest) if truth and all(type(op) in _COMPARE for op in ops):
            for side in (left, *rest):
                _check(side, truth=False)
        case ast.BinOp(left=left, op=op, right=right) if not truth and type(op) in _CALCULATE:
            _check(left, truth=False)
            _check(right, truth=False)
        case ast.UnaryOp(op=ast.USub(), operand=inner) if not truth:
            _check(inner, truth=False)
        case ast.Constant(value=int() | float() as value) if not truth and not isinstance(value, bool):
            pass
        case ast.Name(id=name) if not truth and name in NAMES:
            pass
        case _:
            what = ast.unparse(node)
            raise ValueError(f"{what!r}: a condition compares numbers with {', '.join(NAMES)}")


def _value(node: ast.expr, figures: Mapping[str, float]) -> float:
    """The figure that an expression comes to. Raises ``LookupError`` or ``ArithmeticError`` where there is none."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return figures[name]
        case ast.UnaryOp(operand=inner):
            return -_value(inner, figures)
        case ast.BinOp(left=left, op=op, right=right):
            return _CALCULATE[type(op)](_value(left, figures), _value(right, figures))
    raise LookupError(ast.unparse(node))


def is_met(node: ast.expr, figures: Mapping[str, float]) -> bool:
    """Whether a condition holds. Raises ``LookupError`` or ``ArithmeticError`` where a figure is missing or none."""
    match node:
        case ast.BoolOp(op=op, values=parts):
            found = [is_met(part, figures) for part in parts]
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.UnaryOp(operand=inner):
            return not is_met(inner, figures)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            values = [_value(side, figures) for side in (left, *rest)]
            if not all(isfinite(value) for value in values):
                raise ArithmeticError("not a number")
            pairs = pairwise(values)
            return all(_COMPARE[type(op)](one, other) for op, (one, other) in zip(ops, pairs, strict=True))
    raise LookupError(ast.unparse(node))


def measure(limit: Limit, figures: Mapping[str, float] | None) -> Measurement:
    """One measurement. With one condition the other is its opposite; with neither it is successful."""
    if figures is None:
        return Measurement.ERROR
    try:
        success = None if limit.success is None else is_met(condition(limit.success), figures)
        failure = None if limit.failure is None else is_met(condition(limit.failure), figures)
    except (ArithmeticError, LookupError, ValueError):
        return Measurement.ERROR
    if success is None and failure is None:
        return Measurement.SUCCESSFUL
    if success is None or failure is None:
        return Measurement.SUCCESSFUL if success or failure is False else Measurement.FAILED
    if success == failure:
        return Measurement.INCONCLUSIVE
    return Measurement.SUCCESSFUL if success else Measurement.FAILED


def counted(held: Held, found: Measurement) -> Held:
    """With one more measurement."""
    return replace(
        held,
        failures=held.failures + (found is Measurement.FAILED),
        inconclusive=held.inconclusive + (found is Measurement.INCONCLUSIVE),
        errors=held.errors + 1 if found is Measurement.ERROR else 0,
        last=found,
    )
