"""Outcomes: exact, applied once, one variant for each request, and silence is a failure."""

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rampgate import FlagClient
from tests.rampgate.client.scripted import Scripted, document, plain, ramp, ramping, serve, until

Connect = Callable[..., FlagClient]


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_every_lookup_and_every_outcome_of_many_threads_is_counted_exactly_once(
    server: Scripted, connect: Connect
) -> None:
    client = connect(server)
    assert client.ready(10)
    seen: list[dict[str, int]] = []

    def work(thread: int) -> None:
        mine = {"green": 0, "blue": 0}
        for number in range(1500):
            mine[client.string("shop", "", f"{thread}-{number}")] += 1
            with client.observe("shop", f"{thread}-{number}") as assignment:
                mine[str(assignment.variant)] += 1
        seen.append(mine)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    for variant in ("green", "blue"):
        exposures = sum(mine[variant] for mine in seen)
        assert server.counted("exposures", variant=variant, rollout="r1", attempt=1) == exposures
        assert server.counted("requests", variant=variant) == exposures // 2
    assert server.counted("errors") == 0


def test_a_block_that_raises_is_an_error_and_the_exception_goes_on(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    assert client.ready(10)
    with pytest.raises(KeyError), client.observe("shop", "u"):
        raise KeyError("the app's own")
    with client.observe("shop", "u"):
        pass
    assert client.flush()
    assert (server.counted("requests"), server.counted("errors"), server.counted("exposures")) == (2, 1, 2)


def test_one_request_keeps_its_variant_though_the_ramp_moves_on(server: Scripted, connect: Connect) -> None:
    server.snapshot["flags"]["shop"] = ramping(0)
    client = connect(server)
    server.streams.get(timeout=10)
    with client.observe("shop", "u") as assignment:
        assert assignment.variant == "blue"
        server.send("changed", server.change("v2", {"shop": ramping(99_999)}))
        until(lambda: client._snapshot.version == "v2")
        assert client.string("shop", "", "u") == "blue"
        assert client.string("shop", "", {"targetingKey": "u"}) == "blue"
        assert client.details("shop", "", "u").variant == "blue"
        with client.observe("shop", "u") as inner:
            assert inner is assignment
        client.track("shop", "u", ok=False, ms=5)
    assert client.string("shop", "", "u") == "green"
    assert client.flush()
    assert server.counted("requests", variant="blue") == server.counted("errors", variant="blue") == 1
    assert server.counted("exposures", variant="blue") == 1
    assert server.counted("requests", variant="green") == 0


def test_a_request_counts_for_the_attempt_that_it_began_in(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    server.streams.get(timeout=10)
    assignment = client.assign("shop", "u")
    server.send("changed", server.change("v2", {}, {"shop": ramp(attempt=2)}))
    until(lambda: client._snapshot.ramps["shop"].attempt == 2)
    assignment.finish(ok=True)
    client.assign("shop", "u").finish(ok=True)
    assert client.flush()
    assert [server.counted("requests", attempt=attempt) for attempt in (1, 2)] == [1, 1]


def test_an_outcome_that_never_comes_is_a_failure_and_comes_too_late_after_that(
    server: Scripted, connect: Connect
) -> None:
    client = connect(server, outcome_timeout=0.05)
    assert client.ready(10)
    assignment = client.assign("shop", "u")
    until(lambda: client.flush() and server.counted("errors") == 1)
    assignment.finish(ok=True)
    assert client.flush()
    assert (server.counted("requests"), server.counted("exposures")) == (1, 1)


def test_track_counts_what_the_app_says(server: Scripted, connect: Connect) -> None:
    client = connect(server)
    assert client.ready(10)
    client.track("shop", "u", ok=True, ms=3, variant="green")
    client.track("shop", "u", ok=False, variant="green")
    client.track("shop", "u", variant="no such variant")
    client.track("new", "u", ms=1e4)
    client.track("nope", "u")
    client.track("shop", "")
    assert client.flush()
    assert (server.counted("requests", variant="green"), server.counted("errors", variant="green")) == (2, 1)
    assert server.counted("requests", flag="new", rollout=None, attempt=None, variant="on") == 1
    assert server.counted("requests") == 3
    assert server.counted("exposures") == 0


def test_a_batch_whose_answer_was_lost_is_sent_again_with_its_id_and_applied_once(
    server: Scripted, connect: Connect
) -> None:
    server.telemetry_mode = "apply, then cut"
    client = connect(server)
    assert client.ready(10)
    client.string("shop", "", "u")
    until(lambda: len(server.batches) >= 2)
    server.telemetry_mode = "answer"
    assert client.flush()
    assert len({batch["batch"] for batch in server.batches}) == 1
    client.string("shop", "", "u")
    assert client.flush()
    assert server.counted("exposures") == 2


def test_what_is_counted_while_the_server_is_away_arrives_when_it_is_back(server: Scripted, connect: Connect) -> None:
    server.telemetry_mode = 503
    client = connect(server)
    assert client.ready(10)
    for number in range(50):
        client.string("shop", "", f"u{number}")
        assert not client.flush()
    server.telemetry_mode = "answer"
    assert client.flush()
    assert server.counted("exposures") == 50
    assert len(server.applied) == 2, "one batch was under way, and one holds all the rest"


@pytest.mark.parametrize("mode", ["late", 422])
def test_a_batch_that_is_too_late_or_refused_is_dropped_and_reported(
    server: Scripted, connect: Connect, mode: str | int
) -> None:
    now = [0.0]
    server.telemetry_mode = 503 if mode == "late" else 422
    client = connect(server, clock=lambda: now[0])
    assert client.ready(10)
    for _ in range(7):
        client.string("shop", "", "u")
    client.flush()
    now[0] = 40.0 if mode == "late" else 0.0
    client.flush()
    server.telemetry_mode = "answer"
    assert client.flush()
    assert server.counted("exposures") == 0
    assert [batch["dropped"] for batch in server.applied.values()] == [7]


def test_without_telemetry_nothing_is_sent(server: Scripted) -> None:
    with FlagClient(server.url, "rg_sdk_a_b", telemetry=False) as client:
        assert client.ready(10)
        client.string("shop", "", "u")
        with client.observe("shop", "u") as assignment:
            assert assignment.counted is False
    assert not server.batches


def test_nothing_is_lost_on_a_clean_exit(server: Scripted) -> None:
    server.snapshot["rollouts"]["shop"] = ramp(poll=3600.0)
    with FlagClient(server.url, "rg_sdk_a_b") as client:
        assert client.ready(10)
        for number in range(100):
            client.string("shop", "", f"u{number}")
    assert server.counted("exposures") == 100


def test_reports_come_three_to_a_poll_also_when_the_poll_changes() -> None:
    script = Scripted(document({"new": plain(), "shop": ramping(50_000)}))
    with serve(script), FlagClient(script.url, "rg_sdk_a_b") as client:
        script.streams.get(timeout=10)
        assert client._contact.reporter.period == 5.0
        began = time.monotonic()
        script.send("changed", script.change("v2", {}, {"shop": ramp(poll=0.03)}))
        until(lambda: client.string("shop", "", "u") and script.counted("exposures"))
        assert client._contact.reporter.period == pytest.approx(0.01)
        assert time.monotonic() - began < 5.0, "the reporter did not wait for the period it had before"


def test_an_outcome_of_a_user_who_has_just_moved_is_counted_in_no_arm_and_reported_as_dropped(
    server: Scripted, connect: Connect
) -> None:
    server.snapshot["flags"]["shop"] = ramping(10_000)
    now = [1000.0]
    client = connect(server, clock=lambda: now[0])
    server.streams.get(timeout=20)
    assert client.ready(20)
    users = [f"user-{number}" for number in range(400)]
    before = {user: client.details("shop", "", user).variant for user in users}
    server.send("changed", server.change("v2", {"shop": ramping(50_000)}))
    until(lambda: client._snapshot.version == "v2")
    after = {user: client.details("shop", "", user).variant for user in users}
    moved = [user for user in users if before[user] != after[user]]
    assert 100 < len(moved) < 220
    for user in users:
        client.track("shop", user, ok=user not in moved)
    assert client.flush()
    assert server.counted("errors") == 0, "a failure on stable is never the canary's"
    assert server.counted("requests", variant="green") == sum(variant == "green" for variant in before.values())
    assert server.counted("requests", variant="blue") == sum(variant == "blue" for variant in after.values())
    assert sum(batch["dropped"] for batch in server.applied.values()) == len(moved)
    client.track("shop", moved[0], ok=False, variant="blue")
    now[0] += client._contact.owed.timeout + 1
    client._snapshot.renew(now[0], now[0] - 1)
    client.track("shop", moved[0])
    assert client.flush()
    assert server.counted("errors", variant="blue") == 1, "the app remembered what it was served"
    assert server.counted("requests", variant="green") == sum(variant == "green" for variant in before.values()) + 1


def test_after_lost_contact_an_outcome_may_be_of_a_request_that_was_served_stable(
    server: Scripted, connect: Connect
) -> None:
    server.snapshot["flags"]["shop"] = ramping(50_000)
    now = [1000.0]
    client = connect(server, clock=lambda: now[0])
    server.streams.get(timeout=20)
    assert client.ready(20)
    green = next(user for user in map(str, range(99)) if client.details("shop", "", user).variant == "green")
    blue = next(user for user in map(str, range(99)) if client.details("shop", "", user).variant == "blue")
    client.track("shop", green)
    now[0] += 61
    assert client.details("shop", "", green).reason == "STALE"
    client._snapshot.renew(now[0], now[0])  # what the feed does when it hears of the server
    assert client.details("shop", "", green).variant == "green"
    for user in (green, blue):
        client.track("shop", user, ok=False)
    assert client.flush()
    assert server.counted("errors", variant="green") == 0
    assert server.counted("errors", variant="blue") == 1
