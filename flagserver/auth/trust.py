"""Trust policies, kept: made, changed and removed by admins, each time with a line in the audit log.

A policy that is changed or removed ends its sessions: jobs under way exchange a new token, or are refused.
"""

import secrets

from flagserver.auth.keyring import Keyring
from flagserver.auth.policies import POLICY, Policy, problems
from flagserver.errors import InvalidError, NotFoundError
from flagserver.store import Store, Tx, audit
from flagserver.store import trust as kept
from flagserver.store.trust import PolicyRecord


class Trust:
    """The trust policies."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def every(self) -> tuple[PolicyRecord, ...]:
        with self._store.read() as tx:
            return kept.policies(tx)

    def read(self, policy_id: str) -> PolicyRecord:
        """Raises: NotFoundError: there is no such policy."""
        with self._store.read() as tx:
            return _found(tx, policy_id)

    def add(self, policy: Policy, *, by: str) -> PolicyRecord:
        """Keep a new policy.

        Raises:
            InvalidError: everything that is wrong with it.
        """
        return self._save(f"tp_{secrets.token_hex(4)}", policy, by, is_new=True)

    def replace(self, policy_id: str, policy: Policy, *, by: str) -> PolicyRecord:
        """Change a policy, and end its sessions.

        Raises:
            InvalidError: everything that is wrong with it.
            NotFoundError: there is no such policy.
        """
        return self._save(policy_id, policy, by, is_new=False)

    def remove(self, policy_id: str, *, by: str) -> None:
        """Forget a policy, and end its sessions.

        Raises:
            NotFoundError: there is no such policy.
        """
        with self._store.write() as tx:
            old = _found(tx, policy_id)
            kept.delete_policy(tx, policy_id)
            audit.record(
                tx, actor=by, action="trust.removed", subject=policy_id, environment=old.environment,
                before=old.document,
            )  # fmt: skip
        self._keyring.refresh()

    def _save(self, policy_id: str, policy: Policy, by: str, *, is_new: bool) -> PolicyRecord:
        if wrong := tuple(problems(policy)):
            raise InvalidError(problems=wrong)
        document = POLICY.dump_python(policy, mode="json")
        with self._store.write() as tx:
            old = None if is_new else _found(tx, policy_id)
            record = PolicyRecord(
                id=policy_id, environment=policy.environment, document=document, updated_at=tx.now,
                created_at=old.created_at if old else tx.now, created_by=old.created_by if old else by,
            )  # fmt: skip
            kept.save_policy(tx, record)
            audit.record(
                tx, actor=by, action="trust.added" if is_new else "trust.changed", subject=policy_id,
                environment=policy.environment, before=old.document if old else None, after=document,
            )  # fmt: skip
        self._keyring.refresh()
        return record


def _found(tx: Tx, policy_id: str) -> PolicyRecord:
    found = kept.policy(tx, policy_id)
    if found is None:
        raise NotFoundError(f"There is no trust policy {policy_id}.", code="policy_not_found")
    return found
