"""Locks: made, listed, changed, lifted."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, reply_with, sentences


def _make(services: Services, call: Call) -> Reply:
    new = wire.parse(wire.NEW_LOCK, call.body)
    if call.caller.grant is not None:
        call.caller.grant.check_lock(new.flag, lifts=False)
    made, is_new = services.locks.make(new, within=call.caller.environment, actor=call.caller.name)
    return reply_with(wire.LOCK, made, 201 if is_new else 200)


def _list(services: Services, call: Call) -> Reply:
    environment, flag = call.query.get("environment"), call.query.get("flag")
    within = call.caller.environment
    call.own(environment)
    found = services.locks.find(within=within, environment=environment, flag=flag)
    return reply_with(wire.LOCKS, wire.Locks(locks=found))


def _read(services: Services, call: Call) -> Reply:
    return reply_with(wire.LOCK, services.locks.read(call.params["id"], within=call.caller.environment))


def _change(services: Services, call: Call) -> Reply:
    new = wire.parse(wire.NEW_LOCK, call.body)
    within = call.caller.environment
    return reply_with(wire.LOCK, services.locks.change(call.params["id"], new, within=within, actor=call.caller.name))


def _lift(services: Services, call: Call) -> Reply:
    if call.caller.grant is not None:
        held = services.locks.read(call.params["id"], within=call.caller.environment)
        call.caller.grant.check_lock(held.flag, lifts=True)
    by, why = call.said("by") or call.caller.name, call.said("reason")
    services.locks.lift(call.params["id"], within=call.caller.environment, actor=call.caller.name, by=by, why=why)
    return Reply(204)


_ONE = "/v1/locks/{id}"

ROUTES = (
    Route(
        method="POST", path="/v1/locks", role=Role.OPERATOR, answer=_make, takes=wire.NEW_LOCK, gives=wire.LOCK,
        status=201, made={200: "The same key made it before"}, refuses=(409,), sessions=True,
        summary="Stop widening: of a flag, in an environment, or of everything",
    ),
    Route(
        method="GET", path="/v1/locks", role=Role.OPERATOR, answer=_list, gives=wire.LOCKS,
        query=("environment", "flag"), sessions=True, summary="The locks that hold or will, oldest first",
    ),
    Route(
        method="GET", path=_ONE, role=Role.OPERATOR, answer=_read, gives=wire.LOCK, refuses=(404,), sessions=True,
        summary="One lock",
    ),
    Route(
        method="PUT", path=_ONE, role=Role.OPERATOR, answer=_change, takes=wire.NEW_LOCK, gives=wire.LOCK,
        refuses=(404, 409), summary="Replace what a lock says",
    ),
    Route(
        method="DELETE", path=_ONE, role=Role.OPERATOR, answer=_lift, status=204, refuses=(404, 422),
        query=("by", "reason"), asks=sentences("by", "reason"), sessions=True, summary="Lift a lock",
    ),
)  # fmt: skip
