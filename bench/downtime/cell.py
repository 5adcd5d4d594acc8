"""One cell of the table: one front door and one strategy, under load through everything that a release can meet."""

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

from bench.downtime.load import Counted, Load
from bench.downtime.release import Releases, Slots
from rampgate.plan import Strategy
from tests.flagserver.process import FlagServer
from tests.real.doors import RECIPES, Door, Places, await_port, free_port, opened, retire

PAUSE = 0.7
"""Seconds between one event and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """``door`` is ``None`` for the shop's own front door, which asks the SDK. ``orders``: POSTs, where it has them."""

    door: Door | None
    strategy: Strategy
    switching: Counted
    crashed: Counted
    orders: Counted | None


def measure(door: Door | None, strategy: Strategy, folder: Path) -> Cell:
    with ExitStack() as stack:
        server = stack.enter_context(FlagServer(folder))
        slots = Slots(folder, stack)
        slots.ensure("blue")
        releases = Releases(server, slots, strategy)
        if door is None:
            url = stack.enter_context(shop_front(server, slots, folder))
        else:
            client = server.key("client")
            places = Places(blue=slots.ports["blue"], green=slots.ports["green"], flagserver=server.port, key=client)
            url = stack.enter_context(opened(door, folder, places))
            slots.before_retiring = partial(retire, door, folder)
        with Load(url, folder, "GET") as switching:
            switch(releases, server)
        crashed, orders = crash(releases, url, folder, with_orders=door is not None)
    return Cell(door=door, strategy=strategy, switching=switching.counted, crashed=crashed, orders=orders)


def switch(releases: Releases, server: FlagServer) -> None:
    """A release that is promoted, with the flag server hung, killed and restarted on the way; one that is reverted."""
    canary = releases.begin()
    for number in range(len(releases.shares)):
        time.sleep(PAUSE)
        releases.widen()
        if number == 0:
            time.sleep(PAUSE)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(PAUSE)
            server.process.send_signal(signal.SIGCONT)
    time.sleep(PAUSE)
    assert releases.slots.served(canary), f"no load reached {canary}"
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


def crash(releases: Releases, url: str, folder: Path, *, with_orders: bool) -> tuple[Counted, Counted | None]:
    """The canary is killed at 50 %, or at 100 % where all users switch at once."""
    canary = releases.begin()
    for _ in releases.shares[:2]:
        releases.widen()
    with ExitStack() as stack:
        load = stack.enter_context(Load(url, folder, "GET"))
        orders = stack.enter_context(Load(url, folder, "POST", 4)) if with_orders else None
        time.sleep(PAUSE)
        releases.slots.crash(canary)
        time.sleep(3 * PAUSE)
    releases.revert()
    return load.counted, orders.counted if orders else None


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
