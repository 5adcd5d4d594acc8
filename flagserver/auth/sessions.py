"""Sessions: a job's token is exchanged once for a secret that steers one rollout and dies soon after it.

The exchange fails closed: without the database, the issuer's keys or a policy that fits nobody is admitted.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError

from flagserver.auth.grant import Grant
from flagserver.auth.issuer import Issuer
from flagserver.auth.keyring import Keyring
from flagserver.auth.keys import Caller, new_secret, verifier
from flagserver.auth.policies import POLICY, Policy, is_about, misfits, widens
from flagserver.auth.tokens import Claims, TokenRefusedError, read_token
from flagserver.errors import InvalidError, NewerWordsError, NotAllowedError, NotFoundError, UnknownKeyError
from flagserver.store import Store, Tx, audit
from flagserver.store import trust as kept
from flagserver.store.rollouts import RolloutRecord
from flagserver.store.trust import PolicyRecord, SessionRecord
from rampgate.machine.events import Event, Told
from rampgate.problem import Problem

UNBOUND = 900.0
"""Seconds for which a session is good that steers nothing yet."""

AFTER_LEASE = 60.0
"""Seconds for which it is good after its rollout's lease would lapse without further work."""

AT_MOST = 86_400.0
"""Seconds after which it is over, whatever it does."""

RENEW_EVERY = 15.0
"""Seconds between writes of how long a session is good."""

log = structlog.get_logger("flagserver.auth")

Beside = Callable[[Tx, RolloutRecord], None]
"""What else is to be done in the transaction that changed a rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session just made: ``text`` is shown once and kept nowhere."""

    text: str = field(repr=False)
    record: SessionRecord


class Sessions:
    """The sessions of jobs.

    Args:
        store: where policies and sessions are kept.
        keyring: who must know of new sessions.
        issuer: who signs tokens.
        audience: whom tokens must be meant for: this server's own origin. ``None``: nobody told it.
    """

    def __init__(self, store: Store, keyring: Keyring, issuer: Issuer, audience: str | None) -> None:
        self._store = store
        self._keyring = keyring
        self._issuer = issuer
        self._audience = audience

    def exchange(self, token: str, environment: str | None) -> NewSession:
        """Exchange a job's token for a session.

        Args:
            token: the token that GitHub gave the job. It is good for one exchange.
            environment: the environment that the session is to reach; needed where policies for several fit.

        Raises:
            TokenRefusedError: the token, or the job that it is about, is not admitted; with every claim that fails.
            InvalidError: the job is admitted to several environments, and none was named.
            NotAllowedError: this server does not know its own address, so no token can be meant for it.
            IssuerGoneError: the issuer's keys cannot be read.
            StoreGoneError: the database cannot be used.
        """
        if self._audience is None:
            text = "This server admits no jobs: it does not know its own address. Set FLAGSERVER_PUBLIC_URL."
            raise NotAllowedError(text, code="no_public_url")
        now = self._store.now()
        claims = read_token(token, self._issuer.key, issuer=self._issuer.url, audience=self._audience, now=now)
        with self._store.write() as tx:
            policy = _admitting(kept.policies(tx), claims, environment)
            if not kept.spend(tx, self._issuer.url, claims.jti, claims.until):
                used = Problem("jti", claims.jti[:80], "a token that was not exchanged before")
                raise TokenRefusedError("The token is refused.", (used,), claims.every)
            made = _session(policy, claims, tx.now)
            kept.insert_session(tx, made.record)
            grant = grant_of(made.record)
            audit.record(
                tx, actor=grant.job, action="session.created", subject=made.record.selector,
                environment=made.record.environment, after=grant.shown(),
            )  # fmt: skip
        self._keyring.refresh()
        log.info("session_created", session=made.record.selector, job=grant.job, policy=policy.id)
        return made

    def steering(self, caller: Caller, event: Event | None = None) -> Beside | None:
        """What is to be done beside an accepted event, or a rollout asked for, of this caller: the session must not
        steer another rollout, its work binds it to this one, and renews it. Nothing, for a key.
        """
        selector = caller.selector
        if caller.grant is None or selector is None:
            return None
        works = not isinstance(event, Told)

        def beside(tx: Tx, rollout: RolloutRecord) -> None:
            found = kept.session(tx, selector)
            if found is None or not found.is_good(tx.now):
                raise UnknownKeyError("This session is over. Exchange a new token.", code="session_over", guessed=False)
            Grant.check_bound(found.rollout, rollout.id)
            until = tx.now + rollout.plan.lease + AFTER_LEASE
            # Narrowed to the lease at the binding; later it only moves on.
            if works and (found.rollout is None or until > found.until + RENEW_EVERY):
                kept.renew(tx, selector, rollout.id, until)

        return beside

    def every(self) -> tuple[SessionRecord, ...]:
        with self._store.read() as tx:
            return kept.every_session(tx)

    def revoke(self, selector: str, *, by: str) -> None:
        """End a session.

        Raises:
            NotFoundError: no session that is good has this selector.
        """
        with self._store.write() as tx:
            if not kept.revoke_session(tx, selector):
                raise NotFoundError(f"No session in use has the selector {selector}.", code="session_not_found")
            audit.record(tx, actor=by, action="session.revoked", subject=selector)
        self._keyring.refresh()


def grant_of(record: SessionRecord) -> Grant:
    """What a session may, as it stands."""
    return Grant.read(record.grant, record.rollout)


def _session(policy: PolicyRecord, claims: Claims, now: float) -> NewSession:
    said = POLICY.validate_python(policy.document)
    grant = Grant(
        policy=policy.id, repository=claims.text("repository"), repository_id=claims.text("repository_id"),
        owner_id=claims.text("repository_owner_id"), run_id=claims.text("run_id"),
        run_attempt=claims.text("run_attempt") or "1", actor=claims.text("actor"), event=claims.text("event_name"),
        sha=claims.text("sha"), flags=said.flags, widens=widens(said, claims.every),
    )  # fmt: skip
    selector, secret = new_secret()
    record = SessionRecord(
        selector=selector, verifier=verifier(secret).hex(), policy=policy.id, environment=said.environment,
        role=said.role.value, grant=grant.shown(), created_at=now, until=now + UNBOUND, ends_at=now + AT_MOST,
    )  # fmt: skip
    return NewSession(text=f"rg_session_{selector}_{secret}", record=record)


def _admitting(records: tuple[PolicyRecord, ...], claims: Claims, environment: str | None) -> PolicyRecord:
    read = list(_understood(records))
    wrong = {record.id: misfits(policy, claims.every) for record, policy in read}
    fitting = [record for record, _ in read if not wrong[record.id]]
    wanted = [one for one in fitting if environment in (None, one.environment)]
    environments = sorted({one.environment for one in wanted})
    if len(environments) > 1:
        raise InvalidError.of("environment", "nothing", f"one that the job is admitted to: {', '.join(environments)}")
    if wanted:
        # Of several the one that lets the job do most.
        return max(wanted, key=lambda one: widens(POLICY.validate_python(one.document), claims.every))
    if len(read) < len(records):
        text = "A newer server wrote a trust policy that this one cannot read, and no other admits this job: ask again."
        raise NewerWordsError(text)
    near = [(record, policy) for record, policy in read if is_about(policy, claims.every)]
    raise _not_admitted(near, wrong, claims.every, environment, sorted({one.environment for one in fitting}))


def _understood(records: tuple[PolicyRecord, ...]) -> Iterator[tuple[PolicyRecord, Policy]]:
    """The policies whose every word this server knows: what a newer one demands must not be overlooked."""
    for record in records:
        with suppress(ValidationError):
            yield record, POLICY.validate_python(record.document)


def _not_admitted(
    near: list[tuple[PolicyRecord, Policy]],
    wrong: Mapping[str, tuple[Problem, ...]],
    claims: Mapping[str, Any],
    environment: str | None,
    admitted_to: list[str],
) -> TokenRefusedError:
    """What the job is told: of the policies about its own repository the nearest, and of no other's anything."""
    if admitted_to:
        problem = Problem("environment of the flag server", repr(environment), " or ".join(admitted_to))
        return TokenRefusedError("No trust policy admits this job there.", (problem,), claims)
    if not near:
        ids = f"{claims.get('repository_id')} of owner {claims.get('repository_owner_id')}"
        problem = Problem("repository_id", ids, "a repository that a trust policy names")
        return TokenRefusedError("No trust policy admits this job.", (problem,), claims)
    here = [one for one in near if environment in (None, one[0].environment)] or near
    mine = claims.get("repository_id")
    record, _ = min(here, key=lambda one: (one[1].repository_id != mine, len(wrong[one[0].id])))
    text = f"No trust policy admits this job; the nearest is {record.id}, for {record.environment}."
    return TokenRefusedError(text, wrong[record.id], claims)
