"""An issuer of OIDC tokens with GitHub's claims: its keys over HTTP, and the endpoint where a job asks for a token.

Claims and endpoint: "OpenID Connect reference" in GitHub's documentation. It signs whatever it is told to.
"""

import json
import secrets
import threading
import time
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

JOB: Mapping[str, Any] = {
    "sub": "repo:acme@7/shop@1:environment:production",
    "repository": "acme/shop",
    "repository_id": "1",
    "repository_owner": "acme",
    "repository_owner_id": "7",
    "environment": "production",
    "event_name": "push",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "workflow_ref": "acme/shop/.github/workflows/release.yml@refs/heads/main",
    "job_workflow_ref": "acme/shop/.github/workflows/release.yml@refs/heads/main",
    "run_id": "4711",
    "run_attempt": "1",
    "actor": "ada",
    "actor_id": "99",
    "sha": "a" * 40,
    "repository_visibility": "private",
    "runner_environment": "github-hosted",
}
"""What GitHub says of a job that releases."""


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:  # noqa: ARG001  (each name has a key of its own)
    """A key pair, made once in a process for each name."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


class FakeIssuer:
    """The issuer on a free port of this machine; it signs with the key that is called ``kid``."""

    def __init__(self) -> None:
        self.kid = "key-1"
        self.published: tuple[str, ...] = ("key-1",)
        self.job: dict[str, Any] = dict(JOB)
        self.request_token = f"request-{secrets.token_urlsafe(24)}"
        self.issued: list[str] = []
        self.asked: list[str] = []
        self.down = False
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environ(self) -> Mapping[str, str]:
        """What the runner gives a job with `id-token: write`."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.request_token,
        }

    def token(self, audience: str, *, now: float | None = None, **claims: Any) -> str:
        """A token of this job; a claim that is ``None`` is left out."""
        return self.signed(self.claims(audience, now=now, **claims))

    def claims(self, audience: str, *, now: float | None = None, **changes: Any) -> dict[str, Any]:
        at = int(time.time() if now is None else now)
        said = {
            "iss": self.url, "aud": audience, "iat": at, "nbf": at - 10, "exp": at + 300,
            "jti": secrets.token_hex(16), **self.job, **changes,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    def signed(self, claims: Mapping[str, Any], *, key: str | None = None, kid: str | None = None) -> str:
        """These claims, signed with this key under this id."""
        key = key or self.kid
        return jwt.encode(dict(claims), rsa_key(key), algorithm="RS256", headers={"kid": kid or key})

    def page(self, target: str, headers: Mapping[str, str]) -> tuple[int, object]:
        """What it answers."""
        parts = urlsplit(target)
        self.asked.append(parts.path)
        if self.down:
            return 503, {}
        if parts.path == "/.well-known/jwks":
            return 200, {"keys": [_public(name) for name in self.published]}
        if parts.path == "/token":
            if headers.get("Authorization") != f"bearer {self.request_token}":
                return 401, {}
            self.issued.append(self.token(parse_qs(parts.query)["audience"][0]))
            return 200, {"value": self.issued[-1], "count": len(self.issued)}
        return 404, {}


def _public(name: str) -> dict[str, Any]:
    public: dict[str, Any] = RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True)
    return {**public, "kid": name, "use": "sig", "alg": "RS256", "key_ops": ["verify"]}


def _server(issuer: FakeIssuer) -> ThreadingHTTPServer:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, answer = issuer.page(self.path, dict(self.headers.items()))
            out = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    return server
