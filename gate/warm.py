"""While everybody is on the new version and the old one is kept warm: what a look at both slots means. Pure."""

from gate.deploy import Deployment, Done, NotUp
from gate.foreign import cut, harmless
from rampgate.evidence import Verdict, VerdictReason, VerdictWord
from rampgate.machine.events import LONGEST_TEXT

PATIENCE = 3
"""So many looks in a row must find the new version down before users are sent back."""


def verdict_of(new: Deployment, old: Deployment | None, times_down: int) -> Verdict:
    """The verdict of one look. Users are sent back only to a version that is known to be up.

    Args:
        new: what was found in the slot that everybody is on.
        old: what was found in the slot that is kept warm; ``None``: users cannot be sent back by a flag.
        times_down: how many looks in a row, this one counted, found the new version down; 0 where this one did not.
    """
    match new:
        case Done():
            word, reason, text = VerdictWord.HEALTHY, VerdictReason.VERIFIED, f"The new version is up: {new.text}."
            if old is not None and not isinstance(old, Done):
                text += f" {_not_up(old)} /abort would send users there."
        case NotUp() if times_down < PATIENCE:
            word, reason, text = (
                VerdictWord.SOURCE_DOWN, VerdictReason.SLOT_DOWN, f"The new version is not up: {new.text}."
            )  # fmt: skip
        case NotUp():
            text = f"The new version is not up for the third time in a row: {new.text}."
            back = old is None or isinstance(old, Done)
            word, reason = VerdictWord.REGRESSED if back else VerdictWord.SOURCE_DOWN, VerdictReason.SLOT_DOWN
            if old is not None and not back:
                text += f" {_not_up(old)} So users stay where they are."
        case _:
            # A deployer that cannot tell is no sign that the slot is down.
            word, reason = VerdictWord.SOURCE_DOWN, VerdictReason.SOURCE_UNREADABLE
            text = f"Nobody knows whether the new version is up: {new.text}."
    return Verdict(word=word, reason=reason, text=cut(harmless(text), LONGEST_TEXT))


def _not_up(old: Deployment) -> str:
    if isinstance(old, NotUp):
        return f"The old version is not up: {old.text}."
    return f"Nobody knows whether the old version is up: {old.text}."
