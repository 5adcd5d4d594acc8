"""An image run the way GitHub's runner runs a container action.

The same mounts, working folder and names as actions/runner's ContainerActionHandler: every value goes by environment
and never on the command line, inputs keep their dashes, each file command has a file of its own, and the workspace and
those files belong to the runner's user while the container runs as whatever the image says.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.container.engine import ENGINE, engine

RUNNER_UID = 1001
FILES = {
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_ENV": "set_env",
    "GITHUB_PATH": "add_path",
    "GITHUB_STATE": "save_state",
    "GITHUB_STEP_SUMMARY": "step_summary",
}
FOLDERS = ("workspace", "home", "workflow", "file_commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a step ended: its exit code, its log, and what it wrote for the runner."""

    code: int
    log: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubRunner:
    """One job: its folders on this machine, and what the runner tells every step."""

    folder: Path
    inputs: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    event: str = "{}"
    owner: int = RUNNER_UID

    def prepare(self) -> None:
        """Make the folders, with the runner's owner where this user may give files away."""
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "workflow/event.json").write_text(self.event)
        for name in FILES.values():
            (self.folder / "file_commands" / name).touch()
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self.owner, self.owner)

    def environment(self) -> dict[str, str]:
        """What the step sees."""
        inputs = {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in self.inputs.items()}
        files = {name: f"/github/file_commands/{file}" for name, file in FILES.items()}
        return {
            "HOME": "/github/home",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "octocat",
            "GITHUB_API_URL": "http://127.0.0.1:9",
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_EVENT_PATH": "/github/workflow/event.json",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_REPOSITORY_ID": "4711",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "1",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "1" * 40,
            "GITHUB_TRIGGERING_ACTOR": "octocat",
            "GITHUB_WORKSPACE": "/github/workspace",
            "RUNNER_OS": "Linux",
            **files,
            **inputs,
            **self.env,
        }

    def command(self, image: str, *arguments: str, name: str, entrypoint: str | None = None) -> list[str]:
        names = [part for key in self.environment() for part in ("-e", key)]
        mounts = [part for each in FOLDERS for part in ("-v", f"{self.folder / each}:/github/{each}")]
        instead = ["--entrypoint", entrypoint] if entrypoint else []
        fixed = ["run", "--rm", "--name", name, "--network", "host", "--workdir", "/github/workspace"]
        return [ENGINE, *fixed, *names, *mounts, *instead, image, *arguments]

    def process_environment(self) -> dict[str, str]:
        """The step's variables, for the engine to pass on by name, and what the engine itself needs."""
        own = {key: os.environ[key] for key in ("PATH", "CONTAINERS_CONF", "DOCKER_HOST") if key in os.environ}
        return {**self.environment(), **own}

    def run(self, image: str, *arguments: str, entrypoint: str | None = None, timeout: float = 60) -> Finished:
        """Run a step to its end. ``timeout`` is in seconds."""
        with self.start(image, *arguments, entrypoint=entrypoint) as step:
            log, _ = step.process.communicate(timeout=timeout)
            return self.finished(step.process.returncode, log)

    @contextmanager
    def start(self, image: str, *arguments: str, entrypoint: str | None = None) -> Iterator["Step"]:
        """Start a step and leave it running; it is removed when the block ends, however that happens."""
        self.prepare()
        name = f"rampgate-step-{uuid4().hex[:12]}"
        process = subprocess.Popen(
            self.command(image, *arguments, name=name, entrypoint=entrypoint),
            env=self.process_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Step(name=name, process=process)
        finally:
            engine("rm", "-f", name)
            process.wait(timeout=20)
            if process.stdout:
                process.stdout.close()

    def finished(self, code: int, log: str) -> Finished:
        folder = self.folder / "file_commands"
        return Finished(code=code, log=log, files={name: (folder / file).read_text() for name, file in FILES.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A running step: the container's name, and the engine's client that waits for it."""

    name: str
    process: subprocess.Popen[str]

    def await_line(self, text: str) -> str:
        """The log up to and with the first line that holds ``text``. Raises AssertionError when it ends without."""
        seen = ""
        for line in self.process.stdout or ():
            seen += line
            if text in line:
                return seen
        raise AssertionError(f"the step ended without saying {text!r}:\n{seen}")

    def signal(self, name: str) -> None:
        """Send a signal to the container's first process, as the runner does when a job is cancelled."""
        engine("kill", "--signal", name, self.name)
