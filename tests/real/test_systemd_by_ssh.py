"""The systemd deployer through a real sshd on this machine. Its systemctl is a stand-in: here is no systemd to ask."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gate.deploy import Deployer, Done, Failed, NotUp, SystemdSshOptions, Workplace
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, always
from tests.gate.deploy.programs import Programs

SYSTEMCTL = """
cd "$root"; mkdir -p units
for unit; do :; done
case $1 in
  is-active) [ -e "units/$unit" ] ;;
  restart) : >"units/$unit" ;;
  stop) rm -f "units/$unit" ;;
esac
"""
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
SetEnv PATH={folder}/world/bin:/usr/bin:/bin
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This machine as a host: where its sshd listens, and the keys that open it and prove it."""

    folder: Path
    port: int

    def deployer(self, *, known: str | None = None) -> Deployer:
        host_key = (self.folder / "host.pub").read_text()
        environ = dict(os.environ) | {
            "SSH_KEY": (self.folder / "user").read_text(),
            "KNOWN_HOSTS": known or f"[127.0.0.1]:{self.port} {host_key}",
        }
        options = SystemdSshOptions(
            hosts=(f"{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}",),
            unit="shop@{{slot}}",
            file=f"{self.folder}/etc/{{{{slot}}}}.env",
            state=f"{self.folder}/state",
            key="SSH_KEY",
            known_hosts="KNOWN_HOSTS",
        )
        return options.deployer(Workplace(folder=self.folder, environ=environ))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    Programs(tmp_path, {"systemctl": SYSTEMCTL})
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd locks itself in
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "sshd.conf").write_text(CONFIG.format(folder=tmp_path, port=port))
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(tmp_path / "sshd.conf")]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said = [next(server.stderr, "")]
        while "listening" not in said[-1]:
            assert said[-1], f"sshd has ended: {said}"
            said.append(next(server.stderr, ""))
        yield Host(folder=tmp_path, port=port)
    finally:
        server.terminate()
        server.communicate(timeout=20)


def test_a_slot_is_deployed_taken_over_refused_and_retired(host: Host) -> None:
    deployer = host.deployer()
    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(WORK, always), Done)
    up = deployer.run(STATUS, always)
    assert isinstance(up, Done)
    assert up.version == "v2"
    assert (host.folder / "etc/green.env").read_text() == "VERSION=v2\n"
    assert isinstance(deployer.run(replace(WORK, fence=8, version="a/b:c+d~1"), always), Done)
    refused = deployer.run(RETIRE, always)
    assert isinstance(refused, Failed)
    assert "newer gate" in refused.text
    assert isinstance(deployer.run(replace(RETIRE, fence=8), always), Done)
    assert isinstance(deployer.run(STATUS, always), NotUp)


def test_a_stranger_is_not_trusted(host: Host) -> None:
    stranger = (host.folder / "user.pub").read_text()
    failed = host.deployer(known=f"[127.0.0.1]:{host.port} {stranger}").run(WORK, always)
    assert isinstance(failed, Failed)
    assert "ssh could not reach it" in failed.text
    assert not (host.folder / "etc").exists()
