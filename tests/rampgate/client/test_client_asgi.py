"""ASGI middleware: every request's outcome, by variant, without a line in the app."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rampgate import FlagClient
from rampgate.client.asgi import ASSIGNMENTS, App, FlagMiddleware, Message, Receive, Scope, Send
from tests.rampgate.client.scripted import Scripted, until

Connect = Callable[..., FlagClient]


def answering(status: int, pieces: int = 1) -> App:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        for number in range(pieces):
            await send({"type": "http.response.body", "body": b"x", "more_body": number < pieces - 1})

    return app


async def ask(app: Callable[[Scope, Receive, Send], Awaitable[None]], user: str | None = "u", **scope: Any) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        pass

    headers = [(b"x-user", user.encode())] if user is not None else []
    await app({"type": "http", "headers": headers, **scope}, receive, send)


def user_of(scope: Scope) -> str:
    return dict(scope["headers"])[b"x-user"].decode()  # type: ignore[no-any-return]


@pytest.fixture
def client(server: Scripted, connect: Connect) -> FlagClient:
    made = connect(server)
    assert made.ready(10)
    return made


def counted(client: FlagClient, server: Scripted) -> tuple[int, int, int]:
    assert client.flush()
    return server.counted("exposures"), server.counted("requests"), server.counted("errors")


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (404, 0), (500, 1), (503, 1)])
def test_a_status_is_an_outcome(client: FlagClient, server: Scripted, status: int, errors: int) -> None:
    asyncio.run(ask(FlagMiddleware(answering(status, pieces=3), client, "shop", user_of)))
    assert counted(client, server) == (1, 1, errors)


@pytest.mark.parametrize("began", [True, False])
def test_an_exception_is_an_error_and_goes_on(client: FlagClient, server: Scripted, began: bool) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("the app's own")

    with pytest.raises(KeyError):
        asyncio.run(ask(FlagMiddleware(app, client, "shop", user_of)))
    assert counted(client, server) == (1, 1, 1)


def test_an_app_that_never_answers_is_an_error(client: FlagClient, server: Scripted) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    asyncio.run(ask(FlagMiddleware(app, client, "shop", user_of)))
    assert counted(client, server) == (1, 1, 1)


@pytest.mark.parametrize(("began", "errors"), [(True, 0), (False, 1)])
def test_a_cancelled_request_is_what_it_said_so_far(
    client: FlagClient, server: Scripted, began: bool, errors: int
) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        running.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.ensure_future(ask(FlagMiddleware(app, client, "shop", user_of)))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    running = asyncio.Event()
    asyncio.run(cancelled())
    assert counted(client, server) == (1, 1, errors)


def test_what_fails_after_the_answer_is_no_part_of_it(client: FlagClient, server: Scripted) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(200)(scope, receive, send)
        raise RuntimeError("in the background")

    with pytest.raises(RuntimeError):
        asyncio.run(ask(FlagMiddleware(app, client, "shop", user_of)))
    assert counted(client, server) == (1, 1, 0)


def test_concurrent_requests_keep_their_variants_also_in_tasks_and_threads(
    client: FlagClient, server: Scripted
) -> None:
    seen: list[tuple[object, ...]] = []
    ready = asyncio.Barrier(2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        user = user_of(scope)
        assignment = scope[ASSIGNMENTS]["shop"]
        await ready.wait()
        task = asyncio.create_task(asyncio.to_thread(client.details, "shop", "", user))
        seen.append((assignment.value, client.string("shop", "", user), (await task).value))
        await answering(200)(scope, receive, send)

    async def both() -> None:
        wrapped = FlagMiddleware(app, client, "shop", user_of)
        await asyncio.gather(ask(wrapped, "ada"), ask(wrapped, "bob"))

    asyncio.run(both())
    assert all(len(set(each)) == 1 for each in seen)
    assert counted(client, server) == (2, 2, 0), "lookups inside a request count nothing of their own"


def test_nobody_and_what_is_no_request_pass_through_uncounted(client: FlagClient, server: Scripted) -> None:
    wrapped = FlagMiddleware(answering(500), client, "shop", user_of)
    asyncio.run(ask(wrapped, user=None))
    asyncio.run(ask(wrapped, type="lifespan"))
    until(client.flush)
    assert counted(client, server) == (0, 0, 0)
