"""The store's contract, on SQLite and on a real PostgreSQL."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import flagserver.store
from flagserver.errors import SettingsError, StoreGoneError
from flagserver.store import Store, Tx, flags, keys, rollouts, telemetry
from flagserver.store.engine import current_versions
from flagserver.store.flags import FlagRecord, Kind
from flagserver.store.rollouts import RolloutRecord, Wanted
from flagserver.store.schema import HEAD
from flagserver.store.tables import metadata
from flagserver.store.telemetry import NO_BOUND, Count
from rampgate.evidence import Counters
from rampgate.machine import begin, handle
from rampgate.machine.events import Attached, Created, Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.rollout import Slot, Slots
from tests.flagserver.inside import PLAN, Clock

SLOTS = Slots(stable=Slot(name="blue", version="v1"), idle=Slot(name="green"))


def flag(key: str = "shop", environment: str = "production") -> FlagRecord:
    return FlagRecord(environment=environment, key=key, kind=Kind.ROLLOUT, document={}, slots=SLOTS, updated_at=0.0)


def rollout(tx: Tx, rollout_id: str = "ro_1", **changes: object) -> RolloutRecord:
    event = Created(baseline=True, by="ada")
    record = RolloutRecord(
        id=rollout_id, key=f"key-{rollout_id}", plan=PLAN, version="v2", canary=Slot(name="green", version="v2"),
        stable=Slot(name="blue", version="v1"), state=begin(PLAN, event, tx.now).state, by="ada", created_at=tx.now,
        attempt_at=tx.now, updated_at=tx.now, config={"poll": "15s"}, sha="abc",
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def finished(record: RolloutRecord, phase: Phase = Phase.REVERTED, reason: Reason = Reason.GATE_LOST) -> RolloutRecord:
    state = replace(record.state, phase=phase, reason=reason, deadlines={}, actions=())
    return replace(record, state=state)


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(store: Store) -> None:
    with store.read() as tx:
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_needs() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(flagserver.store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_servers_that_start_together_migrate_once(empty_url: str) -> None:
    stores = [Store(empty_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(Store.migrate, stores))
    with stores[0].read() as tx:
        assert flags.all_of(tx, "production") == ()
    for store in stores:
        store.close()


def test_of_a_newer_version_only_a_database_that_this_one_would_spoil_is_refused(empty_url: str) -> None:
    store = Store(empty_url)
    store.migrate()
    with store.write() as tx:
        tx.run(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    store.migrate()
    with store.write() as tx:
        tx.run(sa.text("UPDATE versions SET version = 9999 WHERE name = 'schema'"))
    with pytest.raises(SettingsError, match="newer"):
        store.migrate()
    with store.write() as tx:
        tx.run(sa.text("DELETE FROM versions"))
    with pytest.raises(SettingsError, match="newer"):
        store.migrate()
    store.close()


def test_a_flag_is_read_as_it_was_saved(store: Store, clock: Clock) -> None:
    saved = replace(flag(), document={"variants": {"blue": 1, "green": 2}}, updated_at=clock.now)
    with store.write() as tx:
        flags.save(tx, flag())
        flags.save(tx, saved)
        flags.save(tx, flag("other", "staging"))
    with store.read() as tx:
        assert flags.load(tx, "production", "shop") == saved
        assert flags.all_of(tx, "production") == (saved,)
        assert flags.environments(tx) == ("production", "staging")
        assert flags.load(tx, "production", "other") is None


def test_every_change_of_a_flag_raises_its_environments_version_and_no_other(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        flags.save(tx, flag("other", "staging"))
    with store.write() as tx:
        flags.delete(tx, "production", "shop")
    with store.write() as tx:
        flags.touch(tx, "production")
        seen = current_versions(tx)
    assert (seen["env:production"], seen["flags:production"]) == (3, 2)
    assert (seen["env:staging"], seen["flags:staging"]) == (1, 1)


def test_a_transaction_that_fails_leaves_nothing_behind(store: Store) -> None:
    def fail() -> None:
        with store.write() as tx:
            flags.save(tx, flag())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as tx:
        assert flags.load(tx, "production", "shop") is None


def test_a_rollout_is_read_as_it_was_saved(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        record = rollout(tx, pull_request=7, repository="acme/shop", run_url="https://example.org/1")
        rollouts.insert(tx, record)
        changed = replace(record, superseded_by="ro_2", refuses_version=True, attempt_at=tx.now + 1)
        rollouts.update(tx, changed)
        assert rollouts.load(tx, "ro_1") == replace(changed, number=1)
        assert rollouts.by_key(tx, "production", "shop", "key-ro_1") is not None
        assert rollouts.by_key(tx, "staging", "shop", "key-ro_1") is None


def test_only_one_rollout_at_a_time_holds_a_flag(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        rollouts.insert(tx, rollout(tx))
    with pytest.raises(sa.exc.IntegrityError), store.write() as tx:
        rollouts.insert(tx, rollout(tx, "ro_2"))
    with store.write() as tx:
        first = rollouts.load(tx, "ro_1")
        assert first is not None
        rollouts.update(tx, finished(first))
        rollouts.insert(tx, rollout(tx, "ro_2"))
        assert [one.id for one in rollouts.unfinished(tx, "production", "shop")] == ["ro_2"]


def test_the_store_knows_the_highest_fence_and_when_a_slot_is_clear_of_users(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        least = int(tx.now // 60)
        assert rollouts.highest_fence(tx, "production", "shop") == least
        assert rollouts.clear_at(tx, "production", "shop") == 0
        first = finished(rollout(tx), Phase.SUPERSEDED, Reason.SUPERSEDED)
        rollouts.insert(tx, replace(first, state=replace(first.state, fence=least + 7, exposed=True, since=tx.now)))
        rollouts.insert(tx, finished(rollout(tx, "ro_2")))
        assert rollouts.highest_fence(tx, "production", "shop") == least + 7
        assert rollouts.clear_at(tx, "production", "shop") == pytest.approx(tx.now + PLAN.stale_after)
        assert rollouts.highest_fence(tx, "staging", "shop") == least


def test_what_ended_with_something_left_to_do_is_found(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        rollouts.insert(tx, finished(rollout(tx)))
        waiting = rollout(tx, "ro_2")
        rollouts.insert(tx, replace(waiting, state=replace(waiting.state, phase=Phase.REVERTED, deadlines={})))
        assert [one.id for one in rollouts.left_over(tx, "production", "shop")] == ["ro_2"]


def test_that_a_version_is_refused_outlives_whatever_ended_the_rollout(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        rollouts.insert(tx, finished(rollout(tx), reason=Reason.REGRESSED))
        found = rollouts.last_of_version(tx, "production", "shop", "v2")
        assert found is not None
        assert found.refuses_version
        rollouts.update(tx, finished(found, Phase.SUPERSEDED, Reason.SUPERSEDED))
        found = rollouts.last_of_version(tx, "production", "shop", "v2")
        assert found is not None
        assert found.refuses_version


def test_deadlines_are_found_when_they_are_due_and_not_before(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        rollouts.insert(tx, rollout(tx))
        lapses = tx.now + PLAN.lease
        assert rollouts.next_due(tx) == pytest.approx(lapses)
        assert rollouts.due(tx, lapses - 0.001) == ()
        assert rollouts.due(tx, lapses) == ("ro_1",)
        first = rollouts.load(tx, "ro_1")
        assert first is not None
        rollouts.update(tx, finished(first))
        assert rollouts.next_due(tx) is None


def test_rollouts_are_found_by_what_is_asked_newest_first(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        flags.save(tx, flag("cart"))
        for number in range(3):
            rollouts.insert(tx, finished(rollout(tx, f"ro_{number}", pull_request=number)))
        rollouts.insert(tx, rollout(tx, "ro_9", plan=replace(PLAN, flag="cart"), sha="def"))

        def ids(**wanted: object) -> list[str]:
            return [one.id for one in rollouts.find(tx, Wanted(**wanted))]  # type: ignore[arg-type]

        assert ids() == ["ro_9", "ro_2", "ro_1", "ro_0"]
        assert ids(limit=2) == ["ro_9", "ro_2"]
        assert ids(flag="shop", pull_request=1) == ["ro_1"]
        assert ids(active=True) == ["ro_9"]
        assert ids(active=False, sha="abc") == ["ro_2", "ro_1", "ro_0"]
        assert ids(environment="staging") == []
        assert ids(needs_hands=True) == ["ro_9"]


def actors(happened: Sequence[object]) -> list[str]:
    return [*["clock"] * (len(happened) - 1), "ada"]


def test_the_history_keeps_every_event_and_the_first_answer(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        record = rollout(tx)
        rollouts.insert(tx, record)
        late = tx.now + PLAN.lease
        happened = handle(PLAN, record.state, Told(order=Order.PAUSE, by="ada"), late)
        rollouts.append(tx, record, happened, actors(happened), event_id="e1")
        entries = rollouts.history(tx, "ro_1", 0, 10)
        assert [(one.number, one.event.type, one.actor) for one in entries] == [
            (1, "deadline_passed", "clock"),
            (2, "told", "ada"),
        ]
        assert entries[1].refusal == happened[1][1].refusal
        assert rollouts.history(tx, "ro_1", 1, 10) == entries[1:]
        assert rollouts.history(tx, "ro_1", 0, 1) == entries[:1]
        kept = rollouts.kept_answer(tx, "ro_1", "e1")
        assert kept is not None
        assert (kept.state, kept.refusal) == (happened[1][1].state, happened[1][1].refusal)
        assert rollouts.kept_answer(tx, "ro_1", "e2") is None


def test_an_event_id_is_kept_once(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        record = rollout(tx)
        rollouts.insert(tx, record)
        happened = handle(PLAN, record.state, Attached(holder="g"), tx.now)
        rollouts.append(tx, record, happened, actors(happened), event_id="e1")
    with pytest.raises(sa.exc.IntegrityError), store.write() as tx:
        rollouts.append(tx, record, happened, actors(happened), event_id="e1")


def test_a_deleted_flag_takes_its_rollouts_and_their_history_along(store: Store) -> None:
    with store.write() as tx:
        flags.save(tx, flag())
        record = finished(rollout(tx))
        rollouts.insert(tx, record)
        happened = handle(PLAN, record.state, Attached(holder="g"), tx.now)
        rollouts.append(tx, record, happened, actors(happened), event_id="e1")
    with store.write() as tx:
        flags.delete(tx, "production", "shop")
    with store.read() as tx:
        assert rollouts.load(tx, "ro_1") is None
        assert rollouts.history(tx, "ro_1", 0, 10) == ()


def test_writers_of_one_flag_wait_for_each_other_even_where_it_does_not_exist_yet(store: Store) -> None:
    holding, seen = threading.Event(), []

    def second() -> None:
        holding.wait(5)
        with store.write() as tx:
            seen.append(flags.lock(tx, "production", "shop"))

    waiter = threading.Thread(target=second)
    waiter.start()
    with store.write() as tx:
        assert flags.lock(tx, "production", "shop") is None
        holding.set()
        flags.save(tx, flag())
    waiter.join(5)
    assert [one and one.key for one in seen] == ["shop"]


def test_a_batch_is_marked_once(store: Store) -> None:
    with store.write() as tx:
        assert telemetry.mark(tx, "production", "b1", "app-1", 3)
        assert not telemetry.mark(tx, "production", "b1", "app-1", 3)
        assert telemetry.mark(tx, "staging", "b1", "app-1", 5)
        assert telemetry.dropped_since(tx, "production", tx.now) == 3
        assert telemetry.dropped_since(tx, "production", tx.now + 1) == 0


def test_counts_from_many_writers_at_once_add_up_exactly(store: Store, clock: Clock) -> None:
    def post(number: int) -> None:
        one = Count(
            flag="shop", rollout="ro_1", attempt=1, variant=("blue", "green")[number % 2], requests=3, errors=1,
            exposures=3, within_ms={10.0: 2, NO_BOUND: 1},
        )  # fmt: skip
        with store.write() as tx:
            telemetry.add(tx, "production", [one])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(post, range(20)))
    clock.go(telemetry.BUCKET)
    post(0)
    with store.read() as tx:
        totals = telemetry.totals(tx, "ro_1", 1)
        assert totals == {"blue": Counters(requests=33, errors=11), "green": Counters(requests=30, errors=10)}
        assert telemetry.totals(tx, "ro_1", 2) == {}


def test_keys_are_kept_and_revoked_once(store: Store) -> None:
    record = keys.KeyRecord(
        selector="abc", verifier="0" * 64, role="sdk", environment="production", name="app", created_at=1.0,
        created_by="ada",
    )  # fmt: skip
    with store.write() as tx:
        keys.insert(tx, record)
        assert keys.every(tx) == (record,)
        assert keys.revoke(tx, "abc")
        assert not keys.revoke(tx, "abc")
        assert keys.every(tx) == (replace(record, revoked_at=tx.now),)
        assert current_versions(tx)["keys"] >= 2


def test_a_database_that_cannot_be_reached_is_said_so(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/missing/flagserver.db")
    with pytest.raises(StoreGoneError, match="cannot be used"):
        store.migrate()


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreGoneError, match="cannot be used"):
        Store(f"sqlite:///{tmp_path}/broken.db").migrate()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_an_address_that_we_do_not_serve_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="FLAGSERVER_DATABASE_URL"):
        Store(url)


def test_a_backup_is_a_whole_database_and_overwrites_nothing(sqlite_url: str, tmp_path: Path, clock: Clock) -> None:
    store = Store(sqlite_url, clock=clock)
    with store.write() as tx:
        flags.save(tx, flag())
    store.backup(tmp_path / "two.db")
    with Store(f"sqlite:///{tmp_path}/two.db").read() as tx:
        assert flags.load(tx, "production", "shop") is not None
    with pytest.raises(SettingsError, match="exists"):
        store.backup(tmp_path / "two.db")
