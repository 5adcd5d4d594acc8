"""Rollouts: asked for, read, told what happened."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from flagserver import hub, wire
from flagserver.aborts import is_abort
from flagserver.auth import Role
from flagserver.errors import ConflictError, InvalidError, NotAllowedError
from flagserver.rollouts import Beside, Rollouts
from flagserver.services import Services
from flagserver.store import Tx, followers
from flagserver.store.rollouts import RolloutRecord, Wanted
from flagserver.views.route import Call, Reply, Route, Served, reply_with, up_to
from rampgate.machine.events import LONGEST_NAME, LONGEST_TEXT, Detached
from rampgate.machine.state import Phase
from rampgate.problem import Problem
from rampgate.rollout import Posted, Rollout

LONGEST_WAIT = 30.0

NAMES = frozenset({"by", "holder", "replaces"})
"""What of an event names somebody; every other text of it is a sentence."""


def _create(services: Services, call: Call) -> Reply:
    new = wire.parse(wire.NEW_ROLLOUT, call.body)
    if call.caller.environment not in (None, new.plan.environment):
        raise _foreign(call, new.plan.environment)
    if call.caller.grant is not None:
        call.caller.grant.check_create(new)
        new = replace(new, repository_id=call.caller.grant.repository_id)
    rollout, is_new = services.rollouts.create(new, call.caller.name, services.sessions.steering(call.caller))
    return reply_with(wire.ROLLOUT, rollout, 201 if is_new else 200)


def _list(services: Services, call: Call) -> Reply:
    query = call.query
    own = call.caller.environment
    named = query.get("environment")
    if own is not None and named not in (None, own):
        raise _foreign(call, named or "")
    grant = call.caller.grant
    wanted = Wanted(
        environment=named or own, flag=query.get("flag"), sha=query.get("sha"),
        pull_request=call.number("pull_request", 0, 1, 2**31 - 1) or None, active=call.flag("active"),
        needs_hands=call.flag("needs_hands"), limit=call.number("limit", 50, 1, 500), since=call.moment("since"),
        until=call.moment("until"), before=call.number("before", 2**53, 0, 2**53),
        # A session lists its own repository's rollouts, whatever it asks for.
        repository=query.get("repository") if grant is None else None,
        of=None if grant is None else (grant.repository_id, grant.repository),
    )  # fmt: skip
    found, following = services.rollouts.find(wanted)
    if grant is not None:
        found = tuple(one for one in found if grant.covers(one.plan.flag, one.repository, one.repository_id))
    return reply_with(wire.LISTED, wire.Listed(rollouts=found, next=following))


def wish(call: Call) -> tuple[int | None, float]:
    """The revision that the caller has seen, and how many seconds it would wait for another."""
    after = call.number("after", -1, 0, 2**31)
    text = call.query.get("wait", "0")
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= LONGEST_WAIT:
        raise InvalidError.of("wait", repr(text[:80]), f"seconds from 0 to {LONGEST_WAIT:g}", status=400)
    return (after if after >= 0 else None), wait


def read_one(rollouts: Rollouts, call: Call) -> Rollout:
    """The rollout that the path names, if it is the caller's to read."""
    return _owned(call, rollouts.read(call.params["id"]))


def _owned(call: Call, rollout: Rollout) -> Rollout:
    if call.caller.environment not in (None, rollout.plan.environment):
        raise _foreign(call, rollout.plan.environment)
    if call.caller.grant is not None:
        call.caller.grant.check_read(rollout)
    return rollout


def _read(services: Services, call: Call) -> Reply:
    """Without an event loop: the thread waits."""
    after, wait = wish(call)
    changed = threading.Event()
    stop = services.hub.listen(hub.rollout(call.params["id"]), changed.set)
    ends = time.monotonic() + wait
    try:
        while True:
            changed.clear()
            rollout = read_one(services.rollouts, call)
            left = ends - time.monotonic()
            if rollout.state.revision != after or left <= 0:
                return reply_with(wire.ROLLOUT, rollout)
            changed.wait(left)
    finally:
        stop()


def allowed(services: Services, call: Call) -> None:
    """Refuse a rollout of another environment than the key's."""
    if call.caller.environment is not None:
        read_one(services.rollouts, call)


def _event(services: Services, call: Call) -> Reply:
    posted = _posted(call.body)
    aborts = is_abort(posted.event)
    rollout = None if call.caller.environment is None else _addressed(services, call, from_memory=aborts)
    if call.caller.grant is not None and rollout is not None:
        call.caller.grant.check_say(rollout, posted.event)
    beside = services.sessions.steering(call.caller, posted.event)
    if isinstance(posted.event, Detached):
        beside = _followed(beside)
    if aborts:
        answer, recorded = services.aborts.say(call.params["id"], posted, call.caller.name, beside)
    else:
        answer, recorded = services.rollouts.apply(call.params["id"], posted, call.caller.name, beside), True
    return reply_with(wire.ANSWER, answer, 200 if recorded else 202)


def _followed(beside: Beside | None) -> Beside:
    """What is done beside a detaching, and that it is refused where nobody would go on with the rollout."""

    def check(tx: Tx, record: RolloutRecord) -> None:
        plan, phase = record.plan, record.state.phase
        calm = phase.is_final or phase is Phase.REVERTING
        if not calm and not followers.there(tx, plan.environment, plan.flag):
            text = f"No follower is there for {plan.flag} in {plan.environment}: `rampgate drive --follow` is one."
            raise ConflictError(text, code="no_follower", about=record.id)
        if beside is not None:
            beside(tx, record)

    return check


def _addressed(services: Services, call: Call, *, from_memory: bool) -> Rollout:
    """The rollout that the path names, if it is the caller's; an abort must not wait for the database to know it."""
    held = services.live.held(call.params["id"]) if from_memory else None
    if held is None:
        return read_one(services.rollouts, call)
    return _owned(call, held.rollout(services.store.now()))


def _posted(body: bytes) -> Posted:
    document = wire.decode(body)
    if not isinstance(document, dict) or set(document) != {"id", "event"}:
        raise InvalidError.of("body", "something else", "an object with `id` and `event`")
    event_id = document["id"]
    if not isinstance(event_id, str) or not 0 < len(event_id) <= 200 or not event_id.isprintable():
        raise InvalidError(problems=(Problem("id", repr(event_id)[:80], "1 to 200 printable characters"),))
    event = wire.parse(wire.EVENT, wire.encode(document["event"]), "event")
    if wrong := tuple(_unbounded("event", document["event"])):
        raise InvalidError(problems=wrong)
    return Posted(id=event_id, event=event)


def _unbounded(path: str, found: object) -> Iterator[Problem]:
    """Every text in an event, however deep, that is too long or would not show."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _unbounded(f"{path}.{key}", value)
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from _unbounded(f"{path}[{number}]", value)
    elif isinstance(found, str):
        most = LONGEST_NAME if path.rpartition(".")[2] in NAMES else LONGEST_TEXT
        if len(found) > most or not found.isprintable():
            yield Problem(path[:200], repr(found[:80]), f"at most {most} printable characters")


def _history(services: Services, call: Call) -> Reply:
    rollout = read_one(services.rollouts, call)
    entries = services.rollouts.history(
        rollout.id, call.number("after", 0, 0, 2**31), call.number("limit", 100, 1, 1000)
    )
    return reply_with(wire.HISTORY, wire.History(entries=entries))


def _telemetry(services: Services, call: Call) -> Reply:
    allowed(services, call)
    return reply_with(wire.TELEMETRY, services.counting.of_rollout(call.params["id"]))


def _foreign(call: Call, environment: str) -> NotAllowedError:
    return NotAllowedError(f"The key belongs to {call.caller.environment}, not to {environment}.", code="environment")


ROUTES = (
    Route(
        method="POST",
        path="/v1/rollouts",
        role=Role.OPERATOR,
        sessions=True,
        answer=_create,
        takes=wire.NEW_ROLLOUT,
        gives=wire.ROLLOUT,
        status=201,
        made={200: "It existed, or was resumed"},
        refuses=(409,),
        summary="Ask for a rollout; the same key answers with the same one",
    ),
    Route(
        method="GET",
        path="/v1/rollouts",
        role=Role.OPERATOR,
        sessions=True,
        answer=_list,
        gives=wire.LISTED,
        summary="Rollouts, newest first",
        query=(
            "environment",
            "flag",
            "repository",
            "pull_request",
            "sha",
            "active",
            "needs_hands",
            "since",
            "until",
            "before",
            "limit",
        ),
    ),
    Route(
        method="GET",
        path="/v1/rollouts/{id}",
        role=Role.OPERATOR,
        sessions=True,
        answer=_read,
        served=Served.LONG_POLL,
        gives=wire.ROLLOUT,
        query=("after", "wait"),
        refuses=(404,),
        summary="One rollout; with after and wait, as soon as its revision is another",
    ),
    Route(
        method="POST",
        path="/v1/rollouts/{id}/events",
        role=Role.OPERATOR,
        sessions=True,
        answer=_event,
        takes=wire.POSTED,
        gives=wire.ANSWER,
        made={202: "An abort that is obeyed, and recorded once the database is back"},
        refuses=(404, 409),
        summary="Say what happened; the same id answers as the first time",
    ),
    Route(
        method="GET",
        path="/v1/rollouts/{id}/events",
        role=Role.OPERATOR,
        sessions=True,
        answer=_history,
        refuses=(404,),
        gives=wire.HISTORY,
        query=("after", "limit"),
        asks=up_to(1000),
        summary="A rollout's history, oldest first",
    ),
    Route(
        method="GET",
        path="/v1/rollouts/{id}/telemetry",
        role=Role.OPERATOR,
        sessions=True,
        answer=_telemetry,
        refuses=(404,),
        gives=wire.TELEMETRY,
        summary="What apps counted on each arm since the attempt began",
    ),
)
