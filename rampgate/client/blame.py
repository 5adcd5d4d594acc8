"""Whose outcome it is, where the app does not say: a request that ends now may have begun before its user moved."""

from collections.abc import Mapping

from rampgate.client.answers import answer, evidence
from rampgate.client.counts import ArmKey
from rampgate.client.snapshot import Entry, Snapshot, arm_key
from rampgate.evaluation import Resolution


def blamed(
    snapshot: Snapshot, flag: str, user: object, said: str | None, now: float, within: float
) -> tuple[ArmKey | None, bool]:
    """The arm of an outcome that ``track`` was told of.

    An outcome belongs to the variant that its request was served, and nobody remembers that for each user. What is
    known is what the flag said before it changed: a user for whom it said something else within the time that a
    request may take is in doubt, and counted nowhere.

    Args:
        snapshot: every flag.
        flag: its key.
        user: who it was.
        said: the variant that the app remembers; ``None``: it does not say.
        now: the monotonic clock, in seconds.
        within: seconds that a request may take.

    Returns:
        The arm, or ``None``: it is no evidence; and whether that is for doubt alone.
    """
    found = answer(snapshot, flag, user, None, now)
    entry = found.entry
    if entry is None or entry.forced or (found.resolution.handpicked and entry.ramp is not None):
        return None, False
    if said is not None:
        return (arm_key(flag, entry.ramp, said) if said in entry.compiled.variants else None), False
    variant = found.resolution.variant
    if not found.counted or variant is None:
        return None, False
    if _moved(snapshot, entry, user, found.resolution, now - within):
        return None, True
    return arm_key(flag, entry.ramp, variant), False


def _moved(snapshot: Snapshot, entry: Entry, user: object, found: Resolution, since: float) -> bool:
    """Whether the flag said something else to this user after ``since``."""
    if entry.ramp is not None and found.variant != entry.ramp.stable and snapshot.as_of[1] > since:
        return True  # until contact came back everybody was on stable
    context = {"targetingKey": user} if isinstance(user, str) else user
    if not isinstance(context, Mapping):
        return False
    for replaced_at, former in snapshot.former.get(entry.key, ()):
        if replaced_at > since:
            before = former.compiled.evaluate(context)
            if before.variant != found.variant or not evidence(before, former.ramp):
                return True
    return False
