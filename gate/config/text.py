"""YAML text → plain values, with every trap of YAML refused by name.

Scalars follow YAML 1.2's core schema, so `on`, `no` and `1:30` are text. Tags, duplicate keys, self-containing
aliases and documents that unfold beyond reason are problems. What the keys mean is not known here.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from rampgate.problem import Problem

LARGEST = 64 * 1024
"""Bytes of the file."""

MOST_VALUES = 5_000
"""Values after aliases are unfolded: a page of YAML can unfold to billions."""

DEEPEST = 20

Value = dict[str, Any] | list[Any] | str | int | float | bool | None

_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?[0-9]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,15}|[0-9]{1,15}(\.[0-9]{0,15})?)([eE][-+]?[0-9]{1,2})?")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


def parse(text: str) -> tuple[dict[str, Any], list[Problem]]:
    """The mapping that the text holds, and everything that is wrong with the text as YAML."""
    if len(text.encode("utf-8", "replace")) > LARGEST:
        return {}, [Problem("the file", f"{len(text)} characters", f"at most {LARGEST // 1024} KiB")]
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        return {}, [_syntax(error)]
    except yaml.YAMLError as error:
        return {}, [Problem("the file", f"text that is not YAML ({str(error).splitlines()[0]})", "YAML in UTF-8")]
    except RecursionError:
        return {}, [Problem("the file", "very deep nesting", f"at most {DEEPEST} levels")]
    if not isinstance(root, yaml.MappingNode):
        shown = "nothing" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        return {}, [Problem("the file", shown, "a mapping of keys, such as `flag: shop`")]
    unfolding = _Unfolding()
    value = unfolding.value(root, "", ())
    return (value if isinstance(value, dict) else {}), unfolding.problems


@dataclass(slots=True)
class _Unfolding:
    """Turns nodes into values, and gives up on the first sign of a bomb."""

    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def value(self, node: yaml.Node, path: str, above: tuple[int, ...]) -> Value:
        self.count += 1
        if self.count > MOST_VALUES:
            if self.count == MOST_VALUES + 1:
                self.problems.append(
                    Problem("the file", "a document that unfolds without end", f"at most {MOST_VALUES} values")
                )
            return None
        if id(node) in above:
            self.problems.append(Problem(path, "an alias of what it stands in", "an alias of something else"))
            return None
        if len(above) >= DEEPEST:
            self.problems.append(Problem(path, "very deep nesting", f"at most {DEEPEST} levels"))
            return None
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.append(Problem(path or "the file", f"the tag {tag}", "plain values, without tags"))
            return None
        above = (*above, id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path, above)
            case yaml.SequenceNode():
                return [self.value(item, f"{path}[{index}]", above) for index, item in enumerate(node.value)]
            case yaml.ScalarNode(value=str(text)):
                return scalar(text) if node.style is None else text
            case _:
                raise TypeError(f"YAML knows no {type(node).__name__}")

    def _mapping(self, node: yaml.MappingNode, path: str, above: tuple[int, ...]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(f"line {line}", "a list or mapping as a key", "a word as a key"))
                continue
            key = str(key_node.value)
            if not key:
                self.problems.append(Problem(f"line {line}", "a key that is empty", "a word as a key"))
                continue
            inside = f"{path}.{key}" if path else key
            if key in lines:
                allowed = f"each key once; it stands on line {lines[key]} already"
                self.problems.append(Problem(inside, f"the same key again, on line {line},", allowed))
                continue
            lines[key] = line
            value = self.value(value_node, inside, above)
            if value is None:
                # An empty key reads like a choice and would be none: `confirm:` must not mean "unconfirmed".
                self.problems.append(Problem(inside, "nothing", "a value, or no such key"))
            else:
                found[key] = value
        return found


def scalar(text: str) -> Value:
    """An unquoted scalar by YAML 1.2's core schema; numbers beyond 15 digits stay text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
    what = error.problem or "a slip"
    if "'\\t'" in what:
        return Problem(place, "a tab", "spaces: YAML admits no tabs for indentation")
    if "expected a single document" in str(error.context):
        return Problem(place, "a second document", "one document")
    return Problem(place, f"this text ({what})", "YAML, such as `key: value`")
