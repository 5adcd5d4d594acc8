"""For admins: trust policies are made, read, changed, removed."""

from typing import Any

from flagserver.auth import Role
from flagserver.auth.policies import POLICY
from flagserver.services import Services
from flagserver.store.trust import PolicyRecord
from flagserver.views.route import Call, Reply, Route, json_reply
from flagserver.wire import parse

_POLICY: dict[str, Any] = {
    "type": "object",
    "required": ["id", "policy", "created_at", "created_by", "updated_at"],
    "properties": {
        "id": {"type": "string"},
        "policy": {"type": "object"},
        "created_at": {"type": "number"},
        "created_by": {"type": "string"},
        "updated_at": {"type": "number"},
    },
}


def _shown(record: PolicyRecord) -> dict[str, object]:
    return {
        "id": record.id, "policy": record.document, "created_at": record.created_at, "created_by": record.created_by,
        "updated_at": record.updated_at,
    }  # fmt: skip


def _list(services: Services, _call: Call) -> Reply:
    return json_reply({"policies": [_shown(one) for one in services.trust.every()]})


def _read(services: Services, call: Call) -> Reply:
    return json_reply(_shown(services.trust.read(call.params["id"])))


def _add(services: Services, call: Call) -> Reply:
    return json_reply(_shown(services.trust.add(parse(POLICY, call.body), by=call.caller.name)), 201)


def _replace(services: Services, call: Call) -> Reply:
    made = services.trust.replace(call.params["id"], parse(POLICY, call.body), by=call.caller.name)
    return json_reply(_shown(made))


def _remove(services: Services, call: Call) -> Reply:
    services.trust.remove(call.params["id"], by=call.caller.name)
    return Reply(204)


_ONE = "/v1/trust/{id}"

ROUTES = (
    Route(method="GET", path="/v1/trust", role=Role.ADMIN, answer=_list, summary="Every trust policy",
        gives={"type": "object", "properties": {"policies": {"type": "array", "items": _POLICY}}},
    ),
    Route(
        method="POST", path="/v1/trust", role=Role.ADMIN, answer=_add, takes=POLICY, status=201, gives=_POLICY,
        summary="Trust the jobs of a repository",
    ),
    Route(
        method="GET", path=_ONE, role=Role.ADMIN, answer=_read, gives=_POLICY, refuses=(404,),
        summary="One trust policy",
    ),
    Route(
        method="PUT", path=_ONE, role=Role.ADMIN, answer=_replace, takes=POLICY, gives=_POLICY, refuses=(404,),
        summary="Change a trust policy; its sessions end",
    ),
    Route(
        method="DELETE", path=_ONE, role=Role.ADMIN, answer=_remove, status=204, refuses=(404,),
        summary="Trust these jobs no longer; their sessions end",
    ),
)  # fmt: skip
