"""HTTP requests that end: one deadline for all of a visit, a bounded body, no redirect to another host.

What goes wrong is answered as a value, in a sentence of our own: an exception's text may hold a secret.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from rampgate.plan import seconds as duration

MOST_BYTES = 1 << 20
MOST_REDIRECTS = 3


class Trouble(Enum):
    """Why there is no answer: nobody listens there, nobody can be reached, or it is one that we do not read."""

    NOBODY = auto()
    UNREACHABLE = auto()
    LATE = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """An answer, whatever its status. ``seconds`` is the time until its last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGot:
    trouble: Trouble
    text: str


def origin(url: str) -> str:
    """Scheme, host and port of an address: what of it may be shown."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "an address that cannot be read"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def place(url: str) -> tuple[str, str | None, int | None]:
    """Where an address leads: scheme, host, port. Raises ``ValueError``: it is no address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    params: Mapping[str, str] | None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Visit:
    """Questions within one deadline of ``seconds``. When it passes, the connections are cut, whatever they wait for.

    ``headers`` go with every request and to this host alone; ``.netrc`` is not read. A connection that fails, or
    a 502, 503 or 504, is tried once more unless ``retries`` says otherwise.
    """

    def __init__(self, *, seconds: float, headers: Mapping[str, str] | None = None, retries: int = 1) -> None:
        self._seconds = seconds
        self._headers = dict(headers or {})
        self._cutter = Cutter()
        self._until = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cutter.cut)
        self._timer.daemon = True
        self._session = requests.Session()
        retry = Retry(
            total=retries,
            redirect=0,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET", "POST"),
            backoff_factor=0.1,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        adapter = CutAdapter(self._cutter, retry)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        self._session.close()
        self._cutter.close()

    def cut(self) -> None:
        """End whatever is under way, from another thread: it is answered as late."""
        self._cutter.cut()

    def get(
        self, url: str, params: Mapping[str, str] | None = None, *, most: int = MOST_BYTES, follow: bool = True
    ) -> Got | NotGot:
        """Ask once, for at most ``most`` bytes of body; ``follow`` redirects on the same host, or answer them."""
        begun = time.monotonic()
        target: str = url
        for _ in range(MOST_REDIRECTS + 1):
            got = self._once(_Request("GET", target, params), most, begun)
            location = got.headers.get("Location") if isinstance(got, Got) and 300 <= got.status < 400 else None
            if isinstance(got, NotGot) or location is None or not follow:
                return got
            try:
                target, params = urljoin(target, location), None
                same = place(target) == place(url)
            except ValueError:
                return NotGot(trouble=Trouble.REFUSED, text=f"{origin(url)} redirects to no address")
            if not same:
                return NotGot(
                    trouble=Trouble.REFUSED,
                    text=f"{origin(url)} redirects to {origin(target)}, which is another host: "
                    "credentials and verdicts do not go there",
                )
        return NotGot(trouble=Trouble.REFUSED, text=f"{origin(url)} redirects in circles")

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str] | None = None, *, most: int = MOST_BYTES
    ) -> Got | NotGot:
        """Ask by POST what changes nothing there: it may be tried again. Redirects are answered, never followed."""
        return self._once(_Request("POST", url, None, body, headers or {}), most, time.monotonic())

    def send(self, method: str, url: str, body: bytes | None = None) -> Got | NotGot:
        """Ask by any method. Redirects are answered, never followed; the visit's ``retries`` should be 0."""
        return self._once(_Request(method, url, None, body), MOST_BYTES, time.monotonic())

    def _once(self, request: "_Request", most: int, begun: float) -> Got | NotGot:
        url = request.url
        left = self._until - time.monotonic()
        if left <= 0 or self._cutter.is_cut:
            return self._late(url)
        try:
            with self._session.request(
                request.method,
                url,
                params=request.params,
                data=request.body,
                headers={**self._headers, **request.headers},
                auth=_as_it_is,
                timeout=left,
                stream=True,
                allow_redirects=False,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(1 << 16):
                    body += chunk
                    if len(body) > most:
                        return NotGot(
                            trouble=Trouble.REFUSED, text=f"{origin(url)} answers with more than {most} bytes"
                        )
                status, headers = response.status_code, response.headers
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            if self._cutter.is_cut or _is_timeout(error):
                return self._late(url)
            return _trouble(url, error)
        if self._cutter.is_cut:  # a cut connection may look like the end of the body
            return self._late(url)
        return Got(status=status, headers=headers, body=bytes(body), seconds=time.monotonic() - begun)

    def _late(self, url: str) -> NotGot:
        return NotGot(trouble=Trouble.LATE, text=f"{origin(url)} did not answer within {duration(self._seconds)}")


def attended(
    visit: Visit, ask: Callable[[], Got | NotGot], *, every: float, keep_going: Callable[[], bool]
) -> Got | NotGot | None:
    """One question within a visit, asking ``keep_going`` every so many seconds: a slow answer must not cost the lease.

    ``None``: it said no. Raises what it raises. Either way the connection is cut and nothing is under way any more.
    """
    answers: list[Got | NotGot] = []
    asking = threading.Thread(target=lambda: answers.append(ask()))
    asking.start()
    try:
        asking.join(every)
        while asking.is_alive():
            if not keep_going():
                return None
            asking.join(every)
    finally:
        if asking.is_alive():
            visit.cut()
            asking.join()
    return answers[0]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking for credentials in .netrc."""
    return request


def _cause(error: Exception) -> object:
    """What requests wrapped: the exception of urllib3 that it names, or else the error itself."""
    inner = error.args[0] if error.args else None
    cause = getattr(inner, "reason", inner)
    return cause if isinstance(cause, Exception) else error


def _is_timeout(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, NewConnectionError):  # urllib3 counts a refused connection among the time-outs
        return False
    return isinstance(cause, Urllib3TimeoutError | TimeoutError) or isinstance(error, requests.Timeout)


def _trouble(url: str, error: Exception) -> NotGot:
    where = origin(url)
    if isinstance(error, requests.exceptions.SSLError):
        return NotGot(
            trouble=Trouble.UNREACHABLE, text=f"{where} cannot be trusted: its TLS handshake or certificate fails"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return NotGot(trouble=Trouble.UNREACHABLE, text=f"{where} cannot be reached through the proxy")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return NotGot(trouble=Trouble.REFUSED, text=f"{where} sends a body that cannot be decompressed")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return NotGot(trouble=Trouble.UNREACHABLE, text=f"{where} broke off in the middle of its answer")
    if isinstance(error, requests.ConnectionError):
        reason = _cause(error)
        if isinstance(reason, NameResolutionError):
            return NotGot(trouble=Trouble.UNREACHABLE, text=f"{where} cannot be found: its name does not resolve")
        if isinstance(reason, NewConnectionError):
            refused = isinstance(reason.__cause__, ConnectionRefusedError)
            return NotGot(
                trouble=Trouble.NOBODY if refused else Trouble.UNREACHABLE,
                text=f"{where} cannot be reached: nobody accepts the connection",
            )
        return NotGot(trouble=Trouble.UNREACHABLE, text=f"{where} broke the connection")
    return NotGot(trouble=Trouble.UNREACHABLE, text=f"{where} cannot be asked: the address or a header is not valid")


class Cutter:
    """Holds a second handle of every open connection, and shuts them all down when time is up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self.is_cut = False

    def watch(self, connection: socket.socket) -> socket.socket:
        # The handle survives the wrapping into TLS, and a shutdown through it ends the connection itself.
        with self._lock:
            self._handles.append(connection.dup())
            if self.is_cut:
                _shut(connection)
        return connection

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            for handle in self._handles:
                _shut(handle)

    def close(self) -> None:
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        return


class CutAdapter(HTTPAdapter):
    """Lets the cutter watch every connection that requests opens, proxies included."""

    def __init__(self, cutter: Cutter, retry: Retry) -> None:
        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return cutter.watch(super()._new_conn())

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return cutter.watch(super()._new_conn())

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        self._pools = {"http": PlainPool, "https": TlsPool}
        super().__init__(max_retries=retry)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return self._watch(super().proxy_manager_for(proxy, **kwargs))

    def _watch(self, pools: PoolManager) -> PoolManager:
        pools.pool_classes_by_scheme = self._pools
        return pools
