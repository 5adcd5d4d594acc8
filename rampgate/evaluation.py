"""What a flag says for a user: compiled once, then asked without locks, network or surprises.

Nothing here raises once a flag is compiled: what goes wrong is an answer with an error code. Staleness,
exposures and an app's own defaults belong to the client.
"""

# A flag's functions are made anew for each flag: their annotations must not be evaluated each time.
from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

import mmh3

from rampgate.bucketing import hash_of
from rampgate.flags import Flag, FlagSet, FlagState, MetadataValue, ValueType, copied, value_type
from rampgate.targeting import Listed, Rule, UnknownOperatorError, UserSplit, compile_rule, lists_of, user_split
from rampgate.targeting.coercion import is_number, text
from rampgate.targeting.work import TooMuchWorkError


class Reason(StrEnum):
    """Why a value was served, in OpenFeature's words."""

    STATIC = "STATIC"
    TARGETING_MATCH = "TARGETING_MATCH"
    DEFAULT = "DEFAULT"
    DISABLED = "DISABLED"
    SPLIT = "SPLIT"
    STALE = "STALE"
    CACHED = "CACHED"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"


class ErrorCode(StrEnum):
    """What went wrong, in OpenFeature's words."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    PARSE_ERROR = "PARSE_ERROR"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    GENERAL = "GENERAL"
    PROVIDER_NOT_READY = "PROVIDER_NOT_READY"


NO_METADATA: Mapping[str, MetadataValue] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was resolved. ``value`` is ``None`` where the app's own default counts: a flag that is disabled, has
    no default variant, or failed. An object's value is a fresh copy. ``handpicked``: a list that stands before a
    split of users gave it, or a tester token; in a rollout such an answer is no evidence."""

    value: object = None
    variant: str | None = None
    reason: Reason = Reason.UNKNOWN
    error_code: ErrorCode | None = None
    error_message: str | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=lambda: NO_METADATA)
    handpicked: bool = False


T = TypeVar("T")
Resolve = Callable[[Mapping[str, object], float | None], Resolution]
ValueFor = Callable[[str], object]
VariantFor = Callable[[str], str | None]


NOBODY_LISTED: Mapping[str, Resolution] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Cut:
    """The answers of a flag that looks at nothing but the targeting key: one for each stretch of the hash space.

    ``bounds`` has the first hash beyond each stretch; a flag that says the same to everybody has one answer alone.
    Keys that are ``listed`` have theirs, whatever they hash to.
    """

    salt: str
    needs_key: bool
    bounds: tuple[int, ...]
    answers: tuple[Resolution, ...]
    listed: Mapping[str, Resolution] = field(default_factory=lambda: NOBODY_LISTED)

    def pick(self, make: Callable[[Resolution], T]) -> Callable[[str], T | None]:
        """A function from a targeting key to what ``make`` made of its answer; ``None`` for a key that must be asked
        by ``CompiledFlag.evaluate``. It holds nothing but what it needs: an app may have thousands of flags."""
        made: list[T | None] = [make(answer) for answer in self.answers]
        if not self.bounds:
            only = made[0]
            return lambda _key: only
        behind = _by_hash(self.salt, self.needs_key, self.bounds, made, _nobody)
        return _by_list(self.listed, make, behind)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, repr=False)
class CompiledFlag:
    """One flag, ready to be asked. Immutable: any number of threads may ask at once.

    ``value_for(targeting_key)`` and ``variant_for(targeting_key)`` are the fast path: functions that give what
    ``evaluate({"targetingKey": targeting_key})`` would, ``None`` where the app's own default counts. For a fixed
    flag they cost a call, for a rollout a hash and a comparison. Callers may keep them, but not across snapshots.
    ``cut`` is there where the targeting key alone decides.
    """

    key: str
    variants: Mapping[str, object]
    metadata: Mapping[str, MetadataValue]
    type: ValueType | None
    value_for: ValueFor
    variant_for: VariantFor
    cut: Cut | None
    _resolve: Resolve

    def evaluate(self, context: Mapping[str, object], now: float | None = None) -> Resolution:
        """Resolve for a context. Never raises, and never changes the context.

        Args:
            context: the user's attributes, ``targetingKey`` among them.
            now: seconds since the epoch, for ``$flagd.timestamp``; ``None``: the clock is read if a rule asks.
        """
        return self._resolve(context, now)

    def serve(self, variant: str, reason: Reason, *, handpicked: bool = False) -> Resolution | None:
        """The answer that is this variant, whoever asks; ``None``: there is no such variant."""
        if variant not in self.variants:
            return None
        value = copied(self.variants[variant])
        return Resolution(value, variant, reason, metadata=self.metadata, handpicked=handpicked)


def compile_flag(flag: Flag, set_metadata: Mapping[str, MetadataValue] = NO_METADATA) -> CompiledFlag:
    """Compile one flag; ``set_metadata`` is the document's, which the flag's own overrides.

    A flag that never passed the door of ``rampgate.flags.read`` compiles too: what it cannot say becomes an
    answer with an error code, as in flagd.
    """
    resolver = _Resolver(flag, MappingProxyType({**set_metadata, **flag.metadata}))
    resolve, value_for, variant_for, cut = _paths(resolver)
    types = {value_type(value) for value in flag.variants.values()}
    return CompiledFlag(
        key=flag.key,
        variants=MappingProxyType({name: copied(value) for name, value in flag.variants.items()}),
        metadata=resolver.metadata,
        type=types.pop() if len(types) == 1 else None,
        value_for=value_for,
        variant_for=variant_for,
        cut=cut,
        _resolve=resolve,
    )


def compile_flags(flagset: FlagSet) -> dict[str, CompiledFlag]:
    """Compile every sound flag of a document, by key."""
    return {key: compile_flag(flag, flagset.metadata) for key, flag in flagset.flags.items()}


class _Resolver:
    """Answers for one flag. Every answer but an object's and an error's is made beforehand."""

    __slots__ = (
        "_answers", "_default", "_fixed", "_holds_objects", "_key", "_listed", "_rule", "_uses_time",
        "by_key", "metadata", "split",
    )  # fmt: skip

    def __init__(self, flag: Flag, metadata: Mapping[str, MetadataValue]) -> None:
        self.metadata = metadata
        self._key = flag.key
        self._holds_objects = any(_is_object(value) for value in flag.variants.values())
        self._answers = {
            name: Resolution(copied(value), name, Reason.TARGETING_MATCH, metadata=metadata)
            for name, value in flag.variants.items()
        }
        self._listed: Mapping[str, Resolution] = NOBODY_LISTED
        self._default = self._default_answer(flag, Reason.DEFAULT)
        self._fixed: Resolution | None = None
        self._rule: Rule = _nothing
        self._uses_time = False
        self.by_key: Mapping[str, str] | None = None
        self.split: UserSplit | None = None
        if flag.state is FlagState.DISABLED:
            self._fixed = Resolution(reason=Reason.DISABLED, metadata=metadata)
        elif not flag.targeting:
            self._fixed = self._default_answer(flag, Reason.STATIC)
        else:
            try:
                self._read(flag)
            except RecursionError:
                self._fixed = self._failed(ErrorCode.PARSE_ERROR, "The targeting is too deeply nested.")

    def _read(self, flag: Flag) -> None:
        lists = lists_of(flag.targeting)
        logic, split = (flag.targeting, flag.targeting) if lists is None else (lists.marked(), lists.split)
        if lists is not None:
            self._listed = {name: replace(answer, handpicked=True) for name, answer in self._answers.items()}
        self.by_key = {} if lists is None else lists.by_key
        self.split = None if self.by_key is None else user_split(split, flag.key, flag.evaluators)
        if self.split is not None:
            self._rule = _when_asked(lambda: compile_rule(logic, flag.key, flag.evaluators).rule)
        else:
            compiled = compile_rule(logic, flag.key, flag.evaluators)
            self._rule, self._uses_time = compiled.rule, compiled.uses_time

    @property
    def fixed(self) -> bool:
        """The answer is the same for everybody."""
        return self._fixed is not None

    def __call__(self, context: Mapping[str, object], now: float | None) -> Resolution:
        if self._fixed is not None:
            return self._fresh(self._fixed) if self._holds_objects else self._fixed
        if not isinstance(context, Mapping):
            return self._failed(ErrorCode.INVALID_CONTEXT, "The context is not a mapping of attributes.")
        if now is None:
            now = time.time() if self._uses_time else 0.0
        try:
            return self.answer(self._rule(context, now))
        except UnknownOperatorError as error:
            return self._failed(ErrorCode.PARSE_ERROR, str(error))
        except TooMuchWorkError as error:
            return self._failed(ErrorCode.GENERAL, str(error))
        except Exception as error:  # whatever a context holds, an app's lookup must not fail
            return self._failed(ErrorCode.GENERAL, f"The targeting failed: {type(error).__name__}.")

    def answer(self, result: object) -> Resolution:
        """What a targeting's result means: a variant's name, or nothing."""
        if result is None:
            found: Resolution | None = self._default
        elif isinstance(result, str):
            found = (self._listed if type(result) is Listed else self._answers).get(result)
        else:
            found = self._answers.get(text(result)) if isinstance(result, bool) or is_number(result) else None
        if found is None:
            return self._failed(ErrorCode.GENERAL, f"The targeting names no variant of {self._key}.")
        return self._fresh(found) if self._holds_objects else found

    def _fresh(self, resolution: Resolution) -> Resolution:
        """An object's value is copied, so that no app can change it for the others."""
        return replace(resolution, value=copied(resolution.value))

    def _default_answer(self, flag: Flag, reason: Reason) -> Resolution:
        name = flag.default_variant
        if name is None:
            return Resolution(reason=Reason.DEFAULT, metadata=self.metadata)
        if name not in flag.variants:
            return self._failed(ErrorCode.GENERAL, f"The default variant is no variant of {flag.key}.")
        return Resolution(copied(flag.variants[name]), name, reason, metadata=self.metadata)

    def _failed(self, code: ErrorCode, message: str) -> Resolution:
        return Resolution(None, None, Reason.ERROR, code, message, self.metadata)


def _nothing(_data: object, _now: float) -> object:
    return None


def _when_asked(make: Callable[[], Rule]) -> Rule:
    """A rule that is compiled at the first question: a flag that the targeting key decides is hardly ever asked."""
    made: list[Rule] = []

    def rule(data: object, now: float) -> object:
        if not made:
            made.append(make())
        return made[0](data, now)

    return rule


def _paths(resolver: _Resolver) -> tuple[Resolve, ValueFor, VariantFor, Cut | None]:
    """The ways to ask a flag, each as short as its targeting allows."""

    def slow(targeting_key: str) -> Resolution:
        return resolver({"targetingKey": targeting_key}, None)

    if resolver.fixed:
        answer = slow("")
        value, variant = answer.value, answer.variant
        cut = Cut("", False, (), (answer,))
        if _is_object(value):
            return resolver, lambda _key: copied(value), lambda _key: variant, cut
        return lambda _context, _now: answer, lambda _key: value, lambda _key: variant, cut
    listed, split = resolver.by_key, resolver.split
    if split is None or listed is None:
        return resolver, lambda key: slow(key).value, lambda key: slow(key).variant, None
    on_list = {variant: resolver.answer(variant) for variant in set(listed.values())}
    cut = _cut(split, [resolver.answer(result) for result in split.results])
    cut = replace(cut, listed={key: on_list[variant] for key, variant in listed.items()})

    def quick(make: Callable[[Resolution], T], otherwise: Callable[[str], T]) -> Callable[[str], T]:
        made = [make(answer) for answer in cut.answers]
        return _by_list(cut.listed, make, _by_hash(cut.salt, cut.needs_key, cut.bounds, made, otherwise))

    variant_for = quick(lambda answer: answer.variant, lambda key: slow(key).variant)
    if any(_is_object(answer.value) for answer in (*cut.answers, *on_list.values())):
        return resolver, lambda key: slow(key).value, variant_for, cut
    value_for = quick(lambda answer: answer.value, lambda key: slow(key).value)
    answer_for = quick(lambda answer: answer, slow)

    def resolve(context: Mapping[str, object], now: float | None) -> Resolution:
        if isinstance(context, dict) and isinstance(key := context.get("targetingKey"), str):
            return answer_for(key)
        return resolver(context, now)

    return resolve, value_for, variant_for, cut


def _cut(split: UserSplit, answers: Sequence[Resolution]) -> Cut:
    """The split without the entries that own no hash at all."""
    edges = pairwise((0, *split.cut.bounds))
    owners = [(number, high) for number, (low, high) in enumerate(edges) if low < high]
    bounds = tuple(bound for _, bound in owners)
    return Cut(split.salt, split.needs_key, bounds, tuple(answers[number] for number, _ in owners))


def _by_list(
    listed: Mapping[str, Resolution], make: Callable[[Resolution], T], behind: Callable[[str], T]
) -> Callable[[str], T]:
    """The answer of a list where the key stands on one, else the one behind it."""
    if not listed:
        return behind
    kinds = {id(answer): make(answer) for answer in listed.values()}
    made = {key: kinds[id(answer)] for key, answer in listed.items()}

    def pick(key: str, made: Mapping[str, T] = made, behind: Callable[[str], T] = behind) -> T:
        return made[key] if isinstance(key, str) and key in made else behind(key)

    return pick


def _nobody(_key: str) -> None:
    return None


def _by_hash(
    salt: str, needs_key: bool, bounds: Sequence[int], owned: Sequence[T], otherwise: Callable[[str], T]
) -> Callable[[str], T]:
    """The fast path of a rollout: everything precomputed, one hash, one comparison.

    What a lookup needs stands in defaults, not in attributes or cells: those are slower, and twice as large.
    Only ASCII goes to the hash as text: see ``hash_of`` for what else could happen. ``otherwise`` answers for keys
    that are empty where one is needed, or are no text.
    """

    if len(owned) <= 2 and salt.isascii():

        def pick(
            key: str, needs_key: bool = needs_key, salt: str = salt, hashed: Callable[..., int] = mmh3.hash,
            bound: int = bounds[0], first: T = owned[0], second: T = owned[-1],
            otherwise: Callable[[str], T] = otherwise,
        ) -> T:  # fmt: skip
            try:
                if needs_key and not key:
                    return otherwise(key)
                if key.isascii():
                    return first if hashed(salt + key, 0, False) < bound else second
                return first if hash_of(salt + key) < bound else second
            except Exception:
                return otherwise(key)

        return pick

    def pick_of_many(
        key: str, needs_key: bool = needs_key, salt: str = salt, bounds: Sequence[int] = bounds,
        owned: Sequence[T] = owned, otherwise: Callable[[str], T] = otherwise,
    ) -> T:  # fmt: skip
        try:
            if needs_key and not key:
                return otherwise(key)
            return owned[bisect_right(bounds, hash_of(salt + key))]
        except Exception:
            return otherwise(key)

    return pick_of_many


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)
