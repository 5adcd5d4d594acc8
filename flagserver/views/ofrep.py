"""OpenFeature's remote evaluation (OFREP 0.3), from memory. Answers always name a variant, a reason and details.

Existing providers turn an answer without `variant` or `reason`, or an error without `errorDetails`, into GENERAL.
"""

from hashlib import blake2b
from json import JSONEncoder
from typing import Any

from flagserver.auth import Role
from flagserver.errors import FlagServerError, InvalidError
from flagserver.publish import Published
from flagserver.services import Services
from flagserver.views.route import Call, Reply, Route, Served, json_reply
from flagserver.views.said import say
from flagserver.views.snapshot import NoStreamsError, matches
from flagserver.wire import decode, encode
from rampgate.forcing import NAME, sound
from rampgate.visits import carried


class _ContextError(Exception):
    """The request's body holds no context that can be used."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


EVENTS = "/ofrep/v1/events"
"""Where pages hear of changes. OFREP leaves the address to the server: providers take it from the bulk answer."""

MOST_CONTEXT = 64 * 1024
"""Bytes of the largest context. Rules run over it on the event loop, and everybody may send one."""

_CANONICAL = JSONEncoder(sort_keys=True, separators=(",", ":"))

INACTIVE = 120
"""Seconds after which a page that nobody looks at should end its stream; OFREP's own default."""


class NoPassError(FlagServerError):
    """No pass, or one that is good no longer, or not for pages of that origin."""

    status = 401
    code = "unknown_pass"

    def __init__(self) -> None:
        super().__init__(
            "This address needs the `pass` that the evaluation of all flags gave, and this is none that is good here: "
            "evaluate again for the address as it is now."
        )


def _single(services: Services, call: Call) -> Reply:
    key = call.params["key"]
    try:
        context = _context(call.body)
    except _ContextError as error:
        return json_reply({"key": key, "errorCode": error.code, "errorDetails": error.details}, 400)
    environment = call.environment()
    published = services.live.current(environment)
    if key not in published.flags:
        text = f"There is no flag {key[:200]} in {environment}."
        return json_reply({"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": text}, 404)
    said = say(services, published, key, context, carried(context, call.headers.get(NAME, "")))
    return Reply(said.status, said.body)


def _bulk(services: Services, call: Call) -> Reply:
    try:
        context = _context(call.body)
    except _ContextError as error:
        return json_reply({"errorCode": error.code, "errorDetails": error.details}, 400)
    published = services.live.current(call.environment())
    # Over the context, too: the same configuration gives another user another answer.
    tokens = carried(context, call.headers.get(NAME, ""))
    offered = services.notices.offer(call.caller)
    # Over the pass, too: who kept an answer whose pass has ended must not be told that nothing is new.
    parts = (_moment(services, published), "-", _digest(context), _visits(services, published, tokens))
    etag = f'"{published.version}{"".join(parts)}{f"-{offered[-8:]}" if offered else ""}"'
    headers = (("ETag", etag),)
    if matches(call.headers.get("if-none-match"), etag):
        return Reply(304, b"", headers)
    answers = b",".join([say(services, published, key, context, tokens).body for key in published.flags])
    body = b'{"flags":[%s],"metadata":{"version":"%s"}%s}' % (answers, published.version.encode(), _streams(offered))
    return Reply(200, body, headers)


def _streams(offered: str | None) -> bytes:
    """Where to hear of changes, on whatever host the caller reached this server by; nothing where nobody would say."""
    if offered is None:
        return b""
    endpoint = {"requestUri": f"{EVENTS}?pass={offered}"}
    return b',"eventStreams":' + encode([{"type": "sse", "endpoint": endpoint, "inactivityDelaySec": INACTIVE}])


def _events(_services: Services, _call: Call) -> Reply:
    raise NoStreamsError("This server runs without its event loop and has no streams: ask for all flags instead.")


def _moment(services: Services, published: Published) -> str:
    """What changes answers while the configuration stays: rollouts that are stale, and rules that look at the clock."""
    age = services.live.age()
    stale = sum(age > one["staleAfter"] for one in published.rollouts.values())
    return (f"-{stale}" if stale else "") + (f"-{int(services.store.now())}" if published.by_time else "")


def _visits(services: Services, published: Published, tokens: str) -> str:
    """What tester tokens add to the tag: which they are, and which of them hold at this moment."""
    if not tokens:
        return ""
    keys = {one["forceKey"] for one in published.rollouts.values() if "forceKey" in one}
    now, where = services.store.now(), published.environment
    held = sorted(flag for key in keys for flag in sound(tokens, key, environment=where, now=now))
    return "-" + blake2b(encode([tokens, held]), digest_size=8).hexdigest()


def _digest(context: dict[str, Any]) -> str:
    return blake2b(_CANONICAL.encode(context).encode(), digest_size=8).hexdigest()


def _context(body: bytes) -> dict[str, Any]:
    if len(body) > MOST_CONTEXT:
        raise _ContextError("INVALID_CONTEXT", f"The context is larger than {MOST_CONTEXT // 1024} KiB.")
    try:
        document = decode(body) if body else {}
    except InvalidError as error:
        raise _ContextError("PARSE_ERROR", error.message) from None
    context = document.get("context") if isinstance(document, dict) else None
    if not isinstance(context, dict):
        raise _ContextError("INVALID_CONTEXT", "The body must be an object with an object `context`.")
    key = context.get("targetingKey")
    if key is None or key == "":
        raise _ContextError("TARGETING_KEY_MISSING", "The context has no `targetingKey`.")
    if not isinstance(key, str):
        raise _ContextError("INVALID_CONTEXT", "`targetingKey` must be text.")
    return context


_EVALUATED = {
    "type": "object",
    "required": ["key"],
    "properties": {
        "key": {"type": "string"},
        "variant": {"type": ["string", "null"]},
        "reason": {"type": "string"},
        "errorCode": {"type": "string"},
        "errorDetails": {"type": "string"},
        "metadata": {"type": "object"},
    },
}
_STREAM = {
    "type": "object",
    "required": ["type", "endpoint"],
    "properties": {
        "type": {"const": "sse"},
        "endpoint": {
            "type": "object", "required": ["requestUri"], "properties": {"requestUri": {"type": "string"}},
        },
        "inactivityDelaySec": {"type": "integer", "minimum": 1},
    },
}  # fmt: skip
_MANY = {
    "type": "object",
    "required": ["flags"],
    "properties": {
        "flags": {"type": "array", "items": _EVALUATED},
        "eventStreams": {"type": "array", "items": _STREAM},
    },
}

_FAILED = {
    "type": "object",
    "required": ["errorCode", "errorDetails"],
    "properties": {"errorCode": {"type": "string"}, "errorDetails": {"type": "string"}},
}
_CONTEXT = {
    "type": "object",
    "required": ["context"],
    "properties": {
        "context": {
            "type": "object",
            "required": ["targetingKey"],
            "properties": {"targetingKey": {"type": "string", "minLength": 1}},
        }
    },
}

_PATH = "/ofrep/v1/evaluate/flags"

ROUTES = (
    Route(
        method="POST",
        path=_PATH + "/{key}",
        role=Role.CLIENT,
        answer=_single,
        served=Served.LOOP,
        query=("environment",),
        body=_CONTEXT,
        gives=_EVALUATED,
        made={400: "A context that cannot be used", 404: "No such flag"},
        summary="Evaluate one flag for a context (OFREP)",
    ),
    Route(
        method="POST",
        path=_PATH,
        role=Role.CLIENT,
        answer=_bulk,
        served=Served.LOOP,
        query=("environment", "flagConfigEtag", "flagConfigLastModified"),
        body=_CONTEXT,
        gives=_MANY,
        made={304: "The same flags for the same context", 400: "A context that cannot be used"},
        shapes={400: _FAILED},
        summary="Evaluate every flag for a context (OFREP)",
    ),
    Route(
        method="GET",
        path=EVENTS,
        role=None,
        answer=_events,
        served=Served.STREAM,
        query=("pass",),
        needs=("pass",),
        gives={"type": "string"},
        media="text/event-stream",
        refuses=(401, 501),
        summary="Hear when to evaluate again, as server-sent events (OFREP); the address is in the evaluation's answer",
    ),
)
