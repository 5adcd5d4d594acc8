"""The OpenAPI description, made from the table of routes, so that it says what the code does."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from flagserver.services import Services
from flagserver.views.route import JSON, LAST_MOMENT, LINES, Call, Reply, Route, Served
from flagserver.wire import encode

_ERROR: Mapping[str, Any] = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {"type": "string"},
        "message": {"type": "string"},
        "rollout": {"type": "string", "description": "The rollout that stands in the way"},
        "place": {"type": "object", "description": "The place in the line of who waits"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "value": {"type": "string"},
                    "allowed": {"type": "string"},
                    "hint": {"type": ["string", "null"]},
                },
            },
        },
    },
}

_MEANING = {
    400: "The request cannot be read",
    401: "No key, or none that is in use",
    403: "The key's role or environment does not reach this",
    404: "There is no such thing",
    501: "This server runs without its event loop and has no streams",
    429: "Too many wrong keys came from this address",
    409: "Something there stands in the way",
    413: "The body is too large",
    422: "The request says something that cannot be; every problem at once",
    500: "A fault of the server",
    503: "The database cannot be used now, or no stream is free",
}


def route(routes: tuple[Route, ...]) -> Route:
    """The route that describes these routes and itself."""

    def answer(_services: Services, _call: Call) -> Reply:
        return Reply(200, described())

    @cache
    def described() -> bytes:
        return encode(description((*routes, own)))

    own = Route(
        method="GET", path="/openapi.json", role=None, answer=answer, served=Served.LOOP,
        summary="This description", gives={"type": "object"},
    )  # fmt: skip
    return own


def description(routes: tuple[Route, ...]) -> Mapping[str, Any]:
    """The description of these routes as plain values."""
    named = list(_adapters(routes))
    refs, schemas = TypeAdapter.json_schemas(
        [(name, mode, adapter) for name, mode, adapter in named],
        ref_template="#/components/schemas/{model}",
        schema_generator=GenerateJsonSchema,
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in routes:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rampgate flag server", "version": "1", "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": _ERROR},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "rg_<role>_<selector>_<secret>"}
            },
        },
    }


def _adapters(routes: tuple[Route, ...]) -> Iterator[tuple[str, Any, TypeAdapter[Any]]]:
    for one in routes:
        if one.takes is not None:
            yield _name(one), "validation", one.takes
        if isinstance(one.gives, TypeAdapter):
            yield _name(one), "serialization", one.gives


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


def _operation(route: Route, refs: Mapping[tuple[str, Any], Any]) -> Mapping[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _name(route).replace("{", "").replace("}", "").replace("/", "_").replace(" ", ""),
        "parameters": list(_parameters(route)),
        "responses": dict(_responses(route, refs)),
    }
    if route.role is not None:
        operation["security"] = [{"key": []}]
        operation["description"] = f"Needs a key with the role {route.role}."
    if route.takes is not None or route.body is not None:
        schema = route.body if route.takes is None else refs[(_name(route), "validation")]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def _parameters(route: Route) -> Iterator[Mapping[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name in route.query:
        schema = route.asks.get(name) or QUERY.get(name, {"type": "string"})
        yield {"name": name, "in": "query", "required": name in route.needs, "schema": schema}


QUERY: Mapping[str, Mapping[str, Any]] = {
    "after": {"type": "integer", "minimum": 0, "maximum": 2**31},
    "limit": {"type": "integer", "minimum": 1, "maximum": 500},
    "wait": {"type": "number", "minimum": 0, "maximum": 30},
    "pull_request": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "active": {"type": "boolean"},
    "needs_hands": {"type": "boolean"},
    "newest": {"type": "boolean"},
    "before": {"type": "integer", "minimum": 0, "maximum": 2**53},
    "since": {"type": "number", "minimum": 0, "maximum": LAST_MOMENT},
    "until": {"type": "number", "minimum": 0, "maximum": LAST_MOMENT},
}


def _responses(route: Route, refs: Mapping[tuple[str, Any], Any]) -> Iterator[tuple[str, Any]]:
    success: Any = route.gives
    if isinstance(success, TypeAdapter):
        success = refs[(_name(route), "serialization")]
    for status in (route.status, *route.made):
        text = route.made.get(status, "Done")
        shape = route.shapes.get(status, success)
        body = {} if status in (204, 304) or shape is None else {"content": {route.media: {"schema": shape}}}
        if body and route.lines:
            body["content"][LINES] = {"schema": {"type": "string", "description": "One entry a line"}}
        yield str(status), {"description": text, **body}
    codes = set(route.refuses) | {500}
    if route.role is not None:
        codes |= {401, 403, 429}
    if route.takes is not None:
        codes |= {400, 413, 422}
    if route.body is not None:
        codes |= {413}
    if route.query or "{" in route.path:
        codes |= {400}
    if route.served in (Served.THREAD, Served.LONG_POLL, Served.STREAM):
        codes |= {503}
    error = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    for status in sorted(codes - {route.status, *route.made}):
        yield str(status), {"description": _MEANING[status], **error}
