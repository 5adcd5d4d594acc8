"""Versions that a flag refuses: listed, and allowed again with a reason."""

from flagserver import wire
from flagserver.auth import Role
from flagserver.errors import InvalidError
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, reply_with, sentences
from rampgate.problem import Problem

_PATH = "/v1/{environment}/flags/{key}/refused"


def _list(services: Services, call: Call) -> Reply:
    if call.caller.grant is not None:
        call.caller.grant.check_flag(call.params["key"])
    found = services.refusals.find(call.params["environment"], call.params["key"])
    return reply_with(wire.REFUSED_VERSIONS, wire.RefusedVersions(refused=found))


def _allow(services: Services, call: Call) -> Reply:
    if call.caller.grant is not None:
        call.caller.grant.check_allow(call.params["key"])
    version, why = call.said("version"), call.said("reason")
    missing = tuple(
        Problem(name, "nothing", allowed)
        for name, value, allowed in (("version", version, "the version"), ("reason", why, "why it may be tried again"))
        if value is None
    )
    if missing or version is None or why is None:
        raise InvalidError(problems=missing, status=400)
    services.refusals.allow(
        call.params["environment"], call.params["key"], version, actor=call.caller.name,
        by=call.said("by") or call.caller.name, why=why,
    )  # fmt: skip
    return Reply(204)


ROUTES = (
    Route(
        method="GET", path=_PATH, role=Role.OPERATOR, answer=_list, gives=wire.REFUSED_VERSIONS,
        sessions=True, summary="The versions that are refused since they regressed or were aborted",
    ),
    Route(
        method="DELETE", path=_PATH, role=Role.OPERATOR, answer=_allow, status=204, refuses=(404, 422),
        query=("version", "by", "reason"), asks=sentences("version", "by", "reason"), needs=("version", "reason"),
        sessions=True, summary="Allow a refused version to be tried again",
    ),
)  # fmt: skip
