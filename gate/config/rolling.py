"""What the file says of a rolling rollout: its targets, its batches, and what must fit together there."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gate.config.words import placeholders, refusal, share
from rampgate.plan import FlagKind, RolloutPlan, Strategy, percent, share_of, targets_of
from rampgate.problem import Problem

ALL = "all"
DEFAULT = ("10%", "50%", ALL)
SIZES = "a part such as 10%, a count of targets such as 5, or all"


def size(value: Any) -> str | int:
    """A batch's end: ``10%`` of all targets, ``5`` of them, or ``all``."""
    if value == ALL:
        return ALL
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and value.endswith("%"):
        try:
            if share(value) > 0:
                return value
        except PydanticCustomError:
            pass
    raise refusal(SIZES, ALL if value in ("every", "everything", "rest") else None)


Size = Annotated[
    str | int,
    BeforeValidator(size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"enum": [ALL]}, {"pattern": "%$", "type": "string"}]}
    ),
]


def count_of(size: str | int, targets: int) -> int:
    """How many of so many targets run the new version once this batch is through."""
    if size == ALL:
        return targets
    if isinstance(size, int):
        return size
    return targets_of(share(size), targets)


def shares_of(sizes: Sequence[str | int], targets: int) -> tuple[int, ...]:
    """The share of the targets that each batch ends at; without targets, of a thousand."""
    count = targets or 1000
    return tuple(share_of(count_of(size, count), count) for size in sizes)


def usual_sizes(targets: int) -> tuple[str | int, ...]:
    """The batches where the file names none: a tenth, a half, all; none twice where targets are few."""
    counts = {count_of(size, targets or 1000): size for size in reversed(DEFAULT)}
    return tuple(counts[count] for count in sorted(counts))


def longest(plan: RolloutPlan) -> tuple[int, int]:
    """How many times in a row targets are replaced in the largest batch, and when all of them are put back."""
    counts = [targets_of(step.share, len(plan.targets)) for step in plan.steps]
    largest = max(after - before for before, after in zip([0, *counts], counts, strict=False))
    return ceil(largest / plan.max_unavailable), ceil(len(plan.targets) / plan.max_unavailable)


class Written(Protocol):
    """The file, as far as it matters here."""

    @property
    def model_fields_set(self) -> set[str]: ...
    @property
    def batches(self) -> Sequence[Any]: ...
    @property
    def verify(self) -> Sequence[Any]: ...
    @property
    def deploy(self) -> Any: ...


def rolling_misfits(file: Written, plan: RolloutPlan) -> Iterator[Problem]:
    """What does not fit a rolling rollout, and what fits no other."""
    given = file.model_fields_set
    if plan.strategy is not Strategy.ROLLING:
        for name, key in (("batches", "batches"), ("max_unavailable", "maxUnavailable")):
            if name in given:
                yield Problem(key, "a rolling rollout's key", "no such key, or strategy: rolling")
        for index, check in enumerate(file.verify):
            if "target" in _placeholders(check):
                yield Problem(f"verify[{index}].url", "{{target}}", "{{slot}} or {{version}}; targets are for rolling")
        return
    if "users_follow" not in given:
        why = "there is no slot beside the one that users are on, so they meet what their machine runs"
        yield Problem("usersFollow", "nothing", f"deployment: {why}")
    if "steps" in given:
        yield Problem("steps", "a list", "batches: [10%, 50%, all]; a rolling rollout replaces targets")
    if "hold_back" in given and plan.hold_back:
        yield Problem("holdBack", percent(plan.hold_back), "0: no machine may keep the old version")
    if plan.kind is FlagKind.RELEASE:
        yield Problem("kind", plan.kind, "rollout: a release flag's versions are in every machine already")
    if file.deploy.none:
        yield Problem(
            "deploy", "none", "a deployer that can be asked what a target runs, such as {command: ./deploy.sh}"
        )
    yield from _sizes(file, plan)
    for index, check in enumerate(file.verify):
        yield from _addresses(f"verify[{index}].url", check, plan.targets)


def _sizes(file: Written, plan: RolloutPlan) -> Iterator[Problem]:
    count, before = len(plan.targets), 0
    for index, one in enumerate(file.batches if count else ()):
        here, path = count_of(one.targets, count), f"batches[{index}]"
        if here > count:
            yield Problem(path, str(one.targets), f"at most {count}: there are no more targets")
        elif here <= before:
            also = f", and {one.targets} of {count} is {here}" if here != one.targets else ""
            yield Problem(path, str(one.targets), f"more than {before} targets{also}: batches grow")
        elif index == len(file.batches) - 1 and here < count:
            yield Problem(path, str(one.targets), "all: the last batch is every target")
        before = max(before, here)


def _addresses(path: str, check: Any, targets: Sequence[str]) -> Iterator[Problem]:
    if getattr(check, "forced", False):
        yield Problem(
            path.replace(".url", ".forced"), "true", "false: users follow the machines, and no token moves them"
        )
    url = getattr(check, "url", None)
    if isinstance(url, Mapping):
        missing = [one for one in targets if one not in url]
        if missing:
            yield Problem(path, f"no address for {', '.join(missing[:5])}", "an address for each target")
    elif url is not None and "target" not in _placeholders(check):
        yield Problem(path, url, "an address with {{target}}, or one for each target: each is looked at by itself")


def _placeholders(check: Any) -> set[str]:
    texts = [check.url, *check.headers.values()] if isinstance(getattr(check, "url", None), str) else []
    return {word for text in texts for word in placeholders(text)}
