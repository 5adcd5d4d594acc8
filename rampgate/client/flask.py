"""A Flask extension: each request is assigned once, with the request and session at hand, and its outcome counted."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from flask import Flask, Response, request

from rampgate.client.answers import User
from rampgate.client.assignment import Assignment
from rampgate.client.flag_client import FlagClient
from rampgate.client.wsgi import ASSIGNMENTS, Body, tokens_in

_PINS = "rampgate.pins"
_COOKIE = "rampgate.cookie"


class Flags:
    """Assigns every request's user to a variant of each flag and records how the request ended.

    Errors are statuses of 500 and above (``is_error`` says otherwise) and exceptions, in the middle of a streamed
    answer too. Within the request, lookups of these flags for this user keep the variant. A request that carries a
    tester token gets the variant that it names, and is not counted.

    Args:
        app: the app, or ``None`` and ``init_app`` later.
        client: the client; ``None``: one from the environment, made by ``init_app``.
        flags: whose outcomes to count.
        user: called inside the request, so that ``flask.request`` and ``flask.session`` are there: the user's key or
            context. ``None`` or an exception: nobody, who gets the default and is not counted.
        is_error: which statuses are errors.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        client: FlagClient | None = None,
        flags: Sequence[str],
        user: Callable[[], User | None],
        is_error: Callable[[int], bool] = lambda status: status >= 500,
    ) -> None:
        self._given = client
        self._flags = tuple(flags)
        self._user = user
        self._is_error = is_error
        if app is not None:
            self.init_app(app)

    @property
    def client(self) -> FlagClient:
        if self._given is None:
            self._given = FlagClient.from_env()
        return self._given

    def init_app(self, app: Flask) -> None:
        """Serve this app. Raises ``ValueError`` where a client is to be made and the environment lacks something."""
        app.extensions["rampgate"] = self
        assert self.client is not None
        app.before_request_funcs.setdefault(None, []).insert(0, self._begin)
        app.after_request(self._answered)
        app.teardown_request(self._end)

    def assignment(self, flag: str) -> Assignment:
        """The running request's. Raises ``KeyError`` for a flag that this extension does not assign."""
        found: Assignment = request.environ[ASSIGNMENTS][flag]
        return found

    def _begin(self) -> None:
        user: User | None = None
        with suppress(Exception):
            user = self._user()
        held = request.environ.setdefault(ASSIGNMENTS, {})
        pins = request.environ[_PINS] = ExitStack()
        tokens, request.environ[_COOKIE] = tokens_in(request.environ)
        for flag in self._flags:
            held[flag] = self.client.assign(flag, user, tokens=tokens)
            pins.enter_context(held[flag].pinned())

    def _answered(self, response: Response) -> Response:
        cookie = request.environ.pop(_COOKIE, None)
        if cookie is not None:
            response.headers.add("Set-Cookie", cookie)
        ok = not self._is_error(response.status_code)
        for assignment in self._mine():
            if response.is_streamed:
                response.response = Body(response.response, assignment, [not ok])  # type: ignore[arg-type]
            else:
                assignment.finish(ok=ok)
        return response

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            for assignment in self._mine():
                assignment.finish(ok=False)
        pins = request.environ.pop(_PINS, None)
        if pins is not None:
            # A streamed answer may be closed by another thread, whose pins these are not.
            with suppress(ValueError):
                pins.close()

    def _mine(self) -> list[Assignment]:
        held = request.environ.get(ASSIGNMENTS, {})
        return [held[flag] for flag in self._flags if flag in held]
