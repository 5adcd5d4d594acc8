"""What a lookup answers, and why, worked out in full: contexts, reasons, errors, pins. Pure, never raises."""

import time
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from rampgate.client.snapshot import PINS, Entry, Pinned, Ramp, Snapshot
from rampgate.evaluation import NO_METADATA, ErrorCode, Reason, Resolution
from rampgate.flags import MetadataValue, ValueType, copied
from rampgate.wire import FORCE

User = str | Mapping[str, object]
"""Who asks: a key, or a context with the key under ``targetingKey`` and whatever else rules look at."""

T = TypeVar("T")

EVIDENCE = frozenset({Reason.TARGETING_MATCH, Reason.SPLIT, Reason.STATIC})
"""The reasons whose answers may be counted: not stale, not defaulted, not disabled, not failed."""


def evidence(found: Resolution, ramp: Ramp | None) -> bool:
    """Whether an answer may be counted: in a rollout, what a list or a tester token gave is like no other user's."""
    return found.reason in EVIDENCE and not (found.handpicked and ramp is not None)


class Details(NamedTuple, Generic[T]):
    """What a lookup found, and why.

    ``value`` is the app's default where ``variant`` is ``None``. ``counted`` says whether this answer is evidence:
    never for a stale, defaulted or disabled one, nor in a rollout for a listed or forced user.
    """

    flag: str
    value: T
    variant: str | None
    reason: Reason
    error_code: ErrorCode | None = None
    error_message: str | None = None
    metadata: Mapping[str, MetadataValue] = NO_METADATA
    counted: bool = False


class Answer(NamedTuple):
    """A resolution, the flag it is about (``None``: no such flag), and whether it may be counted."""

    resolution: Resolution
    entry: Entry | None = None
    counted: bool = False

    def details(self, flag: str, default: T) -> Details[T]:
        found = self.resolution
        return Details(
            flag,
            default if found.value is None else found.value,  # type: ignore[arg-type]
            found.variant,
            found.reason,
            found.error_code,
            found.error_message,
            found.metadata,
            self.counted,
        )


def answer(
    snapshot: Snapshot, flag: str, user: object, wanted: ValueType | None, now: float, tokens: str = ""
) -> Answer:
    """What ``flag`` is for ``user``.

    Args:
        snapshot: every flag.
        flag: its key.
        user: a key, a context, or ``None`` for nobody.
        wanted: the type asked for; ``None``: any.
        now: the monotonic clock, in seconds.
        tokens: tester tokens that came with the request, beside those in the context.
    """
    try:
        return _answer(snapshot, flag, user, wanted, now, tokens)
    except Exception as error:  # a context may hold anything, and an app's lookup must not fail
        return _failed(ErrorCode.GENERAL, f"The lookup failed: {type(error).__name__}.")


def _answer(snapshot: Snapshot, flag: str, user: object, wanted: ValueType | None, now: float, tokens: str) -> Answer:
    entry = snapshot.entries.get(flag)
    if entry is None:
        if snapshot.version is None:
            return _failed(ErrorCode.PROVIDER_NOT_READY, "No flags have arrived yet.")
        return _failed(ErrorCode.FLAG_NOT_FOUND, f"There is no flag {flag}.")
    if wanted is not None and entry.compiled.type is not wanted:
        return _failed(ErrorCode.TYPE_MISMATCH, f"{flag} is a {entry.compiled.type}, not a {wanted}.", entry)
    context: Mapping[str, object]
    if isinstance(user, str):
        context = {"targetingKey": user}
    elif isinstance(user, (dict, Mapping)):
        context = user
    elif user is None:
        context = {}
    else:
        return _failed(ErrorCode.INVALID_CONTEXT, "A user is a key or a mapping with a targetingKey.", entry)
    if snapshot.is_stale(entry, now) and entry.ramp is not None:
        stable = entry.ramp.stable
        value = copied(entry.compiled.variants.get(stable))
        variant = None if value is None else stable
        return Answer(Resolution(value, variant, Reason.STALE, metadata=entry.compiled.metadata), entry)
    found = entry.compiled.evaluate(context)
    if tokens or FORCE in context:
        found = _visited(snapshot, entry, found, context, tokens)
    return Answer(found, entry, found.variant is not None and not entry.forced and evidence(found, entry.ramp))


def _visited(
    snapshot: Snapshot, entry: Entry, found: Resolution, context: Mapping[str, object], tokens: str
) -> Resolution:
    # Here, because hashing costs an import some milliseconds, and few apps have testers at the door.
    from rampgate.visits import Arms, carried, visit  # noqa: PLC0415

    ramp = entry.ramp
    arms = None
    if ramp is not None:
        arms = Arms(environment=snapshot.environment, stable=ramp.stable, canary=ramp.canary, key=ramp.force_key)
    return visit(entry.compiled, found, carried(context, tokens), arms, time.time())


def key_of(user: object) -> str | None:
    """The user's key; ``None`` where there is none, or an empty one."""
    try:
        key = user if isinstance(user, str) else user.get("targetingKey") if isinstance(user, (dict, Mapping)) else None
    except Exception:  # a mapping of the app's own making
        return None
    return key if isinstance(key, str) and key else None


def pinned(flag: str, user: object) -> Pinned | None:
    """What the running request was assigned for this flag and user, or forced onto."""
    pins = PINS.get()
    if pins is None:
        return None
    key = key_of(user)
    return (None if key is None else pins.get((flag, key))) or pins.get((flag, None))


def _failed(code: ErrorCode, message: str, entry: Entry | None = None) -> Answer:
    return Answer(Resolution(None, None, Reason.ERROR, code, message), entry)
