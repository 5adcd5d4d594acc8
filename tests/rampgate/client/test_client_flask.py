"""The Flask extension: users from the session, outcomes of every kind of answer."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, request, session
from werkzeug.exceptions import HTTPException

from rampgate import FlagClient
from rampgate.client.flask import Flags
from tests.rampgate.client.scripted import Scripted

Connect = Callable[..., FlagClient]


def shop(client: FlagClient) -> tuple[Flask, Flags]:
    app = Flask("shop")
    app.secret_key = "for the test's session"
    flags = Flags(app, client=client, flags=["shop"], user=lambda: session["user"])

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session["user"] = user
        return "hello"

    @app.get("/")
    def front() -> str:
        assert client.string("shop", "", session["user"]) == flags.assignment("shop").value
        return str(flags.assignment("shop").value)

    @app.get("/fail")
    def fail() -> str:
        raise RuntimeError("the app's own")

    @app.get("/status/<int:code>")
    def status(code: int) -> tuple[str, int]:
        return "", code

    @app.get("/stream")
    def stream() -> Iterator[bytes]:
        yield b"one"
        if "break" in request.args:
            raise RuntimeError("in the middle")
        yield b"two"

    return app, flags


@pytest.fixture
def client(server: Scripted, connect: Connect) -> FlagClient:
    made = connect(server)
    assert made.ready(10)
    return made


def counted(client: FlagClient, server: Scripted) -> tuple[int, int]:
    assert client.flush()
    return server.counted("requests"), server.counted("errors")


def test_the_sessions_user_is_assigned_and_every_outcome_is_counted(client: FlagClient, server: Scripted) -> None:
    browser = shop(client)[0].test_client()
    assert browser.get("/login/ada").status_code == 200
    assert counted(client, server) == (0, 0), "nobody was known yet"
    assert browser.get("/").text in ("blue", "green")
    # Buffered, because an answer that nobody reads to its end has not ended.
    found = [browser.get(path, buffered=True).status_code for path in ("/status/404", "/status/503", "/nowhere")]
    assert found == [404, 503, 404]
    assert browser.get("/fail").status_code == 500
    assert counted(client, server) == (5, 2)
    assert server.counted("exposures") == 5


def test_a_streamed_answer_ends_at_its_end(client: FlagClient, server: Scripted) -> None:
    app, _ = shop(client)
    app.view_functions["stream"] = _with_request(app.view_functions["stream"])
    browser = app.test_client()
    browser.get("/login/ada")
    answer = browser.get("/stream", buffered=False)
    assert counted(client, server) == (0, 0)
    assert b"".join(answer.response) == b"onetwo"
    assert counted(client, server) == (1, 0)
    with pytest.raises(RuntimeError):
        b"".join(browser.get("/stream?break=1", buffered=False).response)
    assert counted(client, server) == (2, 1)


def test_an_exception_that_a_test_lets_through_is_an_error_too(client: FlagClient, server: Scripted) -> None:
    app, _ = shop(client)
    app.testing = True
    browser = app.test_client()
    browser.get("/login/ada")
    with pytest.raises(RuntimeError):
        browser.get("/fail")
    assert counted(client, server) == (1, 1)
    assert client.string("shop", "", "ada") in ("blue", "green")
    client.flush()
    assert server.counted("exposures") == 2, "no pin is left behind"


def test_an_error_page_of_the_apps_own_is_what_its_status_says(client: FlagClient, server: Scripted) -> None:
    app, _ = shop(client)
    app.register_error_handler(HTTPException, lambda _error: ("sorry", 500))
    browser = app.test_client()
    browser.get("/login/ada")
    assert browser.get("/nowhere").status_code == 500
    assert counted(client, server) == (1, 1)


def test_the_extension_finds_its_client_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("shop")
    flags = Flags(flags=["shop"], user=lambda: "ada")
    monkeypatch.delenv("RAMPGATE_URL", raising=False)
    with pytest.raises(ValueError, match="RAMPGATE_URL"):
        flags.init_app(app)
    monkeypatch.setenv("RAMPGATE_OVERRIDES", "shop=green")
    flags.init_app(app)
    assert app.extensions["rampgate"] is flags
    assert flags.client.string("shop", "", "ada") == "green"
    flags.client.close()


def _with_request(view: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
    from flask import stream_with_context  # noqa: PLC0415

    return lambda: stream_with_context(view())
