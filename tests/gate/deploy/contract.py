"""What every deployer keeps to: it answers with values, does things twice without harm, and stops when told."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from gate.deploy import DeployAction, Deployer, Done, Failed, NotUp, Stopped, Work, Workplace

WORK = Work(
    action=DeployAction.ENSURE,
    slot="green",
    version="v2",
    fence=7,
    environment="production",
    flag="shop",
    rollout_id="r1",
    seconds=20.0,
)
STATUS = replace(WORK, action=DeployAction.STATUS)
RETIRE = replace(WORK, action=DeployAction.RETIRE)


def always() -> bool:
    return True


class Kind(Protocol):
    """How a deployer is made that works; where it deploys to is its own business."""

    def deployer(self, workplace: Workplace) -> Deployer: ...


class DeployerContract:
    """Subclass it, and give it a ``kind``."""

    kind: Kind

    @pytest.fixture(autouse=True)
    def _leaves_no_thread(self) -> Iterator[None]:
        before = set(threading.enumerate())
        yield
        assert set(threading.enumerate()) <= before

    @pytest.fixture
    def deployer(self, tmp_path: Path) -> Deployer:
        return self.kind.deployer(Workplace(folder=tmp_path, environ={"PATH": "/usr/bin:/bin"}, every=0.02, grace=0.2))

    def test_what_was_ensured_is_up(self, deployer: Deployer) -> None:
        assert isinstance(deployer.run(WORK, always), Done)
        assert isinstance(deployer.run(STATUS, always), Done)

    def test_doing_it_twice_changes_nothing_more(self, deployer: Deployer) -> None:
        assert [type(deployer.run(WORK, always)) for _ in range(2)] == [Done, Done]
        assert [type(deployer.run(RETIRE, always)) for _ in range(2)] == [Done, Done]

    def test_retiring_what_was_never_there_is_done(self, deployer: Deployer) -> None:
        assert isinstance(deployer.run(RETIRE, always), Done)

    @pytest.mark.parametrize("action", DeployAction)
    def test_nothing_begins_once_the_rollout_has_moved_on(self, deployer: Deployer, action: DeployAction) -> None:
        assert isinstance(deployer.run(replace(WORK, action=action), lambda: False), Stopped)

    @pytest.mark.parametrize(
        "version",
        ["", "no such version", "$(touch pwned)", "'; touch pwned; '", "\x00", "v" * 300_000, "v\n2", "–ü\ud800"],
    )
    def test_no_version_makes_it_raise(self, deployer: Deployer, version: str, tmp_path: Path) -> None:
        for action in DeployAction:
            done = deployer.run(replace(WORK, action=action, version=version), always)
            assert isinstance(done, Done | NotUp | Failed)
            assert done.text
            assert len(done.text) < 2_000
        assert not (tmp_path / "pwned").exists()
