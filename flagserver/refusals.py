"""Versions that regressed or were aborted: listed, and allowed again by a person who says why."""

from flagserver.errors import NotFoundError
from flagserver.store import Store, audit, flags, rollouts
from flagserver.store.rollouts import RolloutRecord
from rampgate.rollout import RefusedVersion


class Refusals:
    """What each flag refuses to try again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, environment: str, flag: str) -> tuple[RefusedVersion, ...]:
        """The versions that are refused now, the latest first."""
        with self._store.read() as tx:
            return tuple(_shown(one) for one in rollouts.refused(tx, environment, flag))

    def allow(self, environment: str, flag: str, version: str, *, actor: str, by: str, why: str) -> None:
        """Let the version be tried again; the next request for it starts a rollout.

        Raises:
            NotFoundError: it is not refused.
        """
        with self._store.write() as tx:
            flags.lock(tx, environment, flag)
            found = next((one for one in rollouts.refused(tx, environment, flag) if one.version == version), None)
            if found is None:
                text = f"{version[:80]} is not refused for {flag} in {environment}."
                raise NotFoundError(text, code="not_refused")
            rollouts.allow(tx, environment, flag, version, by)
            audit.record(
                tx, actor=f"{actor} for {by}", action="version.allowed", subject=version, environment=environment,
                flag=flag, rollout=found.id, why=why,
                before={"refused_by": found.id, "reason": found.state.reason}, after={"refused_by": None},
            )  # fmt: skip


def _shown(record: RolloutRecord) -> RefusedVersion:
    state = record.state
    return RefusedVersion(
        version=record.version, rollout=record.id, reason=state.reason, text=state.text, at=record.updated_at,
        sha=record.sha,
    )  # fmt: skip
