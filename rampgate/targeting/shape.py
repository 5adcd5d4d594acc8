"""Recognises targeting that is a split of users by their targeting key, lists before it: that is how rollouts look.

Such a flag needs one hash and one comparison, or one look into a table; this module only recognises it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rampgate.bucketing import Split
from rampgate.targeting.coercion import is_array
from rampgate.targeting.operators import fixed_split


@dataclass(frozen=True, slots=True)
class UserSplit:
    """Users are cut by the hash of ``salt`` and their key; ``results[i]`` is what the i-th entry says.

    ``needs_key``: an empty key decides nothing. It is so where the flag's own key is the salt (flagd's shorthand),
    where there is no salt, and where the split stands behind ``{"if": [{"var": "targetingKey"}, ...]}``.
    """

    salt: str
    needs_key: bool
    cut: Split
    results: tuple[object, ...]


class Listed(str):
    """A variant that a list gave, not the split behind it: the same text, told apart by its type."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Lists:
    """Targeting that asks lists first: ``pairs`` are conditions and the variants they give, ``split`` is the rest."""

    pairs: tuple[tuple[object, Listed], ...]
    split: Mapping[str, object]

    @property
    def by_key(self) -> Mapping[str, Listed] | None:
        """The variant of each user on a list; ``None`` where a list is no list of keys, but a rule."""
        found: dict[str, Listed] = {}
        for condition, variant in self.pairs:
            arguments = _arguments("in", condition)
            if arguments is None or len(arguments) != 2 or not _is_user(arguments[0]) or not is_array(arguments[1]):
                return None
            for key in arguments[1]:
                if not isinstance(key, str):
                    return None
                found.setdefault(key, variant)
        return found

    def marked(self) -> Mapping[str, object]:
        """The same targeting, whose lists give ``Listed`` variants."""
        inside = [one for pair in self.pairs for one in pair]
        return {"if": [*inside, *(_arguments("if", self.split) or ())]}


def lists_of(logic: object) -> Lists | None:
    """The lists that stand before ``{"var": "targetingKey"}`` and a split behind it; ``None`` for other targeting."""
    arguments = list(_arguments("if", logic) or ())
    pairs: list[tuple[object, Listed]] = []
    while len(arguments) > 2 and isinstance(arguments[1], str) and not _is_user(arguments[0]):
        pairs.append((arguments[0], Listed(arguments[1])))
        arguments = arguments[2:]
    if not pairs or len(arguments) < 2 or not _is_user(arguments[0]) or _arguments("fractional", arguments[1]) is None:
        return None
    return Lists(tuple(pairs), {"if": arguments})


def user_split(logic: object, flag_key: str, evaluators: Mapping[str, object]) -> UserSplit | None:
    """The split that this targeting is, or ``None`` for every other targeting."""
    logic = _resolved(logic, evaluators)
    guarded = _arguments("if", logic) or ()
    if 2 <= len(guarded) <= 3 and guarded[2:] in ([], [None]) and _is_user(guarded[0]):
        behind = user_split(guarded[1], flag_key, evaluators)
        return None if behind is None else replace(behind, needs_key=True)
    arguments = _arguments("fractional", logic)
    if not arguments:
        return None
    salt, entries = flag_key, arguments
    shorthand = is_array(arguments[0])
    if not shorthand:
        found = _salt(_resolved(arguments[0], evaluators), flag_key)
        if found is None:
            return None
        salt, entries = found, arguments[1:]
    cut = fixed_split(entries)
    if cut is None:
        return None
    results = tuple(entry[0] for entry in entries if is_array(entry))
    if any(isinstance(result, Mapping | list | tuple) for result in results):
        return None
    return UserSplit(salt, shorthand or not salt, cut, results)


def _salt(bucket_by: object, flag_key: str) -> str | None:
    """What precedes the targeting key in the text to hash; ``None``: something else is hashed."""
    if _is_user(bucket_by):
        return ""
    parts = _arguments("cat", bucket_by)
    if not parts or not _is_user(parts[-1]):
        return None
    known = [flag_key if _arguments("var", part) == ["$flagd.flagKey"] else part for part in parts[:-1]]
    texts = [part for part in known if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(known) else None


def _is_user(logic: object) -> bool:
    return _arguments("var", logic) == ["targetingKey"]


def _arguments(operator: str, logic: object) -> Sequence[object] | None:
    if not isinstance(logic, Mapping) or len(logic) != 1 or operator not in logic:
        return None
    given = logic[operator]
    return list(given) if is_array(given) else [given]


def _resolved(logic: object, evaluators: Mapping[str, object]) -> object:
    """The rule behind a ``$ref``; a circle of them ends as what it is."""
    for _ in range(len(evaluators)):
        arguments = _arguments("$ref", logic)
        if not arguments or not isinstance(arguments[0], str) or arguments[0] not in evaluators:
            break
        logic = evaluators[arguments[0]]
    return logic
