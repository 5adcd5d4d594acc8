"""The deployer's part, by hand: two slots that take turns, or a row of targets that are replaced where they are."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import requests

from rampgate.plan import targets_of
from tests.real.doors import App, free_port, pool

PATIENCE = 30.0
COLOURS = ("blue", "green")


class Machines(Protocol):
    """Where versions run. ``own_failures`` are the 500s of spoiled processes that have ended."""

    own_failures: int

    def prepare(self, canary: str, *, spoiled: bool) -> None:
        """Bring the canary's version up where it has a place of its own; ``spoiled``: all its answers are 500."""

    def roll(self, share: int, *, progress: Callable[[], None]) -> None:
        """As many machines as make up the share run the canary's version."""

    def take_away(self, slot: str, *, progress: Callable[[], None]) -> None:
        """End what a slot held, orderly."""

    def crash(self) -> None:
        """Kill a process of the canary's."""

    def seen(self, *, canary: bool) -> Counter[str]:
        """What an arm's processes have been asked (`GET`, `POST`), and what they failed."""

    def promoted(self) -> None:
        """The canary's version is everybody's."""


class Row:
    """Processes by name, each on a port of its own. ``before_ending`` is the line that recipes add to deploy hooks."""

    def __init__(self, folder: Path, stack: ExitStack, names: Iterable[str]) -> None:
        self.ports = {name: free_port() for name in names}
        self.before_ending: Callable[[str], None] = lambda _: None
        self.after_starting: Callable[[str], None] = lambda _: None
        self.own_failures = 0
        self._folder, self._stack = folder, stack
        self._apps: dict[str, App] = {}

    @property
    def running(self) -> list[str]:
        return list(self._apps)

    def start(self, name: str, *, spoiled: bool = False) -> None:
        self._apps[name] = self._stack.enter_context(pool(name, self._folder, self.ports[name]))
        if spoiled:
            self.ask(name, "/break")
        self.after_starting(name)

    def end(self, name: str) -> None:
        """Orderly: nobody is sent there any more, and requests under way are answered."""
        self.before_ending(name)
        self.own_failures += self.ask(name, "/seen")["failed"]
        self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        self._end(name, signal.SIGKILL)

    def ask(self, name: str, path: str) -> dict[str, int]:
        seen: dict[str, int] = requests.get(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=PATIENCE).json()
        return seen

    def sum_of(self, names: Iterable[str]) -> Counter[str]:
        return sum((Counter(self.ask(name, "/seen")) for name in names), Counter())

    def await_quiet(self, name: str) -> None:
        """Until nobody has asked for three tenths of a second."""
        ends, before = time.monotonic() + PATIENCE, None
        while (now := self.ask(name, "/seen")) != before:
            assert time.monotonic() < ends, f"{name} is still asked"
            before = now
            time.sleep(0.3)

    def _end(self, name: str, number: signal.Signals) -> None:
        if app := self._apps.pop(name, None):
            os.kill(app.process.pid, number)
            try:
                app.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                app.process.kill()
                raise


class Slots(Row):
    """Two colours; the stable one runs."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack, COLOURS)
        self.start("blue")
        self._canary = "green"

    def prepare(self, canary: str, *, spoiled: bool) -> None:
        self._canary = canary
        self.start(canary, spoiled=spoiled)

    def roll(self, share: int, *, progress: Callable[[], None]) -> None:
        raise AssertionError(f"nothing is replaced in place here: {share}, {progress}")

    def take_away(self, slot: str, *, progress: Callable[[], None]) -> None:  # noqa: ARG002
        if slot in self._apps:
            self.end(slot)

    def crash(self) -> None:
        self.kill(self._canary)

    def seen(self, *, canary: bool) -> Counter[str]:
        return self.sum_of(name for name in self.running if (name == self._canary) == canary)

    def promoted(self) -> None:
        """The next release goes the other way by itself."""


class Targets(Row):
    """Machines in a row behind a balancer, all on one version at first."""

    NAMES = ("web-1", "web-2", "web-3", "web-4")

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack, self.NAMES)
        for name in self.NAMES:
            self.start(name)
        self._new: list[str] = []
        self._spoiled = False

    def prepare(self, canary: str, *, spoiled: bool) -> None:  # noqa: ARG002
        self._spoiled = spoiled

    def roll(self, share: int, *, progress: Callable[[], None]) -> None:
        for name in self.NAMES[len(self._new) : targets_of(share, len(self.NAMES))]:
            self._replace(name, spoiled=self._spoiled)
            self._new.append(name)
            progress()

    def take_away(self, slot: str, *, progress: Callable[[], None]) -> None:  # noqa: ARG002
        while self._new:
            self._replace(self._new.pop())
            progress()

    def crash(self) -> None:
        self.kill(self._new[-1])

    def seen(self, *, canary: bool) -> Counter[str]:
        return self.sum_of(name for name in self.running if (name in self._new) == canary)

    def promoted(self) -> None:
        self._new = []

    def _replace(self, name: str, *, spoiled: bool = False) -> None:
        if name in self._apps:
            self.end(name)
        self.start(name, spoiled=spoiled)
