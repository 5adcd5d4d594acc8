"""Docker Compose for real, as podman-compose has it: deployed, taken over, refused, retired, here and on a host."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.deploy import ComposeOptions, Deployer, Done, Failed, NotUp, Workplace
from tests.container.engine import ENGINE, Image, ask, engine
from tests.container.runner import GitHubRunner
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, always
from tests.real.sshd import listening

PROJECT = f"rampgate-test-{os.getpid()}"
COMPOSE = """
services:
  web:
    image: {image}
    entrypoint: ["sleep", "600"]
    network_mode: host
    stop_grace_period: 1s
    environment: {{VERSION: "${{RAMPGATE_VERSION}}", PORT: "${{PORT}}"}}
"""


@pytest.fixture
def deployer(gate_image: Image, tmp_path: Path) -> Iterator[Deployer]:
    (tmp_path / "compose.yml").write_text(COMPOSE.format(image=gate_image.tag))
    (tmp_path / "green.env").write_text("PORT=8102\n")
    environ = dict(os.environ) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = ComposeOptions(
        project=f"{PROJECT}-{{{{slot}}}}", service="web", env_file="{{slot}}.env", program=(f"{ENGINE}-compose",)
    )
    yield options.deployer(Workplace(folder=tmp_path, environ=environ))
    labels = f"label=com.docker.compose.project={PROJECT}-green"
    if left := engine("ps", "-aq", "--filter", labels).stdout.split():
        engine("rm", "--force", *left)
    place = f"label=rampgate.place={PROJECT}-green.web"
    if left := engine("volume", "ls", "-q", "--filter", place).stdout.split():
        engine("volume", "rm", *left)


def test_a_slot_is_a_project_of_its_own(deployer: Deployer) -> None:
    work = replace(WORK, seconds=120.0)
    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(replace(RETIRE, seconds=120.0), always), Done)
    assert isinstance(deployer.run(work, always), Done)
    up = deployer.run(STATUS, always)
    assert isinstance(up, Done)
    assert up.version == "v2"
    (running,) = ask("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}-green").split()
    assert ask("exec", running, "printenv", "VERSION", "PORT").split() == ["v2", "8102"]

    assert isinstance(deployer.run(replace(work, fence=8), always), Done)
    assert "newer gate" in deployer.run(work, always).text
    assert ask("ps", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}-green").split() == [running]

    assert isinstance(deployer.run(replace(work, fence=8, version="v3"), always), Done)
    assert isinstance(deployer.run(replace(STATUS, version="v3"), always), Done)
    assert isinstance(deployer.run(replace(RETIRE, fence=8, seconds=120.0), always), Done)
    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(work, always), Failed)


PROGRAM = """
from dataclasses import replace
from gate.deploy import ComposeOptions, DeployAction, Work, Workplace
options = ComposeOptions({options})
work = Work(action=DeployAction.ENSURE, slot="green", version="v2", fence=7, environment="production", flag="shop",
            rollout_id="r1", seconds=120.0)
for action in (DeployAction.ENSURE, DeployAction.STATUS, DeployAction.RETIRE):
    answer = options.deployer(Workplace()).run(replace(work, action=action), lambda: True)
    print(type(answer).__name__, answer.text, *getattr(answer, "tail", ()), flush=True)
"""


@pytest.mark.usefixtures("deployer")
def test_the_actions_image_deploys_to_a_host_that_it_reaches_by_ssh(gate_image: Image, tmp_path: Path) -> None:
    own = {name: os.environ[name] for name in ("CONTAINERS_CONF",) if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with listening(tmp_path, PATH=path, **own) as host:
        runner = GitHubRunner(
            folder=tmp_path / "job", env={name: host.environ[name] for name in ("SSH_KEY", "KNOWN_HOSTS")}
        )
        (tmp_path / "job/workspace").mkdir(parents=True)
        for name in ("compose.yml", "green.env"):
            (tmp_path / "job/workspace" / name).write_text((tmp_path / name).read_text())
        options = {
            **{"project": f"{PROJECT}-{{{{slot}}}}", "service": "web", "env_file": "{{slot}}.env"},
            **{"host": f"ssh://{host.user}@127.0.0.1:{host.port}", "folder": str(tmp_path / "brought")},
            **{"key": "SSH_KEY", "known_hosts": "KNOWN_HOSTS", "program": (f"{ENGINE}-compose",)},
        }
        code = PROGRAM.format(options=", ".join(f"{name}={value!r}" for name, value in options.items()))
        done = runner.run(gate_image.tag, "-I", "-c", code, entrypoint="/opt/rampgate/bin/python", timeout=110)
    kinds = [line.split()[0] for line in done.log.splitlines() if "slot green" in line]
    assert kinds == ["Done"] * 3, done.log
    assert (tmp_path / "brought/green.env").read_text() == "PORT=8102\n"
