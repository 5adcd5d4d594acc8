"""Counting is exact under threads, and bounded."""

import itertools
import sys
import threading
from collections.abc import Iterator

import pytest

from rampgate.client import counts
from rampgate.client.assignment import Owed
from rampgate.client.counts import ArmKey, Count, Counts
from rampgate.wire import LATENCY_BOUNDS_MS

KEY = ArmKey("shop", "r1", 1, "green")


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_no_count_is_lost_or_doubled_while_many_threads_count_and_one_drains() -> None:
    count, drained, done = Count(), [0], threading.Event()

    def add() -> None:
        for _ in range(20_000):
            count.add()

    def drain() -> None:
        while not done.is_set():
            drained[0] += count.drain()

    adders = [threading.Thread(target=add) for _ in range(8)]
    drainer = threading.Thread(target=drain)
    for thread in (*adders, drainer):
        thread.start()
    for thread in adders:
        thread.join()
    done.set()
    drainer.join()
    assert drained[0] + count.drain() == 160_000
    assert count.drain() == 0


@pytest.mark.usefixtures("_switching_often")
def test_a_batch_never_holds_more_errors_than_requests() -> None:
    table, done = Counts(), threading.Event()
    arm = table.arm(KEY)

    def fail() -> None:
        while not done.is_set():
            arm.record(False, 3.0, "u")

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    total = [0, 0]
    for _ in range(300):
        for entry in table.drain()[0]:
            total = [total[0] + int(str(entry["requests"])), total[1] + int(str(entry["errors"]))]
            assert total[1] <= total[0]
    done.set()
    for thread in threads:
        thread.join()


def test_latencies_fall_into_their_buckets() -> None:
    table = Counts()
    for ms in (0.0, 1.0, 1.1, 10_000.0, 10_000.1, 1e9):
        table.arm(KEY).record(True, ms, "u")
    ((entry,), lost) = table.drain()
    assert lost == 0
    assert entry["latency_ms"] == {
        "bounds": list(LATENCY_BOUNDS_MS),
        "counts": [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2],
    }
    assert (entry["requests"], entry["errors"], entry["exposures"]) == (6, 0, 0)


def test_arms_past_the_bound_are_not_kept_but_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_ARMS", 2)
    table = Counts()
    for number in range(5):
        table.arm(ArmKey("shop", f"r{number}", 1, "green")).record(True, None, "u")
    entries, lost = table.drain()
    assert (len(entries), lost) == (2, 3)


def test_an_arm_that_nobody_uses_is_forgotten_and_what_is_counted_at_that_moment_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "IDLE_DRAINS", 2)
    table = Counts()
    arm, used = table.arm(KEY), table.arm(ArmKey("shop", "r2", 1, "green"))
    for _ in range(2):
        table.drain()
    table.forget(frozenset({used.key}))
    assert table.arm(used.key) is used
    arm.record(True, None, "u")
    ((entry,), _) = table.drain()
    assert entry["requests"] == 1
    assert table.arm(KEY) is not arm


def test_each_outcome_is_recorded_once_whoever_comes_first() -> None:
    now = itertools.count().__next__
    table = Counts()
    owed = Owed(lambda: float(now()), 5.0, table)
    for _ in range(100):
        number = owed.add(KEY, "u", owed.clock())
        assert number is not None
        claims = [owed.take(number) for _ in range(2)]
        assert [claim is not None for claim in claims] == [True, False]
    owed.expire()
    ((entry,), _) = table.drain()
    assert (entry["requests"], entry["exposures"]) == (0, 100)


def test_silence_longer_than_the_time_out_is_a_failure_and_a_sign_of_life_puts_it_off() -> None:
    now = [0.0]
    table = Counts()
    owed = Owed(lambda: now[0], 60.0, table)
    silent, alive = owed.add(KEY, "u", 0.0), owed.add(KEY, "u", 0.0)
    assert silent is not None
    assert alive is not None
    now[0] = 50.0
    owed.renew(alive)
    now[0] = 60.5
    owed.expire()
    ((entry,), _) = table.drain()
    assert (entry["requests"], entry["errors"]) == (1, 1)
    assert owed.take(silent) is None
    assert owed.take(alive) is not None
