"""The demo's releases by the action's image, started as GitHub's runner starts it, against the flag server's image."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.demo.__main__ import FAILS, Story, broken, healthy
from examples.demo.screen import Screen
from examples.demo.town import Run, Town
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout
from tests.container.container_town import ContainerGate, ContainerServer
from tests.container.engine import Image
from tests.container.runner import RUNNER_UID

PATIENCE = 60.0


@pytest.fixture
def gate(gate_image: Image) -> Iterator[ContainerGate]:
    made = ContainerGate(gate_image)
    yield made
    made.close()


@pytest.fixture
def town(tmp_path: Path, gate: ContainerGate, flagserver_image: Image) -> Iterator[Town]:
    tmp_path.chmod(0o755)
    with Town(tmp_path, FAILS, gate=gate, server=ContainerServer(tmp_path, flagserver_image)) as made:
        yield made


def seen(town: Town, run: Run, holds: Callable[[Rollout], bool]) -> Rollout:
    """The rollout once this holds of it. Raises AssertionError when the step ends or time is up before."""
    until = time.monotonic() + PATIENCE
    rollout = town.rollout(run)
    while rollout is None or not holds(rollout):
        assert time.monotonic() < until, run.files["log.txt"].read_text()
        if rollout is None:
            assert run.process.poll() is None, run.files["log.txt"].read_text()
            rollout = town.rollout(run)
        else:
            rollout = town.api.rollout(rollout.id, after=rollout.state.revision, wait=5.0)
    return rollout


@pytest.mark.timeout(300)
def test_a_healthy_release_is_promoted_and_a_broken_one_reverted(town: Town) -> None:
    story = Story(town=town, screen=Screen())
    healthy(story)
    broken(story)
    assert story.end() == 0, story.wrong
    for number, (decision, percentage) in {"1.1": ("promoted", "100"), "2.1": ("reverted", "0")}.items():
        folder = town.folder / f"run-{number}"
        outputs = (folder / "output").read_text()
        assert decision in outputs
        assert percentage in outputs
        assert (folder / "summary.md").read_text().strip()
        assert (folder / "log.txt").read_text().count("Traceback") == 0
        belongs_to_the_runner(folder)
    belongs_to_the_runner(town.workspace)


def belongs_to_the_runner(folder: Path) -> None:
    """Whatever the step wrote can be read by the steps after it, which are not root."""
    for path in folder.rglob("*"):
        found = path.stat()
        others = 0o5 if path.is_dir() else 0o4
        assert found.st_uid in {RUNNER_UID, os.geteuid()}
        assert found.st_uid == RUNNER_UID or found.st_mode & others == others, path


@pytest.mark.timeout(180)
def test_a_cancelled_job_takes_its_users_back_and_its_post_run_undoes_the_deployment(
    town: Town, gate: ContainerGate
) -> None:
    run = town.release("v2")
    rollout = seen(town, run, lambda it: it.share == 10_000)
    gate.signal("TERM")
    assert run.process.wait(10) == 143, run.files["log.txt"].read_text()
    back = town.api.rollout(rollout.id)
    assert back.share == 0
    assert back.state.reason is Reason.CANCELLED
    assert town.post(run).wait(60) == 0, run.files["log.txt"].read_text()
    ended = town.api.rollout(rollout.id)
    assert ended.state.phase is Phase.REVERTED
    assert not ended.state.needs_hands
    assert town.machines.running(rollout.canary.name) is None
    assert town.machines.running(rollout.stable.name) == "v1"
    assert town.load.switching == 0
