"""The deployers that reach hosts by SSH, through a real sshd on this machine.

systemctl and docker are stand-ins: here is no systemd to ask, and tests/container has a real compose.
"""

import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.deploy import ComposeOptions, Deployer, Done, Failed, NotUp, Options, Stopped, SystemdSshOptions, Workplace
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, Manner, always
from tests.gate.deploy.programs import FarPrograms
from tests.gate.deploy.test_deploy_compose import DOCKER
from tests.gate.deploy.test_deploy_systemd_ssh import SYSTEMCTL
from tests.real.sshd import Host, listening


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    with listening(folder, PATH=f"{folder}/world/bin:/usr/bin:/bin") as host:
        yield host


class Far(FarPrograms):
    """Programs on a host that only ssh reaches, and the options of a deployer that works there."""

    def __init__(self, host: Host, scripts: dict[str, str]) -> None:
        super().__init__(host.folder, scripts)
        self.host, self.environ = host, dict(host.environ)
        self.login = f"{host.user}@127.0.0.1:{host.port}"

    def options(self) -> Options:
        raise NotImplementedError


class Units(Far):
    def __init__(self, host: Host) -> None:
        super().__init__(host, {"systemctl": SYSTEMCTL})

    def options(self) -> Options:
        return SystemdSshOptions(
            hosts=(self.login,),
            unit="shop@{{slot}}",
            file=f"{self.root}/etc/{{{{slot}}}}.env",
            state=f"{self.root}/state",
            key="SSH_KEY",
            known_hosts="KNOWN_HOSTS",
        )


class Containers(Far):
    def __init__(self, host: Host) -> None:
        super().__init__(host, {"docker": DOCKER})
        self.file("checkout/compose.yml", "services: {web: {}}\n")

    def options(self) -> Options:
        return ComposeOptions(
            project="shop-{{slot}}",
            service="web",
            file=f"{self.root}/checkout/compose.yml",
            folder=f"{self.root}/brought",
            host=f"ssh://{self.login}",
            key="SSH_KEY",
            known_hosts="KNOWN_HOSTS",
        )


@pytest.fixture(params=[Units, Containers], ids=["systemd-ssh", "compose"])
def site(request: pytest.FixtureRequest, host: Host) -> Far:
    shutil.rmtree(host.folder / "world", ignore_errors=True)
    made: Far = request.param(host)
    return made


@pytest.fixture
def deployer(site: Far, tmp_path: Path) -> Deployer:
    return at(site, tmp_path)


def at(site: Far, folder: Path, **environ: str) -> Deployer:
    place = Workplace(folder=folder, environ=site.environ | environ, every=0.02, grace=0.5)
    return site.options().deployer(place)


def test_a_slot_is_deployed_taken_over_refused_and_retired(deployer: Deployer) -> None:
    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(WORK, always), Done)
    up = deployer.run(STATUS, always)
    assert isinstance(up, Done)
    assert up.version == "v2"
    newer = replace(WORK, fence=8, version="a/b:c+d~1")
    assert isinstance(deployer.run(newer, always), Done)
    refused = deployer.run(RETIRE, always)
    assert isinstance(refused, Failed)
    assert "newer gate" in " ".join([refused.text, *refused.tail])
    assert isinstance(deployer.run(replace(newer, action=RETIRE.action), always), Done)
    assert isinstance(deployer.run(STATUS, always), NotUp)


def test_what_is_stopped_ends_on_the_host_and_can_be_done_again(deployer: Deployer, site: Far) -> None:
    site.behave(Manner.HANGS)
    assert isinstance(deployer.run(WORK, lambda: not site.begun()), Stopped)
    assert site.quiet()
    site.behave(Manner.WELL)
    assert isinstance(deployer.run(WORK, always), Done)


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30.0
    while not true():
        assert time.monotonic() < ends
        threading.Event().wait(0.02)


def test_what_a_killed_gate_had_begun_ends_on_the_host(site: Far) -> None:
    site.behave(Manner.HANGS)
    program = (
        "import pickle, sys; from gate.deploy import Workplace; from tests.gate.deploy.contract import WORK, always;"
        "pickle.load(sys.stdin.buffer).deployer(Workplace()).run(WORK, always)"
    )
    gate = subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], env=site.environ, stdin=subprocess.PIPE
    )
    try:
        assert gate.stdin is not None
        gate.stdin.write(pickle.dumps(site.options()))
        gate.stdin.close()
        until(site.begun)
    finally:
        gate.kill()
        gate.wait()
    assert site.quiet()


def test_a_stranger_is_not_trusted(site: Far, host: Host, tmp_path: Path) -> None:
    failed = at(site, tmp_path, KNOWN_HOSTS=host.known_by("user.pub")).run(WORK, always)
    assert isinstance(failed, Failed)
    assert "ssh could not reach" in failed.text
    assert not any((site.root / name).exists() for name in ("etc", "state", "brought", "docked"))


def test_a_version_reaches_the_units_file_as_it_is(host: Host, tmp_path: Path) -> None:
    shutil.rmtree(host.folder / "world", ignore_errors=True)
    site = Units(host)
    assert isinstance(at(site, tmp_path).run(replace(WORK, version="a/b:c+d~1"), always), Done)
    assert (site.root / "etc/green.env").read_text() == "VERSION=a/b:c+d~1\n"
