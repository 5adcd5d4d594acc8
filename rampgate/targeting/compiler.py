"""JSON logic, compiled once: a rule becomes nested closures that share nothing mutable and need no lock.

Lenient as flagd is at run time: a malformed operator gives null, an unknown one fails only when it is reached.
Strictness belongs to the door, `rampgate.flags`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from rampgate.bucketing import hash_of
from rampgate.flags import copied
from rampgate.targeting.coercion import is_array, number, text, truthy
from rampgate.targeting.operators import OPERATORS, fixed_split, share_out
from rampgate.targeting.paths import absent, follow, look_up
from rampgate.targeting.work import counted, spend, weighed

Rule = Callable[[object, float], object]
"""A compiled rule: called with the data in scope and the time in seconds since the epoch."""

Maker = Callable[["_Compiler", Sequence[object], bool], Rule]


class UnknownOperatorError(Exception):
    """A rule was reached whose operator, or shared rule, does not exist."""


@dataclass(slots=True)
class _Compiler:
    """One flag's compilation. ``at_root`` says whether a rule sees the whole context or one member of an array.

    ``operators`` is how many were compiled so far, ``repeats`` whether one of them runs a rule over an array.
    """

    flag_key: str
    evaluators: Mapping[str, object]
    uses_time: bool = False
    operators: int = 0
    repeats: bool = False
    shared: dict[tuple[str, bool], Rule] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def compile(self, logic: object, at_root: bool) -> Rule:
        if isinstance(logic, list | tuple):
            return self._array(logic, at_root)
        if not isinstance(logic, Mapping) or len(logic) != 1:
            literal = copied(logic)
            return lambda _data, _now: literal
        self.operators += 1
        (name, given), *_ = logic.items()
        arguments = list(given) if isinstance(given, list | tuple) else [given]
        if name == "$ref":
            return self._reference(given, at_root)
        if name in MAKERS:
            return MAKERS[name](self, arguments, at_root)
        if name in OPERATORS:
            operator = OPERATORS[name] if at_root else weighed(OPERATORS[name])
            return _applied(operator, self.each(arguments, at_root))
        return _unknown(f"operator {name}")

    def repeated(self, logic: object) -> Rule:
        """A rule that is run once for each member of an array, its work counted."""
        self.repeats = True
        before = self.operators
        rule = self.compile(logic, False)
        work = 1 + self.operators - before

        def step(data: object, now: float) -> object:
            spend(work)
            return rule(data, now)

        return step

    def each(self, arguments: Iterable[object], at_root: bool) -> tuple[Rule, ...]:
        return tuple(self.compile(argument, at_root) for argument in arguments)

    def _array(self, members: Sequence[object], at_root: bool) -> Rule:
        if not any(isinstance(member, Mapping | list | tuple) for member in members):
            literal = list(members)
            return lambda _data, _now: literal
        rules = self.each(members, at_root)
        return lambda data, now: [rule(data, now) for rule in rules]

    def _reference(self, name: object, at_root: bool) -> Rule:
        if not isinstance(name, str) or name not in self.evaluators or name in self.open:
            return _unknown(f"shared rule {name}")
        rule = self.shared.get((name, at_root))
        if rule is None:
            self.open.append(name)
            rule = self.shared[name, at_root] = self.compile(self.evaluators[name], at_root)
            self.open.pop()
        return rule


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """``rule`` gives what the targeting says; ``uses_time``: it asks for the time, so a caller must know it."""

    rule: Rule
    uses_time: bool


def compile_rule(logic: object, flag_key: str, evaluators: Mapping[str, object]) -> CompiledRule:
    """Compile a flag's targeting.

    Args:
        logic: JSON logic as parsed; read, never changed or kept.
        flag_key: what ``$flagd.flagKey`` is.
        evaluators: the shared rules that ``$ref`` may name.
    """
    compiler = _Compiler(flag_key, evaluators)
    rule = compiler.compile(logic, True)
    return CompiledRule(counted(rule) if compiler.repeats else rule, compiler.uses_time)


def _applied(operator: Callable[..., object], rules: tuple[Rule, ...]) -> Rule:
    """One closure a number of arguments: unrolled, since most rules have one or two."""
    if len(rules) == 1:
        (only,) = rules
        return lambda data, now: operator(only(data, now))
    if len(rules) == 2:
        first, second = rules
        return lambda data, now: operator(first(data, now), second(data, now))
    return lambda data, now: operator(*[rule(data, now) for rule in rules])


def _unknown(what: str) -> Rule:
    def fail(_data: object, _now: float) -> NoReturn:
        raise UnknownOperatorError(f"Unknown {what}.")

    return fail


def _choose(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    rules = compiler.each(arguments, at_root)
    pairs = tuple(zip(rules[0:-1:2], rules[1::2], strict=True))
    otherwise: Rule = rules[-1] if len(rules) % 2 else lambda _data, _now: None
    if len(pairs) == 1:
        ((condition, consequence),) = pairs

        def choose_once(data: object, now: float) -> object:
            return consequence(data, now) if truthy(condition(data, now)) else otherwise(data, now)

        return choose_once

    def choose(data: object, now: float) -> object:
        for condition, consequence in pairs:
            if truthy(condition(data, now)):
                return consequence(data, now)
        return otherwise(data, now)

    return choose


def _all_true(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    rules = compiler.each(arguments, at_root)

    def conjoin(data: object, now: float) -> object:
        found: object = None
        for rule in rules:
            found = rule(data, now)
            if not truthy(found):
                return found
        return found

    return conjoin


def _any_true(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    rules = compiler.each(arguments, at_root)

    def disjoin(data: object, now: float) -> object:
        found: object = None
        for rule in rules:
            found = rule(data, now)
            if truthy(found):
                return found
        return found

    return disjoin


def _variable(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    name = arguments[0] if arguments else None
    default = compiler.compile(arguments[1] if len(arguments) > 1 else None, at_root)
    if isinstance(name, Mapping | list | tuple):
        return _computed_variable(compiler, name, default, at_root)
    if name is None or name == "":
        return _everything(compiler, at_root)
    path = tuple(text(name).split("."))
    if at_root and path[0] == "$flagd":
        return _own_property(compiler, path[1:], default)
    if len(path) == 1 and at_root:
        (only,) = path

        def attribute(data: object, now: float) -> object:
            value = data.get(only) if isinstance(data, Mapping) else None
            return default(data, now) if value is None else value

        return attribute

    def nested(data: object, now: float) -> object:
        value = follow(data, path)
        return default(data, now) if value is None else value

    return nested


def _own_property(compiler: _Compiler, path: Sequence[str], default: Rule) -> Rule:
    """``$flagd`` always means flagd's own properties, whatever a context holds under that name."""
    key = compiler.flag_key
    if path == ("flagKey",):
        return lambda _data, _now: key
    compiler.uses_time = True
    if path == ("timestamp",):
        return lambda _data, now: int(now)

    def own(data: object, now: float) -> object:
        value = follow({"flagKey": key, "timestamp": int(now)}, path)
        return default(data, now) if value is None else value

    return own


def _everything(compiler: _Compiler, at_root: bool) -> Rule:
    if not at_root:
        return lambda data, _now: data
    compiler.uses_time = True
    key = compiler.flag_key

    def whole(data: object, now: float) -> object:
        own = {"flagKey": key, "timestamp": int(now)}
        return {**data, "$flagd": own} if isinstance(data, Mapping) else {"$flagd": own}

    return whole


def _computed_variable(compiler: _Compiler, name: object, default: Rule, at_root: bool) -> Rule:
    names, scope = compiler.compile(name, at_root), _everything(compiler, at_root)

    def computed(data: object, now: float) -> object:
        found = names(data, now)
        value = look_up(scope(data, now), found)
        return default(data, now) if value is None else value

    return computed


def _missing(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    rules, scope = compiler.each(arguments, at_root), _everything(compiler, at_root)

    def missing(data: object, now: float) -> object:
        given: Sequence[object] = [rule(data, now) for rule in rules]
        if given and is_array(given[0]):
            given = given[0]
        return absent(scope(data, now), given)

    return missing


def _missing_some(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    rules, scope = compiler.each(arguments, at_root), _everything(compiler, at_root)

    def missing_some(data: object, now: float) -> object:
        count, names, *_ = [*(rule(data, now) for rule in rules), None, None]
        if not is_array(names):
            return []
        gone = absent(scope(data, now), names)
        return [] if len(names) - len(gone) >= number(count) else gone

    return missing_some


def _over(kind: str) -> Maker:
    """The operators that run a rule over each member of an array, each in the member's own scope."""

    def make(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
        source = compiler.compile(arguments[0] if arguments else None, at_root)
        each = compiler.repeated(arguments[1] if len(arguments) > 1 else None)
        finish = _FINISH[kind]

        def run(data: object, now: float) -> object:
            items = source(data, now)
            return finish(items if is_array(items) else (), lambda item: each(item, now))

        return run

    return make


_FINISH: Mapping[str, Callable[[Sequence[object], Callable[[object], object]], object]] = {
    "map": lambda items, each: [each(item) for item in items],
    "filter": lambda items, each: [item for item in items if truthy(each(item))],
    "all": lambda items, each: bool(items) and all(truthy(each(item)) for item in items),
    "some": lambda items, each: any(truthy(each(item)) for item in items),
    "none": lambda items, each: not any(truthy(each(item)) for item in items),
}


def _reduce(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    source = compiler.compile(arguments[0] if arguments else None, at_root)
    step = compiler.repeated(arguments[1] if len(arguments) > 1 else None)
    start = compiler.compile(arguments[2] if len(arguments) > 2 else None, at_root)

    def reduce(data: object, now: float) -> object:
        items, reached = source(data, now), start(data, now)
        for item in items if is_array(items) else ():
            reached = step({"current": item, "accumulator": reached}, now)
        return reached

    return reduce


def _among(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    """``in``: a literal list of texts, such as an allow list, is searched by hash."""
    haystack = arguments[1] if len(arguments) > 1 else None
    if not is_array(haystack) or not all(isinstance(member, str) for member in haystack):
        found_in = OPERATORS["in"] if at_root else weighed(OPERATORS["in"])
        return _applied(found_in, compiler.each(arguments, at_root))
    needle, members = compiler.compile(arguments[0], at_root), frozenset(haystack)

    def listed(data: object, now: float) -> object:
        sought = needle(data, now)
        return isinstance(sought, str) and sought in members

    return listed


def _fractional(compiler: _Compiler, arguments: Sequence[object], at_root: bool) -> Rule:
    """``fractional``. Weights that are written out are added up once, and then only the entry chosen is evaluated."""
    rules = compiler.each(arguments, at_root)
    own_key = compiler.flag_key if at_root else None

    def fractional(data: object, now: float) -> object:
        entries = [rule(data, now) for rule in rules]
        if entries and isinstance(entries[0], str):
            return share_out(entries[0], entries[1:])
        return share_out(_own_bucket(data, own_key), entries)

    shorthand = bool(arguments) and is_array(arguments[0])
    entries = arguments if shorthand else arguments[1:]
    cut = fixed_split(entries)
    if cut is None:
        return fractional
    variants = compiler.each((entry[0] for entry in entries if is_array(entry)), at_root)
    owner, bucket_by = cut.entry, rules[0]

    def by_own_key(data: object, now: float) -> object:
        key = _own_bucket(data, own_key)
        return variants[owner(hash_of(key))](data, now) if key else None

    def by_rule(data: object, now: float) -> object:
        key = bucket_by(data, now)
        if not isinstance(key, str):
            return fractional(data, now)
        return variants[owner(hash_of(key))](data, now) if key else None

    return by_own_key if shorthand else by_rule


def _own_bucket(data: object, flag_key: str | None) -> str | None:
    """What the shorthand buckets by: the flag's key and then the targeting key, if there is one."""
    if not isinstance(data, Mapping):
        return None
    if flag_key is None:
        flag_key = text(follow(data, ("$flagd", "flagKey")) or "")
    key = data.get("targetingKey")
    return flag_key + key if isinstance(key, str) and key else None


MAKERS: Mapping[str, Maker] = {
    "if": _choose,
    "?:": _choose,
    "and": _all_true,
    "or": _any_true,
    "var": _variable,
    "missing": _missing,
    "missing_some": _missing_some,
    **{kind: _over(kind) for kind in _FINISH},
    "reduce": _reduce,
    "in": _among,
    "fractional": _fractional,
}
"""Operators that decide, repeat, or look at the data themselves."""
