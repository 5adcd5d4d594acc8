"""Lists and segments become ordinary flagd targeting before a ramp's split. Pure.

Those who stay come first, so that a user on both sides stays; lists of keys are one list each, which evaluators
look up as a set.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flagserver.store.cohorts import Segment
from flagserver.store.flags import Lists, UserList
from rampgate.machine.state import Phase, State
from rampgate.plan import WHOLE

USER: Mapping[str, Any] = {"var": "targetingKey"}

HELD_IN = frozenset({Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED})
"""The phases in which lists hold: somebody is on the canary, and the stable slot stays. Once the rollout completes,
everybody leaves stable, because it is about to be taken away."""

Segments = Mapping[str, Segment]
Rule = Mapping[str, Any]


def targeting(salt: str, canary: str, stable: str, part: int, lists: Lists, segments: Segments) -> Rule | None:
    """The targeting of a flag in a rollout; ``None``: everybody gets the default variant.

    Args:
        salt: what is hashed before the user's key.
        canary: the canary's variant.
        stable: the stable variant.
        part: the canary's share, in 1/100 000 and more than nothing.
        lists: the flag's lists, empty where they do not hold.
        segments: the environment's segments by name.
    """
    before = [
        one
        for listed, variant in ((lists.stable, stable), (lists.canary, canary))
        for rule in _rules(listed, segments)
        for one in (rule, variant)
    ]
    if part >= WHOLE and not before:
        return None
    # The canary's entry comes first: a larger share keeps everybody who was in the smaller one.
    split = [{"cat": [salt, USER]}, [canary, part], [stable, WHOLE - part]]
    # Without the guard all users without a key would be hashed as the salt alone, and enter together.
    return {"if": [*before, USER, {"fractional": split}]}


def holding(lists: Lists, state: State | None) -> Lists:
    """The lists where they hold in this state, else none."""
    return lists if state is not None and state.phase in HELD_IN else Lists()


def may_visit(state: State | None) -> bool:
    """Whether testers may be sent to the canary: its slot was deployed and nobody takes it away (SEMANTICS 3)."""
    return state is not None and (state.up or state.phase is Phase.VERIFYING) and not state.retirement_begun


def _rules(listed: UserList, segments: Segments) -> Iterator[Rule]:
    known = [segments[name] for name in listed.segments if name in segments]
    users = sorted({*listed.users, *(user for segment in known for user in segment.users)})
    if users:
        yield {"in": [USER, users]}
    for segment in known:
        if segment.rule is not None:
            # A user without a key is nobody, whatever else is known of them.
            yield {"and": [USER, segment.rule]}
