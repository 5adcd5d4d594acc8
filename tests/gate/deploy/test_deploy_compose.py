"""Docker Compose, by a stand-in that keeps containers and volumes as files. The real one: tests/container."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.config import load
from gate.deploy import ComposeOptions, Deployer, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.errors import ConfigError
from tests.gate.deploy.contract import RETIRE, STATUS, WORK, ActingContract, Manner, Site, always
from tests.gate.deploy.programs import SSH, FarPrograms

DOCKER = """
here=$PWD; cd "$root"; mkdir -p containers volumes
for last; do :; done
echo "$*" >>docked
case "$1 $2" in
  "ps -a") name=${4#*project=}.${6#*service=}; [ ! -e "containers/$name" ] || echo "rampgate:$name" ;;
  "inspect --format") echo "rampgate:$(cat "containers/$4")" ;;
  "logs --tail") echo "it says why" ;;
  "volume ls") for one in volumes/*; do [ ! -e "$one" ] || echo "rampgate:${one#volumes/}"; done ;;
  "volume create") : >"volumes/$5"; echo "$5" ;;
  "volume rm") shift 2; for one; do rm "volumes/$one"; done ;;
  "compose -f")
    act
    while [ $# -gt 0 ]; do
      case $1 in
        -p) project=$2 ;;
        -f) case $2 in /*) marks=$2 ;; *) marks=$here/$2 ;; esac ;;
        up) version=$(sed 's/.*rampgate.version": "//; s/".*//' "$marks")
            state=$(cat state 2>/dev/null || echo running)
            echo "$state|$(cat health 2>/dev/null)|$version" >"containers/$project.$last" ;;
        down) rm -f "containers/$project".* ;;
        stop) sed 's/running/exited/' "containers/$project.$last" >new; mv new "containers/$project.$last" ;;
      esac
      shift
    done ;;
  *) echo "no such command: $*" >&2; exit 125 ;;
esac
"""


class Machine(FarPrograms):
    """A machine with a Docker of files, which is its own host too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"docker": DOCKER, "ssh": SSH})

    def deployer(self, workplace: Workplace, **options: Any) -> Deployer:
        given = {"project": "shop-{{slot}}", "service": "web"} | options
        return ComposeOptions(**given).deployer(workplace)

    def half_done(self) -> None:
        self.file("volumes/rampgate.shop-green.web.fence.6", "")
        self.file("containers/shop-green.web", "created||v2\n")


class TestCompose(ActingContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        return Machine(tmp_path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def at(machine: Machine, **options: Any) -> Deployer:
    return machine.deployer(Workplace(folder=machine.root, environ=machine.environ, every=0.02), **options)


def asked(machine: Machine) -> list[str]:
    return (machine.root / "docked").read_text().splitlines()


def test_what_runs_already_is_left_running(machine: Machine) -> None:
    at(machine).run(WORK, always)
    assert isinstance(at(machine).run(replace(WORK, fence=8), always), Done)
    assert len([line for line in asked(machine) if " up " in line]) == 1


def test_a_newer_gate_that_had_nothing_to_do_is_remembered_all_the_same(machine: Machine) -> None:
    at(machine).run(WORK, always)
    at(machine).run(replace(WORK, fence=8), always)
    assert "fence 8" in at(machine).run(RETIRE, always).text
    assert [path.name for path in (machine.root / "volumes").iterdir()] == ["rampgate.shop-green.web.fence.8"]


@pytest.mark.parametrize(
    ("state", "health", "kind"),
    [
        ("running", "", Done),
        ("running", "healthy", Done),
        ("running", "starting", NotUp),
        ("running", "unhealthy", NotUp),
        ("exited", "", NotUp),
        ("restarting", "", NotUp),
        ("paused", "", NotUp),
    ],
)
def test_up_is_running_and_healthy(machine: Machine, state: str, health: str, kind: type) -> None:
    machine.file("containers/shop-green.web", f"{state}|{health}|v2\n")
    assert type(at(machine).run(STATUS, always)) is kind


def test_a_container_that_nobody_labelled_does_not_run_the_version_known(machine: Machine) -> None:
    machine.file("containers/shop-green.web", "running||<no value>\n")
    assert at(machine).run(STATUS, always) == Done(text="slot green is up, says docker, but not what it runs")


def test_one_that_dies_fails_at_once_with_its_last_words(machine: Machine) -> None:
    machine.file("state", "exited")
    failed = at(machine).run(WORK, always)
    assert isinstance(failed, Failed)
    assert "exited" in failed.text
    assert failed.tail == ("it says why",)


def test_one_that_never_becomes_healthy_fails_at_the_deadline(machine: Machine) -> None:
    machine.file("health", "starting")
    failed = at(machine).run(replace(WORK, seconds=0.6), always)
    assert isinstance(failed, Failed)
    assert "600ms" in failed.text


def test_a_service_for_each_slot_is_stopped_alone(machine: Machine) -> None:
    deployer = at(machine, project="shop", service="web-{{slot}}")
    for slot in ("blue", "green"):
        assert isinstance(deployer.run(replace(WORK, slot=slot), always), Done)
    assert isinstance(deployer.run(RETIRE, always), Done)
    assert isinstance(deployer.run(STATUS, always), NotUp)
    assert isinstance(deployer.run(replace(STATUS, slot="blue"), always), Done)


def by_ssh(machine: Machine, **options: Any) -> Deployer:
    """With a compose file in the checkout, which is not where the host's programs run."""
    machine.file("checkout/deploy/compose.yml", "services: {web: {}}\n")
    machine.file("checkout/green.env", "PASSWORD=hunter2\n")
    place = Workplace(folder=machine.root / "checkout", environ=machine.environ, every=0.02)
    return machine.deployer(place, **{"host": "ssh://deploy@{{target}}", "file": "deploy/compose.yml"} | options)


FAR = replace(WORK, target="web-1")


def test_a_host_runs_its_own_compose_with_the_files_that_were_brought_there(machine: Machine) -> None:
    deployer = by_ssh(machine, env_file="{{slot}}.env")
    assert isinstance(deployer.run(FAR, always), Done)
    up = deployer.run(replace(FAR, action=STATUS.action), always)
    assert up == Done(text="slot green is up and runs v2, says docker on deploy@web-1", version="v2")
    assert set((machine.root / "hosts").read_text().split()) == {"ssh://deploy@web-1"}
    (line,) = [line for line in asked(machine) if " up " in line]
    assert line == "compose -f compose.yml -f rampgate.web.json -p shop-green --env-file green.env up -d web"
    brought = machine.root / "rampgate/shop-green"
    assert (brought / "compose.yml").read_text() == "services: {web: {}}\n"
    assert (brought / "green.env").stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in (machine.root / "asked").read_text()
    assert isinstance(deployer.run(replace(FAR, action=RETIRE.action), always), Done)
    assert isinstance(deployer.run(replace(FAR, action=STATUS.action), always), NotUp)


def test_a_file_of_the_host_itself_stays_there_and_ours_lies_beside_it(machine: Machine) -> None:
    deployer = by_ssh(machine, file="/srv/shop/compose.yml", folder=f"{machine.root}/srv")
    assert isinstance(deployer.run(FAR, always), Done)
    assert " -f /srv/shop/compose.yml -f rampgate.web.json " in "\n".join(asked(machine))
    assert [path.name for path in (machine.root / "srv").iterdir()] == ["rampgate.web.json"]


@pytest.mark.parametrize(
    ("options", "work", "words"),
    [
        ({"file": "nowhere.yml"}, FAR, "nowhere.yml cannot be read from the checkout"),
        ({"key": "SSH_KEY"}, FAR, "SSH_KEY is not set"),
        ({}, replace(FAR, target="web-9"), "ssh could not reach ssh://deploy@web-9"),
        ({"program": ("docker-compose",)}, FAR, "exit code 127 (no such program there)"),
        ({}, WORK, "{{target}}"),
    ],
)
def test_what_stands_in_the_way_to_a_host_is_said(
    machine: Machine, options: dict[str, Any], work: Work, words: str
) -> None:
    failed = by_ssh(machine, **options).run(work, always)
    assert isinstance(failed, Failed)
    assert words in failed.text


def test_what_hangs_on_a_host_is_ended_there_when_the_rollout_moves_on(machine: Machine) -> None:
    machine.behave(Manner.HANGS)
    assert isinstance(by_ssh(machine).run(FAR, lambda: not machine.begun()), Stopped)
    assert machine.begun()
    assert machine.quiet()


@pytest.mark.parametrize("work", [WORK, RETIRE, replace(RETIRE, slot="one")])
def test_requests_under_way_have_as_long_as_the_plan_says(machine: Machine, work: Work) -> None:
    service = "web-{{slot}}" if work.slot == "one" else "web"
    deployer = at(machine, service=service)
    deployer.run(replace(work, action=WORK.action, drain=29.5), always)
    deployer.run(replace(work, drain=29.5), always)
    asked_of = [line for line in asked(machine) if " up " in line or " down" in line or " stop " in line]
    assert all("--timeout 30" in line for line in asked_of)
    assert len(asked_of) == (1 if work is WORK else 2)


def test_docker_that_is_not_there_is_not_a_slot_that_is_not_up(machine: Machine) -> None:
    (machine.root / "bin/docker").unlink()
    machine.environ["PATH"] = str(machine.root / "bin")
    assert isinstance(at(machine).run(STATUS, always), Failed)


def test_the_slots_variables_are_given_by_their_file(machine: Machine) -> None:
    at(machine, env_file="ports/{{slot}}.env", file="deploy/compose.yml").run(WORK, always)
    (up,) = [line for line in asked(machine) if " up " in line]
    assert up.startswith("compose -f deploy/compose.yml -f ")
    assert up.endswith("-p shop-green --env-file ports/green.env up -d web")


def test_the_file_is_read_and_everything_wrong_is_said_at_once() -> None:
    text = "flag: shop\nenvironment: e\nmetrics: [{errors: flagserver}]\ndeploy: {compose: %s}\n"
    found = load(text % "{project: 'shop-{{slot}}', service: web, program: [podman-compose]}", where="x")
    assert found.deploy == ComposeOptions(project="shop-{{slot}}", service="web", program=("podman-compose",))
    with pytest.raises(ConfigError) as refused:
        load(text % "{project: shop, service: web, host: shop.example, envFile: '{{solt}}.env'}", where="x")
    assert {one.path for one in refused.value.problems} == {
        f"deploy.compose.{key}" for key in ("project", "host", "envFile")
    }


def test_slots_are_parted_and_targets_are_not() -> None:
    in_place = ComposeOptions(project="shop", service="web")
    parted = ComposeOptions(project="shop-{{slot}}", service="web")
    assert list(in_place.problems("deploy", targets=["web-1"])) == list(parted.problems("deploy", targets=None)) == []
    assert "deploy.project" in [one.path for one in in_place.problems("deploy", targets=None)]
    assert "deploy.project" in [one.path for one in parted.problems("deploy", targets=["web-1"])]


@pytest.mark.parametrize(
    ("host", "targets", "sound"),
    [
        (None, None, True),
        ("ssh://deploy@shop.example", None, True),
        ("ssh://deploy@{{target}}", None, False),
        (None, ["web-1"], True),
        (None, ["web-1", "web-2"], False),
        ("ssh://deploy@shop.example", ["web-1", "web-2"], False),
        ("ssh://deploy@{{target}}", ["web-1", "web-2"], True),
    ],
)
def test_each_target_is_a_host_of_its_own(host: str | None, targets: list[str] | None, sound: bool) -> None:
    options = ComposeOptions(project="shop" if targets else "shop-{{slot}}", service="web", host=host)
    assert [one.path for one in options.problems("deploy", targets=targets)] == ([] if sound else ["deploy.host"])


def test_what_is_said_of_a_host_needs_one() -> None:
    options = ComposeOptions(project="shop-{{slot}}", service="web", key="KEY", known_hosts="HOSTS", folder="/srv")
    paths = [one.path for one in options.problems("deploy", targets=None)]
    assert paths == ["deploy.key", "deploy.knownHosts", "deploy.folder"]
