"""Flags as people write them: read, written, deleted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flagserver.auth import Role
from flagserver.flags import Change
from flagserver.services import Services
from flagserver.store.flags import Kind
from flagserver.views.route import Call, Reply, Route, json_reply
from flagserver.wire import parse
from rampgate.rollout import Slots
from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagWanted:
    """A flag as it shall be; what is not given stays as it is."""

    __pydantic_config__ = STRICT

    kind: Kind | None = None
    flag: Mapping[str, Any] | None = None
    slots: Slots | None = None


FLAG_WANTED: TypeAdapter[FlagWanted] = TypeAdapter(FlagWanted)


_SLOT = {
    "type": "object",
    "required": ["name", "version"],
    "properties": {"name": {"type": "string"}, "version": {"type": ["string", "null"]}},
}
_SHOWN = {
    "type": "object",
    "required": ["key", "kind", "flag", "slots", "rollout"],
    "properties": {
        "key": {"type": "string"},
        "kind": {"enum": [kind.value for kind in Kind]},
        "flag": {"type": "object", "description": "A flagd flag, as it is served"},
        "slots": {
            "type": ["object", "null"],
            "required": ["stable", "idle"],
            "properties": {"stable": _SLOT, "idle": _SLOT},
        },
        "rollout": {"type": ["string", "null"], "description": "The unfinished rollout that holds the flag"},
    },
}


def _list(services: Services, call: Call) -> Reply:
    return json_reply({"flags": services.flags.all_of(call.params["environment"])})


def _read(services: Services, call: Call) -> Reply:
    caller, name = call.caller, call.params["key"]
    reads_slots_alone = caller.role is Role.FORECAST
    if reads_slots_alone and caller.grant is not None:
        caller.grant.check_flag(name)
    found = services.flags.read(call.params["environment"], name)
    # Who gets what is no business of a job that anybody may change who may push a branch.
    return json_reply({**found, "flag": {}} if reads_slots_alone else found)


def _write(services: Services, call: Call) -> Reply:
    wanted = parse(FLAG_WANTED, call.body)
    change = Change(kind=wanted.kind, flag=wanted.flag, slots=wanted.slots)
    document, is_new = services.flags.write(call.params["environment"], call.params["key"], change, by=call.caller.name)
    return json_reply(document, 201 if is_new else 200)


def _delete(services: Services, call: Call) -> Reply:
    services.flags.delete(call.params["environment"], call.params["key"], by=call.caller.name)
    return Reply(204)


_ONE = "/v1/{environment}/flags/{key}"

ROUTES = (
    Route(
        method="GET", path="/v1/{environment}/flags", role=Role.SDK, answer=_list,
        gives={"type": "object", "required": ["flags"], "properties": {"flags": {"type": "array", "items": _SHOWN}}},
        summary="All flags of an environment, with their slots and rollouts",
    ),
    Route(
        method="GET", path=_ONE, role=Role.SDK, answer=_read, gives=_SHOWN, refuses=(404,), forecast=True,
        summary="One flag",
    ),
    Route(
        method="PUT", path=_ONE, role=Role.OPERATOR, answer=_write, takes=FLAG_WANTED, gives=_SHOWN, refuses=(409,),
        made={201: "It is new"}, summary="Make or replace a flag",
    ),
    Route(
        method="DELETE", path=_ONE, role=Role.OPERATOR, answer=_delete, status=204, refuses=(404, 409),
        summary="Delete a flag that no rollout holds",
    ),
)  # fmt: skip
