"""The demo's gate and flag server in their images, with everything else of the demo on this machine."""

import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from examples.demo.machines import free_port
from examples.demo.town import Job, Program
from tests.container.engine import ENGINE, Image, ask, engine
from tests.container.runner import FOLDERS, RUNNER_UID
from tests.flagserver.process import START_WITHIN, FlagServer


class ContainerGate:
    """Does a job of the demo as GitHub's runner does: the same mounts, names and owners, values by environment only."""

    def __init__(self, image: Image) -> None:
        self.names: dict[Program, str] = {}
        self._image = image

    def __call__(self, job: Job) -> tuple[list[str], Mapping[str, str]]:
        # The demo keeps a step's event and its files in one folder, which stands for two of the runner's.
        hosts = dict.fromkeys(FOLDERS, job.folder) | {"workspace": job.workspace, "home": job.folder / "home"}
        hosts["home"].mkdir(exist_ok=True)
        if os.geteuid() == 0:
            for folder in set(hosts.values()):
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, RUNNER_UID, RUNNER_UID)
        inside = {
            name: self._inside(value, hosts, "workflow" if name == "GITHUB_EVENT_PATH" else "file_commands")
            for name, value in job.environ.items()
        } | {"HOME": "/github/home", "GITHUB_ACTIONS": "true", "CI": "true"}
        self.names[job.program] = name = f"rampgate-demo-{uuid4().hex[:12]}"
        command = [ENGINE, "run", "--rm", "--name", name, "--network", "host", "--workdir", "/github/workspace"]
        command += [part for key in inside for part in ("-e", key)]
        command += [part for each, host in hosts.items() for part in ("-v", f"{host}:/github/{each}")]
        command += ["--entrypoint", f"/opt/rampgate/bin/{job.program}", self._image.tag]
        return command, inside | own_environment()

    @staticmethod
    def _inside(value: str, hosts: Mapping[str, Path], files: str) -> str:
        for each in ("workspace", files):
            if value == str(hosts[each]) or value.startswith(f"{hosts[each]}/"):
                return value.replace(str(hosts[each]), f"/github/{each}", 1)
        return value

    def signal(self, name: str) -> None:
        """Send a signal to the step's first process, as the runner does when a job is cancelled."""
        ask("kill", "--signal", name, self.names[Program.STEP])

    def close(self) -> None:
        for name in self.names.values():
            engine("rm", "-f", name)


class ContainerServer(FlagServer):
    """The flag server's image, with its database in the image's own volume."""

    def __init__(self, folder: Path, image: Image) -> None:
        super().__init__(folder, port=free_port())
        self._image = image
        self._name = f"rampgate-server-{uuid4().hex[:12]}"

    def start(self) -> None:
        settings = {"FLAGSERVER_LISTEN": f"127.0.0.1:{self.port}", "FLAGSERVER_ADMIN_KEY": self.admin_key}
        names = [part for key in settings for part in ("-e", key)]
        command = [ENGINE, "run", "--rm", "--name", self._name, "--network", "host", *names, self._image.tag]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, env=settings | own_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
        self._out = self._process.stdout
        assert self._out is not None
        alarm = threading.Timer(START_WITHIN, self._process.kill)
        alarm.start()
        try:
            said = next((line for line in self._out if line.startswith("listening on ")), None)
        finally:
            alarm.cancel()
        assert said is not None, f"the flag server did not start:\n{self.log}"
        self.url = said.removeprefix("listening on ").strip()

    def stop(self, timeout: float = 15.0) -> int | None:
        code = super().stop(timeout)
        engine("rm", "-f", self._name)
        return code


def own_environment() -> dict[str, str]:
    """What the engine itself needs of this environment."""
    wanted = ("PATH", "CONTAINERS_CONF", "DOCKER_HOST", "XDG_RUNTIME_DIR")
    return {name: os.environ[name] for name in wanted if name in os.environ}
