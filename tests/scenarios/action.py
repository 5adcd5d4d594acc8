"""A repository whose workflow runs the Action for real: the gate's own process, its files, its event.

The flag server is shared by a file's tests; flag, machine room, metrics, workspace and GitHub are each test's own.
"""

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.flagserver_api import FlagServer as Api
from rampgate.rollout import Entry, Rollout
from tests import nursery
from tests.fakes import github_shapes as shapes
from tests.fakes.github import FakeGitHub
from tests.flagserver.process import FlagServer
from tests.gate.metrics.scripted import ScriptedServer, scripted
from tests.scenarios.gates import ROOT
from tests.scenarios.room import COMMAND, Room
from tests.scenarios.users import QUERIES, Metrics
from tests.scenarios.waiting import PATIENCE, until

REPOSITORY = "acme/shop"
_NUMBERS = itertools.count(1)

PLAN: dict[str, Any] = {
    "environment": "production",
    "deploy": {"command": COMMAND},
    "steps": [{"share": share, "bake": "0s"} for share in (10, 50, 100)],
    "minPolls": 1,
    "poll": "400ms",
    "lease": "4s",
    "staleAfter": "4s",
    "heartbeat": "1s",
    "scaleDownDelay": "8s",
}


def parsed(text: str) -> dict[str, str]:
    """A file of outputs or state as the runner reads it: `name<<delimiter`, lines, the delimiter; nothing else.

    Source: actions/runner, FileCommandManager.cs, EnvFileKeyValuePairs.
    """
    values: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if not line:
            continue
        found = re.fullmatch(r"([^=<]+)<<(\S+)", line)
        assert found is not None, f"the runner cannot read {line!r}"
        value = []
        for part in lines:
            if part == found[2]:
                break
            value.append(part)
        else:
            raise AssertionError(f"{found[1]} never ends")
        values[found[1]] = "\n".join(value)
    return values


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the Action: its process, and the folder with all it wrote."""

    process: nursery.Program
    folder: Path

    def code(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text()

    @property
    def outputs(self) -> dict[str, str]:
        return parsed((self.folder / "output").read_text())

    @property
    def state(self) -> dict[str, str]:
        return parsed((self.folder / "state").read_text())


@dataclass(kw_only=True)
class Shop:
    """One flag, everything around it, and the runs of the Action that are about it."""

    folder: Path
    server: FlagServer
    key: str
    github: FakeGitHub
    prometheus: ScriptedServer
    stack: ExitStack
    number: int = field(default_factory=lambda: next(_NUMBERS))

    def __post_init__(self) -> None:
        self.flag = f"shop-{self.number}"
        self.sha = f"{self.number:040x}"
        self.api = Api(self.server.url, self.key, timeout=30.0)
        self.room = Room(self.folder / "workspace")
        self.metrics = Metrics(api=Api(self.server.url, self.key, timeout=30.0), flag=self.flag)
        self.prometheus.script = self.metrics
        self.token = self.github.token("github-actions[bot]", reads_user=False)
        for login, role in (("ann", "write"), ("bob", "admin"), ("eve", "read")):
            self.github.role(login, role)
        self.github.pull(self.number, author="ann", head_sha=f"{self.number:039x}f", merge_sha=self.sha, merged=True)
        self._runs = itertools.count(1)
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the configuration: the plan above, with these changes."""
        metrics = {"errors": "prometheus", "url": self.prometheus.url, "queries": QUERIES, "timeout": "2s"}
        document = {"flag": self.flag, "metrics": [metrics], **PLAN, **changes}
        file = self.folder / "workspace/.github/rampgate.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(document))

    def push(self, *, version: str = "v2", attempt: int = 1, **inputs: str) -> Run:
        """Run the Action as a push of the merge commit does."""
        return self.run("push", {"ref": "refs/heads/main"}, attempt=attempt, inputs={"version": version, **inputs})

    def say(self, text: str, *, by: str = "ann") -> dict[str, Any]:
        """Comment on the pull request; the event of it."""
        number = self.github.comment(self.number, text, by=by)
        # Not `time.gmtime()`: its clock lags the other one, by enough to write the second before.
        now = shapes.when(time.time())
        return {
            "action": "created",
            "issue": {"number": self.number, "pull_request": {"url": "here"}},
            "comment": {
                "id": number,
                "body": text,
                "created_at": now,
                "updated_at": now,
                "html_url": f"https://github.com/{REPOSITORY}/pull/{self.number}#issuecomment-{number}",
                "user": {"login": by, "type": "User"},
            },
            "sender": {"login": by, "type": "User"},
        }

    def comment(self, text: str, *, by: str = "ann") -> Run:
        """Comment, and run the Action on it, to its end."""
        return self.obey(self.say(text, by=by))

    def obey(self, event: Mapping[str, Any]) -> Run:
        """Run the Action on a comment's event, to its end."""
        run = self.run("issue_comment", event, actor=event["sender"]["login"])
        run.code()
        return run

    def after(self, run: Run, *, attempt: int = 1) -> Run:
        """The post run of a step that has ended."""
        state = {f"STATE_{name}": value for name, value in run.state.items()}
        return self.run("push", {"ref": "refs/heads/main"}, "post", attempt=attempt, environ=state)

    def run(
        self,
        event_name: str,
        event: Mapping[str, Any],
        *arguments: str,
        attempt: int = 1,
        actor: str = "ann",
        environ: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Run:
        """Run the Action as the runner does."""
        folder = self.folder / f"run-{next(self._runs)}"
        folder.mkdir()
        (folder / "event.json").write_text(json.dumps({"repository": {"id": 1, "full_name": REPOSITORY}, **event}))
        for name in ("output", "state", "summary.md"):
            (folder / name).touch()
        given = {
            "flag-server-url": self.server.url,
            "flag-server-key": self.key,
            "github-token": self.token,
            **{name.replace("_", "-"): value for name, value in (inputs or {}).items()},
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "INPUT_"))}
        with (folder / "log.txt").open("ab") as log:
            process = nursery.start(
                "gate.app",
                *arguments,
                environ={
                    **clean,
                    **self._runner(event_name, folder, attempt, actor),
                    **{f"INPUT_{name.upper()}": value for name, value in given.items()},
                    **(environ or {}),
                },
                cwd=ROOT,
                stderr=log.fileno(),
            )
        self.stack.callback(_end, process)
        return Run(process=process, folder=folder)

    def _runner(self, event_name: str, folder: Path, attempt: int, actor: str) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_REPOSITORY_ID": "1",
            "GITHUB_SHA": self.sha,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_RUN_ID": str(1000 + self.number),
            "GITHUB_RUN_ATTEMPT": str(attempt),
            "GITHUB_ACTOR": actor,
            "GITHUB_TRIGGERING_ACTOR": actor,
            "GITHUB_API_URL": self.github.url,
            "GITHUB_WORKSPACE": str(self.room.folder),
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_STATE": str(folder / "state"),
        }

    def rollout(self) -> Rollout:
        """The flag's newest rollout, awaited where it has not begun yet."""
        return until(lambda: self.api.find(flag=self.flag))[0]

    def entries(self) -> tuple[Entry, ...]:
        return self.api.entries(self.rollout().id)

    def bodies(self) -> list[str]:
        """The comments on the pull request."""
        return self.github.bodies(self.number)


@contextmanager
def shop(folder: Path, server: FlagServer) -> Iterator[Shop]:
    """A shop for the time of a test; every process of it is gone afterwards."""
    with ExitStack() as stack:
        yield Shop(
            folder=folder,
            server=server,
            key=server.key("operator"),
            github=stack.enter_context(FakeGitHub(REPOSITORY)),
            prometheus=stack.enter_context(scripted()),
            stack=stack,
        )


def _end(process: nursery.Program) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def shares(entries: tuple[Entry, ...]) -> list[int]:
    """The canary's shares in the order in which they were served, repetitions aside."""
    seen = [0]
    for entry in entries:
        if entry.share != seen[-1]:
            seen.append(entry.share)
    return seen
