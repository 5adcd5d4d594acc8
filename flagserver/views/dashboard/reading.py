"""What the pages show, read for one caller: a key's own environment, or all of them for an admin's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flagserver.auth import Caller
from flagserver.cohorts import Placed
from flagserver.errors import NotFoundError
from flagserver.services import Services
from flagserver.store import audit, flags, followers, queue, rollouts
from flagserver.store.flags import Lists
from flagserver.store.followers import FollowerRecord
from flagserver.store.rollouts import RolloutRecord, Wanted
from flagserver.views.dashboard.ramp import Ramp, ramp
from rampgate.locks import HeldLock
from rampgate.machine.state import Phase
from rampgate.plan import WHOLE
from rampgate.rollout import Rollout, Waiting

RECENT = 6
"""Ended rollouts on the first page."""

PAGE = 40
"""Lines of one page of history or audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A flag and who gets what of it. ``shares`` has each variant's part of all users, where it follows from a ramp;
    ``live`` is its stable slot, where it has slots.
    """

    environment: str
    key: str
    kind: str
    state: str
    variants: tuple[tuple[str, str], ...]
    default: str
    shares: tuple[tuple[str, str, int], ...]
    has_rules: bool
    rollout: str | None
    document: dict[str, Any]
    live: str | None = None


class Reading:
    """The dashboard's questions to the server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def environments(self, caller: Caller) -> tuple[str, ...]:
        """Those that the caller may see."""
        if caller.environment is not None:
            return (caller.environment,)
        with self._services.store.read() as tx:
            return flags.environments(tx)

    def active(self, caller: Caller, environment: str | None) -> tuple[Ramp, ...]:
        """What ramps now; what waits for somebody comes first."""
        wanted = Wanted(environment=caller.environment or environment, active=True, limit=50)
        found = [self._ramp(one) for one in self._services.rollouts.find(wanted)[0]]
        return tuple(sorted(found, key=lambda one: one.phase is not Phase.WAITING))

    def left_over(self, caller: Caller, environment: str | None) -> tuple[Rollout, ...]:
        """Ended rollouts whose deployment still waits for hands."""
        wanted = Wanted(environment=caller.environment or environment, active=False, needs_hands=True, limit=10)
        return self._services.rollouts.find(wanted)[0]

    def one(self, caller: Caller, rollout_id: str) -> Ramp:
        """A rollout's page.

        Raises:
            NotFoundError: there is no such rollout, or it is of another environment than the caller's.
        """
        return self._ramp(self.seen(caller, rollout_id))

    def seen(self, caller: Caller, rollout_id: str) -> Rollout:
        """The rollout itself; raises as ``one`` does."""
        rollout = self._services.rollouts.read(rollout_id)
        if caller.environment not in (None, rollout.plan.environment):
            raise NotFoundError(f"There is no rollout {rollout_id}.", code="rollout_not_found")
        return rollout

    def seen_to_abort(self, caller: Caller, rollout_id: str) -> None:
        """Raises as ``one`` does, without waiting for the database where the rollout is in memory."""
        held = self._services.live.held(rollout_id)
        if held is None or caller.environment not in (None, held.plan.environment):
            self.seen(caller, rollout_id)

    def _ramp(self, rollout: Rollout) -> Ramp:
        with self._services.store.read() as tx:
            entries = rollouts.telling(tx, rollout.id)
        telemetry = self._services.counting.of_rollout(rollout.id)
        return ramp(rollout, entries, telemetry, self._services.store.now())

    def ended(
        self, caller: Caller, environment: str | None, flag: str | None = None, phase: Phase | None = None,
        before: int | None = None, limit: int = PAGE,
    ) -> tuple[RolloutRecord, ...]:  # fmt: skip
        """Rollouts that have ended, newest first."""
        with self._services.store.read() as tx:
            return rollouts.ended(
                tx, environment=caller.environment or environment, flag=flag or None, phase=phase, before=before,
                limit=limit,
            )  # fmt: skip

    def audit(self, caller: Caller, wanted: audit.Filter, before: int | None, limit: int) -> list[Mapping[str, Any]]:
        """The audit log, newest first: an operator's own environment of it."""
        if caller.environment is not None:
            wanted = replace(wanted, environment=caller.environment)
        with self._services.store.read() as tx:
            return audit.find(tx, wanted, before=before, newest=True, limit=limit)

    def flags(self, caller: Caller, environment: str) -> tuple[Served, ...]:
        """Every flag of an environment, as it is served."""
        self._may_see(caller, environment)
        shown = self._services.flags.all_of(environment)
        shares = self._shares(environment)
        return tuple(_served(environment, one, shares) for one in shown)

    def flag(self, caller: Caller, environment: str, key: str) -> Served:
        """One flag as it is served.

        Raises:
            NotFoundError: there is none that the caller may see.
        """
        self._may_see(caller, environment)
        return _served(environment, self._services.flags.read(environment, key), self._shares(environment))

    def locks(self, caller: Caller, environment: str | None) -> tuple[HeldLock, ...]:
        """What keeps rollouts from widening, now or soon."""
        return self._services.locks.find(
            within=caller.environment, environment=caller.environment or environment, flag=None
        )

    def waiting(self, caller: Caller, environment: str | None) -> tuple[Waiting, ...]:
        """Who waits for a flag, each flag's in the order in which they will come."""
        with self._services.store.read() as tx:
            return tuple(queue.shown(queue.waiting(tx, caller.environment or environment)))

    def followers(self, caller: Caller, environment: str | None) -> tuple[FollowerRecord, ...]:
        """Who goes on with what jobs leave: those that are there, and those that fell silent lately."""
        with self._services.store.read() as tx:
            return followers.heard_of(tx, caller.environment or environment)

    def lists(self, environment: str, key: str) -> Lists:
        """Who is on one arm of the flag by name, whatever the share."""
        return self._services.cohorts.lists(environment, key)

    def preview(self, environment: str, key: str, user: str) -> tuple[Placed, bool]:
        """What the flag serves this user at this moment, and whether they are in by the canary's share."""
        found = self._services.cohorts.preview(environment, key, (user,), None)
        placed = found.users[0]
        return placed, placed.start is not None and placed.start <= (found.share or 0)

    def _shares(self, environment: str) -> dict[str, tuple[RolloutRecord, int]]:
        return {
            record.plan.flag: (record, share)
            for record, share in self._services.live.ramping()
            if record.plan.environment == environment
        }

    def _may_see(self, caller: Caller, environment: str) -> None:
        if caller.environment not in (None, environment):
            raise NotFoundError(f"There is no environment {environment} for this key.", code="not_found")


def _served(environment: str, shown: Any, ramping: dict[str, tuple[RolloutRecord, int]]) -> Served:
    document, slots, key = shown["flag"], shown["slots"], shown["key"]
    versions = {} if slots is None else {one["name"]: one["version"] or "" for one in slots.values()}
    variants = tuple((name, versions.get(name, "")) for name in document.get("variants", {}))
    default = document.get("defaultVariant") or ""
    shares: tuple[tuple[str, str, int], ...] = ()
    if key in ramping:
        record, share = ramping[key]
        shares = (
            (record.canary.name, record.version, share),
            (record.stable.name, record.stable.version or "", WHOLE - share),
        )
    elif slots is not None:
        shares = ((default, versions.get(default, ""), WHOLE),)
    return Served(
        environment=environment, key=key, kind=shown["kind"], state=document.get("state", ""), variants=variants,
        default=default, shares=shares, has_rules=bool(document.get("targeting")) and not shares,
        rollout=shown["rollout"], document=document,
        live=None if slots is None else slots["stable"]["name"],
    )  # fmt: skip
