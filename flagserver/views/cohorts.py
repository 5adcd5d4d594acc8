"""Who gets what: a flag's lists, segments, the preview of a cohort, tester tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flagserver.auth import Role
from flagserver.cohorts import MOST_ASKED, SegmentWanted, Why
from flagserver.services import Services
from flagserver.store.cohorts import Segment
from flagserver.store.flags import LISTS
from flagserver.views.route import Call, Reply, Route, json_reply, reply_with
from flagserver.wire import parse
from rampgate.evidence import ArmName
from rampgate.forcing import NAME
from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The users whose place is asked for, and a salt to ask about instead of the rollout's."""

    __pydantic_config__ = STRICT

    users: tuple[str, ...]
    salt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWanted:
    """A tester token: for which arm, for how many seconds, and why."""

    __pydantic_config__ = STRICT

    arm: ArmName = ArmName.CANARY
    seconds: float = 8 * 3600.0
    why: str | None = None


SEGMENT_WANTED: TypeAdapter[SegmentWanted] = TypeAdapter(SegmentWanted)
ASKED: TypeAdapter[Asked] = TypeAdapter(Asked)
TOKEN_WANTED: TypeAdapter[TokenWanted] = TypeAdapter(TokenWanted)


def _lists(services: Services, call: Call) -> Reply:
    return reply_with(LISTS, services.cohorts.lists(call.params["environment"], call.params["key"]))


def _write_lists(services: Services, call: Call) -> Reply:
    lists = parse(LISTS, call.body)
    written = services.cohorts.write_lists(call.params["environment"], call.params["key"], lists, by=call.caller.name)
    return reply_with(LISTS, written)


def _segments(services: Services, call: Call) -> Reply:
    return json_reply({"segments": [_shown(one) for one in services.cohorts.segments(call.params["environment"])]})


def _segment(services: Services, call: Call) -> Reply:
    return json_reply(_shown(services.cohorts.segment(call.params["environment"], call.params["name"])))


def _write_segment(services: Services, call: Call) -> Reply:
    wanted = parse(SEGMENT_WANTED, call.body)
    segment = Segment(name=call.params["name"], users=wanted.users, rule=wanted.rule)
    made, is_new = services.cohorts.write_segment(call.params["environment"], segment, by=call.caller.name)
    return json_reply(_shown(made), 201 if is_new else 200)


def _delete_segment(services: Services, call: Call) -> Reply:
    services.cohorts.delete_segment(call.params["environment"], call.params["name"], by=call.caller.name)
    return Reply(204)


def _preview(services: Services, call: Call) -> Reply:
    asked = parse(ASKED, call.body)
    found = services.cohorts.preview(call.params["environment"], call.params["key"], asked.users, asked.salt)
    users = [{"user": one.user, "variant": one.variant, "from": one.start, "why": one.why.value} for one in found.users]
    head = {"flag": found.flag, "rollout": found.rollout, "salt": found.salt, "share": found.share}
    return json_reply({**head, "users": users})


def _make_token(services: Services, call: Call) -> Reply:
    wanted = parse(TOKEN_WANTED, call.body)
    if call.caller.grant is not None:
        call.caller.grant.check_visit(call.params["key"])
    token, text = services.cohorts.tester_token(
        call.params["environment"], call.params["key"], wanted.arm, wanted.seconds, by=call.caller.name, why=wanted.why
    )
    said = {"id": token.id, "flag": token.flag, "arm": token.arm.value, "expires": token.expires}
    return json_reply({"token": text, "query": f"{NAME}={text}", **said}, 201)


def _forget_tokens(services: Services, call: Call) -> Reply:
    services.cohorts.forget_tokens(call.params["environment"], by=call.caller.name)
    return Reply(204)


def _shown(segment: Segment) -> Mapping[str, Any]:
    return {
        "name": segment.name, "users": segment.users, "rule": segment.rule, "updated_at": segment.updated_at,
    }  # fmt: skip


_SEGMENT = {
    "type": "object",
    "required": ["name", "users", "rule", "updated_at"],
    "properties": {
        "name": {"type": "string"},
        "users": {"type": "array", "items": {"type": "string"}},
        "rule": {"type": ["object", "null"], "description": "A flagd rule"},
        "updated_at": {"type": "number"},
    },
}
_PREVIEW = {
    "type": "object",
    "required": ["flag", "rollout", "salt", "share", "users"],
    "properties": {
        "flag": {"type": "string"},
        "rollout": {"type": ["string", "null"]},
        "salt": {"type": ["string", "null"]},
        "share": {"type": ["integer", "null"], "description": "The canary's share now, in 1/100 000"},
        "users": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["user", "variant", "from", "why"],
                "properties": {
                    "user": {"type": "string"},
                    "variant": {"type": ["string", "null"]},
                    "from": {"type": ["integer", "null"], "description": "The smallest share with this user"},
                    "why": {"enum": [why.value for why in Why]},
                },
            },
        },
    },
}
_TOKEN = {
    "type": "object",
    "required": ["token", "query", "id", "flag", "arm", "expires"],
    "properties": {
        "token": {"type": "string"},
        "query": {"type": "string", "description": "What to add to a link's query"},
        "id": {"type": "string"},
        "flag": {"type": "string"},
        "arm": {"enum": [arm.value for arm in ArmName]},
        "expires": {"type": "number"},
    },
}

_FLAG = "/v1/{environment}/flags/{key}"
_ONE = "/v1/{environment}/segments/{name}"

ROUTES = (
    Route(
        method="GET", path=_FLAG + "/lists", role=Role.OPERATOR, answer=_lists, gives=LISTS, refuses=(404,),
        summary="Who always meets the canary, and who never does",
    ),
    Route(
        method="PUT", path=_FLAG + "/lists", role=Role.OPERATOR, answer=_write_lists, takes=LISTS, gives=LISTS,
        refuses=(404, 409), summary="Replace a flag's lists, in mid-ramp too",
    ),
    Route(
        method="POST", path=_FLAG + "/cohort", role=Role.SDK, answer=_preview, takes=ASKED, gives=_PREVIEW,
        refuses=(404,), summary=f"Which of at most {MOST_ASKED} users are in, and from which share on",
    ),
    Route(
        method="POST", path=_FLAG + "/tester-tokens", role=Role.OPERATOR, answer=_make_token, takes=TOKEN_WANTED,
        gives=_TOKEN, status=201, refuses=(404, 409), sessions=True,
        summary="Make a token that forces its holder onto an arm",
    ),
    Route(
        method="DELETE", path="/v1/{environment}/tester-tokens", role=Role.OPERATOR, answer=_forget_tokens, status=204,
        summary="Make every tester token of the environment worthless",
    ),
    Route(
        method="GET", path="/v1/{environment}/segments", role=Role.OPERATOR, answer=_segments,
        gives={
            "type": "object", "required": ["segments"],
            "properties": {"segments": {"type": "array", "items": _SEGMENT}},
        },
        summary="All segments of an environment",
    ),
    Route(
        method="GET", path=_ONE, role=Role.OPERATOR, answer=_segment, gives=_SEGMENT, refuses=(404,),
        summary="One segment",
    ),
    Route(
        method="PUT", path=_ONE, role=Role.OPERATOR, answer=_write_segment, takes=SEGMENT_WANTED, gives=_SEGMENT,
        made={201: "It is new"}, summary="Make or replace a segment",
    ),
    Route(
        method="DELETE", path=_ONE, role=Role.OPERATOR, answer=_delete_segment, status=204, refuses=(404, 409),
        summary="Delete a segment that no list names",
    ),
)  # fmt: skip
