"""One row of the tables: one front door and one strategy, under load through everything that a release can meet."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.downtime.balanced import balanced
from bench.downtime.load import Counted, Load
from bench.downtime.machines import Slots, Targets
from bench.downtime.release import Releases
from rampgate.plan import Strategy
from tests.flagserver.process import FlagServer
from tests.real.doors import RECIPES, Door, Places, await_port, free_port, opened, retire

PAUSE = 0.5
"""Seconds between one event and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the load of one story met; ``orders`` are POSTs, where the door takes them."""

    gets: Counted
    orders: Counted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A canary that answers 500: how many of those were served, what else failed, and after how many seconds the judge
    was sure and the last of them was served."""

    own: int
    others: int
    requests: int
    sure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """``door`` is ``None`` for the shop's own front door, which asks the SDK."""

    door: Door | None
    strategy: Strategy
    switching: Loaded
    crashed: Loaded
    bad: Bad


def measure(door: Door | None, strategy: Strategy, folder: Path) -> Cell:
    with ExitStack() as stack:
        server = stack.enter_context(FlagServer(folder))
        machines: Slots | Targets
        if strategy is Strategy.ROLLING:
            assert door is not None, "no flag moves the users of a rolling rollout"
            machines = Targets(folder, stack)
            url = stack.enter_context(balanced(door, folder, machines))
        elif door is None:
            machines = Slots(folder, stack)
            url = stack.enter_context(shop_front(server, machines, folder))
        else:
            machines = Slots(folder, stack)
            places = Places(**machines.ports, flagserver=server.port, key=server.key("client"))
            url = stack.enter_context(opened(door, folder, places))
            machines.before_ending = partial(retire, door, folder)
        releases = Releases(server, machines, strategy)
        with loaded(url, folder, orders=door is not None) as loads:
            switch(releases, server)
        switching = counted(loads)
        with loaded(url, folder, orders=door is not None) as loads:
            crash(releases)
        crashed = counted(loads)
        releases.revert()
        bad = spoil(releases, url, folder)
    return Cell(door=door, strategy=strategy, switching=switching, crashed=crashed, bad=bad)


@contextmanager
def loaded(url: str, folder: Path, *, orders: bool) -> Iterator[list[Load]]:
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(url, folder, "GET"))]
        if orders:
            loads.append(stack.enter_context(Load(url, folder, "POST", 4)))
        yield loads


def counted(loads: list[Load]) -> Loaded:
    gets, *orders = (one.counted for one in loads)
    return Loaded(gets=gets, orders=orders[0] if orders else None)


def switch(releases: Releases, server: FlagServer) -> None:
    """A release that is promoted, with the flag server hung, killed and restarted on the way; one that is reverted."""
    releases.begin()
    for number in range(len(releases.shares)):
        time.sleep(PAUSE)
        releases.widen()
        if number == 0:
            time.sleep(PAUSE)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(PAUSE)
            server.process.send_signal(signal.SIGCONT)
    time.sleep(PAUSE)
    assert releases.machines.seen(canary=True)["GET"], "no load reached the new version"
    server.kill()
    time.sleep(PAUSE)
    server.start()
    releases.promote()
    time.sleep(PAUSE)
    releases.begin()
    releases.widen()
    time.sleep(PAUSE)
    releases.revert()
    time.sleep(PAUSE)


def crash(releases: Releases) -> None:
    """The canary is killed at 50 %, or at 100 % where all users switch at once."""
    releases.begin()
    for _ in releases.shares[:2]:
        releases.widen()
    time.sleep(PAUSE)
    releases.machines.crash()
    time.sleep(4 * PAUSE)


def spoil(releases: Releases, url: str, folder: Path) -> Bad:
    """The canary answers 500 until the judge has seen enough of it."""
    before = releases.machines.own_failures
    with Load(url, folder, "GET") as load:
        releases.begin(spoiled=True)
        caught = releases.widen_until_judged()
        releases.revert()
        time.sleep(PAUSE)
    own = releases.machines.own_failures - before
    return Bad(own=own, others=load.counted.failed - own, requests=load.counted.requests, sure=caught.after)


@contextmanager
def shop_front(server: FlagServer, slots: Slots, folder: Path) -> Iterator[str]:
    """The front door of the demo: a Python process that asks the SDK."""
    port = free_port()
    environ = {
        **os.environ,
        "RAMPGATE_URL": server.url,
        "RAMPGATE_KEY": server.key("sdk"),
        "DEMO_PORTS": json.dumps(slots.ports),
    }
    with (folder / "front.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo.front", f"--port={port}"],
            env=environ,
            cwd=RECIPES.parents[1],
            stdout=log,
            stderr=log,
        )
    try:
        await_port(port, process, folder / "front.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
