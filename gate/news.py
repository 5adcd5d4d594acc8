"""What has happened to a rollout, told once by whoever drives it: to event hooks, and to the people who asked for it.

From a thread of its own: a slow receiver never keeps the judge waiting. It decides nothing and judges nothing.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from gate.errors import RampgateError
from rampgate.evidence import Look
from rampgate.machine.events import BY_GATES, Attached
from rampgate.rollout import Entry, Rollout


class History(Protocol):
    """Where the lines come from: the flag server."""

    def entries(self, rollout_id: str) -> tuple[Entry, ...]: ...


class Listener(Protocol):
    """Somebody who is told of a line of the history. ``before`` is the line before it, if any, and ``history`` all
    of it that is known by now.
    """

    def __call__(self, rollout: Rollout, before: Entry | None, entry: Entry, history: Sequence[Entry]) -> None: ...


def watched(entries: Sequence[Entry], holder: str, begun: float) -> Iterator[tuple[Entry | None, Entry]]:
    """The lines that are this holder's to tell, each with the one before it: those that changed what people see.

    They are those under its leases, from the first one after ``begun`` on, and before that all since the last sign of
    life of the gate before: it may have been killed with its last line untold. So one line may be told twice, and none
    never.

    Args:
        entries: the whole history, oldest first.
        holder: who tells.
        begun: the moment on the flag server's clock when it came.
    """
    mine, since = False, 0
    ours: list[int] = []
    for index, entry in enumerate(entries):
        event = entry.event
        if isinstance(event, Attached) and entry.refusal is None:
            ours_now = event.holder == holder and entry.at >= begun
            if ours_now and not mine:
                ours.extend(range(since, index))
            mine = ours_now
        if mine:
            ours.append(index)
        if isinstance(event, BY_GATES) and entry.refusal is None:
            since = index
    befores = (None, *(one for one, _ in pairwise(entries))) if entries else ()
    for index in dict.fromkeys(ours):
        before, entry = befores[index], entries[index]
        if entry.refusal is None and (before is None or before.revision != entry.revision):
            yield before, entry


class News:
    """Told of every change, as a report is; passes each line on once. Close it to have the last one arrive.

    ``first`` is called before any line; it must not raise.
    """

    def __init__(
        self,
        history: History,
        holder: str,
        listeners: Sequence[Listener],
        say: Callable[[str], None],
        *,
        begun: float,
        first: Callable[[], None] | None = None,
    ) -> None:
        self._history = history
        self._holder = holder
        self._begun = begun
        self._first = first
        self._listeners = listeners
        self._say = say
        self._told = 0
        self._revision = 0
        self._newest: Rollout | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._pass_on, name="rampgate-news", daemon=True)
        self._thread.start()

    def __call__(self, rollout: Rollout, looks: tuple[Look, ...]) -> None:  # noqa: ARG002
        """Take note of how a rollout stands; never raises, never waits."""
        if rollout.state.revision != self._revision:
            self._revision = rollout.state.revision
            with self._wake:
                self._newest = rollout
                self._wake.notify()

    def close(self, timeout: float = 20.0) -> None:
        """Wait until everybody has been told, or for ``timeout`` seconds."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _pass_on(self) -> None:
        if self._first is not None:
            self._first()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._newest is not None or self._closing)
                rollout, self._newest = self._newest, None
            if rollout is None:
                return
            try:
                self._tell(rollout)
            except RampgateError as error:
                self._say(f"The news is told later: {error}")
            except Exception as error:
                # Whatever it is: the rollout goes on, and so does the next line.
                self._say(f"Telling the news failed, the rollout goes on: {type(error).__name__}")

    def _tell(self, rollout: Rollout) -> None:
        history = self._history.entries(rollout.id)
        for before, entry in watched(history, self._holder, self._begun):
            if entry.number > self._told:
                self._told = entry.number
                for listener in self._listeners:
                    listener(rollout, before, entry, history)
