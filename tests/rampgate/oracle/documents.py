"""Random documents and contexts on which flagd's implementations agree by design.

Rules are made with their types in mind: text is compared with text, numbers with numbers. What implementations
make of text plus null is not agreed on, and is tested apart.
"""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

NOW = 1_767_225_600.0

Logic = Any

words = st.sampled_from(["", "a", "ab", "abc", "b", "basic", "premium", "user-1", "é", "名前", "Zoë Ω", "10", "x y"])
versions = st.sampled_from(["1.0.0", "1.2.3", "1.2.3-rc.1", "v2", "2.1", "2.1.0+build.7", "2.0.0.0", "none", ""])
whole = st.integers(-20, 120)
numbers = whole | st.sampled_from([0.5, 2.25, -1.5, 1e6])
names = st.sampled_from(["on", "off", "third", "true", "false", "1", "nowhere"])


def _is_plain_rule(rule: Logic) -> bool:
    """The reference puts shared rules in by text substitution, and fails on whatever JSON escapes."""
    written = json.dumps(rule)
    return isinstance(rule, dict) and "\\" not in written and "$ref" not in written


contexts: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "targetingKey": words | st.text(st.characters(codec="utf-8"), max_size=12),
        "name": words,
        "email": words,
        "version": versions,
        "age": whole,
        "score": numbers,
        "vip": st.booleans(),
        "tags": st.lists(words, max_size=3),
        "sizes": st.lists(whole, max_size=3),
        "user": st.fixed_dictionaries(
            {}, optional={"name": words, "plan": words, "roles": st.lists(words, max_size=2)}
        ),
        "$flagd": st.just({"flagKey": "not this one", "timestamp": 3}),
        "nothing": st.none(),
    },
)

TEXT_PATHS = ("name", "email", "targetingKey", "user.name", "user.plan", "user.roles.0", "nothing")
NUMBER_PATHS = ("age", "score", "sizes.0", "tags.length")
perhaps_text: st.SearchStrategy[Any] = st.sampled_from(TEXT_PATHS).map(lambda path: {"var": path}) | words
some_text: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        words
        | st.just({"var": "$flagd.flagKey"})
        | st.tuples(st.sampled_from(TEXT_PATHS), words).map(lambda pair: {"var": [*pair]})
        | st.lists(some_text | whole, min_size=1, max_size=3).map(lambda parts: {"cat": parts})
        | st.tuples(some_text, st.integers(-3, 3)).map(lambda pair: {"substr": [*pair]})
        | st.tuples(some_text, st.integers(0, 3), st.integers(-2, 3)).map(lambda three: {"substr": [*three]})
        | st.tuples(truths, some_text, some_text).map(lambda three: {"if": [*three]})
    )
)
some_number: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        numbers
        | st.just({"var": "$flagd.timestamp"})
        | st.tuples(st.sampled_from(NUMBER_PATHS), numbers).map(lambda pair: {"var": [*pair]})
        | st.lists(some_number, min_size=2, max_size=3).flatmap(
            lambda terms: st.sampled_from(["+", "*", "min", "max"]).map(lambda name: {name: terms})
        )
        | st.tuples(some_number, some_number).map(lambda pair: {"-": [*pair]})
        | some_number.map(lambda term: {"-": [term]})
        | st.tuples(some_number, st.sampled_from([1, 2, 4, -8])).map(lambda pair: {"/": [*pair]})
        | st.tuples(whole.map(abs), st.integers(1, 7)).map(lambda pair: {"%": [*pair]})
        | st.lists(whole, max_size=3).map(
            lambda items: {"reduce": [items, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}
        )
    )
)
orders = st.sampled_from(["<", "<=", ">", ">="])
equalities = st.sampled_from(["==", "!=", "===", "!=="])
lists_of_text: st.SearchStrategy[Any] = st.lists(words, max_size=4) | st.just({"var": ["tags", []]})
listed: st.SearchStrategy[Any] = st.tuples(
    st.sampled_from(["all", "some", "none"]),
    lists_of_text,
    st.tuples(st.just({"var": ""}), words).map(lambda pair: {"starts_with": [*pair]})
    | words.map(lambda word: {"==": [{"var": ""}, word]}),
).map(lambda three: {three[0]: [three[1], three[2]]})
truths: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.booleans()
        | st.just({"var": "vip"})
        | st.tuples(equalities, some_text, perhaps_text).map(lambda three: {three[0]: [*three[1:]]})
        | st.tuples(equalities, some_number, some_number).map(lambda three: {three[0]: [*three[1:]]})
        | st.tuples(orders, some_number, some_number).map(lambda three: {three[0]: [*three[1:]]})
        | st.tuples(orders, some_text, some_text).map(lambda three: {three[0]: [*three[1:]]})
        | st.tuples(some_number, some_number, some_number).map(lambda three: {"<=": [*three]})
        | st.tuples(perhaps_text, lists_of_text).map(lambda pair: {"in": [*pair]})
        | st.tuples(some_text, some_text).map(lambda pair: {"in": [*pair]})
        | st.tuples(st.sampled_from(["starts_with", "ends_with"]), perhaps_text, some_text).map(
            lambda three: {three[0]: [*three[1:]]}
        )
        | st.tuples(
            st.just({"var": "version"}), st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~", "^"]), sound_versions
        ).map(lambda three: {"sem_ver": [*three]})
        | listed
        | st.lists(st.sampled_from([*TEXT_PATHS, *NUMBER_PATHS]), min_size=1, max_size=3).map(
            lambda paths: {"!!": {"missing": paths}}
        )
        | truths.map(lambda truth: {"!": truth})
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(truths, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        )
        | st.just({"$ref": "shared"})
    )
)
sound_versions: st.SearchStrategy[Any] = st.sampled_from(["1.0.0", "1.2.3", "1.2.3-rc.1", "v2", "2.1", "2.1.0+build.7"])
weights: st.SearchStrategy[Any] = (
    st.integers(0, 100)
    | st.integers(0, (1 << 31) - 1).filter(lambda weight: weight < 1 << 29)
    | st.tuples(truths, whole, whole).map(lambda three: {"if": [*three]})
    | st.tuples(whole, whole).map(lambda pair: {"-": [*pair]})
)
choices: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        names
        | st.none()
        | whole
        | st.sampled_from([truths]).flatmap(lambda kind: kind)
        | st.tuples(truths, choices, choices).map(lambda three: {"if": [*three]})
        | st.tuples(truths, choices).map(lambda pair: {"if": [*pair]})
        | splits
    )
)
entries: st.SearchStrategy[Any] = st.tuples(names | st.none() | st.booleans() | choices, weights).map(list) | names.map(
    lambda name: [name]
)
splits: st.SearchStrategy[Any] = st.tuples(
    st.just([])
    | st.just([{"cat": [{"var": "$flagd.flagKey"}, {"var": ["targetingKey", ""]}]}])
    | words.map(lambda salt: [{"cat": [salt, {"var": ["targetingKey", "nobody"]}]}])
    | perhaps_text.filter(lambda by: isinstance(by, dict)).map(lambda by: [by]),
    st.lists(entries, min_size=1, max_size=4),
).map(lambda pair: {"fractional": [*pair[0], *pair[1]]})


KINDS: Mapping[str, tuple[object, ...]] = {
    "boolean": (True, False, True),
    "string": ("yes", "", "maybe"),
    "number": (1, 2.5, 0),
    "object": ({"colour": "red", "sizes": [1, 2]}, {}, {"deep": {"er": None}}),
}
variants: st.SearchStrategy[Any] = st.sampled_from(list(KINDS.values())).map(
    lambda three: dict(zip(["on", "off", "third", "true", "false", "1"], three * 2, strict=True))
)
metadata: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(["owner", "ttl", "live"]), st.booleans() | whole | words, max_size=2
)
branches: st.SearchStrategy[Any] = st.tuples(truths, splits | names, splits | choices).map(
    lambda three: {"if": [*three]}
)
conditions: st.SearchStrategy[Any] = truths.filter(lambda rule: isinstance(rule, dict))
nothing: st.SearchStrategy[Any] = st.sampled_from([None, {}])
# Sampled, because a plain alternative would give each kind of condition the weight of all splits together.
rules: st.SearchStrategy[Any] = st.sampled_from(
    [splits, splits, splits, branches, branches, conditions, nothing]
).flatmap(lambda kind: kind)
documents: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "flags": st.fixed_dictionaries(
            {
                "checkout": st.fixed_dictionaries(
                    {
                        "state": st.sampled_from(["ENABLED"] * 9 + ["DISABLED"]),
                        "variants": variants,
                        "targeting": rules,
                    },
                    optional={"defaultVariant": st.sampled_from(["on", "off", None]), "metadata": metadata},
                ),
                "other": st.just({"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}),
            }
        ),
        "$evaluators": st.fixed_dictionaries({"shared": truths.filter(_is_plain_rule)}),
    },
    optional={"metadata": metadata},
)
