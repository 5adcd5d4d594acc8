"""What is said of a flag over HTTP: made once for each answer that the flag has, then only looked up by user.

The same for remote evaluation and for the edge, so that both serve the same user the same variant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flagserver.publish import Published
from flagserver.services import Services
from flagserver.wire import encode
from rampgate.evaluation import CompiledFlag, ErrorCode, Reason, Resolution
from rampgate.visits import Arms, visit


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """One answer: OFREP's status and document, and where it is counted."""

    resolution: Resolution
    status: int
    body: bytes
    cell: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """A flag that can be asked. ``pick`` answers by targeting key alone, where that decides; else ``None``."""

    key: str
    flag: CompiledFlag | None
    make: Callable[[Resolution], Said]
    pick: Callable[[str], Said | None]


_UNSOUND = Resolution(None, None, Reason.ERROR, ErrorCode.PARSE_ERROR, "The flag's document is not sound.")


def say(services: Services, published: Published, key: str, context: Mapping[str, object], tokens: str = "") -> Said:
    """What the flag says for this context, counted. A flag that is not sound says so, and harms no other.

    Args:
        services: the server.
        published: the snapshot; it must have the flag.
        key: the flag.
        context: the user's attributes; ``targetingKey`` among them must be text.
        tokens: the tester tokens that the request carries.
    """
    speaker = published.kept.get(key)
    if not isinstance(speaker, Speaker):
        speaker = published.kept[key] = _speaker(services, published, key)
    if key in published.rollouts and services.live.age() > published.rollouts[key]["staleAfter"]:
        said = speaker.make(_stale(published, key, speaker))
    else:
        user = context.get("targetingKey")
        found = speaker.pick(user) if isinstance(user, str) else None
        if found is None:
            resolution = _UNSOUND if speaker.flag is None else speaker.flag.evaluate(context, services.store.now())
            found = speaker.make(resolution)
        said = found
        if tokens and speaker.flag is not None:
            visited = visit(speaker.flag, found.resolution, tokens, _arms(published, key), services.store.now())
            said = found if visited is found.resolution else speaker.make(visited)
    said.cell[0] += 1
    return said


def _speaker(services: Services, published: Published, key: str) -> Speaker:
    environment, in_rollout = published.environment, key in published.rollouts
    cells = services.meters.evaluations

    def make(resolution: Resolution) -> Said:
        status, document = _document(key, resolution, in_rollout=in_rollout)
        return Said(resolution, status, encode(document), cells.cell(environment, key, resolution.variant or ""))

    flag = published.compiled(key)
    if flag is None:
        unsound = make(_UNSOUND)
        return Speaker(key, None, make, lambda _user: unsound)
    return Speaker(key, flag, make, _nobody if flag.cut is None else flag.cut.pick(make))


def _arms(published: Published, key: str) -> Arms | None:
    rollout = published.rollouts.get(key)
    if rollout is None:
        return None
    return Arms(
        environment=published.environment, stable=rollout["stable"], canary=rollout["canary"],
        key=rollout.get("forceKey"),
    )  # fmt: skip


def _nobody(_user: str) -> None:
    return None


def _stale(published: Published, key: str, speaker: Speaker) -> Resolution:
    """The stable variant: nobody here has heard of the rollout for too long."""
    stable = published.rollouts[key]["stable"]
    flag = speaker.flag
    if flag is None or stable not in flag.variants:
        return _UNSOUND
    return Resolution(flag.variants[stable], stable, Reason.STALE, metadata=flag.metadata)


def counts(resolution: Resolution) -> bool:
    """Whether an answer of a flag in a rollout is evidence: one that the share of users gave."""
    return resolution.reason in (Reason.TARGETING_MATCH, Reason.STATIC) and not resolution.handpicked


def _document(key: str, resolution: Resolution, *, in_rollout: bool) -> tuple[int, dict[str, object]]:
    metadata = dict(resolution.metadata)
    if in_rollout:
        metadata["counted"] = counts(resolution)
    if resolution.error_code is not None:
        details = resolution.error_message or "The flag could not be evaluated."
        code = resolution.error_code.value
        return 400, {"key": key, "errorCode": code, "errorDetails": details, "metadata": metadata}
    document: dict[str, object] = {
        "key": key, "reason": resolution.reason.value, "variant": resolution.variant, "metadata": metadata,
    }  # fmt: skip
    if resolution.variant is not None and resolution.reason is not Reason.DISABLED:
        document["value"] = resolution.value
    return 200, document
