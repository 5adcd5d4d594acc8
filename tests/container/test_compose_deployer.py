"""Docker Compose for real, as podman-compose has it: deployed, taken over, refused, retired."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.deploy import ComposeOptions, Deployer, Done, Failed, NotUp, Workplace
from tests.container.engine import ENGINE, Image, ask, engine
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, always

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
