"""JSON logic's and flagd's operators on values already evaluated. What decides or repeats is in the compiler.

Sources: json-logic-js (the definition of JSON logic) and open-feature/flagd; docs/evaluation.md lists where the
implementations disagree and what we do.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from rampgate.bucketing import Split, hash_of, split
from rampgate.flags.versions import Version, parse_version
from rampgate.targeting.coercion import (
    NAN,
    is_array,
    is_nan,
    leading_number,
    less,
    less_or_equal,
    loosely_equal,
    number,
    strictly_equal,
    text,
    truthy,
)

Operator = Callable[..., object]


def between(compare: Callable[[object, object], bool]) -> Operator:
    """``<`` and ``<=``: two arguments, or three for "b lies between"."""

    def compared(a: object = None, b: object = None, *rest: object) -> bool:
        return compare(a, b) and (not rest or compare(b, rest[0]))

    return compared


def add(*values: object) -> object:
    return sum(leading_number(value) for value in values)


def multiply(*values: object) -> object:
    product = math.prod(leading_number(value) for value in values)
    # Beyond a double's range it is infinite, as in JavaScript; Python would go on for as many digits as there are.
    too_long = isinstance(product, int) and product.bit_length() > 1024
    return (math.inf if product > 0 else -math.inf) if too_long else product


def subtract(a: object = None, *rest: object) -> object:
    return number(a) - number(rest[0]) if rest else -number(a)


def divide(a: object = None, b: object = None, *_: object) -> object:
    over, under = number(a), number(b)
    if under == 0:
        return NAN if over == 0 or is_nan(over) else math.copysign(math.inf, over) * math.copysign(1, under)
    return over / under


def remainder(a: object = None, b: object = None, *_: object) -> object:
    """The sign is the dividend's, as in JavaScript and C; Python's own ``%`` takes the divisor's."""
    over, under = number(a), number(b)
    if under == 0 or over in (math.inf, -math.inf):
        return NAN
    if isinstance(over, int) and isinstance(under, int):
        left = abs(over) % abs(under)
        return -left if over < 0 else left
    return math.fmod(over, under)


def smallest(*values: object) -> object:
    numbers = [number(value) for value in values]
    return NAN if any(is_nan(one) for one in numbers) else min(numbers, default=math.inf)


def largest(*values: object) -> object:
    numbers = [number(value) for value in values]
    return NAN if any(is_nan(one) for one in numbers) else max(numbers, default=-math.inf)


def join(*values: object) -> str:
    """``cat``: null adds nothing."""
    return "".join("" if value is None else text(value) for value in values)


def merge(*values: object) -> list[object]:
    merged: list[object] = []
    for value in values:
        if is_array(value):
            merged.extend(value)
        else:
            merged.append(value)
    return merged


def contains(needle: object = None, haystack: object = None, *_: object) -> bool:
    if isinstance(haystack, str):
        return text(needle) in haystack
    return is_array(haystack) and any(strictly_equal(needle, member) for member in haystack)


def substring(source: object = None, start: object = None, *rest: object) -> str:
    """Counted in characters; a negative start or length counts from the end."""
    whole = text(source)
    size = len(whole)
    first = _position(start)
    first = max(0, size + first) if first < 0 else min(first, size)
    if not rest or rest[0] is None:
        return whole[first:]
    length = _position(rest[0])
    return whole[first : max(first, size + length) if length < 0 else first + length]


def starts_with(*values: object) -> bool | None:
    match values:
        case (str() as whole, str() as part):
            return whole.startswith(part)
    return None


def ends_with(*values: object) -> bool | None:
    match values:
        case (str() as whole, str() as part):
            return whole.endswith(part)
    return None


RANGES: Mapping[str, Callable[[Version, Version], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "^": lambda a, b: a[0] == b[0],
    "~": lambda a, b: a[:2] == b[:2],
}


def sem_ver(*values: object) -> bool | None:
    """Null for what is no version or no range, so that the default variant is served."""
    if len(values) != 3 or not isinstance(values[1], str) or values[1] not in RANGES:
        return None
    one, other = parse_version(text(values[0])), parse_version(text(values[2]))
    return None if one is None or other is None else RANGES[values[1]](one, other)


def share_out(key: object, entries: Sequence[object]) -> object:
    """``fractional``: the variant of the entry that owns this key; null where flagd cannot decide.

    Args:
        key: what to bucket by; anything but text that is not empty decides nothing.
        entries: ``[variant, weight]`` or ``[variant]``, evaluated.
    """
    if not isinstance(key, str) or not key:
        return None
    cut = fixed_split(entries)
    if cut is None:
        return None
    entry = entries[cut.entry(hash_of(key))]
    return entry[0] if is_array(entry) else None


def fixed_split(entries: Sequence[object]) -> Split | None:
    """The cut by the weights of these entries; ``None`` where one has none, or they cut nothing."""
    weights = [weight_of(entry) for entry in entries]
    known = [weight for weight in weights if weight is not None]
    return split(known) if len(known) == len(weights) else None


def weight_of(entry: object) -> int | None:
    """The weight of one evaluated entry; ``None``: no entry. A whole number may be written 100.0."""
    if not is_array(entry) or not 1 <= len(entry) <= 2:
        return None
    weight = entry[1] if len(entry) == 2 else 1
    if isinstance(weight, float) and weight.is_integer():
        return int(weight)
    return weight if isinstance(weight, int) and not isinstance(weight, bool) else None


def _position(value: object) -> int:
    position = number(value)
    if is_nan(position):
        return 0
    return int(max(-(1 << 53), min(1 << 53, position)))


OPERATORS: Mapping[str, Operator] = {
    "==": lambda a=None, b=None, *_: loosely_equal(a, b),
    "!=": lambda a=None, b=None, *_: not loosely_equal(a, b),
    "===": lambda a=None, b=None, *_: strictly_equal(a, b),
    "!==": lambda a=None, b=None, *_: not strictly_equal(a, b),
    "<": between(less),
    "<=": between(less_or_equal),
    ">": between(lambda a, b: less(b, a)),
    ">=": between(lambda a, b: less_or_equal(b, a)),
    "!": lambda a=None, *_: not truthy(a),
    "!!": lambda a=None, *_: truthy(a),
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
    "min": smallest,
    "max": largest,
    "merge": merge,
    "in": contains,
    "cat": join,
    "substr": substring,
    "starts_with": starts_with,
    "ends_with": ends_with,
    "sem_ver": sem_ver,
}
"""Operators that see nothing but their arguments, all of them evaluated."""
