"""The line of those who wait for a flag: joined by asking, kept by asking again, left by who starts, ends or dies.

First come, first served; but a newer commit of the same branch takes the place of an older one that still waits,
since it contains it.
"""

from dataclasses import replace

from flagserver.errors import ConflictError
from flagserver.store import Tx, queue
from flagserver.store.queue import Place
from rampgate.rollout import NewRollout, Waiting


def ahead(tx: Tx, new: NewRollout) -> tuple[Place, ...]:
    """Those who wait and come before this request.

    Raises:
        ConflictError: a newer commit has taken this one's place.
    """
    plan = new.plan
    mine = queue.load(tx, plan.environment, plan.flag, new.key)
    if mine is not None and mine.replaced_by is not None:
        text = f"{mine.replaced_by}, a newer commit of {mine.ref}, has taken the place of {new.version} in the line."
        raise ConflictError(text, code="replaced_in_queue")
    places = queue.waiting(tx, plan.environment, plan.flag)
    keys = [one.key for one in places]
    return places[: keys.index(new.key)] if new.key in keys else places


def join(tx: Tx, new: NewRollout) -> Waiting:
    """Take a place, or keep it; returns it with its position."""
    plan = new.plan
    there = queue.waiting(tx, plan.environment, plan.flag)
    since = next((one.since for one in there if one.key == new.key), tx.now)
    for older in there:
        if _same_branch(older, new) and older.key != new.key:
            since = min(since, older.since)
            queue.save(tx, replace(older, replaced_by=new.version))
    place = Place(
        environment=plan.environment, flag=plan.flag, key=new.key, version=new.version, by=new.by, since=since,
        asked_at=tx.now, repository=new.repository, pull_request=new.pull_request, ref=new.ref, run_url=new.run_url,
        repository_id=new.repository_id,
    )  # fmt: skip
    queue.save(tx, place)
    places = queue.waiting(tx, plan.environment, plan.flag)
    return next(one for one in queue.shown(places) if one.key == new.key)


def leave(tx: Tx, new: NewRollout) -> None:
    queue.leave(tx, new.plan.environment, new.plan.flag, new.key)


def _same_branch(place: Place, new: NewRollout) -> bool:
    """By GitHub's number of the repository, which outlives a rename; by its name where somebody gave no number."""
    if place.ref is None or place.ref != new.ref:
        return False
    if place.repository_id is not None and new.repository_id is not None:
        return place.repository_id == new.repository_id
    return (place.repository or "").casefold() == (new.repository or "").casefold()
