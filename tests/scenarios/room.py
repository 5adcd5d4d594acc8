"""The machine room of a scenario: what really ran in which slot, at every moment, as its hooks wrote it down.

`deploy.bash` is the hook; it runs in the room's folder, and its log is the only memory there is.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rampgate.plan import WHOLE
from rampgate.rollout import Entry

HOOK = Path(__file__).with_name("deploy.bash")
COMMAND = ["bash", HOOK.name]
CLOCKS = 0.05
"""Seconds by which the room's clock and the flag server's may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened in the room."""

    at: float
    what: str
    slot: str
    version: str
    fence: int


class Room:
    """Two slots, the blue one with v1 in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOOK, folder)
        self.folder = folder
        (folder / "log").write_text(f"{time.time():.6f} up blue v1 0\n")

    def keep(self, action: str) -> None:
        """From now on hooks of this action (ensure, retire) do not end, until ``let``."""
        (self.folder / f"hold-{action}").touch()

    def let(self, action: str) -> None:
        (self.folder / f"hold-{action}").unlink()

    def lines(self) -> tuple[Line, ...]:
        """What happened, in order; what came with an older fence than something before it is left out."""
        found, highest = [], 0
        for text in (self.folder / "log").read_text().split("\n")[:-1]:
            at, what, slot, version, fence = text.split()
            if int(fence) >= highest:
                highest = int(fence)
                found.append(Line(at=float(at), what=what, slot=slot, version=version, fence=highest))
        return tuple(found)

    def did(self, what: str, slot: str) -> int:
        """How often this happened to a slot."""
        return sum((line.what, line.slot) == (what, slot) for line in self.lines())

    def states(self) -> Iterator[tuple[float, dict[str, str]]]:
        """What ran in each slot, from which moment on."""
        running: dict[str, str] = {}
        for line in self.lines():
            if line.what == "up":
                running[line.slot] = line.version
            elif line.what == "down" or (line.what == "begin" and running.get(line.slot) != line.version):
                running.pop(line.slot, None)
            yield line.at, dict(running)

    @property
    def running(self) -> dict[str, str]:
        return list(self.states())[-1][1]

    def up(self, slot: str, version: str, since: float, until: float) -> bool:
        """Whether a version ran in a slot all through a stretch of time."""
        states = [*self.states(), (float("inf"), {})]
        return all(
            running.get(slot) == version
            for (begin, running), (end, _) in pairwise(states)
            if begin < until - CLOCKS and end > since + CLOCKS
        )


def check_users(
    entries: tuple[Entry, ...],
    room: Room,
    stale_after: float,
    *,
    stable: tuple[str, str] = ("blue", "v1"),
    canary: tuple[str, str] = ("green", "v2"),
) -> None:
    """At every moment of a rollout: nobody was sent to a slot that was down, cut-off clients included.

    A client that lost contact just before the users were taken back is still on the canary for ``stale_after``.
    """
    now = max(time.time(), entries[-1].at)
    for entry, following in zip(entries, (*(one.at for one in entries[1:]), now), strict=True):
        if entry.share > 0:
            still = min(now, following + stale_after)
            assert room.up(*canary, entry.at, still), f"{canary} was down at {entry.share}: {entry}"
        if entry.share < WHOLE:
            assert room.up(*stable, entry.at, following), f"{stable} was down at {entry.share}: {entry}"


def check_widening(entries: tuple[Entry, ...]) -> None:
    """The share rose by fresh evidence alone."""
    for before, entry in pairwise(entries):
        if entry.share > before.share:
            assert entry.refusal is None
            assert entry.event.type == "judged", entry
            assert entry.event.look.verdict.word == "healthy"
            assert entry.event.look.step == before.step
