"""What a run of the Action reads of the checkout, and what it leaves alone."""

import io
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from gate.app import sweep
from gate.config import Config
from gate.errors import Exit, InputError, MisuseError
from gate.flagserver_api import FlagServer
from gate.parting import Asked, JobEnd, never
from gate.release import Gate
from gate.step import Step, say
from gate.telling import Telling
from rampgate.evidence import ArmName
from rampgate.machine.state import Action, ActionKind, Phase
from rampgate.rollout import Rollout
from tests.fakes.flag_server import FakeClock, FakeFlagServer
from tests.flagserver.inside import PLAN


def step_in(workspace: Path, event: Path, kind: type[Step] = Step) -> Step:
    event.write_text("{}")
    names = {
        "EVENT_NAME": "push", "REPOSITORY": "acme/shop", "REPOSITORY_ID": "1", "SHA": "1" * 40, "RUN_ID": "1",
        "ACTOR": "ann", "RUN_ATTEMPT": "1", "EVENT_PATH": str(event), "WORKSPACE": str(workspace),
    }  # fmt: skip
    given = {f"GITHUB_{name}": value for name, value in names.items()}
    return kind.begin({**given, "INPUT_FLAG-SERVER-URL": "https://flags.example.com"})


@pytest.fixture
def step(tmp_path: Path) -> Step:
    (tmp_path / "workspace/.github").mkdir(parents=True)
    return step_in(tmp_path / "workspace", tmp_path / "event.json")


def test_a_configuration_that_links_out_of_the_repository_is_not_read(step: Step, tmp_path: Path) -> None:
    (tmp_path / "runner-file").write_text("token=hunter2: yes\n")
    (tmp_path / "workspace/.github/rampgate.yml").symlink_to(tmp_path / "runner-file")
    with pytest.raises(InputError) as refused:
        step.config()
    assert "no link that leads out of it" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_link_in_a_circle_is_no_fault_of_ours(step: Step, tmp_path: Path) -> None:
    file = tmp_path / "workspace/.github/rampgate.yml"
    file.symlink_to(file)
    with pytest.raises(MisuseError):
        step.config()


def test_a_link_inside_the_repository_is_followed(step: Step, tmp_path: Path) -> None:
    plan = {
        "flag": "shop",
        "environment": "production",
        "deploy": {"none": True},
        "metrics": [{"errors": "flagserver"}],
    }
    (tmp_path / "workspace/plan.yml").write_text(json.dumps(plan))
    (tmp_path / "workspace/.github/rampgate.yml").symlink_to("../plan.yml")
    assert step.config().plan.flag == "shop"


class Log(io.StringIO):
    """A log that keeps its writes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_a_line_of_the_log_is_written_whole_whoever_else_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(sys, "stdout", log)
    say("::add-mask::secret")
    assert log.writes == ["::add-mask::secret\n"]


class Left:
    """A flag server with one rollout that waits for hands."""

    url = "https://flags.example.com"

    def __init__(self) -> None:
        record = FakeFlagServer(clock=FakeClock(), plan=PLAN).record
        undone = Action(number=1, kind=ActionKind.RETIRE, arm=ArmName.CANARY)
        state = replace(record.state, phase=Phase.REVERTING, lease=None, actions=(undone,))
        self.record = replace(record, state=state)

    def find(self, **_: object) -> tuple[Rollout, ...]:
        return (self.record,)

    def rollout(self, _rollout_id: str) -> Rollout:
        return self.record


class Swept(Step):
    """A step whose driver only tells what it was given."""

    parting: Asked = never

    def gate(self, config: Config, telling: Telling, parting: Asked = never) -> Gate:  # noqa: ARG002
        self.parting = parting
        raise MisuseError("Enough is known.")


def test_whoever_drives_what_others_have_left_knows_when_its_own_job_ends(step: Step, tmp_path: Path) -> None:
    plan = {"flag": PLAN.flag, "environment": PLAN.environment, "deploy": {"none": True}}
    document = json.dumps({**plan, "metrics": [{"errors": "flagserver"}]})
    (step.runner.workspace / ".github/rampgate.yml").write_text(document)
    sweeping = step_in(step.runner.workspace, tmp_path / "event.json", Swept)
    assert isinstance(sweeping, Swept)
    sweeping.server = cast(FlagServer, Left())
    before = set(threading.enumerate())
    assert sweep(sweeping) is Exit.UNFINISHED
    for one in set(threading.enumerate()) - before:
        one.join(20)
        assert not one.is_alive()
    assert isinstance(sweeping.parting, JobEnd)
    assert sweeping.parting.limit == sweeping.inputs.job_timeout
