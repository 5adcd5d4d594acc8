"""For admins: keys are made (and shown once), listed, revoked."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from flagserver.auth import KEY_ROLES, NewKey, Role, Wish, public_part
from flagserver.auth.keyring import OVERLAP
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, json_reply
from flagserver.wire import parse
from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWanted:
    """A key that is asked for; ``environment`` is needed unless its role is admin, ``expires_in`` is in seconds."""

    __pydantic_config__ = STRICT

    role: Role
    name: str
    environment: str | None = None
    expires_in: float | None = None
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """For how many seconds the old key stays good beside its successor."""

    __pydantic_config__ = STRICT

    overlap: Annotated[float, Field(ge=0, le=90 * 86_400)] = OVERLAP


ROTATION: TypeAdapter[Rotation] = TypeAdapter(Rotation)
KEY_WANTED: TypeAdapter[KeyWanted] = TypeAdapter(KeyWanted)


_KEY = {
    "type": "object",
    "required": ["selector", "role", "environment", "name", "origins", "created_at", "created_by", "revoked_at"],
    "properties": {
        "key": {"type": "string", "description": "Shown once, in the answer that makes it"},
        "selector": {"type": "string"},
        "role": {"enum": [role.value for role in KEY_ROLES]},
        "environment": {"type": ["string", "null"]},
        "name": {"type": "string"},
        "origins": {"type": "array", "items": {"type": "string"}},
        "created_at": {"type": "number"},
        "created_by": {"type": "string"},
        "expires_at": {"type": ["number", "null"]},
        "last_used_at": {"type": ["number", "null"], "description": "As good as a minute"},
        "replaces": {"type": ["string", "null"], "description": "The key whose successor it is"},
        "revoked_at": {"type": ["number", "null"]},
    },
}


def _create(services: Services, call: Call) -> Reply:
    wanted = parse(KEY_WANTED, call.body)
    wish = Wish(
        role=wanted.role, environment=wanted.environment, name=wanted.name, lives=wanted.expires_in,
        origins=wanted.origins,
    )  # fmt: skip
    return _made(services.keyring.create(wish, by=call.caller.name))


def _rotate(services: Services, call: Call) -> Reply:
    overlap = parse(ROTATION, call.body or b"{}").overlap
    return _made(services.keyring.rotate(call.params["selector"], overlap=overlap, by=call.caller.name))


def _made(made: NewKey) -> Reply:
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
    Route(
        method="POST", path="/v1/keys/{selector}/rotation", role=Role.ADMIN, answer=_rotate, takes=ROTATION, status=201,
        gives=_KEY, refuses=(404,), summary="Make a successor of a key, which itself ends after an overlap",
    ),
    Route(method="GET", path="/v1/keys", role=Role.ADMIN, answer=_list, summary="All keys, without their secrets",
        gives={"type": "object", "properties": {"keys": {"type": "array", "items": _KEY}}},
    ),
    Route(
        method="DELETE", path="/v1/keys/{selector}", role=Role.ADMIN, answer=_revoke, status=204, refuses=(404,),
        summary="Take a key out of use",
    ),
)  # fmt: skip
