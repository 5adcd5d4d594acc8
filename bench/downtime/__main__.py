"""`make bench-downtime`: every front door and strategy under load; writes the tables of docs/zero-downtime.md.

Ends with 1 where a request that must not fail has failed. `python -m bench.downtime nginx` measures one door and writes
nothing.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.downtime.cell import Cell, measure
from bench.downtime.load import Counted
from bench.downtime.release import SHARES
from rampgate.plan import Strategy
from tests.real.doors import Door, version

PAGE = Path(__file__).parents[2] / "docs" / "zero-downtime.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# HAProxy 2.6 does not repeat a request whose connection the dying process has reset: its issue 2061.
FORGETFUL = {Door.HAPROXY}
DOORS: Sequence[Door | None] = (None, *Door)
# The demo's door follows the flag, which moves nobody there; of Traefik there is no balancer here.
NOT_ROLLING = {None, Door.TRAEFIK}
NO_POSTS = "no POSTs"


def main(only: Sequence[str]) -> int:
    began = time.monotonic()
    cells = []
    for door in DOORS:
        for strategy in SHARES:
            if (only and name(door) not in only) or (door in NOT_ROLLING and strategy is Strategy.ROLLING):
                continue
            with tempfile.TemporaryDirectory() as folder:
                cells.append(measure(door, strategy, Path(folder)))
            print(f"{switching(cells[-1])}\n{failing(cells[-1])}", flush=True)
    if not only:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{tables(cells, time.monotonic() - began)}\n{END}{rest.split(END)[1]}")
    failed = [cell for cell in cells if not holds(cell)]
    for cell in failed:
        print(f"not zero: {name(cell.door)}, {cell.strategy}", file=sys.stderr)
    return 1 if failed else 0


def holds(cell: Cell) -> bool:
    """Whether no request failed that must not."""
    lost = cell.switching.gets.failed + cell.bad.others
    lost += cell.switching.orders.failed if cell.switching.orders else 0
    return not lost and (not cell.crashed.gets.failed or cell.door in FORGETFUL)


def name(door: Door | None) -> str:
    return "sdk" if door is None else door.value


def row(cell: Cell, *figures: str) -> str:
    door = "the demo's, with the SDK" if cell.door is None else f"{cell.door} {version(cell.door)}"
    return "| " + " | ".join([door, cell.strategy.value, *figures]) + " |"


def switching(cell: Cell) -> str:
    gets = cell.switching.gets
    figures = f"{gets.rate:,.0f}", f"{gets.p99:.0f}", f"{gets.longest:.0f}"
    return row(cell, lost(gets), lost(cell.switching.orders), *figures)


def failing(cell: Cell) -> str:
    bad, orders = cell.bad, cell.crashed.orders
    in_flight = NO_POSTS if orders is None else f"{orders.failed:,} / {orders.requests:,}"
    served = f"{bad.own:,} / {bad.requests:,}", f"{bad.sure:.1f}", f"**{bad.others}**"
    return row(cell, lost(cell.crashed.gets), in_flight, *served)


def lost(counted: Counted | None) -> str:
    return NO_POSTS if counted is None else f"**{counted.failed}** / {counted.requests:,}"


def tables(cells: Sequence[Cell], took: float) -> str:
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    words = (wrk.stdout + wrk.stderr).split()
    today = time.strftime("%d %B %Y", time.gmtime())
    where = f"{os.cpu_count()} processors for everything, {platform.system()}, Python {platform.python_version()}"
    return "\n".join(
        [
            f"Measured on {today} in {took / 60:.0f} minutes: {where}, wrk {words[1]} with 16 connections",
            "(POSTs: 4 more) and 4,000 users, each connection asking again as soon as it is answered. Load of the",
            f"machine, this and other work: {os.getloadavg()[2]:.1f}.",
            "",
            "**Switching**, between versions that are well:",
            "",
            "| front door | strategy | GETs: failed / all | POSTs: failed / all | GETs/s | p99, ms | longest, ms |",
            "|---|---|---|---|---|---|---|",
            *map(switching, cells),
            "",
            "**A canary that fails**: it crashes, and in another release it answers 500 to all its users.",
            "",
            "| front door | strategy | crash: GETs failed / all | crash: POSTs lost / all | bad: 500s served / all "
            "| bad: judge sure after, s | bad: failures beside |",
            "|---|---|---|---|---|---|---|",
            *map(failing, cells),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
