"""What JavaScript makes of a value, since JSON logic is defined by it: truth, numbers, text, equality, order.

Source: ECMA-262 (ToNumber, ToString, IsLooselyEqual, IsLessThan) as json-logic-js uses them. Python's own
rules differ in ways that matter here: true is 1, "1_0" is a number, null sorts as text in the oracle.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TypeGuard

from rampgate.targeting.work import spend

NAN = math.nan
_DEEPEST = 10_000
"""Arrays within arrays that are made text; one that holds itself would have no end."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|Infinity)")
_RADIX = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_BLANK = " \t\n\v\f\r\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))

Number = int | float


def is_number(value: object) -> TypeGuard[Number]:
    """A number, and not Python's true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_nan(value: Number) -> bool:
    """Asked of floats only, since an integer too long for a float would raise."""
    return isinstance(value, float) and math.isnan(value)


def is_array(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, list | tuple)


def truthy(value: object) -> bool:
    """JSON logic's truth: an empty array is false, ``"0"`` and every object are true."""
    if isinstance(value, float):
        return not is_nan(value) and value != 0
    if isinstance(value, Mapping):
        return True
    return bool(value)


def number(value: object) -> Number:
    """``Number(value)``: NaN for what is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0
    if isinstance(value, str):
        return _text_number(value.strip(_BLANK))
    if is_array(value):
        return _text_number(text(value).strip(_BLANK))
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return aware.timestamp() * 1000
    return NAN


def leading_number(value: object) -> Number:
    """``parseFloat(value)``: the number a text begins with. ``+`` and ``*`` read their arguments so."""
    if is_number(value):
        return value
    match = _NUMBER.match(text(value).lstrip(_BLANK))
    return NAN if match is None else _decimal(match.group())


def text(value: object) -> str:
    """``String(value)``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_text(value)
    if value is None:
        return "null"
    if is_array(value):
        return ",".join(_leaves(value))
    if isinstance(value, date):
        return value.isoformat()
    return "[object Object]"


def _leaves(array: Iterable[object]) -> Iterator[str]:
    """The texts of an array's members, and of theirs. An array that holds itself many times over is soon too much.

    Not by recursion: each leaf would pass through every array around it, which a visitor's list could make long work.
    """
    within = [iter(array)]
    while within:
        for member in within[-1]:
            spend(1)
            if is_array(member) and member:
                if len(within) > _DEEPEST:
                    raise RecursionError("an array without end")
                within.append(iter(member))
                break
            yield "" if member is None else text(member)
        else:
            within.pop()


def loosely_equal(one: object, other: object) -> bool:
    """``==``: null equals only null; arrays and objects equal only themselves."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    if one is None or other is None:
        return one is other
    one_holds, other_holds = _holds(one), _holds(other)
    if one_holds and other_holds:
        return one is other
    if one_holds:
        return loosely_equal(text(one), other)
    if other_holds:
        return loosely_equal(one, text(other))
    return number(one) == number(other)


def strictly_equal(one: object, other: object) -> bool:
    """``===``: as ``==``, and of one type."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if _holds(one) or _holds(other):
        return one is other
    if is_number(one) or is_number(other):
        return is_number(one) and is_number(other) and one == other
    return one == other


def less(one: object, other: object) -> bool:
    """``<``: two texts as texts, all else as numbers; NaN is neither less nor more."""
    one, other = _primitive(one), _primitive(other)
    if isinstance(one, str) and isinstance(other, str):
        return one < other
    return number(one) < number(other)


def less_or_equal(one: object, other: object) -> bool:
    """``<=``. Not the opposite of ``>``: with NaN both are false."""
    one, other = _primitive(one), _primitive(other)
    if isinstance(one, str) and isinstance(other, str):
        return one <= other
    return number(one) <= number(other)


def _holds(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _primitive(value: object) -> object:
    return text(value) if _holds(value) else value


def _text_number(stripped: str) -> Number:
    if not stripped:
        return 0
    if _NUMBER.fullmatch(stripped):
        return _decimal(stripped)
    return int(stripped, 0) if _RADIX.fullmatch(stripped) else NAN


def _decimal(digits: str) -> Number:
    # Python refuses to read very long integers; as a float they become infinite, as in JavaScript.
    return int(digits) if digits.lstrip("+-").isdigit() and len(digits) < 16 else float(digits)


def _float_text(value: float) -> str:
    """Number::toString: Python finds the same shortest digits, but writes exponents elsewhere."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    written = whole + fraction
    digits = written.lstrip("0")
    point = len(whole) + int(power or 0) - (len(written) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"
