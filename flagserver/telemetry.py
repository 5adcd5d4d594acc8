"""What apps counted: batches, each applied once and committed before it is answered, and a rollout's totals."""

from base64 import b64decode
from binascii import Error as NoBase64Error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from flagserver.errors import InvalidError, NotFoundError
from flagserver.store import Store, flags, minutes, rollouts
from flagserver.store import telemetry as counts_store
from flagserver.store import users as users_store
from flagserver.store.minutes import Span
from flagserver.store.telemetry import BUCKET, NO_BOUND, Count
from flagserver.store.users import HASH, HIGHEST_RANK, MOST_AFFECTED, REGISTERS, Seen
from rampgate.evidence import Counters, Histogram
from rampgate.problem import Problem
from rampgate.rollout import Minute, Telemetry
from rampgate.wire import LATENCY_BOUNDS_MS, STRICT

MOST = 10**9
"""The highest count of a line, and of a whole batch. One batch cannot spoil a comparison for ever."""

_ALLOWED = f"from 0 to {MOST}"

_NOTHING = Counters(requests=0, errors=0, active_users=0, affected_users=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A histogram: ``bounds`` are upper bounds in ms, rising; ``counts`` has one more, for what took longer."""

    __pydantic_config__ = STRICT

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who they were, hashed under the rollout's ``hashKey``; both in base64, big-endian.

    ``active``: raised registers of a HyperLogLog sketch, 16 bits each (``number << 4 | rank``). ``affected``: 64-bit
    hashes of users with errors; ``None``: too many.
    """

    __pydantic_config__ = STRICT

    active: str
    affected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """What one client counted for one variant since its last batch."""

    __pydantic_config__ = STRICT

    flag: str
    variant: str
    rollout: str | None = None
    attempt: int | None = None
    requests: int = 0
    errors: int = 0
    exposures: int = 0
    latency_ms: Latency | None = None
    users: Users | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Increments under an id; sent again, it is applied only once. ``sent_at`` is the client's clock."""

    __pydantic_config__ = STRICT

    batch: str
    client: str
    sent_at: float
    counts: tuple[Increment, ...]
    dropped: int = 0


BATCH: TypeAdapter[Batch] = TypeAdapter(Batch)


class Counting:
    """Applies batches and sums them up."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, environment: str, batch: Batch) -> bool:
        """Add a batch's counts; returns false where this batch was applied before.

        Counts of flags that do not exist, and of rollouts that are not the flag's, are left out: they could
        only fill the database.

        Raises:
            InvalidError: the batch has problems; nothing of it was applied.
            StoreGoneError: the database cannot be used; send the batch again under the same id.
        """
        if wrong := tuple(_problems(batch)):
            raise InvalidError(problems=wrong)
        with self._store.write() as tx:
            if not counts_store.mark(tx, environment, batch.batch, batch.client, batch.dropped):
                return False
            known = counts_store.known_flags(tx, environment, (one.flag for one in batch.counts))
            of_flag = counts_store.known_rollouts(tx, environment, (one.rollout or "" for one in batch.counts))
            counted = [
                one
                for one in batch.counts
                if one.flag in known and (one.rollout is None or of_flag.get(one.rollout) == one.flag)
            ]
            counts_store.add(tx, environment, [_count(one) for one in counted])
            users_store.add(tx, environment, [_seen(one) for one in counted if one.rollout and _has_users(one)])
        return True

    def minutes(self, wanted: Span, limit: int) -> tuple[tuple[Minute, ...], float | None]:
        """A flag's counts by minute and variant, oldest first; the minute under way is left out, so that what was given
        once never changes.

        Args:
            wanted: which ones.
            limit: how many minutes at most.

        Returns:
            The minutes, and from which moment on there are more (``None``: there are none).

        Raises:
            NotFoundError: there is no such flag.
        """
        whole = int(self._store.now() // BUCKET) * BUCKET
        with self._store.read() as tx:
            if flags.load(tx, wanted.environment, wanted.flag) is None:
                text = f"There is no flag {wanted.flag} in {wanted.environment}."
                raise NotFoundError(text, code="flag_not_found")
            return minutes.of_span(tx, replace(wanted, until=min(wanted.until, whole)), limit)

    def of_rollout(self, rollout_id: str) -> Telemetry:
        """Both arms' counts since the attempt began, at one moment; zero where nothing was counted.

        Raises:
            NotFoundError: there is no such rollout.
        """
        with self._store.read() as tx:
            record = rollouts.load(tx, rollout_id)
            if record is None:
                raise NotFoundError(f"There is no rollout {rollout_id}.", code="rollout_not_found")
            totals = counts_store.totals(tx, rollout_id, record.state.attempt)
            users = users_store.totals(tx, rollout_id, record.state.attempt)
            timed = counts_store.timed(tx, record.plan.environment, record.plan.flag, rollout_id, record.state.attempt)
            dropped = counts_store.dropped_since(tx, record.plan.environment, record.attempt_at)
        return Telemetry(
            at=self._store.now(),
            stable=_counters(totals, users, record.stable.name),
            canary=_counters(totals, users, record.canary.name),
            dropped=dropped,
            stable_latency=_spread(timed.get(record.stable.name, {})),
            canary_latency=_spread(timed.get(record.canary.name, {})),
        )


def _spread(within: Mapping[float, int]) -> Histogram:
    """The requests by the clients' own buckets, whatever bounds other clients count by: theirs are rounded up."""
    bounds = LATENCY_BOUNDS_MS
    counts = [sum(count for bound, count in within.items() if bound <= most) for most in bounds]
    seconds = tuple(bound / 1000 for bound in bounds)
    return Histogram(bounds=seconds, counts=tuple(counts), total=sum(within.values()))


def _count(one: Increment) -> Count:
    latency = one.latency_ms
    within = {} if latency is None else dict(zip((*latency.bounds, NO_BOUND), latency.counts, strict=True))
    return Count(
        flag=one.flag, rollout=one.rollout or "", attempt=one.attempt or 0, variant=one.variant,
        requests=one.requests, errors=one.errors, exposures=one.exposures, within_ms=within,
    )  # fmt: skip


def _has_users(one: Increment) -> bool:
    return one.requests > 0 or one.users is not None


def _seen(one: Increment) -> Seen:
    users = one.users
    return Seen(
        flag=one.flag, rollout=one.rollout or "", attempt=one.attempt or 0, variant=one.variant,
        active=None if users is None else _bytes(users.active),
        affected=None if users is None or users.affected is None else _bytes(users.affected),
    )  # fmt: skip


def _counters(totals: Mapping[str, Counters], users: Mapping[str, tuple[int, int] | None], variant: str) -> Counters:
    """One arm's counts. Its users are absent where a client could not say who they were; never too few."""
    counters = totals.get(variant)
    if counters is None or (counters.requests == 0 and variant not in users):
        return _NOTHING
    found = users.get(variant)
    return counters if found is None else replace(counters, active_users=found[0], affected_users=found[1])


def _problems(batch: Batch) -> Iterator[Problem]:
    for path, text, most in (("batch", batch.batch, 100), ("client", batch.client, 200)):
        if not 0 < len(text) <= most or not text.isprintable():
            yield Problem(path, repr(text[:80]), f"1 to {most} printable characters")
    if not 0 <= batch.dropped <= MOST:
        yield Problem("dropped", str(batch.dropped), _ALLOWED)
    if len(batch.counts) > 1000:
        yield Problem("counts", f"{len(batch.counts)} entries", "at most 1000")
        return
    for number, one in enumerate(batch.counts):
        yield from _increment_problems(f"counts[{number}]", one)
    for name in ("requests", "errors", "exposures"):
        if (total := sum(getattr(one, name) for one in batch.counts)) > MOST:
            yield Problem("counts", f"{total} {name} in all", f"at most {MOST} in one batch")
    if (total := sum(sum(one.latency_ms.counts) for one in batch.counts if one.latency_ms)) > MOST:
        yield Problem("counts", f"{total} latencies in all", f"at most {MOST} in one batch")


def _increment_problems(path: str, one: Increment) -> Iterator[Problem]:
    for name in ("flag", "variant"):
        if not 0 < len(getattr(one, name)) <= 200:
            yield Problem(f"{path}.{name}", repr(getattr(one, name)[:80]), "1 to 200 characters")
    for name in ("requests", "errors", "exposures"):
        if not 0 <= getattr(one, name) <= MOST:
            yield Problem(f"{path}.{name}", str(getattr(one, name)), _ALLOWED)
    if (one.rollout is None) != (one.attempt is None):
        yield Problem(f"{path}.attempt", str(one.attempt), "an attempt with a rollout, and neither without the other")
    if one.attempt is not None and not 0 < one.attempt < 2**31:
        yield Problem(f"{path}.attempt", str(one.attempt), "at least 1")
    if one.users is not None:
        yield from _users_problems(f"{path}.users", one.users)
    latency = one.latency_ms
    if latency is None:
        return
    if len(latency.counts) != len(latency.bounds) + 1 or len(latency.bounds) > 64:
        yield Problem(f"{path}.latency_ms.counts", f"{len(latency.counts)} counts", "one more than bounds; at most 64")
    rising = all(low < high for low, high in zip((0.0, *latency.bounds), (*latency.bounds, NO_BOUND), strict=True))
    if not rising:
        yield Problem(f"{path}.latency_ms.bounds", str(latency.bounds)[:80], "rising milliseconds above 0")
    if any(not 0 <= count <= MOST for count in latency.counts):
        yield Problem(f"{path}.latency_ms.counts", str(latency.counts)[:80], f"{_ALLOWED} each")


def _users_problems(path: str, users: Users) -> Iterator[Problem]:
    """Sketches and hashes that cannot be read, or could only fill the database."""
    active, affected = _bytes(users.active), _bytes(users.affected or "")
    most = 2 * REGISTERS * HIGHEST_RANK
    if active is None or len(active) % 2 or len(active) > most or not all(low & 15 for low in active[1::2]):
        yield Problem(f"{path}.active", users.active[:40], f"some of {REGISTERS} registers, 16 bits each, in base64")
    if affected is None or len(affected) % HASH or len(affected) > HASH * (MOST_AFFECTED + 1):
        shown = (users.affected or "")[:40]
        yield Problem(f"{path}.affected", shown, f"hashes of 64 bits in base64, at most {MOST_AFFECTED}")


def _bytes(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (NoBase64Error, ValueError):
        return None
