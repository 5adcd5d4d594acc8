"""The clock that deadlines count on: steady, never behind what was recorded, the same for all replicas."""

import pytest
import sqlalchemy as sa

from flagserver.store import Store, engine, flags, rollouts
from flagserver.store.clock import SteadyClock
from rampgate.machine.state import Order
from tests.flagserver.inside import PLAN, Clock, Inside, new_rollout
from tests.flagserver.test_flagserver_store import flag, rollout


def test_stepping_the_systems_clock_does_not_move_the_steady_one() -> None:
    wall, elapsed = Clock(1000.0), Clock(5.0)
    clock = SteadyClock(wall, elapsed)
    wall.go(-500)
    elapsed.go(2)
    assert clock() == 1002.0


def test_a_wall_clock_set_back_before_the_start_does_not_hold_deadlines_up() -> None:
    clock = SteadyClock(Clock(1000.0), Clock(5.0))
    clock.not_before(1600.0)
    assert clock() == 1600.0
    clock.not_before(900.0)
    assert clock() == 1600.0


def test_the_store_goes_on_from_the_last_moment_it_recorded(database_url: str) -> None:
    ahead = Clock(4_000_000_000.0)
    store = Store(database_url, clock=ahead)
    with store.write() as tx:
        flags.save(tx, flag())
        rollouts.insert(tx, rollout(tx))
    again = Store(database_url)
    again.set_clock()
    # PostgreSQL has a clock of its own, which outlives the server.
    assert (again.now() >= ahead.now) is (not again.is_postgres)
    store.close()
    again.close()


def test_a_database_clock_that_is_set_back_holds_no_deadline_up_at_any_replica(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(seconds: int) -> None:
        text = str(engine._CLOCK).replace("clock_timestamp()", f"clock_timestamp() + interval '{seconds} s'")
        monkeypatch.setattr(engine, "_CLOCK", sa.text(text))

    running, started_later = Store(postgres_url), Store(postgres_url)
    running.set_clock()
    begun = running.now()
    step(-3600)
    with running.write() as tx:
        assert begun <= tx.now < begun + 60
    started_later.set_clock()
    with started_later.write() as tx:
        assert begun <= tx.now < begun + 60
    step(7200)
    for store in (running, started_later):
        # Forward it is followed: leases lapse, and users go to stable.
        with store.write() as tx:
            assert begun + 7000 < tx.now
        store.close()


def test_a_decision_of_the_clock_is_counted_like_any_other(inside: Inside) -> None:
    def reverts() -> float | None:
        found: float | None = inside.services.meters.registry.get_sample_value(
            "rampgate_decisions_total", {"environment": "production", "flag": "shop", "verb": "revert"}
        )
        return found

    inside.to_step(inside.create(new_rollout()))
    assert reverts() is None
    inside.clock.go(PLAN.lease + 1)
    inside.services.steward.turn()
    inside.services.steward.turn()
    assert reverts() == 1.0


def test_history_goes_forward_though_an_event_began_before_the_one_that_it_waited_for(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.attach(rollout)
    inside.clock.go(-2)
    inside.tell(rollout, Order.PAUSE)
    entries = inside.call("GET", f"/v1/rollouts/{rollout.id}/events").get_json()["entries"]
    moments = [entry["at"] for entry in entries]
    assert len(moments) == 3
    assert moments == sorted(moments)
