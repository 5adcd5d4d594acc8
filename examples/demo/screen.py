"""The demo as people watch it: a live ramp on a terminal, a line for each change elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.town import Load
from rampgate.evidence import Look, Sample
from rampgate.machine.state import Phase
from rampgate.plan import WHOLE, percent
from rampgate.rollout import Rollout

_COLOURS = {Phase.PROMOTED: "green", Phase.COMPLETING: "green", Phase.REVERTING: "red", Phase.REVERTED: "red"}


@dataclass
class Screen:
    """Draws one rollout after the other."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    live: Live | None = None
    said: str = ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While something is watched, it is drawn over and over; the last picture stays."""
        self.said = ""
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, refresh_per_second=8) as self.live:
            yield
        self.live = None

    def say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style or None)

    def show(self, rollout: Rollout, looks: list[Look], load: Load) -> None:
        state = rollout.state
        if self.live is not None:
            self.live.update(_picture(rollout, looks, load))
        # The state's own sentence is the last decision's; the newest look says how it is now.
        judged = looks[-1].verdict if state.phase.is_judged and looks and looks[-1].step == state.step else None
        now = f"{state.phase} {percent(rollout.share)}"
        said = f"{now} {judged.reason}" if judged else f"{now} {state.text}"
        if said != self.said:
            self.said = said
            if self.live is None:
                self.console.print(f"  {rollout.version}: {now} – {judged.text if judged else state.text}")

    def table(self, title: str, rows: list[tuple[str, str]]) -> None:
        table = Table(title=title, title_justify="left", show_header=False)
        for name, value in rows:
            table.add_row(name, value)
        self.console.print(table)


def _picture(rollout: Rollout, looks: list[Look], load: Load) -> RenderableType:
    state = rollout.state
    style = _COLOURS.get(state.phase, "cyan")
    bar = ProgressBar(total=WHOLE, completed=rollout.share, width=50, complete_style=style)
    head = Table.grid(padding=(0, 1))
    head.add_row(Text(f"{rollout.version} {state.phase}", style=f"bold {style}"), bar, percent(rollout.share))
    table = Table(expand=False)
    for name in ("arm", "version", "share", "requests", "errors", "rate"):
        table.add_column(name, justify="left" if name in ("arm", "version") else "right")
    stable, canary = _sums(looks)
    table.add_row("stable", rollout.stable.version or "?", percent(WHOLE - rollout.share), *_figures(stable))
    table.add_row("canary", rollout.version, percent(rollout.share), *_figures(canary))
    verdict = looks[-1].verdict if looks else None
    evidence = f"{verdict.word}: {verdict.text}" if verdict else "nothing judged yet"
    harm = f"evidence of harm {max(0.0, verdict.log_e):.1f} of {verdict.threshold:.1f}" if verdict else ""
    foot = f"{evidence}\n{harm}   switching failures: {load.switching}\n{state.text}"
    return Panel(Group(head, table, Text(foot)), border_style=style, width=100)


def _sums(looks: list[Look]) -> tuple[Sample, Sample]:
    step = looks[-1].step if looks else 0
    stable = [look.stable for look in looks if look.step == step and look.stable]
    canary = [look.canary for look in looks if look.step == step and look.canary]
    return (
        Sample(requests=sum(one.requests for one in stable), errors=sum(one.errors for one in stable)),
        Sample(requests=sum(one.requests for one in canary), errors=sum(one.errors for one in canary)),
    )


def _figures(sample: Sample) -> tuple[str, str, str]:
    rate = f"{100 * sample.errors / sample.requests:.1f} %" if sample.requests else "–"
    return f"{sample.requests:,}", f"{sample.errors:,}", rate
