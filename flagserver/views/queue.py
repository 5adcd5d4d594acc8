"""Who waits for a flag: listed, and taken out of the line."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.errors import InvalidError
from flagserver.services import Services
from flagserver.store import audit, queue
from flagserver.views.route import Call, Reply, Route, reply_with, sentences
from rampgate.problem import Problem


def _list(services: Services, call: Call) -> Reply:
    environment = call.query.get("environment")
    call.own(environment)
    grant = call.caller.grant
    with services.store.read() as tx:
        places = queue.waiting(tx, environment or call.caller.environment, call.query.get("flag"))
    shown = tuple(
        one
        for place, one in zip(places, queue.shown(places), strict=True)
        if grant is None or grant.covers(place.flag, place.repository, place.repository_id)
    )
    return reply_with(wire.QUEUE, wire.Queue(waiting=shown))


def _leave(services: Services, call: Call) -> Reply:
    call.own(call.said("environment"))
    environment, flag, key = call.environment(), call.said("flag"), call.said("key")
    missing = tuple(
        Problem(name, "nothing", "what names the place in the line")
        for name, value in (("flag", flag), ("key", key))
        if value is None
    )
    if missing or flag is None or key is None:
        raise InvalidError(problems=missing, status=400)
    if call.caller.grant is not None:
        call.caller.grant.check_flag(flag)
    with services.store.write() as tx:
        there = queue.load(tx, environment, flag, key)
        if there is not None and call.caller.grant is not None:
            call.caller.grant.check_place(there.repository, there.repository_id)
        queue.leave(tx, environment, flag, key)
        if there is not None:
            audit.record(
                tx, actor=call.caller.name, action="queue.left", subject=key, environment=environment, flag=flag,
                before={"version": there.version, "by": there.by},
            )  # fmt: skip
    return Reply(204)


ROUTES = (
    Route(
        method="GET", path="/v1/queue", role=Role.OPERATOR, answer=_list, gives=wire.QUEUE, sessions=True,
        query=("environment", "flag"), summary="Who waits for a flag, in the order in which they will come",
    ),
    Route(
        method="DELETE", path="/v1/queue", role=Role.OPERATOR, answer=_leave, status=204, sessions=True,
        query=("environment", "flag", "key"), asks=sentences("environment", "flag", "key"), needs=("flag", "key"),
        refuses=(422,), summary="Leave the line",
    ),
)  # fmt: skip
