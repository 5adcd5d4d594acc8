"""Who waits for a flag: listed, and taken out of the line."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.errors import InvalidError
from flagserver.services import Services
from flagserver.store import audit, queue
from flagserver.views.route import Call, Reply, Route, reply_with
from rampgate.problem import Problem


def _list(services: Services, call: Call) -> Reply:
    environment = call.query.get("environment")
    call.own(environment)
    grant = call.caller.grant
    with services.store.read() as tx:
        places = queue.waiting(tx, environment or call.caller.environment, call.query.get("flag"))
    shown = tuple(one for one in queue.shown(places) if grant is None or grant.covers(one.flag, one.repository, None))
    return reply_with(wire.QUEUE, wire.Queue(waiting=shown))


def _leave(services: Services, call: Call) -> Reply:
    environment, flag, key = (call.said(name) for name in ("environment", "flag", "key"))
    environment = environment or call.caller.environment
    missing = tuple(
        Problem(name, "nothing", "what names the place in the line")
        for name, value in (("environment", environment), ("flag", flag), ("key", key))
        if value is None
    )
    if missing or environment is None or flag is None or key is None:
        raise InvalidError(problems=missing, status=400)
    call.own(environment)
    if call.caller.grant is not None:
        call.caller.grant.check_flag(flag)
    with services.store.write() as tx:
        there = queue.load(tx, environment, flag, key)
        queue.leave(tx, environment, flag, key)
        if there is not None:
            audit.record(
                tx, actor=call.caller.name, action="queue.left", subject=key, environment=environment, flag=flag,
                before={"version": there.version, "by": there.by},
            )  # fmt: skip
    return Reply(204)


_SAID = {name: {"type": "string", "minLength": 1, "maxLength": 1000} for name in ("environment", "flag", "key")}

ROUTES = (
    Route(
        method="GET", path="/v1/queue", role=Role.OPERATOR, answer=_list, gives=wire.QUEUE, sessions=True,
        query=("environment", "flag"), summary="Who waits for a flag, in the order in which they will come",
    ),
    Route(
        method="DELETE", path="/v1/queue", role=Role.OPERATOR, answer=_leave, status=204, sessions=True,
        query=("environment", "flag", "key"), asks=_SAID, needs=("flag", "key"), summary="Leave the line",
    ),
)  # fmt: skip
