"""flagd documents ⇄ flags. Every problem at once, each with its path; one bad flag never takes the others down.

Knows nothing of files, JSON text or HTTP, and evaluates nothing.
"""

import math
from collections.abc import Iterator, Mapping
from typing import cast

from rampgate.flags.references import Evaluators, read_evaluators
from rampgate.flags.rules import nearest, rule_problems, show
from rampgate.flags.values import Flag, FlagSet, FlagState, MetadataValue, ValueType, value_type
from rampgate.problem import Problem

SAFE_INTEGER = (1 << 53) - 1
"""Beyond it a number is not the same in every language that reads the document."""

MAX_VALUE_DEPTH = 64
_OWN = ("state", "variants", "defaultVariant", "targeting", "metadata")


def read(document: object) -> FlagSet:
    """Read a flagd document, parsed from JSON or YAML. Never raises, and never changes the document.

    Args:
        document: an object with ``flags`` (an object by key, or an array whose members have a ``key``), and if
            wanted ``$evaluators`` and ``metadata``.

    Returns:
        The sound flags as copies, and every problem. A flag named in a problem is left out.
    """
    if not isinstance(document, Mapping):
        return FlagSet(problems=(Problem("document", show(document), "an object with flags"),))
    evaluators = read_evaluators(document.get("$evaluators"))
    problems = list(evaluators.problems)
    metadata, faults = _metadata("metadata", document.get("metadata"))
    problems += faults
    rules = {name: copied(rule) for name, rule in evaluators.rules.items() if name in evaluators.sound}
    flags: dict[str, Flag] = {}
    for path, key, body in _entries(document, problems):
        if key in flags:
            problems.append(Problem(path, show(key), "a key that no other flag has"))
            continue
        faults = list(_flag_problems(path, body, evaluators))
        if faults:
            problems += faults
        else:
            flags[key] = _flag(key, cast(Mapping[str, object], body), rules)
    extra = _without(document, ("flags", "$evaluators", "metadata"))
    for name in list(extra):
        if fault := _value_fault(extra[name]):
            problems.append(Problem(str(name), show(extra.pop(name)), fault))
    return FlagSet(
        flags=flags,
        problems=tuple(problems),
        metadata=metadata,
        evaluators=rules,
        extra=_copy_mapping(extra),
    )


def write(flagset: FlagSet) -> dict[str, object]:
    """The document of these flags, ready for JSON: ``read(write(flagset))`` gives the same flags."""
    document = _copy_mapping(flagset.extra)
    document["flags"] = {key: write_flag(flag) for key, flag in flagset.flags.items()}
    if flagset.evaluators:
        document["$evaluators"] = _copy_mapping(flagset.evaluators)
    if flagset.metadata:
        document["metadata"] = dict(flagset.metadata)
    return document


def write_flag(flag: Flag) -> dict[str, object]:
    """One flag as it stands under its key in a document."""
    body: dict[str, object] = {"state": flag.state.value, "variants": copied(flag.variants)}
    if flag.default_variant is not None:
        body["defaultVariant"] = flag.default_variant
    if flag.targeting:
        body["targeting"] = copied(flag.targeting)
    if flag.metadata:
        body["metadata"] = dict(flag.metadata)
    return body | _copy_mapping(flag.extra)


def copied(value: object) -> object:
    """A copy of a JSON value that shares nothing with it; arrays become lists."""
    if value is None or isinstance(value, str | int | float):  # most are, and asking for a Mapping is slow
        return value
    if isinstance(value, Mapping):
        return {key: copied(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [copied(member) for member in value]
    return value


def _entries(document: Mapping[object, object], problems: list[Problem]) -> Iterator[tuple[str, str, object]]:
    """Path, key and body of each flag, from either form of ``flags``."""
    given = document.get("flags")
    if isinstance(given, Mapping):
        for key, body in given.items():
            if isinstance(key, str) and key:
                yield f"flags.{key}", key, body
            else:
                problems.append(Problem("flags", show(key), "a key that is text and not empty"))
    elif isinstance(given, list | tuple):
        for number, body in enumerate(given):
            path = f"flags[{number}]"
            key = body.get("key") if isinstance(body, Mapping) else None
            if not isinstance(body, Mapping):
                problems.append(Problem(path, show(body), "a flag: an object with a key"))
            elif isinstance(key, str) and key:
                yield path, key, _without(body, ("key",))
            else:
                problems.append(Problem(f"{path}.key", show(key), "text that is not empty"))
    else:
        found = show(given) if "flags" in document else "nothing"
        problems.append(Problem("flags", found, "an object of flags by key, or an array of flags with keys"))


def _flag_problems(path: str, body: object, evaluators: Evaluators) -> Iterator[Problem]:
    if not isinstance(body, Mapping):
        yield Problem(path, show(body), "a flag: an object with state and variants")
        return
    state = body.get("state")
    if state not in tuple(FlagState):
        found = show(state) if "state" in body else "nothing"
        hint = nearest(state.upper(), tuple(FlagState)) if isinstance(state, str) else None
        yield Problem(f"{path}.state", found, "ENABLED or DISABLED", hint)
    yield from _variant_problems(path, body)
    targeting = body.get("targeting")
    if targeting is not None and not isinstance(targeting, Mapping):
        yield Problem(f"{path}.targeting", show(targeting), "a rule: an object with one operator")
    elif targeting:
        yield from rule_problems(f"{path}.targeting", targeting, evaluators.rules, evaluators.sound)
    _, faults = _metadata(f"{path}.metadata", body.get("metadata"))
    yield from faults
    for name in body:
        if not isinstance(name, str):
            yield Problem(path, show(name), "properties whose names are text")
        elif name not in _OWN and (fault := _value_fault(body[name])):
            yield Problem(f"{path}.{name}", show(body[name]), fault)


def _variant_problems(path: str, body: Mapping[str, object]) -> Iterator[Problem]:
    variants = body.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        found = show(variants) if "variants" in body else "nothing"
        yield Problem(f"{path}.variants", found, "at least one variant: an object of values by name")
        return
    first: tuple[str, ValueType] | None = None
    for name, value in variants.items():
        place = f"{path}.variants.{name}"
        kind = value_type(value)
        if not isinstance(name, str) or not name:
            yield Problem(f"{path}.variants", show(name), "names of variants that are text and not empty")
        elif kind is None:
            yield Problem(place, show(value), "true or false, text, a number, or an object")
        elif first is not None and kind is not first[1]:
            yield Problem(place, show(value), f"a {first[1]} like {first[0]}: the variants of a flag share one type")
        elif fault := _value_fault(value):
            yield Problem(place, show(value), fault)
        elif first is None:
            first = name, kind
    default = body.get("defaultVariant")
    if default is not None and not (isinstance(default, str) and default in variants):
        names = [name for name in variants if isinstance(name, str)]
        hint = nearest(default, names) if isinstance(default, str) else None
        yield Problem(f"{path}.defaultVariant", show(default), "null, or one of " + ", ".join(names), hint)


def _metadata(path: str, given: object) -> tuple[Mapping[str, MetadataValue], list[Problem]]:
    if given is None:
        return {}, []
    if not isinstance(given, Mapping):
        return {}, [Problem(path, show(given), "an object of names and plain values")]
    sound: dict[str, MetadataValue] = {}
    problems = []
    for name, value in given.items():
        plain = isinstance(value, bool | str | int) or (isinstance(value, float) and math.isfinite(value))
        if isinstance(name, str) and name and plain:
            sound[name] = value
        else:
            problems.append(Problem(f"{path}.{name}", show(value), "true or false, text, or a number, under a name"))
    return sound, problems


def _value_fault(value: object, depth: int = 0) -> str | None:
    """What is wrong with a variant's value; ``None`` when every language reads it alike."""
    if depth > MAX_VALUE_DEPTH:
        return f"values nested at most {MAX_VALUE_DEPTH} deep"
    if isinstance(value, bool | str) or value is None:
        return None
    if isinstance(value, int):
        return None if abs(value) <= SAFE_INTEGER else f"whole numbers from {-SAFE_INTEGER} to {SAFE_INTEGER}"
    if isinstance(value, float):
        return None if math.isfinite(value) else "a finite number"
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            return "objects whose names are text"
        members = list(value.values())
    elif isinstance(value, list | tuple):
        members = list(value)
    else:
        return "what JSON can say"
    return next((fault for member in members if (fault := _value_fault(member, depth + 1))), None)


def _flag(key: str, body: Mapping[str, object], rules: Mapping[str, object]) -> Flag:
    """A sound body as a flag that shares nothing with the document."""
    targeting = cast(Mapping[str, object] | None, body.get("targeting"))
    metadata, _ = _metadata("", body.get("metadata"))
    return Flag(
        key=key,
        state=FlagState(cast(str, body["state"])),
        variants=_copy_mapping(cast(Mapping[str, object], body["variants"])),
        default_variant=cast(str | None, body.get("defaultVariant")),
        targeting=_copy_mapping(targeting) if targeting else None,
        metadata=metadata,
        evaluators=rules,
        extra=_copy_mapping(_without(body, _OWN)),
    )


def _copy_mapping(value: Mapping[str, object]) -> dict[str, object]:
    return {key: copied(member) for key, member in value.items()}


def _without(value: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    return {key: member for key, member in value.items() if key not in names}
