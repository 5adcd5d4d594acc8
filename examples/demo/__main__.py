"""``python -m examples.demo [SCENARIO] [FOLDER]``, of `SCENARIOS`: exit code 0 when all went right."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.screen import Screen
from examples.demo.town import Run, Town
from rampgate.evidence import ArmName, Look
from rampgate.machine.events import Judged
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout

FAILS = {"v1": 0.03, "v2": 0.03, "v3": 0.3, "v4": 0.03}
PATIENCE = 150.0
"""Seconds that one release may take before the demo gives up on it."""

Meanwhile = Callable[[Rollout, Run], bool]
"""Called at each look at a rollout, until it says that it has done what it came for."""


@dataclass
class Story:
    """Tells one release after the other, and keeps what is said at the end."""

    town: Town
    screen: Screen
    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def release(self, version: str, expected: Phase, reason: Reason, meanwhile: Meanwhile | None = None) -> Rollout:
        """Release a version and see how it ends."""
        self.screen.say(f"\nReleasing {version} (it fails {FAILS[version]:.0%} of orders)", style="bold")
        began = time.monotonic()
        rollout = self.watch(self.town.release(version), meanwhile)
        took = time.monotonic() - began
        self.check(
            f"{version} is {expected} ({reason})", rollout.state.phase is expected and rollout.state.reason is reason
        )
        self.rows.append((f"{version}: {rollout.state.phase} ({rollout.state.reason})", f"{took:.1f} s"))
        return rollout

    def watch(self, run: Run, meanwhile: Meanwhile | None = None) -> Rollout:
        """Draw a rollout until it has ended and nobody works on it any more."""
        rollout, looks, seen, done = None, list[Look](), 0, meanwhile is None
        until = time.monotonic() + PATIENCE
        with self.screen.watching():
            while time.monotonic() < until:
                rollout = self.town.rollout(run)
                if rollout is not None:
                    entries = self.town.api.entries(rollout.id, after=seen)
                    seen = entries[-1].number if entries else seen
                    looks += [one.event.look for one in entries if isinstance(one.event, Judged) and not one.refusal]
                    self.screen.show(rollout, looks, self.town.load)
                    done = done or (meanwhile is not None and meanwhile(rollout, run))
                ended = rollout is not None and rollout.state.phase.is_final
                if done and run.process.poll() is not None and (ended or run.process.returncode > 0):
                    break
                time.sleep(0.1)
        if rollout is None:
            raise SystemExit(f"the gate asked for no rollout:\n{run.files['log.txt'].read_text()}")
        return rollout

    def check(self, claim: str, holds: bool) -> None:
        if not holds:
            self.wrong.append(claim)

    def harm_done(self, version: str) -> None:
        """What a version cost before it was taken back."""
        load = self.town.load
        first, last = load.of("first_bad", version), load.of("last", version)
        users = load.totals.get("users", {}).get(version, 0)
        self.rows += [
            (f"{version}: first bad response → last canary response", f"{max(0.0, last - first):.1f} s"),
            (
                f"{version}: bad responses served",
                f"{load.of('failed', version):.0f} of {load.of('served', version):.0f}",
            ),
            (f"{version}: users that saw the canary", str(users)),
        ]

    def end(self) -> int:
        switching = self.town.load.switching
        self.check("no request was lost in switching", switching == 0)
        why = ", ".join(f"{name}: {count}" for name, count in self.town.load.totals.get("why", {}).items())
        self.rows.append(("switching failures", f"{switching} {why}".strip()))
        self.write_comments()
        self.rows.append(("comments, summaries, logs", str(self.town.folder)))
        self.screen.say("")
        self.screen.table("What happened", self.rows)
        for claim in self.wrong:
            self.screen.say(f"NOT TRUE: {claim}", style="bold red")
        if not self.wrong:
            self.screen.say("All as it should be.", style="bold green")
        return 1 if self.wrong else 0

    def write_comments(self) -> None:
        """The pull requests' comments, as GitHub has them."""
        for number in self.town.github.pulls:
            bodies = self.town.github.bodies(number)
            (self.town.folder / f"pull-request-{number}.md").write_text("\n\n---\n\n".join(bodies))


def everything(story: Story) -> None:
    healthy(story)
    broken(story)
    story.release("v4", Phase.PROMOTED, Reason.PROMOTED)


def healthy(story: Story) -> None:
    story.release("v2", Phase.PROMOTED, Reason.PROMOTED)


def broken(story: Story) -> None:
    before = story.town.machines.running("blue"), story.town.machines.running("green")
    story.release("v3", Phase.REVERTED, Reason.REGRESSED)
    story.harm_done("v3")
    after = story.town.machines.running("blue"), story.town.machines.running("green")
    story.check("the old version still runs where it ran", before == after)


def killed(story: Story) -> None:
    """SIGKILL at 50 %: nobody tells the server, which takes the users back by itself; a re-run takes it up again."""
    moments: dict[str, float] = {}

    def kill(rollout: Rollout, run: Run) -> bool:
        if rollout.share == 50_000 and not moments:
            moments["killed"] = time.monotonic()
            run.process.send_signal(signal.SIGKILL)
            story.screen.say("  the gate is killed (SIGKILL) at 50 %", style="bold red")
        if moments and rollout.share == 0:
            moments["back"] = time.monotonic()
            return True
        return False

    run = story.town.release("v2")
    story.screen.say("\nReleasing v2, whose gate will be killed", style="bold")
    until = time.monotonic() + PATIENCE
    with story.screen.watching():
        while time.monotonic() < until and "back" not in moments:
            rollout = story.town.rollout(run)
            if rollout is not None:
                story.screen.show(rollout, [], story.town.load)
                kill(rollout, run)
            time.sleep(0.05)
    story.check("the server took the users back by itself", "back" in moments)
    lapse = moments.get("back", 0.0) - moments.get("killed", 0.0)
    story.rows.append(("killed gate → users back on stable (lease: 5 s)", f"{lapse:.1f} s"))
    story.screen.say("  the job is run again: it takes the same rollout up, with new evidence")
    ended = story.watch(story.town.again(run))
    story.check("the re-run promotes v2", ended.state.phase is Phase.PROMOTED and ended.state.attempt == 2)
    story.rows.append((f"v2, run again: {ended.state.phase}", f"attempt {ended.state.attempt}"))


def crashed(story: Story) -> None:
    """The canary's process dies at 50 %: its requests are answered by stable, and it is taken back."""

    def crash(rollout: Rollout, run: Run) -> bool:  # noqa: ARG001
        if rollout.share != 50_000:
            return False
        story.town.machines.crash(rollout.slot(ArmName.CANARY).name)
        story.screen.say("  the canary's process is killed at 50 %", style="bold red")
        return True

    story.release("v2", Phase.REVERTED, Reason.REGRESSED, crash)


def aborted(story: Story) -> None:
    """A person types /abort in the pull request while the ramp is at 50 %."""
    replies: list[Run] = []

    def abort(rollout: Rollout, run: Run) -> bool:  # noqa: ARG001
        if rollout.share == 50_000 and not replies:
            story.screen.say("  @ann comments: /abort the checkout looks odd", style="bold")
            replies.append(story.town.comment(rollout, "/abort the checkout looks odd"))
        return bool(replies) and replies[0].process.poll() is not None

    rollout = story.release("v2", Phase.REVERTED, Reason.ABORTED, abort)
    story.check("the comment was obeyed", bool(replies) and replies[0].outputs.get("decision") == "obeyed")
    assert rollout.pull_request is not None
    story.rows.append(
        ("answer to the comment", story.town.github.bodies(rollout.pull_request)[-1].splitlines()[0][:90])
    )


def blue_green(story: Story) -> None:
    """All users switch at once; the next release takes the other colour, is bad, and all are switched back."""
    story.town.config = ".github/blue-green.yml"
    first = story.release("v2", Phase.PROMOTED, Reason.PROMOTED)
    second = story.release("v3", Phase.REVERTED, Reason.REGRESSED)
    story.harm_done("v3")
    colours = tuple(one.slot(ArmName.CANARY).name for one in (first, second))
    story.check("the colours traded places", colours == ("green", "blue"))
    left = tuple(story.town.machines.running(colour) for colour in ("blue", "green"))
    story.check("v2 still runs in green, and nothing in blue", left == (None, "v2"))


SCENARIOS: dict[str, Callable[[Story], None]] = {
    "all": everything,
    "healthy": healthy,
    "broken": broken,
    "killed": killed,
    "crashed": crashed,
    "aborted": aborted,
    "blue-green": blue_green,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="all", choices=SCENARIOS)
    parser.add_argument("folder", nargs="?", type=Path, help="where everything is kept; else a temporary folder")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rampgate-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    screen = Screen()
    screen.say(f"A flag server, a shop with two slots and its users, all on this machine, in {folder}")
    with Town(folder, FAILS) as town:
        story = Story(town=town, screen=screen)
        SCENARIOS[given.scenario](story)
        return story.end()


if __name__ == "__main__":
    sys.exit(main())
