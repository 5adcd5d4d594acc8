"""The dashboard's pages: what ramps now, history, flags, audit, and the five orders. Server-rendered; no page needs
a script. Flask alone serves it.
"""

from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any

import structlog
from flask import Blueprint, Response, g, make_response, redirect, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from flagserver.auth import Login
from flagserver.errors import (
    ConflictError,
    FlagServerError,
    InvalidError,
    NotFoundError,
    SlowDownError,
    StoreGoneError,
    TooLargeError,
)
from flagserver.logs import request_id
from flagserver.services import Services
from flagserver.store.audit import Filter, Origin, origin
from flagserver.views.dashboard import door
from flagserver.views.dashboard.reading import PAGE, RECENT, Reading
from flagserver.views.dashboard.rendering import assets, render
from rampgate.machine.events import LONGEST_TEXT, Told
from rampgate.machine.state import Order, Phase, Refused
from rampgate.plan import seconds
from rampgate.rollout import Posted

ORDERS = {
    "abort": Order.REVERT,
    "pause": Order.PAUSE,
    "resume": Order.RESUME,
    "promote": Order.ADVANCE,
    "promote-full": Order.COMPLETE,
}
OUTCOMES = tuple(phase for phase in Phase if phase.is_final)

SAME_TAP = 10.0
"""Seconds within which the same order by the same person on the same page is one order."""

log = structlog.get_logger("flagserver.dashboard")

Page = Callable[..., AnyResponse]


class Dashboard:
    """The pages over a server's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._read = Reading(services)

    def blueprint(self) -> Blueprint:
        """The pages as Flask mounts them."""
        made = Blueprint("dashboard", __name__)
        made.before_request(self._bounded)
        made.after_request(self._named)
        made.register_error_handler(Exception, self._refused)
        open_pages: tuple[tuple[str, str, Page], ...] = (
            ("GET", "/", lambda: redirect("/ui/")),
            ("GET", "/ui/login", self._login_form),
            ("POST", "/ui/login", self._login),
            ("GET", "/ui/static/<version>/<name>", self._asset),
            ("GET", "/ui/<path:rest>", self._nowhere),
        )
        guarded: tuple[tuple[str, str, Page], ...] = (
            ("GET", "/ui/", self._now),
            ("GET", "/ui/rollouts/<rollout_id>", self._rollout),
            ("POST", "/ui/rollouts/<rollout_id>/<word>", self._order),
            ("GET", "/ui/history", self._history),
            ("GET", "/ui/flags", self._flags),
            ("GET", "/ui/flags/<environment>/<key>", self._flag),
            ("POST", "/ui/flags/<environment>/<key>", self._flag),
            ("GET", "/ui/audit", self._audit),
            ("POST", "/ui/logout", self._logout),
        )
        for method, path, page in open_pages:
            made.add_url_rule(path, f"{method} {path}", page, methods=[method])
        for method, path, page in guarded:
            made.add_url_rule(path, f"{method} {path}", self._behind_login(page), methods=[method])
        return made

    def _behind_login(self, page: Page) -> Page:
        @wraps(page)
        def view(**params: str) -> AnyResponse:
            login, secret = None, door.secret_of(request)
            logins = self._services.logins
            if secret and request.method == "POST" and params.get("word") == "abort":
                login = logins.find_to_abort(secret)
            elif secret:
                login = logins.find(secret)
            if login is None and not secret and door.came_from_elsewhere(request):
                # A second request, from a page of ours, is sent with the cookie.
                return make_response(render("again.html", target=door.safe_target(request.full_path.rstrip("?"))))
            if login is None:
                return door.to_login(request)
            if request.method == "POST":
                door.with_token(request, login)
            origin.set(Origin(request=g.asked, key=login.caller.selector))
            return page(login, **params)

        return view

    def _now(self, login: Login) -> AnyResponse:
        environment = request.args.get("environment") or None
        ramps = self._read.active(login.caller, environment)
        return self._page(
            login, "now.html", ramps=ramps, left_over=self._read.left_over(login.caller, environment),
            recent=self._read.ended(login.caller, environment, limit=RECENT), environment=environment,
            environments=self._read.environments(login.caller), locks=self._read.locks(login.caller, environment),
            waiting=self._read.waiting(login.caller, environment),
            followers=self._read.followers(login.caller, environment),
        )  # fmt: skip

    def _rollout(self, login: Login, rollout_id: str) -> AnyResponse:
        return self._page(login, "rollout.html", ramp=self._read.one(login.caller, rollout_id))

    def _order(self, login: Login, rollout_id: str, word: str) -> AnyResponse:
        order = ORDERS.get(word)
        if order is None:
            raise NotFoundError("There is no such order.")
        aborts = order is Order.REVERT
        (self._read.seen_to_abort if aborts else self._read.seen)(login.caller, rollout_id)
        text = _reason()
        # Whatever the page showed, whoever aborts is obeyed.
        revision = None if aborts else _revision()
        event = Told(order=order, by=login.name, text=text, revision=revision)
        tapped = f"{login.token} {rollout_id} {revision} {word} {text} {int(self._services.store.now() // SAME_TAP)}"
        posted = Posted(id=f"ui-{sha256(tapped.encode()).hexdigest()[:32]}", event=event)
        actor, recorded = f"{login.caller.name} at the dashboard", True
        if aborts:
            answer, recorded = self._services.aborts.say(rollout_id, posted, actor, None)
        else:
            answer = self._services.rollouts.apply(rollout_id, posted, actor)
        if not recorded:
            told, lease = answer.because[-1].text, seconds(answer.rollout.plan.lease)
            return self._page(login, "obeyed.html", status=202, rollout=answer.rollout, told=told, lease=lease)
        if answer.refusal is None:
            return redirect(f"/ui/rollouts/{answer.rollout.id}", 303)
        try:
            ramp = self._read.one(login.caller, rollout_id)
        except StoreGoneError:
            raise ConflictError(answer.refusal.text) from None
        stale = answer.refusal.refused is Refused.STALE
        return self._page(login, "rollout.html", status=409, ramp=ramp, refusal=answer.refusal.text, stale=stale)

    def _history(self, login: Login) -> AnyResponse:
        outcome = request.args.get("outcome") or None
        if outcome is not None and outcome not in OUTCOMES:
            raise InvalidError.of("outcome", repr(outcome[:40]), "one of " + ", ".join(OUTCOMES), status=400)
        environment, flag = request.args.get("environment") or None, request.args.get("flag") or None
        phase = Phase(outcome) if outcome else None
        found = self._read.ended(login.caller, environment, flag, phase, _number("before"), PAGE + 1)
        return self._page(
            login, "history.html", records=found[:PAGE], more=found[PAGE - 1].number if len(found) > PAGE else None,
            environments=self._read.environments(login.caller), environment=environment, flag=flag, outcome=outcome,
            outcomes=OUTCOMES,
        )  # fmt: skip

    def _flags(self, login: Login) -> AnyResponse:
        environments = self._read.environments(login.caller)
        environment = request.args.get("environment") or next(iter(environments), None)
        flags = self._read.flags(login.caller, environment) if environment else ()
        return self._page(login, "flags.html", flags=flags, environment=environment, environments=environments)

    def _flag(self, login: Login, environment: str, key: str) -> AnyResponse:
        flag = self._read.flag(login.caller, environment, key)
        user = request.form.get("user", "").strip()[:500] if request.method == "POST" else ""
        placed, is_in = self._read.preview(environment, key, user) if user else (None, False)
        lists = self._read.lists(environment, key)
        return self._page(login, "flag.html", flag=flag, placed=placed, is_in=is_in, lists=lists)

    def _audit(self, login: Login) -> AnyResponse:
        def asked(name: str) -> str | None:
            return request.args.get(name, "").strip()[:200] or None

        wanted = Filter(
            environment=asked("environment"), actor=asked("actor"), action=asked("action"), flag=asked("flag"),
            rollout=asked("rollout"),
        )  # fmt: skip
        lines = self._read.audit(login.caller, wanted, _number("before"), PAGE + 1)
        return self._page(
            login, "audit.html", lines=lines[:PAGE], more=lines[PAGE - 1]["number"] if len(lines) > PAGE else None,
            wanted=wanted, environments=self._read.environments(login.caller),
        )  # fmt: skip

    def _login_form(self) -> AnyResponse:
        target = door.safe_target(request.args.get("next", "/ui/"))
        return make_response(render("login.html", login=None, target=target, problem=None))

    def _login(self) -> AnyResponse:
        door.from_our_own_page(request)
        target = door.safe_target(request.form.get("next", "/ui/"))
        try:
            login = self._services.logins.begin(
                request.form.get("key", "").strip(), request.form.get("name", "").strip()
            )
        except StoreGoneError:
            raise
        except FlagServerError as error:
            forwarded = request.headers.get("X-Forwarded-For", "")
            told = self._services.slow_down.refused(error, request.remote_addr or "", forwarded)
            page = render("login.html", login=None, target=target, problem=told.message)
            response = make_response(page, told.status)
            if isinstance(told, SlowDownError):
                response.headers["Retry-After"] = f"{told.seconds:.0f}"
            return response
        response = make_response(redirect(target, 303))
        return door.let_in(response, login)

    def _logout(self, login: Login) -> AnyResponse:
        self._services.logins.end(login)
        return door.let_out(make_response(redirect("/ui/login", 303)))

    def _asset(self, version: str, name: str) -> AnyResponse:
        asset = assets().get(name)
        if asset is None or asset.version != version:
            raise NotFoundError("There is nothing at this path.")
        response = Response(asset.body, content_type=asset.type)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def _nowhere(self, rest: str) -> AnyResponse:
        raise NotFoundError(f"There is no page {rest[:80]}.")

    def _page(self, login: Login, template: str, status: int = 200, **values: Any) -> AnyResponse:
        now = self._services.store.now()
        values = {"refusal": None, "stale": False, **values}
        text = render(template, login=login, now=now, cut_off=self._services.live.cut_off, **values)
        response = make_response(text, status)
        response.set_etag(sha256(text.encode()).hexdigest()[:32])
        return response.make_conditional(request) if status == 200 else response

    def _bounded(self) -> None:
        g.asked = request_id(request.headers.get("X-Request-Id"))
        clear_contextvars()
        bind_contextvars(request=g.asked)
        origin.set(Origin(request=g.asked))
        request.max_content_length = door.MOST_FORM
        request.max_form_memory_size = door.MOST_FORM
        request.max_form_parts = 20

    def _named(self, response: Response) -> Response:
        response.headers["X-Request-Id"] = g.asked
        return door.guarded(response)

    def _refused(self, error: Exception) -> AnyResponse:
        if isinstance(error, HTTPException):
            error = (
                TooLargeError("The form is too large.")
                if error.code == 413
                else NotFoundError("There is no such page.")
            )
        if isinstance(error, StoreGoneError) and request.method == "POST":
            log.warning("order_without_database", path=request.path, why=error.message)
            error = StoreGoneError(f"Nothing was done. {error.message}")
        if not isinstance(error, FlagServerError):
            log.exception("fault", path=request.path, exc_info=error)
            error = FlagServerError("Something went wrong here; the log of the server says what.")
        response = make_response(render("refused.html", login=None, error=error), error.status)
        if isinstance(error, StoreGoneError):
            response.headers["Retry-After"] = "5"
        return response


def _reason() -> str:
    """The reason that a person gave, as one line."""
    text = "".join(sign if sign.isprintable() else " " for sign in request.form.get("reason", ""))
    return " ".join(text.split())[:LONGEST_TEXT]


def _revision() -> int:
    text = request.form.get("revision", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidError.of("revision", repr(text[:40]), "the revision that the page shows", status=400)
    return int(text)


def _number(name: str) -> int | None:
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None
