"""Rolling rollouts for real: six processes replaced in turn, a gate killed in mid-batch, a batch that is not well."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rampgate.machine.state import Phase, Reason
from tests.scenarios.fleet import QUICK, Fleet
from tests.scenarios.mortal_gate import Job
from tests.scenarios.row import Row
from tests.scenarios.waiting import until


@pytest.fixture
def row(tmp_path: Path) -> Iterator[Row]:
    """Six targets that run v1."""
    targets = Row(tmp_path / "row")
    yield targets
    targets.end()


def rolling(row: Row, fleet: Fleet, **changes: object) -> Fleet:
    quick = {key: value for key, value in QUICK.items() if key != "steps"}
    fleet.document = {**quick, **row.document(**changes)}
    return fleet


def job(row: Row, fleet: Fleet, holder: str, *, dead: tuple[str, ...] = ()) -> Job:
    return replace(fleet.job(holder), folder=str(row.folder), replaces=dead)


BAKED = [{"targets": 1, "bake": "0s"}, {"targets": 3, "bake": "0s"}, {"targets": "all", "bake": "0s"}]


def test_a_gate_killed_in_mid_batch_is_followed_by_one_that_goes_on_there(row: Row, fleet: Fleet) -> None:
    rolling(row, fleet, batches=BAKED)
    hold = row.folder / "hold-web-2"
    hold.touch()
    first = fleet.gates.start(job(row, fleet, "attempt 1"))
    until(lambda: ("web-2", "v2") in row.did("begin"))
    first.signal(signal.SIGKILL)
    assert first.code() == -signal.SIGKILL
    assert row.running()["web-2"] is None

    second = fleet.gates.start(job(row, fleet, "attempt 2", dead=("attempt 1",)))
    until(lambda: row.did("begin").count(("web-2", "v2")) == 2)
    hold.unlink()

    assert second.code() == 0, second.log()
    rollout = fleet.rollout()
    assert rollout.state.phase is Phase.PROMOTED, second.log()
    assert row.running() == dict.fromkeys(row.names, "v2")
    assert row.did("up") == [(name, "v2") for name in row.names], "a target was replaced twice, or out of turn"
    shares = [entry.share for entry in fleet.api.entries(rollout.id)]
    assert list(dict.fromkeys(shares)) == [0, 16_666, 50_000, 100_000]
    slots = fleet.api.slots("production", fleet.flag)
    assert slots is not None
    assert (slots.stable.name, slots.stable.version) == ("green", "v2")


def test_a_batch_that_is_not_well_is_put_back_newest_first(row: Row, fleet: Fleet) -> None:
    rolling(row, fleet, batches=[{"targets": 2, "bake": "0s"}, "all"])
    (row.folder / "sick-web-3-v2").touch()

    gate = fleet.gates.run(job(row, fleet, "attempt 1"))

    assert gate.code() == 0, gate.log()
    rollout = fleet.rollout()
    assert (rollout.state.phase, rollout.state.reason) == (Phase.REVERTED, Reason.HOOK_FAILED)
    assert "web-3" in rollout.state.text
    assert row.running() == dict.fromkeys(row.names, "v1")
    assert row.did("up") == [
        ("web-1", "v2"), ("web-2", "v2"), ("web-3", "v2"), ("web-3", "v1"), ("web-2", "v1"), ("web-1", "v1"),
    ]  # fmt: skip
    assert not rollout.state.actions


def test_a_gate_killed_while_it_puts_targets_back_is_followed_by_one_that_puts_back_the_rest(
    row: Row, fleet: Fleet
) -> None:
    rolling(row, fleet, batches=[{"targets": 2, "bake": "0s"}, {"targets": "all", "bake": "0s"}])
    sick, hold = row.folder / "sick-web-3-v2", row.folder / "hold-web-2"
    sick.touch()
    first = fleet.gates.start(job(row, fleet, "attempt 1"))
    until(lambda: ("web-3", "v2") in row.did("up"))
    hold.touch()
    until(lambda: ("web-2", "v1") in row.did("begin"))
    first.signal(signal.SIGKILL)
    assert first.code() == -signal.SIGKILL
    for file in (sick, hold):
        file.unlink()

    second = fleet.gates.run(job(row, fleet, "attempt 2", dead=("attempt 1",)))

    assert second.code() == 0, second.log()
    went_back = [("web-3", "v1"), ("web-2", "v1"), ("web-1", "v1")]
    assert [one for one in row.did("up") if one[1] == "v1"] == went_back, "put back twice, or out of turn"
    rollout = fleet.rollout()
    assert (rollout.state.phase, rollout.state.attempt) == (Phase.PROMOTED, 2)
    assert row.running() == dict.fromkeys(row.names, "v2")
