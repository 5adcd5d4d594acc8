"""The audit log, for admins: read by filter, page by page, as JSON or JSON lines; and its chain checked."""

from flagserver.auth import Role
from flagserver.services import Services
from flagserver.store import audit
from flagserver.views.route import Call, Reply, Route, json_reply, page, up_to

_LINE = {
    "type": "object",
    "required": ["number", "at", "actor", "action", "subject", "hash"],
    "properties": {
        "number": {"type": "integer"},
        "at": {"type": "number"},
        "actor": {"type": "string"},
        "key": {"type": ["string", "null"], "description": "The selector of the key that was used"},
        "request": {"type": ["string", "null"], "description": "The X-Request-Id of the request"},
        "run": {"type": ["string", "null"], "description": "The CI run behind it"},
        "via": {"type": ["string", "null"], "description": "The id of the event or comment that asked for it"},
        "action": {"type": "string"},
        "environment": {"type": ["string", "null"]},
        "flag": {"type": ["string", "null"]},
        "rollout": {"type": ["string", "null"]},
        "subject": {"type": "string"},
        "before": {"type": ["object", "null"]},
        "after": {"type": ["object", "null"]},
        "why": {"type": ["string", "null"]},
        "hash": {"type": ["string", "null"]},
    },
}


def _read(services: Services, call: Call) -> Reply:
    query = call.query
    wanted = audit.Filter(
        environment=query.get("environment"), flag=query.get("flag"), rollout=query.get("rollout"),
        actor=query.get("actor"), action=query.get("action"), since=call.moment("since"), until=call.moment("until"),
    )  # fmt: skip
    newest, limit = call.flag("newest") or False, call.number("limit", 100, 1, 10_000)
    after, before = call.number("after", 0, 0, 2**53), call.number("before", 2**53, 0, 2**53)
    with services.store.read() as tx:
        found = audit.find(tx, wanted, after=after, before=before, newest=newest, limit=limit)
    return page(call, "entries", found, found[-1]["number"] if len(found) == limit else None)


def _check(services: Services, _call: Call) -> Reply:
    with services.store.read() as tx:
        broken, count, head = audit.first_broken(tx)
    return json_reply({"whole": broken is None, "broken_at": broken, "entries": count, "head": head})


ROUTES = (
    Route(
        method="GET", path="/v1/audit", role=Role.ADMIN, answer=_read, lines=True,
        query=(
            "environment", "flag", "rollout", "actor", "action", "since", "until", "after", "before", "newest", "limit",
        ),
        asks={"after": {"type": "integer", "minimum": 0, "maximum": 2**53}, **up_to(10_000)},
        gives={
            "type": "object", "required": ["entries", "next"],
            "properties": {"entries": {"type": "array", "items": _LINE}, "next": {"type": ["integer", "null"]}},
        },
        summary="Who changed what, and why; oldest first unless newest is asked for",
    ),
    Route(
        method="GET", path="/v1/audit/check", role=Role.ADMIN, answer=_check,
        gives={
            "type": "object", "required": ["whole", "broken_at", "entries", "head"],
            "properties": {
                "whole": {"type": "boolean"}, "broken_at": {"type": ["integer", "null"]},
                "entries": {"type": "integer"}, "head": {"type": ["string", "null"]},
            },
        },
        summary="Whether each line of the audit log follows from the one before it",
    ),
)  # fmt: skip
