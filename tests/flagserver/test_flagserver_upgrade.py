"""An upgrade in mid-ramp, and a backup brought back: nothing is lost, and nobody changes sides."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import flagserver.store
from flagserver import wire
from flagserver.errors import SettingsError, StoreGoneError
from flagserver.store import Store
from flagserver.store.engine import bump
from flagserver.store.schema import HEAD
from rampgate.evidence import VerdictWord
from rampgate.machine.state import Order, Phase
from tests.flagserver.inside import PLAN, Clock, Inside, new_rollout


def test_a_server_of_an_older_form_is_upgraded_in_mid_ramp_and_nobody_changes_sides(
    database_url: str, clock: Clock
) -> None:
    with Inside(database_url, clock) as before:
        rollout = before.create(new_rollout())
        before.to_step(rollout)
        flags = before.snapshot()["flags"]
        entries = before.services.rollouts.history(rollout.id, 0, 100)
    _downgrade(database_url, "0004")
    with Inside(database_url, clock) as after:
        assert after.snapshot()["flags"] == flags
        assert after.services.rollouts.history(rollout.id, 0, 100) == entries
        assert after.look(rollout).share == 10_000


def test_old_servers_go_on_with_newer_tables_until_the_newer_version_says_that_they_must_not(
    inside_each: Inside, clock: Clock
) -> None:
    inside, store = inside_each, inside_each.services.store
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)
    snapshot = inside.snapshot()
    with store.write() as tx:
        tx.run(sa.text("ALTER TABLE rollouts ADD COLUMN colour TEXT"))
        tx.run(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        tx.run(sa.text("DELETE FROM versions WHERE name = 'schema'"))
        tx.run(sa.text("INSERT INTO versions (name, version) VALUES ('schema', 1)"))
    try:
        inside.judge(rollout, fence, VerdictWord.INCONCLUSIVE)
        assert inside.snapshot() == snapshot
        url = store.url.render_as_string(hide_password=False)
        with Inside(url, clock) as started_again:
            assert started_again.look(rollout).share == 10_000
        with store.write() as tx:
            tx.run(sa.text("UPDATE versions SET version = 9999 WHERE name = 'schema'"))
            bump(tx, "env:production")
        with pytest.raises(StoreGoneError, match="cannot use"):
            inside.services.live.refresh()
        assert inside.snapshot() == snapshot
        refused = Store(url)
        with pytest.raises(SettingsError, match="newer"):
            refused.migrate()
        refused.close()
    finally:
        with store.write() as tx:
            tx.run(sa.text("ALTER TABLE rollouts DROP COLUMN colour"))
            tx.run(sa.text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
            tx.run(sa.text("DELETE FROM versions"))


def test_what_a_newer_server_says_of_a_rollout_is_kept_by_an_older_one_that_goes_on_with_it(inside: Inside) -> None:
    store = inside.services.store
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)

    def kept(column: str) -> dict[str, Any]:
        with store.read() as tx:
            found: dict[str, Any] = json.loads(tx.run(sa.text(f"SELECT {column} FROM rollouts")).scalar_one())
        return found

    newer = {name: {**kept(name), "of_the_next_version": [name]} for name in ("plan", "state")}
    with store.write() as tx:
        tx.run(
            sa.text("UPDATE rollouts SET plan = :plan, state = :state").bindparams(
                **{name: json.dumps(value) for name, value in newer.items()}
            )
        )
    inside.judge(rollout, fence, VerdictWord.INCONCLUSIVE)
    paused = inside.tell(rollout, Order.PAUSE).rollout.state
    assert inside.look(rollout).state == paused
    assert kept("plan") == newer["plan"]
    assert kept("state")["of_the_next_version"] == ["state"]
    assert kept("state")["revision"] == paused.revision


def test_a_rollout_that_cannot_be_read_is_on_stable_and_keeps_no_other_from_its_work(inside: Inside) -> None:
    strange = inside.create(new_rollout())
    inside.to_step(strange)
    other = inside.create(new_rollout(plan=replace(PLAN, flag="other")))
    fence = inside.to_step(other)
    store = inside.services.store
    with store.write() as tx:
        state = tx.run(sa.text("SELECT state FROM rollouts WHERE flag = 'shop'")).scalar_one()
        newer = json.dumps({**json.loads(state), "reason": "the_moon"})
        tx.run(sa.text("UPDATE rollouts SET state = :state WHERE flag = 'shop'").bindparams(state=newer))
        bump(tx, "env:production")
    assert inside.judge(other, fence, VerdictWord.INCONCLUSIVE).refusal is None
    flags = inside.snapshot()["flags"]
    assert ("targeting" in flags["shop"], flags["shop"]["defaultVariant"]) == (False, "blue")
    assert "targeting" in flags["other"]
    for method, path, body in (
        ("GET", f"/v1/rollouts/{strange.id}", None),
        ("POST", "/v1/rollouts", wire.NEW_ROLLOUT.dump_json(new_rollout("v3"))),
    ):
        reply = inside.call(method, path, body)
        assert (reply.status_code, reply.get_json()["error"]) == (503, "newer_words")
    lock = {"reason": "storm", "by": "ada", "environment": "production", "name": "storm"}
    assert inside.call("POST", "/v1/locks", lock).status_code == 201
    assert inside.look(other).state.lock is not None
    inside.clock.go(PLAN.lease + 1)
    inside.services.steward.turn()
    assert inside.look(other).state.phase is Phase.REVERTING


def test_a_backup_brought_back_goes_on_where_it_was_made_and_acts_on_what_has_lapsed(
    inside: Inside, clock: Clock, tmp_path: Path
) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    inside.services.store.backup(tmp_path / "copy.db")
    restored = tmp_path / "restored" / "flagserver.db"
    restored.parent.mkdir()
    shutil.copy(tmp_path / "copy.db", restored)
    with Inside(f"sqlite:///{restored}", clock) as again:
        assert again.snapshot()["flags"] == inside.snapshot()["flags"]
        assert again.look(rollout) == inside.look(rollout)
        clock.go(3600.0)
        again.services.steward.turn()
        assert "targeting" not in again.snapshot()["flags"]["shop"]
        assert again.look(rollout).state.phase is Phase.REVERTING


def test_machines_that_saw_leases_of_after_the_backup_take_those_of_the_server_that_was_restored(
    inside: Inside, clock: Clock, tmp_path: Path
) -> None:
    inside.services.store.backup(tmp_path / "copy.db")
    rollout = inside.create(new_rollout())
    for holder in ("gate-1", "gate-2", "gate-3"):
        seen = inside.attach(rollout, holder)
        clock.go(PLAN.lease + 1)
    clock.go(3600.0)
    with Inside(f"sqlite:///{tmp_path / 'copy.db'}", clock) as again:
        assert again.attach(again.create(new_rollout())) > seen


def test_a_file_that_is_damaged_while_it_is_served_costs_changes_and_no_answer(inside: Inside) -> None:
    inside.to_step(inside.create(new_rollout()))
    file = Path(inside.services.store.url.database or "")
    before = inside.snapshot()
    for one in (file, file.with_name(f"{file.name}-wal")):
        one.write_bytes(b"\x5a" * one.stat().st_size)
    # What its connections have cached they would not read again.
    inside.services.store.close()
    reply = inside.call("PUT", "/v1/production/flags/x", {"kind": "rollout"})
    assert (reply.status_code, reply.get_json()["error"]) == (503, "store_unavailable")
    assert "put a backup in its place" in reply.get_json()["message"]
    assert inside.services.steward.turn() > 0
    assert inside.snapshot() == before
    inside.clock.go(3600.0)
    assert "targeting" not in inside.snapshot()["flags"]["shop"]


def _downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(flagserver.store.__file__).parent / "migrations"))
    # Not by the store: SQLite takes columns away by making tables anew, and a flag's rollouts would go with its table.
    engine = sa.create_engine(Store(url).url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()
