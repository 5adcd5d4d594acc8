"""What a lookup answers, and why, worked out in full: contexts, reasons, errors, pins. Pure, never raises."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from rampgate.client.snapshot import PINS, Entry, Pinned, Snapshot
from rampgate.evaluation import NO_METADATA, ErrorCode, Reason, Resolution
from rampgate.flags import MetadataValue, ValueType, copied

User = str | Mapping[str, object]
"""Who asks: a key, or a context with the key under ``targetingKey`` and whatever else rules look at."""

T = TypeVar("T")

EVIDENCE = frozenset({Reason.TARGETING_MATCH, Reason.SPLIT, Reason.STATIC})
"""The reasons whose answers may be counted: not stale, not defaulted, not disabled, not failed."""


class Details(NamedTuple, Generic[T]):
    """What a lookup found, and why.

    ``value`` is the app's default where ``variant`` is ``None``. ``counted`` says whether this answer is evidence:
    never for a stale, defaulted or disabled one.
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


def answer(snapshot: Snapshot, flag: str, user: object, wanted: ValueType | None, now: float) -> Answer:
    """What ``flag`` is for ``user``.

    Args:
        snapshot: every flag.
        flag: its key.
        user: a key, a context, or ``None`` for nobody.
        wanted: the type asked for; ``None``: any.
        now: the monotonic clock, in seconds.
    """
    try:
        return _answer(snapshot, flag, user, wanted, now)
    except Exception as error:  # a context may hold anything, and an app's lookup must not fail
        return _failed(ErrorCode.GENERAL, f"The lookup failed: {type(error).__name__}.")


def _answer(snapshot: Snapshot, flag: str, user: object, wanted: ValueType | None, now: float) -> Answer:
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
    return Answer(found, entry, found.variant is not None and found.reason in EVIDENCE and not entry.forced)


def key_of(user: object) -> str | None:
    """The user's key; ``None`` where there is none, or an empty one."""
    try:
        key = user if isinstance(user, str) else user.get("targetingKey") if isinstance(user, (dict, Mapping)) else None
    except Exception:  # a mapping of the app's own making
        return None
    return key if isinstance(key, str) and key else None


def pinned(flag: str, user: object) -> Pinned | None:
    """What the running request was assigned for this flag and user."""
    pins = PINS.get()
    key = None if pins is None else key_of(user)
    return None if pins is None or key is None else pins.get((flag, key))


def _failed(code: ErrorCode, message: str, entry: Entry | None = None) -> Answer:
    return Answer(Resolution(None, None, Reason.ERROR, code, message), entry)
