"""The reference evaluator of flagd for Python, asked the way an OpenFeature provider asks it."""

import copy
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from rampgate.evaluation import Resolution, compile_flags
from rampgate.flags import read

# The package exports a function of the module's own name, so the module is only found among those imported.
TARGETING = sys.modules["openfeature.contrib.tools.flagd.core.targeting.targeting"]
CODE_DEFAULT = object()
logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What either evaluator said. ``value`` is ``None`` where the app's own default counts."""

    value: object
    variant: str | None
    reason: str
    error: str | None = None
    metadata: tuple[tuple[str, object], ...] = ()


CRASH = Answer(None, None, "CRASH")


def theirs(document: Mapping[str, object], key: str, context: Mapping[str, object], now: float) -> Answer:
    """What ``openfeature-flagd-core`` says; ``CRASH`` where an exception escapes that OpenFeature does not know."""
    core = FlagdCore()
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    targeting_key = context.get("targetingKey")
    variants = list(document["flags"][key]["variants"].values())  # type: ignore[index]
    resolve = {
        bool: core.resolve_boolean_value,
        str: core.resolve_string_value,
        dict: core.resolve_object_value,
    }.get(type(variants[0]), core.resolve_float_value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TARGETING, "time", SimpleNamespace(time=lambda: now))
        try:
            core.set_flags(copy.deepcopy(dict(document)))
            found = resolve(key, CODE_DEFAULT, EvaluationContext(targeting_key, attributes))  # type: ignore[arg-type]
        except OpenFeatureError as error:
            return Answer(None, None, "ERROR", error.error_code.value)
        except Exception:
            return CRASH
    value = None if found.value is CODE_DEFAULT else found.value
    return Answer(value, found.variant, str(found.reason), None, _sorted(found.flag_metadata))


def ours(document: Mapping[str, object], key: str, context: Mapping[str, object], now: float) -> Answer:
    """What we say about the same flag of the same document."""
    flagset = read(document)
    assert flagset.problems == ()
    return answer(compile_flags(flagset)[key].evaluate(context, now))


def answer(resolution: Resolution) -> Answer:
    if resolution.error_code is not None:
        return Answer(None, None, resolution.reason, resolution.error_code)
    metadata = _sorted(resolution.metadata)
    return Answer(resolution.value, resolution.variant, resolution.reason, None, metadata)


def _sorted(metadata: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(metadata.items()))
