"""The Flask app: every route of the table, for any WSGI host and for tests. The loop answers the hot ones before it."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.exceptions import HTTPException

from flagserver.errors import FlagServerError, TooLargeError
from flagserver.logs import request_id
from flagserver.services import Services
from flagserver.store.audit import Origin, origin
from flagserver.views import ROUTES
from flagserver.views.cors import shared
from flagserver.views.dashboard import Dashboard
from flagserver.views.route import MOST_BODY, MOST_KEYLESS, Call, Reply, Route, admit_fresh, answer, refused
from flagserver.wire import encode

log = structlog.get_logger("flagserver.app")


def create_app(services: Services) -> Flask:
    """The app over these services."""
    app = Flask("flagserver", static_folder=None)
    app.url_map.strict_slashes = False
    for route in ROUTES:
        path = route.path.replace("{", "<").replace("}", ">")
        app.add_url_rule(
            path, endpoint=f"{route.method} {route.path}", view_func=_view(services, route), methods=[route.method],
            provide_automatic_options=False,
        )  # fmt: skip
    app.register_blueprint(Dashboard(services).blueprint())
    app.register_error_handler(HTTPException, _unrouted)
    return app


def _view(services: Services, route: Route) -> Callable[..., Response]:
    def respond(reply: Reply, asked: str, began: float) -> Response:
        services.meters.answered(route.method, route.path, reply.status)
        took = round((time.monotonic() - began) * 1000, 1)
        log.debug("request", method=route.method, route=route.path, status=reply.status, ms=took)
        return _response(reply, asked)

    def view(**params: str) -> Response:
        began = time.monotonic()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = headers["x-request-id"] = request_id(headers.get("x-request-id"))
        clear_contextvars()
        bind_contextvars(request=asked)
        most = MOST_KEYLESS if route.role is None else MOST_BODY
        try:
            if (request.content_length or 0) > most:
                raise too_large(most)
            caller = admit_fresh(services, route, headers, params)
            body = request.stream.read(most + 1)
            if len(body) > most:
                raise too_large(most)
        except FlagServerError as error:
            slowed = services.slow_down.refused(error, request.remote_addr or "", headers.get("x-forwarded-for", ""))
            return respond(shared(services, route, headers, refused(slowed)), asked, began)
        run = None if caller.grant is None else caller.grant.run
        origin.set(Origin(request=asked, key=caller.selector, run=run))
        call = Call(params=params, query=request.args.to_dict(), headers=headers, body=body, caller=caller)
        return respond(shared(services, route, headers, answer(services, route, call)), asked, began)

    return view


def too_large(most: int = MOST_BODY) -> TooLargeError:
    return TooLargeError(f"The body is larger than {most // 1024} KiB.")


def _response(reply: Reply, asked: str) -> Response:
    response = Response(reply.body, status=reply.status, content_type=reply.type)
    response.headers["X-Request-Id"] = asked
    for name, value in reply.headers:
        response.headers[name] = value
    return response


def _unrouted(error: Any) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    status = error.code or 500
    message = {404: "There is nothing at this path.", 405: "This path has no such method."}
    document = {"error": codes.get(status, "http"), "message": message.get(status, str(error.description))}
    response = Response(encode(document), status=status, content_type="application/json")
    response.headers["X-Request-Id"] = request_id(request.headers.get("X-Request-Id"))
    if status == 405 and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response
