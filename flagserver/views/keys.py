"""For admins: keys are made (and shown once), listed, revoked."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from flagserver.auth import Role, public_part
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, json_reply
from flagserver.wire import parse
from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWanted:
    """A key that is asked for; ``environment`` is needed unless its role is admin."""

    __pydantic_config__ = STRICT

    role: Role
    name: str
    environment: str | None = None


KEY_WANTED: TypeAdapter[KeyWanted] = TypeAdapter(KeyWanted)


_KEY = {
    "type": "object",
    "required": ["selector", "role", "environment", "name", "created_at", "created_by", "revoked_at"],
    "properties": {
        "key": {"type": "string", "description": "Shown once, in the answer that makes it"},
        "selector": {"type": "string"},
        "role": {"enum": [role.value for role in Role]},
        "environment": {"type": ["string", "null"]},
        "name": {"type": "string"},
        "created_at": {"type": "number"},
        "created_by": {"type": "string"},
        "revoked_at": {"type": ["number", "null"]},
    },
}


def _create(services: Services, call: Call) -> Reply:
    wanted = parse(KEY_WANTED, call.body)
    made = services.keyring.create(wanted.role, wanted.environment, wanted.name, by=call.caller.name)
    return json_reply({"key": made.text, **public_part(made.record)}, 201)


def _list(services: Services, _call: Call) -> Reply:
    return json_reply({"keys": [public_part(one) for one in services.keyring.every()]})


def _revoke(services: Services, call: Call) -> Reply:
    services.keyring.revoke(call.params["selector"], by=call.caller.name)
    return Reply(204)


ROUTES = (
    Route(
        method="POST", path="/v1/keys", role=Role.ADMIN, answer=_create, takes=KEY_WANTED, status=201, gives=_KEY,
        summary="Make a key; the answer is the only place that shows it",
    ),
    Route(method="GET", path="/v1/keys", role=Role.ADMIN, answer=_list, summary="All keys, without their secrets",
        gives={"type": "object", "properties": {"keys": {"type": "array", "items": _KEY}}},
    ),
    Route(
        method="DELETE", path="/v1/keys/{selector}", role=Role.ADMIN, answer=_revoke, status=204, refuses=(404,),
        summary="Take a key out of use",
    ),
)  # fmt: skip
