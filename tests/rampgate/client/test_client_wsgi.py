"""The middleware: what an app behind it does, and what is counted for it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from rampgate import FlagClient
from rampgate.client.wsgi import ASSIGNMENTS, FlagMiddleware
from tests.rampgate.client.scripted import Scripted, ramping, until

Connect = Callable[..., FlagClient]


class Served:
    """What a WSGI server would have sent."""

    def __init__(self) -> None:
        self.status = ""
        self.body = b""


def visit(app: Any, user: str | None = "u", *, read: bool = True, close: bool = True) -> Served:
    served = Served()
    environ: dict[str, Any] = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    if user is not None:
        environ["HTTP_X_USER"] = user

    def start_response(status: str, _headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        served.status = status
        return lambda _data: None

    body = app(environ, start_response)
    try:
        if read:
            served.body = b"".join(body)
    finally:
        if close and hasattr(body, "close"):
            body.close()
    return served


@pytest.fixture
def client(server: Scripted, connect: Connect) -> FlagClient:
    made = connect(server)
    assert made.ready(10)
    return made


def wrap(app: Any, client: FlagClient, **more: Any) -> Any:
    return FlagMiddleware(app, client, "shop", lambda environ: environ["HTTP_X_USER"], **more)


def answering(status: str, body: Iterable[bytes] = (b"hello",)) -> Any:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return body

    return app


def streaming(status: str, pieces: int = 3, fail_at: int | None = None) -> Any:
    """Says its status only when it is read, as a generator does."""

    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        for piece in range(pieces):
            if piece == fail_at:
                raise RuntimeError("in mid-answer")
            yield b"x"

    return app


def counted(client: FlagClient, server: Scripted) -> tuple[int, int, int]:
    assert client.flush()
    return server.counted("requests"), server.counted("errors"), server.counted("exposures")


@pytest.mark.parametrize(
    ("status", "errors"), [("200 OK", 0), ("404 Not Found", 0), ("500 Oh", 1), ("503 Busy", 1), ("oops", 1)]
)
@pytest.mark.parametrize("kind", ["list", "stream"])
def test_an_answer_is_an_error_by_its_status(
    client: FlagClient, server: Scripted, status: str, errors: int, kind: str
) -> None:
    app = answering(status, [b"hello"]) if kind == "list" else streaming(status)
    assert visit(wrap(app, client)).body == (b"hello" if kind == "list" else b"xxx")
    assert counted(client, server) == (1, errors, 1)


def test_an_exception_is_an_error_and_goes_on(client: FlagClient, server: Scripted) -> None:
    def app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        raise RuntimeError("before any answer")

    with pytest.raises(RuntimeError, match="before any answer"):
        visit(wrap(app, client))
    with pytest.raises(RuntimeError, match="in mid-answer"):
        visit(wrap(streaming("200 OK", fail_at=2), client))
    assert counted(client, server) == (2, 2, 2)


def test_an_exception_in_close_is_an_error(client: FlagClient, server: Scripted) -> None:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise RuntimeError("in close")

    with pytest.raises(RuntimeError, match="in close"):
        visit(wrap(answering("200 OK", Body()), client), read=False)
    assert counted(client, server) == (1, 1, 1)


def test_a_client_that_goes_away_is_no_error_of_the_app(client: FlagClient, server: Scripted) -> None:
    visit(wrap(streaming("200 OK"), client), read=False)
    assert counted(client, server) == (1, 0, 1)


def test_an_answer_that_the_server_never_ends_is_a_failure(server: Scripted, connect: Connect) -> None:
    client = connect(server, outcome_timeout=0.05)
    assert client.ready(10)
    visit(wrap(streaming("200 OK"), client), read=False, close=False)
    until(lambda: counted(client, server) == (1, 1, 1))


def test_the_last_status_counts_where_the_app_changed_its_mind(client: FlagClient, server: Scripted) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("500 Oh", [], (RuntimeError, RuntimeError(), None))
        return [b""]

    assert visit(wrap(app, client)).status == "500 Oh"
    assert counted(client, server) == (1, 1, 1)


def test_the_app_meets_the_variant_that_its_request_is_counted_for(client: FlagClient, server: Scripted) -> None:
    server.streams.get(timeout=10)
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        assignment = environ[ASSIGNMENTS]["shop"]
        seen.append((assignment.variant, client.string("shop", "", "u")))
        yield b"x"
        share = 0 if assignment.variant == "green" else 99_999
        version = f"after-{assignment.variant}"
        server.send("changed", server.change(version, {"shop": ramping(share)}))
        until(lambda: client._snapshot.version == version)
        seen.append((assignment.variant, client.string("shop", "", "u")))

    visit(wrap(app, client))
    visit(wrap(app, client))
    assert len(set(seen[:2])) == len(set(seen[2:])) == 1
    assert all(one == other for one, other in seen)
    assert seen[0] != seen[2]
    assert counted(client, server) == (2, 0, 2)


@pytest.mark.parametrize("user", [None, ""])
def test_a_request_without_a_user_gets_the_default_and_is_not_counted(
    client: FlagClient, server: Scripted, user: str | None
) -> None:
    values = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        values.append(environ[ASSIGNMENTS]["shop"].counted)
        start_response("500 Oh", [])
        return []

    visit(wrap(app, client), user)
    assert values == [False]
    assert counted(client, server) == (0, 0, 0)


def test_two_flags_stack(client: FlagClient, server: Scripted) -> None:
    inner = FlagMiddleware(answering("500 Oh", []), client, "new", lambda environ: environ["HTTP_X_USER"])
    visit(wrap(inner, client))
    assert client.flush()
    assert server.counted("errors", flag="shop") == server.counted("errors", flag="new") == 1


def test_what_is_an_error_can_be_said(client: FlagClient, server: Scripted) -> None:
    visit(wrap(answering("404 No"), client, is_error=lambda status: status == 404))
    assert counted(client, server) == (1, 1, 1)


def test_latency_is_counted(client: FlagClient, server: Scripted) -> None:
    visit(wrap(answering("200 OK"), client))
    assert client.flush()
    (batch,) = server.applied.values()
    assert sum(batch["counts"][0]["latency_ms"]["counts"]) == 1


@pytest.mark.parametrize("kind", ["list", "stream", "file"])
def test_it_keeps_to_the_standard(client: FlagClient, kind: str, tmp_path: Any) -> None:
    """The validator of the standard library, on both sides of the middleware."""
    (tmp_path / "file").write_bytes(b"xxx")

    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if kind == "file":
            return FileWrapper((tmp_path / "file").open("rb"))
        return [b"xxx"] if kind == "list" else iter([b"x", b"xx"])

    assert visit(validator(wrap(validator(app), client))).body == b"xxx"
