"""The judge alone, for anybody's simulator or pipeline: JSON lines in, one answer for every poll.

`{"start": {…}}` begins a rollout and is not answered; every other line is one poll. The same code as the gate's. Only
here is a step called a stage, counted from 0, and a share is a fraction: that is the format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import exp, isfinite
from typing import Any

from gate.judge.state import JudgeState, Situation
from gate.judge.verdict import begin, judge
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Counters, Reading, SourceDown, VerdictReason, VerdictWord
from rampgate.plan import WHOLE

SETTINGS = ("alpha", "beta", "margin", "floor", "exclude", "min_polls", "min_intervals")
"""The judge's settings that a start may give; each has the default that it has in a plan."""

START = (*SETTINGS, "planned_polls", "stages", "hold_back")

DECISIONS: Mapping[VerdictWord, str] = {VerdictWord.REGRESSED: "revert", VerdictWord.HEALTHY: "promote"}
"""What a verdict means for a stage; every other one means to continue."""


class LineError(ValueError):
    """A line that is none of the format's: what is wrong with it, in one sentence."""


class PollError(LineError):
    """A line within a rollout that cannot be read: it counts as a poll of a source that could not be read."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A rollout under way: the judge, how many stages there are, and what its start said that means nothing here."""

    state: JudgeState
    stages: int
    unknown: tuple[str, ...] = ()


def answer(begun: Begun | None, line: str) -> tuple[Begun, dict[str, Any] | None]:
    """What follows from one line: the rollout to go on with, and the answer (``None`` to a start).

    Raises:
        PollError: a line of a rollout under way cannot be read; ``unread`` is its answer.
        LineError: a start cannot be read, or no rollout has begun.
    """
    try:
        document = _object(line)
    except LineError as error:
        raise (error if begun is None else PollError(str(error))) from None
    if "start" in document:
        return started(document["start"]), None
    if begun is None:
        raise LineError('a rollout begins with a line such as {"start": {"alpha": 0.05, "stages": 3}}')
    try:
        situation, reading = _poll(document, begun.stages)
    except LineError as error:
        raise PollError(str(error)) from None
    return _judged(begun, situation, reading)


def unread(begun: Begun, why: PollError) -> tuple[Begun, dict[str, Any]]:
    """The answer to a line that cannot be read: never a pass, and harm that was found stays found."""
    state = begun.state
    situation = Situation(step=state.step, share=state.share, last=False, settled_at=0.0)
    down = SourceDown(at=state.tally.at or 0.0, reason=VerdictReason.SOURCE_UNREADABLE, text=str(why))
    return _judged(begun, situation, down)


def _judged(begun: Begun, situation: Situation, reading: Reading | SourceDown) -> tuple[Begun, dict[str, Any]]:
    state, look = judge(begun.state, situation, reading)
    verdict = look.verdict
    said = {
        "decision": DECISIONS.get(verdict.word, "continue"),
        "outcome": verdict.word.value,
        "reason": verdict.reason.value,
        "e": exp(min(verdict.log_e, 700.0)),
    }
    return Begun(state, begun.stages, begun.unknown), said


def written(said: Mapping[str, Any]) -> str:
    """An answer as its line."""
    return json.dumps(said)


def started(start: Any) -> Begun:
    """A rollout that begins. Raises ``LineError``."""
    if not isinstance(start, dict):
        raise LineError("start: an object of settings")
    given = {name: start[name] for name in SETTINGS if start.get(name) is not None}
    wrong = [
        f"{name}: {value!r} is not allowed: {allowed}"
        for name, value in given.items()
        if (allowed := _allowed(name, value)) is not None
    ]
    stages, planned = start.get("stages", 3), start.get("planned_polls", 60)
    wrong += [
        f"{name}: {value!r} is not allowed: a whole number from 1"
        for name, value in (("stages", stages), ("planned_polls", planned))
        if not _is_whole(value)
    ]
    hold_back = start.get("hold_back", False)
    if not isinstance(hold_back, bool):
        wrong.append(f"hold_back: {hold_back!r} is not allowed: true or false")
    if wrong:
        raise LineError("; ".join(wrong))
    settings: dict[str, Any] = {name: tuple(value) if name == "exclude" else value for name, value in given.items()}
    state = begin(JudgeSettings(**settings), steps=stages, planned_polls=planned, hold_back=hold_back)
    return Begun(state, stages, tuple(sorted(set(start) - set(START))))


def meant(name: str) -> str | None:
    """The setting that an unknown one was probably meant to be."""
    near = get_close_matches(name, START, n=1)
    return near[0] if near else None


def _allowed(name: str, value: Any) -> str | None:
    """What a setting may be; ``None`` where it is that."""
    if name in ("min_polls", "min_intervals"):
        return None if _is_whole(value) else "a whole number from 1"
    if name == "exclude":
        pair = isinstance(value, list) and len(value) == 2 and all(_is_number(one) and one > 1 for one in value)
        return None if pair else "two ratios above 1"
    if name == "margin":
        return None if _is_number(value) and value > 0 else "a number above 0"
    if name == "floor":
        return None if _is_number(value) and 0 <= value < 1 else "a number from 0, and below 1"
    return None if _is_number(value) and 0 < value < 1 else "a number between 0 and 1"


def _object(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise LineError("no JSON") from None
    if not isinstance(document, dict):
        raise LineError("no JSON object")
    return document


def _poll(document: Mapping[str, Any], stages: int) -> tuple[Situation, Reading]:
    at, stage, share = document.get("t"), document.get("stage", 0), document.get("share")
    if at is None or not _is_number(at):
        raise LineError("t: the poll's time in seconds")
    if isinstance(stage, bool) or not isinstance(stage, int) or not 0 <= stage < stages:
        raise LineError(f"stage: {stage!r} is not allowed: a whole number from 0 to {stages - 1}")
    if share is None or not _is_number(share) or not 0.0 <= share <= 1.0:
        raise LineError(f"share: {share!r} is not allowed: the canary's part of the users, 0.0 to 1.0")
    whole = round(share * WHOLE)
    situation = Situation(
        step=stage + 1 if whole else 0, share=whole, last=stage == stages - 1 and whole > 0, settled_at=0.0
    )
    reading = Reading(at=float(at), stable=_counters(document, "stable"), canary=_counters(document, "canary"))
    return situation, reading


def _counters(document: Mapping[str, Any], arm: str) -> Counters | None:
    found = document.get(arm)
    if found is None or found == {}:
        return None
    if not isinstance(found, dict):
        raise LineError(f"{arm}: an object of counters, or null")
    if found.get("requests") is None or found.get("errors") is None:
        return None
    names = ("requests", "errors", "active_users", "affected_users")
    for name in names:
        if found.get(name) is not None and not _is_count(found[name]):
            raise LineError(f"{arm}.{name}: {found[name]!r} is not allowed: 0, 1, 2, …")
    users = {name: int(found[name]) for name in names[2:] if found.get(name) is not None}
    return Counters(requests=int(found["requests"]), errors=int(found["errors"]), **users)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)
