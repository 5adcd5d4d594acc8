"""Sessions of jobs: a token is exchanged for one; it is ended by its own job or by an admin."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from flagserver.auth import Role
from flagserver.auth.policies import SESSION_ROLES
from flagserver.auth.sessions import grant_of
from flagserver.errors import NotFoundError
from flagserver.services import Services
from flagserver.store.trust import SessionRecord
from flagserver.views.route import Call, Reply, Route, json_reply
from flagserver.wire import parse
from rampgate.wire import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A job's OIDC token, and the environment that its session is to reach."""

    __pydantic_config__ = STRICT

    token: str
    environment: str | None = None


EXCHANGE: TypeAdapter[Exchange] = TypeAdapter(Exchange)

_SESSION = {
    "type": "object",
    "required": ["selector", "policy", "environment", "role", "job", "grant", "created_at", "until", "ends_at"],
    "properties": {
        "session": {"type": "string", "description": "Shown once, in the answer that makes it"},
        "selector": {"type": "string"},
        "policy": {"type": "string"},
        "environment": {"type": "string"},
        "role": {"enum": [role.value for role in SESSION_ROLES]},
        "job": {"type": "string"},
        "grant": {"type": "object"},
        "created_at": {"type": "number"},
        "until": {"type": "number", "description": "Moved on by the work of its rollout"},
        "ends_at": {"type": "number"},
        "revoked_at": {"type": ["number", "null"]},
    },
}


def _shown(record: SessionRecord) -> dict[str, object]:
    grant = grant_of(record)
    return {
        "selector": record.selector, "policy": record.policy, "environment": record.environment, "role": record.role,
        "job": grant.job, "grant": grant.shown(), "created_at": record.created_at, "until": record.until,
        "ends_at": record.ends_at, "revoked_at": record.revoked_at,
    }  # fmt: skip


def _exchange(services: Services, call: Call) -> Reply:
    wanted = parse(EXCHANGE, call.body)
    made = services.sessions.exchange(wanted.token, wanted.environment)
    return json_reply({"session": made.text, **_shown(made.record)}, 201)


def _end_own(services: Services, call: Call) -> Reply:
    if call.caller.grant is None or call.caller.selector is None:
        raise NotFoundError("A key is no session; an admin revokes it.", code="session_not_found")
    services.sessions.revoke(call.caller.selector, by=call.caller.name)
    return Reply(204)


def _list(services: Services, _call: Call) -> Reply:
    return json_reply({"sessions": [_shown(one) for one in services.sessions.every()]})


def _revoke(services: Services, call: Call) -> Reply:
    services.sessions.revoke(call.params["selector"], by=call.caller.name)
    return Reply(204)


ROUTES = (
    Route(
        method="POST", path="/v1/session", role=None, answer=_exchange, takes=EXCHANGE, status=201, gives=_SESSION,
        refuses=(401, 403), summary="Exchange a job's OIDC token for a session; the answer alone shows it",
    ),
    Route(
        method="DELETE", path="/v1/session", role=Role.SDK, answer=_end_own, status=204, sessions=True, refuses=(404,),
        forecast=True, summary="End the session that asks",
    ),
    Route(method="GET", path="/v1/sessions", role=Role.ADMIN, answer=_list,
        gives={"type": "object", "properties": {"sessions": {"type": "array", "items": _SESSION}}},
        summary="Sessions of jobs, newest first, without their secrets",
    ),
    Route(
        method="DELETE", path="/v1/sessions/{selector}", role=Role.ADMIN, answer=_revoke, status=204, refuses=(404,),
        summary="End a session",
    ),
)  # fmt: skip
