"""The nursery of mortal gates, as a test sees it: start one, find its process, wait for its end."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter

from rampgate.machine.events import Event, Judged
from rampgate.rollout import Entry
from tests.scenarios.mortal_gate import Job, line_of
from tests.scenarios.waiting import until

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds. Only a fault takes so long."""


@dataclass
class Living:
    """One gate's process: its id, and its exit code once it has ended (-9: killed)."""

    job: Job
    born: "Future[int]" = field(default_factory=Future)
    died: "Future[int]" = field(default_factory=Future)

    def pid(self) -> int:
        return self.born.result(PATIENCE)

    def code(self) -> int:
        """Wait for its end; its exit code."""
        return self.died.result(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid(), number)

    def calls(self) -> list[dict[str, Any]]:
        """What it has called so far, as it wrote it down."""
        # What comes after the last line's end is still being written.
        return [json.loads(line) for line in Path(self.job.journal).read_text().split("\n")[:-1]]

    def log(self) -> str:
        return Path(f"{self.job.journal}.log").read_text()

    def await_look(self) -> None:
        """Until it has had a further look accepted, or refused."""
        since = len(self.calls())
        until(lambda: any(call.get("event", {}).get("type") == "judged" for call in self.calls()[since:]))

    def answered(self) -> list[Event]:
        """The events that it told the flag server and had an answer to, in order."""
        return [_EVENT.validate_python(call["event"]) for call in self.calls() if "event" in call]


class Gates:
    """Starts gates by forking them off one process that has everything loaded."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.scenarios.mortal_gate"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._living: dict[int, Living] = {}
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def end(self) -> None:
        """Kill the gates that live."""
        for one in self._living.values():
            if one.born.done() and not one.died.done():
                with suppress(ProcessLookupError):
                    one.signal(signal.SIGKILL)

    def start(self, job: Job) -> Living:
        living = Living(job)
        with self._lock:
            number = next(self._numbers)
            self._living[number] = living
            assert self._process.stdin is not None
            self._process.stdin.write(line_of(number, job))
            self._process.stdin.flush()
        return living

    def run(self, job: Job) -> Living:
        """Start a gate and wait for its end."""
        living = self.start(job)
        living.code()
        return living

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            living = self._living[said["number"]]
            if "pid" in said:
                living.born.set_result(said["pid"])
            else:
                living.died.set_result(said["code"])


def check_nothing_lost(entries: tuple[Entry, ...], gate: Living) -> None:
    """Every event that was answered is in the history, once and in its order; and the history has no gap."""
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    answered = gate.answered()
    kept = iter(entry.event for entry in entries)
    for event in answered:
        assert any(event == one for one in kept), f"an answered event is not in the history: {event}"
    looks = [entry.event for entry in entries if isinstance(entry.event, Judged) and entry.refusal is None]
    assert len({look.look.at for look in looks}) == len(looks), "a look is in the history twice"
    assert answered
