"""The fast lane: a request that memory can answer is answered where it was parsed, without a task of its own.

Uvicorn starts a task for each request, which costs more than an evaluation does. Everything else — threads, long
polls, streams, clients that do not read, keys not known yet — takes uvicorn's own way, to the same routes.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flagserver.asgi import FrontDoor
from flagserver.at_once import Request
from flagserver.views.ofrep import MOST_CONTEXT
from flagserver.views.route import Reply

MOST_HEAD = 64 * 1024
"""Bytes of the longest head of a request: its line and its headers."""

SLOW = 30.0
"""Seconds within which a request must have arrived whole; a connection begins with one."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)

_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}
_NO_BODY = (204, 304)


def lane(door: FrontDoor) -> type[HttpToolsProtocol]:
    """The protocol of connections to this door."""
    return type("LaneOfDoor", (Lane,), {"door": door})


class Lane(HttpToolsProtocol):
    """One connection."""

    door: FrontDoor

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._waiting: bytearray | None = None
        """The body so far of a request that the lane may answer; ``None``: uvicorn has the request."""
        self._going = False
        self._heads = 0
        self._head: int | None = None
        """Bytes so far of a head that is incomplete; ``None``: none is."""
        self._since: float | None = self.loop.time()

    def is_late(self, now: float) -> bool:
        """Whether a request should have arrived by this moment of the loop's clock: nobody may hold us up for long."""
        return self._since is not None and now - self._since > SLOW

    def data_received(self, data: bytes) -> None:
        heads = self._heads
        super().data_received(data)
        if self._head is None:
            return
        # What of these bytes belonged to requests before this one is not known, and not counted.
        self._head += len(data) if heads == self._heads else 0
        if self._head > MOST_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_message_begin(self) -> None:
        self._head, self._since = 0, self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        self._heads += 1
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade():
            super().on_headers_complete()
        else:
            self._waiting = bytearray()

    def on_body(self, body: bytes) -> None:
        if self._waiting is None:
            super().on_body(body)
            return
        self._waiting += body
        if len(self._waiting) > MOST_CONTEXT:
            self._hand_over()

    def on_message_complete(self) -> None:
        self._since = None
        if self._waiting is not None:
            if self._answered(bytes(self._waiting)):
                self._waiting = None
                return
            self._hand_over()
        super().on_message_complete()

    def shutdown(self) -> None:
        if self._waiting is None:
            super().shutdown()
        else:
            self._going = True

    def _hand_over(self) -> None:
        body, self._waiting = self._waiting, None
        super().on_headers_complete()
        if self._going:
            self.cycle.keep_alive = False
        if body:
            super().on_body(bytes(body))

    def _answered(self, body: bytes) -> bool:
        request = Request(self.parser.get_method(), self.url, self.headers, body)
        answer = self.door.at_once(request)
        if answer is None:
            return False
        reply, request_id = answer
        parser = self.parser
        keep = parser.should_keep_alive() and parser.get_http_version() != "1.0" and not self._going
        try:
            written = rendered(reply, request_id, keep)
        except ValueError:
            return False
        self.transport.write(written)
        self.server_state.total_requests += 1
        if keep:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self.transport.close()
        return True


def let_go(connections: Iterable[object], now: float) -> None:
    """End the connections whose request does not arrive; ``now`` is the loop's clock."""
    for one in list(connections):
        if isinstance(one, Lane) and one.is_late(now):
            one.transport.abort()


def rendered(reply: Reply, request_id: str, keep: bool) -> bytes:
    """A reply as HTTP/1.1.

    Raises:
        ValueError: a header would hold what no header may.
    """
    lines = [f"x-request-id: {request_id}\r\n"]
    for name, value in reply.headers:
        if not value.isprintable():
            raise ValueError(f"The header {name} would hold what is not printable.")
        lines.append(f"{name}: {value}\r\n")
    if reply.status not in _NO_BODY:
        lines.append(f"content-type: {reply.type}\r\ncontent-length: {len(reply.body)}\r\n")
    if not keep:
        lines.append("connection: close\r\n")
    lines.append("\r\n")
    head = _STATUS[reply.status] + "".join(lines).encode("latin-1")
    return head if reply.status in _NO_BODY else head + reply.body
