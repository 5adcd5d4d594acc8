"""A server inside the test that trusts the jobs of acme/shop, with an issuer of tokens beside it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from werkzeug.test import TestResponse

from flagserver import wire
from flagserver.auth import Role
from rampgate.machine.events import Attached, Event
from rampgate.rollout import Posted, Rollout
from tests.fakes.oidc import FakeIssuer
from tests.flagserver.inside import Clock, Inside, new_rollout

ORIGIN = "https://flags.example.com"

POLICY: Mapping[str, Any] = {
    "environment": "production",
    "flags": ["shop"],
    "repository": "acme/shop",
    "repository_id": "1",
    "owner_id": "7",
    "workflows": [".github/workflows/release.yml"],
    "job_environments": ["production"],
}


class Trusting(Inside):
    """The server, its issuer, and one policy."""

    def __init__(self, database_url: str, clock: Clock, issuer: FakeIssuer) -> None:
        super().__init__(database_url, clock, public_url=ORIGIN, oidc_issuer=issuer.url)
        self.issuer = issuer
        self.policy = self.trust()

    def trust(self, **changes: Any) -> str:
        """Add a policy; its id."""
        reply = self.call("POST", "/v1/trust", {**POLICY, **changes}, role=Role.ADMIN)
        assert reply.status_code == 201, reply.text
        return str(reply.get_json()["id"])

    def token(self, **claims: Any) -> str:
        return self.issuer.token(ORIGIN, now=self.clock.now, **claims)

    def exchange(self, token: str | None = None, wish: str | None = None, **claims: Any) -> TestResponse:
        """Exchange a token, or one of a job with these claims, for a session in the environment of its wish."""
        body = {"token": token or self.token(**claims), **({"environment": wish} if wish else {})}
        return self.call("POST", "/v1/session", body, role=None)

    def session(self, **claims: Any) -> str:
        """The session of a job."""
        reply = self.exchange(**claims)
        assert reply.status_code == 201, reply.text
        return str(reply.get_json()["session"])

    def refused_token(self, token: str | None = None, **claims: Any) -> Mapping[str, Any]:
        """Why this token is refused."""
        reply = self.exchange(token, **claims)
        assert reply.status_code == 401, reply.text
        document: Mapping[str, Any] = reply.get_json()
        return document

    def ask(self, session: str, version: str = "v2", **changes: Any) -> TestResponse:
        """Ask for a rollout as this session's job would."""
        new = replace(new_rollout(version), repository="acme/shop", **changes)
        return self.call("POST", "/v1/rollouts", wire.NEW_ROLLOUT.dump_json(new), role=None, X_API_Key=session)

    def begin(self, session: str, version: str = "v2", **changes: Any) -> Rollout:
        reply = self.ask(session, version, **changes)
        assert reply.status_code == 201, reply.text
        return wire.ROLLOUT.validate_json(reply.data, strict=True)

    def tells(self, session: str, rollout: Rollout, event: Event) -> tuple[int, Mapping[str, Any]]:
        """Say something of a rollout; status and answer."""
        posted = Posted(id=f"event-{next(self._ids)}", event=event)
        where = f"/v1/rollouts/{rollout.id}/events"
        reply = self.call("POST", where, wire.POSTED.dump_json(posted), role=None, X_API_Key=session)
        return reply.status_code, reply.get_json()

    def takes_lease(self, session: str, rollout: Rollout, holder: str = "gate-1") -> int:
        status, answer = self.tells(session, rollout, Attached(holder=holder))
        assert status == 200, answer
        return int(answer["rollout"]["state"]["lease"]["fence"])

    def reads(self, session: str, path: str) -> int:
        return self.call("GET", path, role=None, X_API_Key=session).status_code
