"""Forks and stops, on real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.rampgate.client.scripted import Scripted, plain, ramp, ramping, until

ROOT = Path(__file__).parents[3]

PRELUDE = """
import json, multiprocessing, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from rampgate import FlagClient
client = FlagClient(sys.argv[1], "rg_sdk_a_b")
def say(*words): print(json.dumps(words), flush=True)
def wait_for(line=None): return sys.stdin.readline()
def threads(): return sorted(t.name for t in threading.enumerate() if t.name.startswith("rampgate-") and t.is_alive())
"""


class App:
    """A process that says what it sees, a line at a time, and waits for ours."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stdin is not None
        self._out: IO[str] = process.stdout
        self._in: IO[str] = process.stdin

    def said(self) -> list[object]:
        line = self._out.readline()
        assert line, "the app ended"
        words = json.loads(line)
        assert isinstance(words, list)
        return words

    def go_on(self) -> None:
        self._in.write("\n")
        self._in.flush()


@contextmanager
def run(server: Scripted, script: str, errors: IO[str] | None = None) -> Iterator[App]:
    command = [sys.executable, "-c", PRELUDE + script, server.url]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
    )
    with process:
        try:
            yield App(process)
            assert process.wait(20) == 0
        finally:
            process.kill()


FORK_AFTER = """
assert client.ready(10)
child = os.fork()
if child == 0:
    say("asleep", threads())
    say("value", client.boolean("new", False, "u"), threads())
    wait_for()
    until = time.monotonic() + 10
    while client.boolean("new", True, "u") and time.monotonic() < until:
        time.sleep(0.005)
    say("value", client.boolean("new", True, "u"))
    for number in range(100):
        with client.observe("shop", f"child-{number}"): pass
    client.close()
    os._exit(0)
for number in range(10):
    with client.observe("shop", f"parent-{number}"): pass
os.waitpid(child, 0)
say("parent", client.boolean("new", True, "u"), threads())
client.close()
"""


def test_a_forked_child_has_its_parents_flags_at_once_and_follows_the_server_by_itself(server: Scripted) -> None:
    with run(server, FORK_AFTER) as app:
        assert app.said() == ["asleep", []]
        assert app.said() == ["value", True, ["rampgate-feed", "rampgate-reporter"]]
        for _ in range(2):
            server.streams.get(timeout=10)
        server.send("changed", server.change("v2", {"new": plain(False)}))
        app.go_on()
        assert app.said() == ["value", False]
        assert app.said() == ["parent", False, ["rampgate-feed", "rampgate-reporter"]]
    assert server.counted("requests") == 110
    assert len({batch["client"] for batch in server.applied.values()}) == 2


FORK_BEFORE = """
child = os.fork()
if child == 0:
    say("ready", client.ready(10), client.boolean("new", False, "u"))
    client.close()
    os._exit(0)
os.waitpid(child, 0)
say("ready", client.ready(10), client.boolean("new", False, "u"))
client.close()
"""


def test_a_fork_before_the_first_contact_is_as_good(server: Scripted) -> None:
    with run(server, FORK_BEFORE) as app:
        assert app.said() == ["ready", True, True]
        assert app.said() == ["ready", True, True]


WORKERS = """
def work(number):
    for request in range(50):
        with client.observe("shop", f"{number}-{request}"): pass
if __name__ == "__main__":
    assert client.ready(10)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(number,)) for number in range(4)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    say("codes", [worker.exitcode for worker in workers])
"""


def hands_in(server: Scripted, script: str, said: list[object], log: Path) -> None:
    """Run it; again where it said that the machine was too busy for an answer within two seconds."""
    server.snapshot["rollouts"]["shop"] = ramp(poll=3600.0)
    for _ in range(5):
        server.applied.clear()
        with log.open("w") as errors, run(server, script, errors) as app:
            assert not said or app.said() == said
        if "are lost" not in log.read_text():
            return


def test_workers_that_end_orderly_hand_in_everything_they_counted(server: Scripted, tmp_path: Path) -> None:
    hands_in(server, WORKERS, ["codes", [0, 0, 0, 0]], tmp_path / "log")
    assert server.counted("requests") == 200


EXIT = """
assert client.ready(10)
for number in range(100):
    client.string("shop", "", str(number))
"""


def test_a_process_that_forgets_to_close_hands_in_everything_all_the_same(server: Scripted, tmp_path: Path) -> None:
    hands_in(server, EXIT, [], tmp_path / "log")
    assert server.counted("exposures") == 100


STALE_CHILD = """
assert client.ready(10)
until = time.monotonic() + 10
child = os.fork()
if child == 0:
    # The lookup that counts here is the one that wakes the client; a child that never contacts anybody must end stale.
    say("fresh", client.string("shop", "", "u"))
    while client.string("shop", "", "u") == "green" and time.monotonic() < until:
        time.sleep(0.005)
    say("stale", client.details("shop", "", "u").reason)
    os._exit(0)
wait_for()
os.waitpid(child, 0)
client.close()
"""


def test_a_fork_does_not_hide_that_contact_is_lost(server: Scripted) -> None:
    server.snapshot["flags"]["shop"] = ramping(99_999)
    server.snapshot["rollouts"]["shop"] = ramp(staleAfter=0.6)
    with run(server, STALE_CHILD) as app:
        server.streams.get(timeout=10)
        server.stream_mode = server.snapshot_mode = "hang"
        assert app.said() == ["fresh", "green"]
        assert app.said() == ["stale", "STALE"]
        app.go_on()


STOPPED = """
assert client.ready(10)
say("pid", os.getpid())
wait_for()
# The first lookup after the stop, whatever waits in the socket's buffer.
say("after", client.details("shop", "", "u").reason)
until = time.monotonic() + 10
while client.details("shop", "", "u").reason == "STALE" and time.monotonic() < until:
    time.sleep(0.005)
say("back", client.string("shop", "", "u"))
client.close()
"""


def test_a_process_that_was_stopped_is_stale_when_it_goes_on_and_recovers(server: Scripted) -> None:
    server.snapshot["flags"]["shop"] = ramping(99_999)
    server.snapshot["rollouts"]["shop"] = ramp(staleAfter=0.5, heartbeat=0.1)
    with run(server, STOPPED) as app:
        word, pid = app.said()
        assert word == "pid"
        assert isinstance(pid, int)
        server.streams.get(timeout=10)
        os.kill(pid, signal.SIGSTOP)
        app.go_on()
        _spend(0.7)
        server.stream_mode = server.snapshot_mode = "hang"
        os.kill(pid, signal.SIGCONT)
        assert app.said() == ["after", "STALE"]
        server.cut()
        server.stream_mode, server.snapshot_mode = "events", "answer"
        assert app.said() == ["back", "green"]


def _spend(seconds: float) -> None:
    """Let real time pass: what is tested is that the clock alone makes flags stale. No event could say so."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_at_once(server: Scripted, kill: signal.Signals) -> None:
    script = f"signal.signal({int(kill)}, lambda *_: sys.exit(0))\nassert client.ready(10)\nsay('up')\nwait_for()\n"
    with run(server, script) as app:
        assert app.said() == ["up"]
        app.process.send_signal(kill)
        assert app.process.wait(5) == 0


MODULES = """
import subprocess
look = '''
import sys
from rampgate import FlagClient
import rampgate.client.contact
before = set(sys.modules)
with FlagClient(sys.argv[1], "rg_sdk_a_b") as client:
    assert client.ready(10)
    sys.stdin.readline()
    client.string("shop", "", "u")
print(*sorted(set(sys.modules) - before))
'''
assert client.ready(20)
client.close()
found = subprocess.run([sys.executable, "-c", look, sys.argv[1]], stdout=subprocess.PIPE, text=True)
say(found.returncode, found.stdout.split())
"""


def test_our_threads_import_nothing_so_that_a_fork_finds_no_module_half_loaded(server: Scripted) -> None:
    with run(server, MODULES) as app:
        until(lambda: server.streams.qsize() >= 1 and len(server.polls) >= 2)
        app.go_on()
        assert app.said() == [0, []]
