"""The shared rules of a document, `$evaluators`: which of them may be referred to by `$ref`, and how big they are.

They are resolved on the tree, in any order and nested; flagd's own text substitution is not imitated.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from rampgate.flags.rules import Size, rule_problems, show
from rampgate.problem import Problem


@dataclass(frozen=True, slots=True)
class Evaluators:
    """``rules`` as written; ``sound`` holds the size of each that may be referred to."""

    rules: Mapping[str, object] = field(default_factory=dict)
    sound: Mapping[str, Size] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_evaluators(given: object) -> Evaluators:
    """Check the shared rules, those referred to first, so that sizes and faults are known to their users."""
    if given is None:
        return Evaluators()
    if not isinstance(given, Mapping):
        return Evaluators(problems=(Problem("$evaluators", show(given), "an object of named rules"),))
    problems: dict[str, list[Problem]] = {}
    rules: dict[str, object] = {}
    for name, rule in given.items():
        if isinstance(name, str) and name and isinstance(rule, Mapping):
            rules[name] = rule
        else:
            problems[str(name)] = [Problem(f"$evaluators.{name}", show(rule), "a rule, under a name that is text")]
    wanted = {name: {other for other in references(rule) if other in rules} for name, rule in rules.items()}
    sound: dict[str, Size] = {}
    circular = set(rules)
    for name in _in_order(wanted):
        circular.discard(name)
        size = Size()
        rule = rules[name]
        if isinstance(rule, Mapping) and rule:
            problems[name] = list(rule_problems(f"$evaluators.{name}", rule, rules, sound, size))
        if not problems.get(name):
            sound[name] = size
    for name in circular:
        path = f"$evaluators.{name}"
        problems[name] = [Problem(path, show(sorted(wanted[name])), "references that do not lead in a circle")]
    return Evaluators(rules, sound, tuple(one for name in given for one in problems.get(str(name), ())))


def references(rule: object) -> Iterator[str]:
    """Every name that a rule refers to; without recursion, since nothing has bounded its depth yet."""
    left = [rule]
    while left:
        node = left.pop()
        if isinstance(node, Mapping):
            name = node.get("$ref")
            if len(node) == 1 and isinstance(name, str):
                yield name
            left.extend(node.values())
        elif isinstance(node, list | tuple):
            left.extend(node)


def _in_order(wanted: Mapping[str, set[str]]) -> Iterator[str]:
    """Names after all that they refer to; names in a circle, or behind one, are left out."""
    sorter = TopologicalSorter(wanted)
    with suppress(CycleError):  # the sorter goes on with what no circle blocks
        sorter.prepare()
    while ready := sorter.get_ready():
        for name in ready:
            yield name
            sorter.done(name)
