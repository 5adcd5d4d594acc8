"""What every deployer keeps to: it answers with values, does things twice without harm, and stops when told."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto
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
        left = set(threading.enumerate()) - before
        for thread in left:
            # The services of the tests end a thread for each connection in their own time.
            thread.join(20)
        assert not any(thread.is_alive() for thread in left)

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


SECRET = "s3cr3t-of-the-deployment"
"""What a site in the manner ``TELLS`` says aloud. Workplaces of ``ActingContract`` know it as a secret."""


class Manner(Enum):
    """How a site goes about what it is asked."""

    WELL = auto()
    FAILS = auto()
    HANGS = auto()
    LIES = auto()
    TELLS = auto()


class Site(Protocol):
    """A place to deploy to, which does as the test says."""

    environ: dict[str, str]

    def deployer(self, workplace: Workplace) -> Deployer: ...

    def behave(self, manner: Manner) -> None: ...

    def begun(self) -> bool:
        """Whether it has begun what it was asked last."""
        ...

    def quiet(self) -> bool:
        """Whether nothing of what it began is under way."""
        ...

    def half_done(self) -> None:
        """Stand as a gate leaves it that was killed in the middle of deploying v2 into green, with fence 6."""
        ...


class ActingContract(DeployerContract):
    """For deployers that do something. Give it a fixture ``site``."""

    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.fixture
    def deployer(self, tmp_path: Path, site: Site, said: list[str]) -> Deployer:
        return site.deployer(
            Workplace(
                folder=tmp_path, environ=site.environ, every=0.02, grace=0.5, say=said.append, secrets=[SECRET, "x" * 5]
            )
        )

    def test_the_status_of_a_slot_is_what_runs_there(self, deployer: Deployer) -> None:
        assert isinstance(deployer.run(STATUS, always), NotUp)
        deployer.run(WORK, always)
        up = deployer.run(STATUS, always)
        assert isinstance(up, Done)
        assert up.version in ("v2", None)
        assert isinstance(deployer.run(replace(STATUS, version="v3"), always), NotUp | Failed)
        assert isinstance(deployer.run(replace(STATUS, slot="blue", version=""), always), NotUp)
        deployer.run(RETIRE, always)
        assert isinstance(deployer.run(STATUS, always), NotUp)

    def test_a_slot_goes_from_one_version_to_another(self, deployer: Deployer) -> None:
        deployer.run(replace(WORK, version="v1"), always)
        assert isinstance(deployer.run(WORK, always), Done)
        assert isinstance(deployer.run(STATUS, always), Done)

    def test_what_fails_is_said(self, deployer: Deployer, site: Site) -> None:
        site.behave(Manner.FAILS)
        failed = deployer.run(WORK, always)
        assert isinstance(failed, Failed)
        assert failed.text
        assert not isinstance(deployer.run(STATUS, always), Done)

    def test_what_is_too_slow_fails_and_is_ended(self, deployer: Deployer, site: Site) -> None:
        site.behave(Manner.HANGS)
        failed = deployer.run(replace(WORK, seconds=1.5), always)
        assert isinstance(failed, Failed)
        assert "1s500ms" in failed.text
        assert site.quiet()

    def test_when_the_rollout_moves_on_it_stops_and_can_be_done_again(self, deployer: Deployer, site: Site) -> None:
        site.behave(Manner.HANGS)
        assert isinstance(deployer.run(WORK, lambda: not site.begun()), Stopped)
        assert site.quiet()
        site.behave(Manner.WELL)
        assert isinstance(deployer.run(WORK, always), Done)
        assert isinstance(deployer.run(STATUS, always), Done)

    def test_an_error_on_the_gates_side_ends_it_too(self, deployer: Deployer, site: Site) -> None:
        def keep_going() -> bool:
            if site.begun():
                raise ConnectionError
            return True

        site.behave(Manner.HANGS)
        with pytest.raises(ConnectionError):
            deployer.run(WORK, keep_going)
        assert site.quiet()

    def test_who_lies_about_success_is_found_out(self, deployer: Deployer, site: Site) -> None:
        site.behave(Manner.LIES)
        deployer.run(WORK, always)
        assert not isinstance(deployer.run(STATUS, always), Done)

    def test_secrets_reach_neither_log_nor_answer(self, deployer: Deployer, site: Site, said: list[str]) -> None:
        site.behave(Manner.TELLS)
        answers = [deployer.run(work, always) for work in (WORK, STATUS, RETIRE)]
        assert not any(isinstance(answer, Stopped) for answer in answers)
        assert SECRET not in repr(answers)
        assert SECRET not in "\n".join(said)

    def test_a_gate_killed_in_the_middle_is_followed_by_another(self, deployer: Deployer, site: Site) -> None:
        site.half_done()
        assert isinstance(deployer.run(WORK, always), Done)
        assert isinstance(deployer.run(STATUS, always), Done)

    def test_an_older_gate_is_refused(self, deployer: Deployer) -> None:
        assert isinstance(deployer.run(WORK, always), Done)
        for older in (replace(RETIRE, fence=6), replace(WORK, fence=6, version="v1")):
            refused = deployer.run(older, always)
            assert isinstance(refused, Failed)
            assert "newer gate" in " ".join([refused.text, *refused.tail])
        assert isinstance(deployer.run(STATUS, always), Done)

    def test_an_older_gate_is_refused_after_a_newer_one_has_retired(self, deployer: Deployer) -> None:
        assert isinstance(deployer.run(replace(WORK, fence=6), always), Done)
        assert isinstance(deployer.run(RETIRE, always), Done)
        assert isinstance(deployer.run(replace(WORK, fence=6), always), Failed)
        assert isinstance(deployer.run(STATUS, always), NotUp)
