"""Requests answered where they were parsed: byte for byte what HTTP asks, and the same answers as the ordinary way."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
import requests
import uvicorn

from flagserver.asgi import FrontDoor
from flagserver.lane import SLOW, lane, let_go
from tests.flagserver.inside import Inside
from tests.flagserver.process import FlagServer, bearer

FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
BODY = b'{"context":{"targetingKey":"ada"}}'


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    """A server that logs every request."""
    with FlagServer(tmp_path_factory.mktemp("flagserver"), log="json", log_level="debug") as server:
        yield server


@pytest.fixture(scope="module")
def key(process: FlagServer) -> str:
    where = f"{process.url}/v1/production/flags/lamp"
    assert requests.put(where, json={"flag": FLAG}, headers=bearer(process.admin_key), timeout=10).status_code == 201
    return process.key("sdk")


@pytest.fixture
def line(process: FlagServer) -> Iterator[socket.socket]:
    """One bare connection."""
    with closing(socket.create_connection(("127.0.0.1", process.port), timeout=30)) as made:
        yield made


def ask(key: str, *headers: str, version: str = "1.1", body: bytes = BODY, path: str = "/lamp") -> bytes:
    lines = [f"POST /ofrep/v1/evaluate/flags{path} HTTP/{version}", "Host: x", f"Authorization: Bearer {key}", *headers]
    if not any(one.startswith("Transfer-Encoding") for one in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(line: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """The next answers on a connection."""
    found = []
    with line.makefile("rb") as reader:
        for _ in range(count):
            status = int(reader.readline().split()[1])
            headers = {}
            while (text := reader.readline().strip()) != b"":
                name, _, value = text.partition(b": ")
                headers[name.decode()] = value.decode()
            found.append((status, headers, reader.read(int(headers.get("content-length", "0")))))
    return found


def at_end(line: socket.socket) -> bool:
    return line.recv(1) == b""


def test_requests_sent_ahead_are_answered_in_their_order(line: socket.socket, key: str) -> None:
    slow = f"GET /v1/rollouts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    line.sendall(
        ask(key, "X-Request-Id: one") + slow + ask(key, "X-Request-Id: three", path="/none") + ask(key, path="")
    )
    first, second, third, last = answers(line, 4)
    assert [first[0], second[0], third[0], last[0]] == [200, 403, 404, 200]
    assert (first[1]["x-request-id"], third[1]["x-request-id"]) == ("one", "three")
    assert b'"variant":"on"' in first[2]
    assert b'"flags":[' in last[2]


def test_a_body_in_pieces_and_in_chunks_is_one_body(line: socket.socket, key: str) -> None:
    whole = ask(key)
    for number in range(len(whole)):
        line.sendall(whole[number : number + 1])
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:])) + b"0\r\n\r\n"
    line.sendall(ask(key, "Transfer-Encoding: chunked", body=chunks))
    assert [status for status, _, _ in answers(line, 2)] == [200, 200]


@pytest.mark.parametrize(("version", "headers"), [("1.1", ["Connection: close"]), ("1.0", [])])
def test_a_connection_that_the_caller_ends_is_ended(
    line: socket.socket, key: str, version: str, headers: list[str]
) -> None:
    line.sendall(ask(key, *headers, version=version))
    [(status, found, _)] = answers(line, 1)
    assert (status, found["connection"]) == (200, "close")
    assert at_end(line)


def test_a_body_over_the_limit_is_refused_before_it_is_complete(line: socket.socket, key: str) -> None:
    head = ask(key, "Content-Length: 9000000", body=b"")
    line.sendall(head.replace(b"Content-Length: 0\r\n", b"") + b" " * (1024 * 1024 + 1))
    [(status, _, body)] = answers(line, 1)
    assert (status, b"too_large" in body) == (413, True)


def test_a_caller_that_waits_for_leave_to_send_gets_it(line: socket.socket, key: str) -> None:
    head, _, body = ask(key, "Expect: 100-continue").partition(b"\r\n\r\n")
    line.sendall(head + b"\r\n\r\n")
    [(status, _, _)] = answers(line, 1)
    assert status == 100
    line.sendall(body)
    assert answers(line, 1)[0][0] == 200


@pytest.mark.parametrize("given", ["a b", "x" * 65, "tab\tin", "\xe9"])
def test_a_request_id_that_could_harm_a_log_is_replaced(line: socket.socket, key: str, given: str) -> None:
    line.sendall(ask(key).replace(b"Host: x", b"Host: x\r\nX-Request-Id: " + given.encode("latin-1")))
    found = answers(line, 1)[0][1]["x-request-id"]
    assert found != given
    assert found.isascii()


def test_every_way_of_answering_names_the_request_and_is_counted(process: FlagServer, key: str) -> None:
    asked = {**bearer(key), "X-Request-Id": "named"}
    for method, path, status in (
        ("GET", "/healthz", 200), ("GET", "/v1/production/snapshot", 200), ("GET", "/v1/production/flags", 200),
        ("GET", "/v1/rollouts/ro_1?after=0&wait=0", 403), ("GET", "/nothing", 404),
    ):  # fmt: skip
        reply = requests.request(method, process.url + path, headers=asked, timeout=10)
        assert (reply.status_code, reply.headers["X-Request-Id"]) == (status, "named"), path
    told = requests.get(f"{process.url}/metrics", timeout=10).text
    assert 'rampgate_http_requests_total{method="GET",route="/v1/{environment}/snapshot",status="200"}' in told
    assert 'rampgate_http_requests_total{method="GET",route="/v1/rollouts/{id}",status="403"}' in told
    assert 'rampgate_evaluations_total{environment="production",flag="lamp",variant="on"}' in told


def test_the_log_names_the_request_and_holds_neither_key_nor_query(process: FlagServer, key: str) -> None:
    where = f"{process.url}/v1/rollouts/ro_1/events?after=4711815"
    asked = {"Authorization": f"Bearer {process.admin_key}", "X-Request-Id": "followed"}
    assert requests.get(where, headers=asked, timeout=10).status_code == 404
    lines = [json.loads(line) for line in process.log.splitlines()]
    [line] = [one for one in lines if one.get("request") == "followed"]
    assert (line["event"], line["route"], line["status"]) == ("request", "/v1/rollouts/{id}/events", 404)
    assert line["ms"] >= 0
    for secret in (key, process.admin_key, "4711815", "targetingKey"):
        assert secret not in process.log


def test_a_key_that_was_just_revoked_is_refused_at_once(process: FlagServer) -> None:
    gone = process.key("sdk", name="short")
    where = f"{process.url}/v1/production/snapshot"
    assert requests.get(where, headers=bearer(gone), timeout=10).status_code == 200
    admin = bearer(process.admin_key)
    assert requests.delete(f"{process.url}/v1/keys/{gone.split('_')[2]}", headers=admin, timeout=10).status_code == 204
    assert requests.get(where, headers=bearer(gone), timeout=10).status_code == 401


def held(process: FlagServer, head: str, count: int) -> list[socket.socket]:
    """Connections that begin a request with a body and do not go on."""
    form = "Content-Type: application/x-www-form-urlencoded"
    lines = [head, "Host: x", "Expect: 100-continue", "Content-Length: 1000", form, "", "{"]
    found = []
    for _ in range(count):
        found.append(socket.create_connection(("127.0.0.1", process.port), timeout=30))
        found[-1].sendall("\r\n".join(lines).encode())
    return found


@pytest.mark.parametrize("path", ["/ui/login", "/v1/session", "/ui/rollouts/ro_1/abort", "/v1/rollouts/ro_1/events"])
def test_whoever_sends_a_body_slowly_holds_no_thread(process: FlagServer, path: str) -> None:
    """There are 8 threads, and 4 for aborts."""
    slow = held(process, f"POST {path} HTTP/1.1", 13)
    abort = requests.post(f"{process.url}/v1/rollouts/ro_1/events", json={"event": "revert"}, timeout=30)
    assert abort.status_code == 401
    assert requests.get(f"{process.url}/v1/keys", headers=bearer(process.admin_key), timeout=30).status_code == 200
    for one in slow:
        one.close()


def test_of_somebody_without_a_key_no_large_body_is_read(process: FlagServer) -> None:
    body = b'{"token": "%s"}' % (b"x" * 70_000)
    for data in (body, iter([body[:50_000], body[50_000:]])):
        reply = requests.post(f"{process.url}/v1/session", data=data, timeout=30)
        assert (reply.status_code, reply.json()["error"]) == (413, "too_large")


def test_a_body_in_chunks_is_read_by_every_route(process: FlagServer) -> None:
    wanted = json.dumps({"role": "sdk", "environment": "production", "name": "in pieces"}).encode()
    pieces = iter([wanted[:20], wanted[20:]])
    reply = requests.post(f"{process.url}/v1/keys", data=pieces, headers=bearer(process.admin_key), timeout=30)
    assert reply.status_code == 201


def test_a_header_with_an_underscore_is_not_the_one_with_a_hyphen(line: socket.socket, process: FlagServer) -> None:
    line.sendall(f"GET /v1/keys HTTP/1.1\r\nHost: x\r\nX_API_Key: {process.admin_key}\r\n\r\n".encode())
    assert answers(line, 1)[0][0] == 401


def test_a_head_without_end_is_cut_off(line: socket.socket, key: str) -> None:
    line.sendall(ask(key))
    assert answers(line, 1)[0][0] == 200
    with suppress(OSError):
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        for number in range(40):
            line.sendall(f"X-{number}: {'a' * 9_000}\r\n".encode())
    with suppress(ConnectionResetError):
        assert answers(line, 1)[0][0] == 431


def test_a_long_body_behind_a_short_head_is_no_long_head(line: socket.socket, key: str) -> None:
    body = b'{"context": {"targetingKey": "ada", "bio": "%s"}}' % (b"x" * 60_000)
    line.sendall(b"".join([ask(key, body=body) for _ in range(8)]))
    assert [status for status, _, _ in answers(line, 8)] == [200] * 8


def test_a_request_that_does_not_arrive_is_let_go_and_one_that_waits_for_its_answer_is_not(inside: Inside) -> None:
    async def run() -> tuple[list[bytes], int]:
        loop = asyncio.get_running_loop()
        door = FrontDoor(inside.services)
        config = uvicorn.Config(door, http=lane(door), ws="none", lifespan="off", log_config=None)
        config.load()
        state = uvicorn.server.ServerState()
        server = await loop.create_server(lambda: lane(door)(config, state, {}), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        (_, half), (_, body), (first, done), _ = lines
        half.write(b"GET /healthz HTTP/1.1\r\nHo")
        body.write(b"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nContent-Length: 90\r\n\r\n{")
        done.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await first.readuntil(b"\r\n\r\n")
        let_go(state.connections, loop.time() + SLOW / 2)
        await asyncio.sleep(0)
        still = len(state.connections)
        let_go(state.connections, loop.time() + SLOW + 1)
        ended = [await reader.read(1) for number, (reader, _) in enumerate(lines) if number != 2]
        left = len(state.connections)
        server.close()
        for _, writer in lines:
            writer.close()
        assert still == 4
        return ended, left

    assert asyncio.run(run()) == ([b"", b"", b""], 1)
