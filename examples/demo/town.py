"""Everything the demo needs to be real: a flag server, a shop under load, GitHub's stand-in, and gates that run.

Each part is a process of its own, started by its own command; all of it lives in one folder and listens on this
machine only.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from examples.demo.machines import ROOT, Machines, free_port
from gate.flagserver_api import FlagServer as Api
from rampgate.rollout import Rollout
from tests.fakes import github_shapes as shapes
from tests.fakes.github import FakeGitHub
from tests.flagserver.process import FlagServer

REPOSITORY = "acme/shop"
PULL_REQUEST = 7
RATE = 500
USERS = 5000


class Program(StrEnum):
    """What the runner starts: the step itself, and after it, however it ended, its post run."""

    STEP = "rampgate-action"
    POST = "rampgate-action-post"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the runner gives a step: its variables, its workspace, and the folder of its event and its files."""

    program: Program
    environ: Mapping[str, str]
    workspace: Path
    folder: Path


Gate = Callable[[Job], tuple[list[str], Mapping[str, str]]]
"""The command that does a job, and the variables that it is started with."""


def as_process(job: Job) -> tuple[list[str], Mapping[str, str]]:
    """The gate of this checkout, as a process of its own."""
    clean = {one: value for one, value in os.environ.items() if not one.startswith(("GITHUB_", "INPUT_"))}
    post = ["post"] if job.program is Program.POST else []
    return [sys.executable, "-m", "gate.app", *post], {**clean, **job.environ}


@dataclass
class Load:
    """What the users have seen so far: the newest line that the load generator wrote."""

    totals: dict[str, Any] = field(default_factory=dict)

    def of(self, what: str, version: str) -> float:
        found = self.totals.get(what, {})
        return float(found.get(version, 0)) if isinstance(found, dict) else 0.0

    @property
    def switching(self) -> int:
        return int(self.totals.get("switching", 0))


@dataclass
class Run:
    """One run of the Action: its process, its files, and how it ended."""

    name: str
    sha: str
    version: str
    job: Job
    process: "subprocess.Popen[bytes]"
    files: Mapping[str, Path]
    began: float = field(default_factory=time.time)

    @property
    def outputs(self) -> dict[str, str]:
        """What the step handed on, as the runner reads it."""
        return self._read("output")

    @property
    def state(self) -> dict[str, str]:
        """What the step kept for its post run."""
        return self._read("state")

    def _read(self, file: str) -> dict[str, str]:
        found, lines = {}, iter(self.files[file].read_text().splitlines())
        for line in lines:
            name, _, delimiter = line.partition("<<")
            value = []
            for part in lines:
                if part == delimiter:
                    break
                value.append(part)
            found[name] = "\n".join(value)
        return found


class Town:
    """The demo's world. ``fails``: which part of the orders each version fails. ``gate`` does the jobs."""

    def __init__(
        self, folder: Path, fails: Mapping[str, float], *, gate: Gate = as_process, server: FlagServer | None = None
    ) -> None:
        self.folder = folder
        self.fails = fails
        self.config = ".github/rampgate.yml"
        self.load = Load()
        self.server = server or FlagServer(folder)
        self._gate = gate
        self._stack = ExitStack()
        self._runs = 0

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        self._stack.enter_context(self.server)
        self.key = self.server.key("operator")
        self.api = Api(self.server.url, self.key)
        self.machines = Machines(self.folder, self.fails)
        self._stack.callback(self.machines.close)
        self.github = self._stack.enter_context(FakeGitHub(REPOSITORY))
        self.token = self.github.token("github-actions[bot]", reads_user=False)
        self.github.role("ann", "write")
        self.workspace = self.folder / "workspace"
        shutil.copytree(Path(__file__).with_name("workspace"), self.workspace)
        (self.workspace / "machine-room.address").write_text(self.machines.address)
        code, text = self.machines.do("ensure", "blue", "v1", 0)
        assert code == 0, text
        self._open_shop()

    def _open_shop(self) -> None:
        environ = {
            **os.environ,
            "RAMPGATE_URL": self.server.url,
            "RAMPGATE_KEY": self.server.key("sdk"),
            "DEMO_PORTS": json.dumps(self.machines.ports),
        }
        self.port = free_port()
        self._start("front", environ, f"--port={self.port}")
        _await_open(self.port)
        users = self._start("load", environ, f"--port={self.port}", f"--rate={RATE}", f"--users={USERS}", piped=True)
        threading.Thread(target=self._listen, args=(users,), daemon=True).start()

    def _start(
        self, module: str, environ: Mapping[str, str], *args: str, piped: bool = False
    ) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"examples.demo.{module}", *args]
        with (self.folder / f"{module}.log").open("ab") as log:
            out = subprocess.PIPE if piped else log
            process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        self._stack.callback(_end, process)
        return process

    def _listen(self, users: "subprocess.Popen[bytes]") -> None:
        assert users.stdout is not None
        for line in users.stdout:
            self.load.totals = json.loads(line)

    def release(self, version: str) -> Run:
        """Run the Action as a push of the commit that is this version would."""
        self._runs += 1
        sha = f"{self._runs:040x}"
        self.github.pull(
            PULL_REQUEST + self._runs - 1, author="ann", head_sha=f"{self._runs:039x}f", merge_sha=sha, merged=True
        )
        return self._run("push", {"ref": "refs/heads/main"}, sha, version)

    def comment(self, rollout: Rollout, text: str) -> Run:
        """Run the Action as a comment on the rollout's pull request would."""
        assert rollout.pull_request is not None
        number = self.github.comment(rollout.pull_request, text, by="ann")
        now = shapes.when(time.time())
        event = {
            "action": "created",
            "issue": {"number": rollout.pull_request, "pull_request": {"url": "here"}},
            "comment": {
                "id": number,
                "body": text,
                "created_at": now,
                "updated_at": now,
                "html_url": "https://github.com/acme/shop/pull/7#issuecomment-1",
                "user": {"login": "ann", "type": "User"},
            },
            "sender": {"login": "ann", "type": "User"},
        }
        self._runs += 1
        return self._run("issue_comment", event, "0" * 39 + "d", "")

    def again(self, run: Run) -> Run:
        """Run the same release again, as a re-run of its job would."""
        number, attempt = run.name.split(".")
        return self._run("push", {"ref": "refs/heads/main"}, run.sha, run.version, name=f"{number}.{int(attempt) + 1}")

    def _run(self, event_name: str, event: Mapping[str, Any], sha: str, version: str, name: str | None = None) -> Run:
        name = name or f"{self._runs}.1"
        folder = self.folder / f"run-{name}"
        folder.mkdir()
        event = {"repository": {"id": 1, "full_name": REPOSITORY}, **event}
        (folder / "event.json").write_text(json.dumps(event))
        files = {one: folder / one for one in ("output", "summary.md", "state", "log.txt")}
        for file in files.values():
            file.touch()
        number, attempt = name.split(".")
        environ = {
            "GITHUB_EVENT_NAME": event_name,
            "GITHUB_EVENT_PATH": str(folder / "event.json"),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_REPOSITORY_ID": "1",
            "GITHUB_SHA": sha,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_RUN_ID": str(1000 + int(number)),
            "GITHUB_RUN_ATTEMPT": attempt,
            "GITHUB_ACTOR": "ann",
            "GITHUB_API_URL": self.github.url,
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary.md"]),
            "GITHUB_STATE": str(files["state"]),
            "INPUT_FLAG-SERVER-URL": self.server.url,
            "INPUT_FLAG-SERVER-KEY": self.key,
            "INPUT_GITHUB-TOKEN": self.token,
            "INPUT_VERSION": version,
            "INPUT_CONFIG": self.config,
        }
        job = Job(program=Program.STEP, environ=environ, workspace=self.workspace, folder=folder)
        process = self._begin(job, files["log.txt"])
        return Run(name=name, sha=sha, version=version, job=job, process=process, files=files)

    def post(self, run: Run) -> "subprocess.Popen[bytes]":
        """The post run of a step that has ended, as the runner starts it."""
        kept = {f"STATE_{name}": value for name, value in run.state.items()}
        job = replace(run.job, program=Program.POST, environ={**run.job.environ, **kept})
        return self._begin(job, run.files["log.txt"])

    def _begin(self, job: Job, log: Path) -> "subprocess.Popen[bytes]":
        command, environ = self._gate(job)
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        self._stack.callback(_end, process)
        return process

    def rollout(self, run: Run) -> Rollout | None:
        """The rollout that a run asked for, once it has."""
        found = self.api.find(flag="shop", sha=run.sha)
        return found[0] if found else None


def _await_open(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nothing listens on port {port}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
