"""What is old goes, in small pieces, and nothing that somebody still needs goes with it."""

import sqlalchemy as sa

from flagserver.retention import AT_MOST, DAY, Retention
from flagserver.settings import Keep
from flagserver.store import Store, Tx, audit, telemetry
from flagserver.store.tables import latencies, rollout_events, telemetry_batches
from flagserver.store.tables import telemetry as minutes
from flagserver.store.telemetry import Count
from rampgate.evidence import VerdictWord
from rampgate.machine.events import HookProgressed
from rampgate.machine.state import ActionKind, Order
from rampgate.rollout import Rollout
from tests.flagserver.inside import Clock, Inside, new_rollout

KEEP = Keep(telemetry=10, looks=20, audit=30)


def count(store: Store, table: sa.Table) -> int:
    with store.read() as tx:
        return int(tx.run(sa.select(sa.func.count()).select_from(table)).scalar_one())


def report(tx: Tx, rollout_id: str, number: int, dropped: int = 0) -> None:
    telemetry.mark(tx, "production", f"b{rollout_id}{number}", "app", dropped)
    one = Count(
        flag="shop", rollout=rollout_id, attempt=1, variant=f"v{number}", requests=1, errors=0, exposures=1,
        within_ms={10.0: 1},
    )  # fmt: skip
    telemetry.add(tx, "production", [one])


def kinds(inside: Inside, rollout: Rollout) -> list[str]:
    return [entry.event.type for entry in inside.services.rollouts.history(rollout.id, 0, 1000)]


def test_counts_go_by_their_age_except_those_of_a_rollout_under_way(inside_each: Inside) -> None:
    inside, store = inside_each, inside_each.services.store
    rollout = inside.create(new_rollout())
    retention = Retention(store, KEEP)
    with store.write() as tx:
        for number in range(AT_MOST + 2):
            report(tx, "", number)
        report(tx, "", -1, dropped=3)
        report(tx, rollout.id, 0)
    inside.clock.go(3 * DAY)
    retention.sweep()
    # Not all at once; and a mark that says what was dropped stays as long as the counts.
    assert count(store, telemetry_batches) == AT_MOST + 4 - AT_MOST
    retention.sweep()
    assert count(store, telemetry_batches) == 1
    assert count(store, minutes) == count(store, latencies) == AT_MOST + 4
    inside.clock.go(8 * DAY)
    for _ in range(2):
        retention.sweep()
    assert (count(store, minutes), count(store, latencies), count(store, telemetry_batches)) == (1, 1, 0)
    with store.read() as tx:
        assert set(telemetry.totals(tx, rollout.id, 1)) == {"v0"}


def test_a_finished_rollout_keeps_what_decided_and_an_unfinished_one_keeps_all(
    inside_each: Inside,
) -> None:
    inside, store = inside_each, inside_each.services.store
    clock, retention = inside.clock, Retention(store, KEEP)
    rollout = inside.create(new_rollout())
    fence = inside.attach(rollout)
    for _ in range(3):
        inside.say(rollout, HookProgressed(fence=fence, action=inside.action(rollout, ActionKind.DEPLOY)))
    inside.to_step(rollout)
    for word in (VerdictWord.INCONCLUSIVE, VerdictWord.INCONCLUSIVE, VerdictWord.REGRESSED):
        inside.judge(rollout, inside.attach(rollout), word)
    before = kinds(inside, rollout)
    assert (before.count("hook_progressed"), before.count("judged")) == (3, 3)
    clock_now = clock.now
    _sweep(retention, clock, 0.0)
    assert kinds(inside, rollout) == before
    clock.now = clock_now + inside.look(rollout).plan.stale_after
    inside.undo(rollout, inside.attach(rollout))
    _sweep(retention, clock, 3 * DAY)
    assert "hook_progressed" not in kinds(inside, rollout)
    assert kinds(inside, rollout).count("judged") == 3
    _sweep(retention, clock, 20 * DAY)
    assert kinds(inside, rollout).count("judged") == 1
    assert inside.tell(rollout, Order.REVERT).refusal is not None


def test_an_answer_that_is_no_longer_kept_is_given_with_the_rollout_as_it_is_now(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    store = inside.services.store
    with store.write() as tx:
        tx.run(sa.update(rollout_events).values(state=None))
    with store.read() as tx:
        first = tx.one(sa.select(rollout_events.c.event_id).where(rollout_events.c.event_id.is_not(None)))
    assert first is not None
    event = next(
        one.event for one in inside.services.rollouts.history(rollout.id, 0, 10) if one.event.type == "attached"
    )
    assert inside.say(rollout, event, first.event_id).rollout.share == 10_000


def test_the_audit_log_loses_its_oldest_lines_and_no_others(inside_each: Inside) -> None:
    inside, store = inside_each, inside_each.services.store
    inside.create(new_rollout())
    inside.clock.go(31 * DAY)
    with store.write() as tx:
        audit.record(tx, actor="ada", action="flag.written", subject="shop")
    Retention(store, KEEP).sweep()
    with store.read() as tx:
        assert [line["action"] for line in audit.find(tx, audit.Filter())] == ["flag.written"]
        assert audit.first_broken(tx)[0] is None


def _sweep(retention: Retention, clock: Clock, seconds: float) -> None:
    clock.go(seconds)
    for _ in range(4):
        retention.sweep()
        clock.go(3600.0 if seconds else 0.0)
