"""Text, numbers and moments as people read them, in the comment as on the dashboard. Knows no markup and no rollout."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rampgate.machine.state import Phase
from rampgate.plan import Policy, RolloutPlan, percent, targets_of

_THEN: Mapping[Policy, str] = {
    Policy.REVERT: "everybody goes back to stable",
    Policy.HOLD: "it holds, and waits for a person",
    Policy.ASK: "a person is asked",
    Policy.COMPLETE: "it goes on to the end",
    Policy.PROMOTE: "it goes on",
    Policy.PROMOTE_IF_NO_EVIDENCE: "it goes on if there is no sign of harm",
}


def follows(policy: Policy, plan: RolloutPlan, *, baseline: bool) -> str:
    """What a policy does when a deadline passes, as the second half of a sentence.

    Args:
        policy: the deadline's.
        plan: the rollout's.
        baseline: there is a stable version.
    """
    if policy is Policy.REVERT and not baseline:
        return "it is taken back, with no version before it"
    if policy is Policy.REVERT and plan.in_place:
        return "every target is put back"
    return _THEN[policy]


def reach(plan: RolloutPlan, share: int) -> str:
    """A share as the plan's people read it: ``10 %``, or ``1 of 6 targets`` where machines are replaced in turn."""
    if not plan.in_place:
        return percent(share)
    return f"{targets_of(share, len(plan.targets))} of {len(plan.targets)} targets"


def step_name(plan: RolloutPlan, number: int) -> str:
    """What a step is called in a list of them."""
    if number == 0:
        return "before" if plan.in_place else "dark"
    if plan.switches:
        return "switch"
    return reach(plan, plan.step(number).share).removesuffix(" targets")


_HEADLINES: Mapping[Phase, str] = {
    Phase.DEPLOYING: "{version} is being deployed, and nobody is sent there yet",
    Phase.VERIFYING: "{version} is being verified, and nobody is sent there yet",
    Phase.DARK: "{version} is up, and nobody is sent there yet",
    Phase.PROGRESSING: "{share} of users are on {version}",
    Phase.WAITING: "{share} of users are on {version}, and it waits for a yes",
    Phase.PAUSED: "{share} of users are on {version}, paused",
    Phase.COMPLETING: "everybody is on {version}, and {stable} stays warm for a while",
    Phase.PROMOTED: "everybody is on {version}",
    Phase.REVERTING: "everybody is back on {stable}",
    Phase.REVERTED: "everybody is back on {stable}",
    Phase.SUPERSEDED: "{version} made way for a newer rollout",
    Phase.FAILED: "{version} never got to users, who are on {stable}",
}


_BACK = {Phase.REVERTING: "is taken back", Phase.REVERTED: "was taken back", Phase.FAILED: "never got to users"}
"""How a first deploy fails: there is nothing to go back to."""

_RETIRING = "everybody is on {version}, and {stable} is being retired"


_IN_PLACE: Mapping[Phase, str] = {
    Phase.DEPLOYING: "{version} is next, and every target runs {stable}",
    Phase.VERIFYING: "{version} is next, and every target runs {stable}",
    Phase.DARK: "{version} is next, and every target runs {stable}",
    Phase.PROGRESSING: "{version} is on {share}",
    Phase.WAITING: "{version} is on {share}, and it waits for a yes",
    Phase.PAUSED: "{version} is on {share}, paused",
    Phase.COMPLETING: "every target is on {version}; until it ends, {stable} can be put back",
    Phase.PROMOTED: "every target is on {version}",
    Phase.REVERTING: "targets are being put back on {stable}",
    Phase.REVERTED: "every target is back on {stable}",
}
"""A rolling rollout's: users follow the machines."""

_AT_WORK: Mapping[Phase, str] = {
    Phase.PROGRESSING: "{version} takes {share}",
    Phase.REVERTED: "{version} was taken back, and targets still wait to be put back on {stable}",
}

_SWITCHED: Mapping[Phase, str] = {
    Phase.PROGRESSING: "everybody was switched to {version}, which is judged",
    Phase.WAITING: "everybody was switched to {version}, and it waits for a yes",
    Phase.PAUSED: "everybody was switched to {version}, paused",
    Phase.COMPLETING: "everybody is on {version}, and {stable} stays warm for a switch back",
}
"""Where all users go over at once."""


def headline_of(phase: Phase, plan: RolloutPlan, *, retiring: bool, baseline: bool, unfinished: bool = False) -> str:
    """Where a rollout stands, in one line, to be filled with ``version``, ``stable`` and ``share``.

    Args:
        phase: the rollout's.
        plan: its plan.
        retiring: the old version may be gone already.
        baseline: there is a stable version.
        unfinished: a batch is being replaced, or what was deployed is not undone yet.
    """
    if not baseline and phase in _BACK:
        return f"{{version}} {_BACK[phase]}, and there is no version before it: nothing serves users"
    if plan.in_place and unfinished and phase in _AT_WORK:
        return _AT_WORK[phase]
    if plan.in_place and baseline and phase in _IN_PLACE:
        return _IN_PLACE[phase]
    if retiring:
        return _RETIRING
    return _SWITCHED.get(phase, _HEADLINES[phase]) if plan.switches else _HEADLINES[phase]


def one_line(text: str, most: int) -> str:
    """One line of what can be seen, cut with a sign where something is missing."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def sentences(texts: Iterable[str]) -> str:
    """Texts one after the other, with a full stop wherever one would run into the next."""
    said = [text.strip() for text in texts if text.strip()]
    ended = [text if text.endswith((".", "!", "?", "…", ":")) else f"{text}." for text in said[:-1]]
    return " ".join([*ended, *said[-1:]])


def count(number: int) -> str:
    """``12345`` → ``12 345``, with a narrow space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def rate(errors: int, requests: int) -> str:
    """An error rate with two significant digits, or a dash where nothing was asked."""
    if requests == 0:
        return "–"
    value = 100 * errors / requests
    digits = 0 if value >= 10 else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f} %" if value else "0 %"


def clock(at: float, now: float, *, exact: bool = False) -> str:
    """A moment, as short as it can be told from ``now``: the time of day (UTC), with the day when that is another."""
    moment, present = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    time = f"{moment:%H:%M:%S}" if exact else f"{moment:%H:%M}"
    return time if abs(moment - present) < timedelta(hours=20) else f"{moment:%d %b} {time}"


def moment(at: float | None) -> str:
    """A moment in full, in UTC, for machines that read logs: ``2026-11-22T12:00:00.000Z``; ``none`` for none."""
    return "none" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def ratio(value: float) -> str:
    """``×1.5``, rounded up, so that nothing looks better excluded than it is."""
    shown = f"{-(-value * 10 // 1) / 10:.1f}" if value < 10 else f"{-(-value // 1):.0f}"
    return f"×{shown.removesuffix('.0')}"
