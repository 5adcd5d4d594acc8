"""An environment's flags in one piece, for clients that evaluate by themselves, and the stream of its changes."""

from flagserver.auth import Role
from flagserver.errors import FlagServerError
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served

_SNAPSHOT = {
    "type": "object",
    "required": ["version", "environment", "bucketing", "flags", "rollouts"],
    "properties": {
        "version": {"type": "string"},
        "environment": {"type": "string"},
        "bucketing": {"const": "v2"},
        "flags": {"type": "object", "additionalProperties": {"type": "object"}},
        "rollouts": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["rollout", "attempt", "stable", "canary", "staleAfter", "poll", "heartbeat"],
            },
        },
    },
}


def _snapshot(services: Services, call: Call) -> Reply:
    published = services.live.current(call.params["environment"])
    etag = f'"{published.version}"'
    headers = (
        ("ETag", etag),
        ("Rampgate-Age", f"{min(services.live.age(), 1e9):.3f}"),
        ("Cache-Control", "no-cache"),
    )
    if matches(call.headers.get("if-none-match"), etag):
        return Reply(304, b"", headers)
    return Reply(200, published.body, headers)


def matches(given: str | None, etag: str) -> bool:
    """Whether an ``If-None-Match`` names this entity tag, strong or weak."""
    if given is None:
        return False
    return given == etag or any(one.strip().removeprefix("W/") in (etag, "*") for one in given.split(","))


class NoStreamsError(FlagServerError):
    status = 501
    code = "no_streams_here"


def _stream(_services: Services, _call: Call) -> Reply:
    raise NoStreamsError("This server runs without its event loop and has no streams: poll the snapshot instead.")


ROUTES = (
    Route(
        method="GET",
        path="/v1/{environment}/snapshot",
        role=Role.SDK,
        answer=_snapshot,
        served=Served.LOOP,
        gives=_SNAPSHOT,
        made={304: "Nothing changed"},
        summary="All flags and rollouts of an environment, with an entity tag",
    ),
    Route(
        method="GET",
        path="/v1/{environment}/stream",
        role=Role.SDK,
        answer=_stream,
        served=Served.STREAM,
        gives={"type": "string"},
        media="text/event-stream",
        refuses=(501,),
        summary="Changes of the snapshot as server-sent events",
    ),
)
