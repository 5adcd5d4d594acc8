"""`make bench-downtime`: every front door and strategy under load; writes the table of docs/zero-downtime.md.

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
from bench.downtime.release import SHARES
from tests.real.doors import Door, version

PAGE = Path(__file__).parents[2] / "docs" / "zero-downtime.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# HAProxy 2.6 does not repeat a request whose connection the dying process has reset: its issue 2061.
FORGETFUL = {Door.HAPROXY}
DOORS: Sequence[Door | None] = (None, *Door)


def main(only: Sequence[str]) -> int:
    doors = [door for door in DOORS if not only or name(door) in only]
    cells = []
    for door in doors:
        for strategy in SHARES:
            with tempfile.TemporaryDirectory() as folder:
                cells.append(measure(door, strategy, Path(folder)))
            print(line(cells[-1]), flush=True)
    if not only:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{table(cells)}\n{END}{rest.split(END)[1]}")
    failed = [cell for cell in cells if cell.switching.failed or (cell.crashed.failed and cell.door not in FORGETFUL)]
    for cell in failed:
        print(f"not zero: {name(cell.door)}, {cell.strategy}", file=sys.stderr)
    return 1 if failed else 0


def name(door: Door | None) -> str:
    return "sdk" if door is None else door.value


def line(cell: Cell) -> str:
    door = "the demo's, with the SDK" if cell.door is None else f"{cell.door} {version(cell.door)}"
    switching, crashed, orders = cell.switching, cell.crashed, cell.orders
    posts = "no POSTs" if orders is None else f"{orders.failed} / {orders.requests:,}"
    figures = [
        f"**{switching.failed}** / {switching.requests:,}",
        f"{switching.rate:,.0f}",
        f"{switching.p99:.0f}",
        f"{switching.longest:.0f}",
        f"**{crashed.failed}** / {crashed.requests:,}",
        posts,
    ]
    return "| " + " | ".join([door, cell.strategy.value, *figures]) + " |"


def table(cells: Sequence[Cell]) -> str:
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    words = (wrk.stdout + wrk.stderr).split()
    today = time.strftime("%d %B %Y", time.gmtime())
    where = f"{os.cpu_count()} processors for everything, {platform.system()}, Python {platform.python_version()}"
    return "\n".join(
        [
            f"Measured on {today}: {where}, wrk {words[1]} with 16 connections (POSTs: 4 more)",
            f"and 4,000 users. Load of the machine at the end, this and other work: {os.getloadavg()[2]:.1f}.",
            "",
            "| front door | strategy | switching: failed / requests | requests/s | p99, ms | longest, ms "
            "| crashed canary: failed / requests | POSTs in flight: failed / all |",
            "|---|---|---|---|---|---|---|---|",
            *map(line, cells),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
