"""What a comment is answered where `gate/report/replies.py` has no sentence for it. Pure."""

from collections.abc import Iterable

from gate.report.prose import code, plain
from rampgate.locks import HeldLock
from rampgate.rollout import RefusedVersion, Rollout
from rampgate.wording import clock


def nothing_called(place: str, names: tuple[str, ...], near: str | None) -> str:
    there = f" There is: {', '.join(code(name) for name in names)}." if names else ""
    meant = f" Did you mean {code(near)}?" if near else ""
    return f"No rollout here is called {code(place)}, so nothing was done.{there}{meant}"


def failed(rollout: Rollout, text: str) -> str:
    return f"{_title(rollout)}: nothing was done, for the flag server did not take it. {plain(text)}"


def not_told(rollout: Rollout, text: str) -> str:
    """An order that was not even passed on."""
    return f"{_title(rollout)}: nothing was done. {plain(text)}"


BEGAN_LATER = "It began after your comment; say it again if you mean this one."
SAW_ANOTHER = "The status comment that you saw was about another rollout; look again, and say it again."


def waits_for_hands(rollout: Rollout) -> str:
    """What an abort leaves to others."""
    if rollout.plan.in_place:
        return "Nobody puts the targets back yet: that waits for hands."
    return "Users are safe; the deployment still waits for hands to undo it."


def not_seen(text: str) -> str:
    return f"What you saw could not be read from GitHub; try again. {text}"


def all_aborted(count: int) -> str:
    every = "both" if count == 2 else f"all {count}"
    return f"No environment was named, so the abort goes to {every} rollouts that are under way."


def taken_as_reason(word: str) -> str:
    return f"{code(word)} names no environment here, so it is taken as the reason."


def _title(rollout: Rollout) -> str:
    return f"**{plain(rollout.plan.environment, 60)}** ({code(rollout.version, 40)})"


NOTHING_MEANT = (
    "There is no rollout here, and the configuration on the default branch names no flag and environment, "
    "so nothing was done. Name the environment."
)


def _where(environment: str) -> str:
    return f"**{plain(environment, 60)}**"


def locked(held: HeldLock, environment: str, now: float, lift: str) -> str:
    until = f" until {clock(held.until, now)}" if held.until is not None else ""
    why = plain(held.reason)
    return (
        f"{_where(environment)}: {code(held.flag or 'every flag')} is locked{until}: {why}. Nothing widens meanwhile, "
        f"and nothing that makes users safe is stopped. {code(lift)} lifts it."
    )


def unlocked(environment: str, lifted: tuple[HeldLock, ...], left: tuple[HeldLock, ...]) -> str:
    """Locks that were lifted, and those that go on."""
    if lifted:
        names = "; ".join(f"{plain(one.reason)} ({plain(one.by, 60)})" for one in lifted)
        text = f"{_where(environment)}: unlocked: {names}."
    else:
        text = f"{_where(environment)}: there was no lock of this flag to lift."
    for one in left:
        text += f" Still locked: {plain(one.scope, 120)} by {plain(one.by, 60)}: {plain(one.reason)}."
    return text


def not_refused(environment: str, version: str, refused: tuple[RefusedVersion, ...]) -> str:
    there = ", ".join(code(one.version, 40) for one in refused[:5])
    known = f" Refused are: {there}." if there else " No version is refused there."
    return f"{_where(environment)}: {code(version, 40)} is not refused, so nothing was done.{known}"


def several_versions(version: str, found: Iterable[str]) -> str:
    return f"{code(version, 40)} fits several: {', '.join(code(one, 60) for one in found)}. Say more of it."


def allowed(environment: str, version: str, retry: str) -> str:
    return f"{_where(environment)}: {code(version, 40)} may be tried again. {code(retry)} does."


REFUSED_LATER = "It was refused after your comment; say it again if you mean that."


def still_refused(one: RefusedVersion, override: str) -> str:
    return (
        f"{code(one.version, 40)} is refused: {plain(one.text).rstrip('.')}. {code(override)} with a reason lets it be "
        "tried again."
    )


NOTHING_RAN = "No rollout of this change has run, so there is nothing to try again."


def nothing_to_retry(rollout: Rollout) -> str:
    return f"{_title(rollout)}: nothing was done. It is {rollout.state.phase}; there is nothing to try again."


def still_undone(rollout: Rollout) -> str:
    return f"{_title(rollout)}: nothing was done, for its deployment is being undone. Try again when that has ended."


def no_run(rollout: Rollout) -> str:
    what = f"`rampgate retry {rollout.id}` where it was started does."
    return f"{_title(rollout)}: no workflow of this repository started it, so no comment can start it again. {what}"


def run_goes_on(rollout: Rollout, url: str) -> str:
    return f"{_title(rollout)}: nothing was done, for its run is still going on: {url}"


def press(rollout: Rollout, url: str, why: str) -> str:
    return (
        f"{_title(rollout)}: GitHub does not let this job start the run again; that needs `actions: write`. "
        f"Press “Re-run failed jobs” there: {url} ({plain(why)})"
    )


def runs_again(rollout: Rollout, url: str) -> str:
    return f"{_title(rollout)}: its run is started again, and what was deployed is not deployed twice: {url}"


def under_way(rollout: Rollout, abort: str) -> str:
    return f"{_title(rollout)}: nothing was done, for this rollout is under way. {code(abort)} takes it back at once."


def nothing_earlier(environment: str, wanted: str, known: Iterable[str]) -> str:
    there = ", ".join(code(one, 40) for one in known)
    what = f"{code(wanted, 40)} was never promoted there" if wanted else "no other version was ever promoted there"
    return f"{_where(environment)}: {what}, so nothing was done.{f' Promoted were: {there}.' if there else ''}"


def goes_back(environment: str, version: str) -> str:
    return (
        f"{_where(environment)}: a rollout back to {code(version, 40)} begins, by the steps of the configuration; "
        "the status comment tells how it goes."
    )


def did_not_begin(text: str) -> str:
    return f"The rollout back did not begin: {plain(text)}"
