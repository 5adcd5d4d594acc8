"""Systemd units by SSH: the real script, with stand-ins for ssh and systemctl. A real sshd: tests/real."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.config import load
from gate.deploy import Deployer, Done, Failed, NotUp, SystemdSshOptions, Workplace
from gate.errors import ConfigError
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, ActingContract, Manner, Site, always
from tests.gate.deploy.programs import SSH, FarPrograms

SYSTEMCTL = """
cd "$root"; mkdir -p units
for unit; do :; done
case $1 in
  is-active) [ -e "units/$unit" ] ;;
  restart) echo "$unit" >>restarts; act; : >"units/$unit" ;;
  stop) act; rm -f "units/$unit" ;;
  status) echo "it says why" ;;
esac
"""


class Hosts(FarPrograms):
    """Hosts that are all this machine, whose systemd is a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"ssh": SSH, "systemctl": SYSTEMCTL})

    def deployer(self, workplace: Workplace, **options: Any) -> Deployer:
        given: dict[str, Any] = {
            "hosts": ("deploy@web-1",),
            "unit": "shop@{{slot}}",
            "file": f"{self.root}/etc/{{{{slot}}}}.env",
            "state": f"{self.root}/state",
        }
        return SystemdSshOptions(**given | options).deployer(workplace)

    def half_done(self) -> None:
        self.file("state/shop@green.fence", "6\n")
        self.file("etc/green.env", "VERSION=v2\n")
        self.file("units/shop@green", "")


class TestSystemdSsh(ActingContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        return Hosts(tmp_path)


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def at(place: Hosts, **options: Any) -> Deployer:
    return place.deployer(Workplace(folder=place.root, environ=place.environ, every=0.02), **options)


def restarts(hosts: Hosts) -> int:
    path = hosts.root / "restarts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_version_is_written_into_the_units_file_and_the_rest_of_it_stays(hosts: Hosts) -> None:
    hosts.file("etc/green.env", "PORT=8102\nVERSION=v1\n")
    at(hosts).run(WORK, always)
    assert (hosts.root / "etc/green.env").read_text() == "PORT=8102\nVERSION=v2\n"


def test_what_runs_already_is_not_restarted_and_what_was_half_done_is(hosts: Hosts) -> None:
    for fence in (7, 8):
        assert isinstance(at(hosts).run(replace(WORK, fence=fence), always), Done)
    assert restarts(hosts) == 1
    (hosts.root / "state/shop@green.runs").unlink()
    assert isinstance(at(hosts).run(replace(WORK, fence=8), always), Done)
    assert restarts(hosts) == 2


def test_a_unit_that_does_not_stay_up_fails_with_what_systemd_says(hosts: Hosts) -> None:
    hosts.behave(Manner.LIES)
    failed = at(hosts).run(WORK, always)
    assert isinstance(failed, Failed)
    assert "it says why" in failed.tail


def test_every_host_gets_it_and_the_first_that_fails_ends_it(hosts: Hosts) -> None:
    done = at(hosts, hosts=("web-1", "deploy@web-2:2222")).run(WORK, always)
    assert isinstance(done, Done)
    assert "web-1" in done.text
    assert "web-2" in done.text
    failed = at(hosts, hosts=("web-9", "web-2")).run(replace(WORK, version="v3"), always)
    assert isinstance(failed, Failed)
    assert "web-9" in failed.text
    assert restarts(hosts) == 1


def test_of_several_hosts_a_target_is_one(hosts: Hosts) -> None:
    deployer = at(hosts, hosts=("web-9", "deploy@web-2:2222"))
    assert isinstance(deployer.run(replace(WORK, target="web-2"), always), Done)
    assert isinstance(deployer.run(replace(WORK, target="deploy@web-2:2222"), always), Done)
    assert "no host is called web-3" in deployer.run(replace(WORK, target="web-3"), always).text


def test_a_host_that_cannot_be_reached_is_not_known_to_be_down(hosts: Hosts) -> None:
    answer = at(hosts, hosts=("web-9",)).run(STATUS, always)
    assert isinstance(answer, Failed)
    assert "ssh could not reach it" in answer.text


def test_ssh_asks_nothing_and_trusts_no_stranger(hosts: Hosts) -> None:
    hosts.environ |= {"SSH_KEY": "-----BEGIN\r\nkey-of-ours\r\n-----END", "KNOWN": "web-1 ssh-ed25519 AAAA"}
    at(hosts, hosts=("deploy@web-1:2222",), key="SSH_KEY", known_hosts="KNOWN").run(WORK, always)
    (line,) = (hosts.root / "asked").read_text().splitlines()
    words = shlex.split(line.partition(" /bin/sh")[0])
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10", "IdentitiesOnly=yes"):
        assert option in words
    assert words[-4:] == ["-p", "2222", "--", "deploy@web-1"]
    assert (hosts.root / "key").read_text() == "-----BEGIN\nkey-of-ours\n-----END\n"
    assert (hosts.root / "mode").read_text() == "600\n"
    assert not Path(words[words.index("-i") + 1]).exists()


def test_without_its_key_nobody_is_asked(hosts: Hosts) -> None:
    assert "SSH_KEY" in at(hosts, key="SSH_KEY").run(WORK, always).text
    assert not (hosts.root / "asked").exists()


def test_a_health_address_is_asked_on_the_host(hosts: Hosts) -> None:
    curl = hosts.root / "bin/curl"
    curl.write_text(f'#!/bin/sh\nfor url; do :; done\necho "$url" >>"{hosts.root}/curled"\n')
    curl.chmod(0o755)
    health = {"green": "http://127.0.0.1:8102/healthz", "blue": "http://127.0.0.1:8101/healthz"}
    assert isinstance(at(hosts, health=health).run(WORK, always), Done)
    assert (hosts.root / "curled").read_text() == "http://127.0.0.1:8102/healthz\n"
    curl.write_text("#!/bin/sh\nexit 22\n")
    assert isinstance(at(hosts, health=health).run(STATUS, always), NotUp)


def test_retiring_stops_the_unit_alone(hosts: Hosts) -> None:
    for slot in ("blue", "green"):
        at(hosts).run(replace(WORK, slot=slot), always)
    assert isinstance(at(hosts).run(RETIRE, always), Done)
    assert isinstance(at(hosts).run(replace(STATUS, slot="blue"), always), Done)


def test_the_file_is_read_and_everything_wrong_is_said_at_once() -> None:
    text = "flag: shop\nenvironment: e\nmetrics: [{errors: flagserver}]\ndeploy: {systemd-ssh: %s}\n"
    good = "{hosts: [web-1], unit: 'shop@{{slot}}', file: '/etc/shop/{{slot}}.env', key: SSH_KEY, sudo: true}"
    assert load(text % good, where="x").deploy == SystemdSshOptions(
        hosts=("web-1",), unit="shop@{{slot}}", file="/etc/shop/{{slot}}.env", key="SSH_KEY", sudo=True
    )
    with pytest.raises(ConfigError) as refused:
        load(text % "{hosts: ['-oProxyCommand=x'], unit: shop, file: shop.env, variable: 1A}", where="x")
    assert {one.path for one in refused.value.problems} == {
        f"deploy.systemd-ssh.{key}" for key in ("hosts[0]", "unit", "file", "variable")
    }


def test_slots_are_parted_and_targets_are_not() -> None:
    in_place = SystemdSshOptions(hosts=("web-1",), unit="shop", file="/etc/shop.env")
    parted = SystemdSshOptions(hosts=("web-1",), unit="shop-{{slot}}", file="/etc/{{slot}}.env")
    assert list(in_place.problems("deploy", targets=["web-1"])) == list(parted.problems("deploy", targets=None)) == []
    assert "deploy.unit" in [one.path for one in in_place.problems("deploy", targets=None)]
    assert "deploy.unit" in [one.path for one in parted.problems("deploy", targets=["web-1"])]


def test_every_target_is_one_of_the_hosts() -> None:
    options = SystemdSshOptions(hosts=("web-1", "deploy@web-2:2222"), unit="shop", file="/etc/shop.env")
    assert list(options.problems("deploy", targets=["web-1", "web-2", "deploy@web-2:2222"])) == []
    (problem,) = options.problems("deploy", targets=["web-1", "web-3"])
    assert (problem.path, problem.value) == ("deploy.hosts", "no host web-3")
