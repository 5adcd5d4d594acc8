"""What a comment is answered where `gate/report/replies.py` has no sentence for it. Pure."""

from gate.report.prose import code, plain
from rampgate.rollout import Rollout


def nothing_called(place: str, names: tuple[str, ...]) -> str:
    there = ", ".join(code(name) for name in names)
    return f"No rollout of this pull request is called {code(place)}, so nothing was done. There is: {there}."


def failed(rollout: Rollout, text: str) -> str:
    return f"{_title(rollout)}: nothing was done, for the flag server did not take it. {plain(text)}"


def not_told(rollout: Rollout, text: str) -> str:
    """An order that was not even passed on."""
    return f"{_title(rollout)}: nothing was done. {plain(text)}"


BEGAN_LATER = "It began after your comment; say it again if you mean this one."
SAW_ANOTHER = "The status comment that you saw was about another rollout; look again, and say it again."
WAITS_FOR_HANDS = "Users are safe; the deployment still waits for hands to undo it."


def not_seen(text: str) -> str:
    return f"What you saw could not be read from GitHub; try again. {text}"


def all_aborted(count: int) -> str:
    return f"No environment was named, so the abort goes to all {count} rollouts that are under way."


def taken_as_reason(word: str) -> str:
    return f"{code(word)} names no environment here, so it is taken as the reason."


def _title(rollout: Rollout) -> str:
    return f"**{plain(rollout.plan.environment, 60)}** ({code(rollout.version, 40)})"
