"""What a comment is answered, word for word. Pure; text from elsewhere is made plain, so that nobody is pinged."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from gate.commands.parse import COMMANDS
from gate.foreign import cut, harmless
from rampgate.machine.state import Deadline, Order, Phase, next_deadline
from rampgate.plan import Policy, percent
from rampgate.rollout import Rollout

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~#&!])")
_DONE = {
    Order.REVERT: "aborted",
    Order.PAUSE: "paused",
    Order.RESUME: "resumed",
    Order.ADVANCE: "promoted to its next step",
    Order.COMPLETE: "promoted in full",
}


def plain(text: str, most: int = 400) -> str:
    """Foreign text as one line that Markdown shows as it is: no markup, no mention, no link."""
    line = cut(" ".join(harmless(part) for part in text.splitlines()).strip(), most)
    line = _MARKUP.sub(r"\\\1", line)
    return line.replace("@", "@\u200b").replace("://", ":\u200b//").replace("www.", "www\u200b.")


def code(text: str) -> str:
    """A foreign name, as code."""
    return "`" + re.sub(r"[^\w./:+@-]", "·", cut(text, 100)) + "`"


def obeyed(order: Order, rollout: Rollout) -> str:
    """One rollout obeyed: what was done, and where it stands."""
    return f"{title(rollout)} is {_DONE[order]}. {standing(rollout)}"


def refused(rollout: Rollout, text: str) -> str:
    """One rollout refused, in the refusal's own words, and where it stands."""
    return f"{title(rollout)}: not done. {plain(text)} {standing(rollout)}".rstrip()


def failed(rollout: Rollout, text: str) -> str:
    return f"{title(rollout)}: not done, for the flag server gave no answer ({plain(text).rstrip('.')})."


def title(rollout: Rollout) -> str:
    return f"**{plain(rollout.plan.environment)}** ({code(rollout.plan.flag)}, version {code(rollout.version[:12])})"


def standing(rollout: Rollout) -> str:
    """Where a rollout stands, what it waits for and until when."""
    state = rollout.state
    parts = [f"Now: {state.phase}"]
    if not state.phase.is_final and state.phase is not Phase.REVERTING:
        step = f", step {state.step} of {rollout.plan.last}" if state.step else ""
        parts = [f"Now: {state.phase}{step}, {percent(rollout.share)} of users on the new version"]
    due = next_deadline(state)
    if due is not None and due[0] is not Deadline.LEASE:
        then = "" if due[1].then is Policy.COMPLETE else f", else {due[1].then}"
        parts.append(f"{_WAITS[due[0]]} until {clock(due[1].at)}{then}")
    if state.needs_hands:
        parts.append("the deployment waits for hands")
    return "; ".join(parts) + "."


_WAITS = {
    Deadline.STEP: "this step may take",
    Deadline.CONFIRM: "waiting for `/promote`",
    Deadline.PAUSE: "paused",
    Deadline.HOLD: "held",
    Deadline.DEPLOY: "deploying",
    Deadline.VERIFY: "verifying",
    Deadline.RETIRE: "the old version stays warm or is retired",
    Deadline.BUDGET_INCONCLUSIVE: "waiting for enough data",
    Deadline.BUDGET_NO_TRAFFIC: "waiting for traffic",
    Deadline.BUDGET_SOURCE_DOWN: "waiting for the metrics source",
}


def status(rollout: Rollout) -> str:
    because = f" {plain(rollout.state.text)}" if rollout.state.text else ""
    return f"{title(rollout)}: {standing(rollout)[5:]}{because}"


def which(word: str, names: Iterable[str]) -> str:
    """Several rollouts, none named: ask."""
    lines = "\n".join(f"- `{word} {name}`" for name in names)
    return f"Several rollouts are under way; nothing was changed. Name one:\n{lines}"


NOTHING_KNOWN = "No rollout is known for this pull request."


def nothing_called(place: str, names: tuple[str, ...]) -> str:
    there = ", ".join(code(name) for name in names)
    return f"No rollout of this pull request is called {code(place)}; there is: {there}. Nothing was changed."


def began_later(rollout: Rollout) -> str:
    return f"{title(rollout)}: not done. It began after your comment; say it again if you mean this one."


def saw_another(rollout: Rollout) -> str:
    return f"The comment that you saw was about an earlier rollout; now it is version {rollout.version[:12]}."


def saw_nothing_readable(text: str) -> str:
    return f"What you saw could not be read from GitHub ({text.rstrip('.')}); try again."


def all_aborted(count: int) -> str:
    return f"No environment was named, so the abort goes to all {count} rollouts that are under way."


def taken_as_reason(place: str) -> str:
    return f"{code(place)} names no environment here, so it is taken as the reason."


def commands(prefix: str) -> str:
    """The answer to `/help`, made from the registry."""
    lines = (f"- `{prefix}{one.usage}`: {one.text}" for one in COMMANDS.values())
    return "\n".join(["The first line of a comment can be one of these:", "", *lines])


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
