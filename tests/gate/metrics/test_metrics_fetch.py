"""A visit ends: through TLS, proxies, and whatever keeps a connection open."""

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gate.fetch import Got, NotGot, Trouble, Visit, origin
from tests.gate.metrics.scripted import Reply, ScriptedServer, scripted


def _certificate(folder: Path) -> Path:
    """A certificate for this machine, signed by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return _certificate(tmp_path)


@pytest.fixture
def server(certificate: Path) -> Iterator[ScriptedServer]:
    with scripted() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.script = lambda _: Reply(body=b"hello")
        yield server


def _get(url: str, seconds: float = 5.0) -> Got | NotGot:
    with Visit(seconds=seconds) as visit:
        return visit.get(url)


def _https(server: ScriptedServer) -> str:
    return server.url.replace("http:", "https:")


def test_a_certificate_that_nobody_trusts_is_said(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    got = _get(_https(server))
    assert isinstance(got, NotGot)
    assert got.trouble is Trouble.UNREACHABLE
    assert "certificate" in got.text


def test_a_certificate_that_is_trusted_is_read_through(
    server: ScriptedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    got = _get(_https(server))
    assert isinstance(got, Got)
    assert got.body == b"hello"


def test_a_drip_through_tls_ends_in_time(
    server: ScriptedServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    server.drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    got = _get(_https(server), seconds=0.4)
    assert isinstance(got, NotGot)
    assert got.trouble is Trouble.LATE


def test_a_handshake_without_an_answer_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        got = _get(f"https://127.0.0.1:{silent.getsockname()[1]}", seconds=0.2)
    assert isinstance(got, NotGot)
    assert got.trouble is Trouble.LATE


def test_a_connection_that_nobody_accepts_is_said_so() -> None:
    with scripted() as gone:
        url = gone.url
    got = _get(url)
    assert isinstance(got, NotGot)
    assert "nobody accepts the connection" in got.text


def test_a_visit_that_was_cut_asks_nothing_more() -> None:
    with scripted() as server, Visit(seconds=5.0) as visit:
        visit.cut()
        got = visit.get(server.url)
        assert isinstance(got, NotGot)
        assert server.asked == []


def test_all_gets_of_a_visit_share_its_time() -> None:
    with scripted() as server, Visit(seconds=0.2) as visit:
        server.script = lambda _: Reply()
        assert isinstance(visit.get(server.url), Got)
        server.hangs()
        assert isinstance(visit.get(server.url), NotGot)
        server.raw = None
        assert isinstance(visit.get(server.url), NotGot)


def test_a_proxy_of_the_environment_is_used_and_cut_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with scripted() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.script = lambda _: Reply(body=b"through the proxy")
        got = _get("http://shop.invalid/healthz")
        assert isinstance(got, Got)
        assert got.body == b"through the proxy"
        proxy.drips(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n")
        late = _get("http://shop.invalid/healthz", seconds=0.2)
        assert isinstance(late, NotGot)
        assert late.trouble is Trouble.LATE
    assert isinstance(_get("http://shop.invalid/healthz"), NotGot)


@pytest.mark.parametrize(
    "url", ["", "shop", "http://", "http://[", "http://a b", "ftp://x/", "http://x:99999/", "http://\udc80/"]
)
def test_what_is_no_address_is_answered_and_not_raised(url: str) -> None:
    assert isinstance(_get(url, seconds=1.0), NotGot)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@shop.example:8443/path?key=1#x", "https://shop.example:8443"),
        ("http://[::1]:9090/x", "http://[::1]:9090"),
        ("http://[", "an address that cannot be read"),
    ],
)
def test_of_an_address_only_the_origin_is_shown(url: str, shown: str) -> None:
    assert origin(url) == shown
