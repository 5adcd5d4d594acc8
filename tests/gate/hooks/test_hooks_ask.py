"""One hook, asked: what it is told, what counts as yes, and that nothing of it hangs, leaks or stays behind."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.config import HookConfig, Moment
from gate.deploy import Workplace
from gate.hooks.ask import Asking, Said
from gate.hooks.told import Asked, environment
from gate.signing import signed
from tests.gate.drive.worlds import Scene
from tests.gate.metrics.scripted import Reply, ScriptedServer, scripted

LONG = 30.0
"""Seconds that an answer may take on a busy machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted() as one:
        yield one


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    environ = {"PATH": os.environ["PATH"], "HOOK_SECRET": "hunter2", "GITHUB_TOKEN": "t"}
    return Workplace(
        folder=tmp_path, environ=environ, secrets=["hunter2"], hidden=("HOOK_SECRET",), every=0.05, grace=1
    )


def question(**more: object) -> Asked:
    hook = HookConfig(**{"when": Moment.ROLLOUT, "name": "load", "timeout": LONG, **more})  # type: ignore[arg-type]
    return Asked(hook=hook, rollout=Scene().server.rollout("r1"), number="7")


def answer(asked: Asked, place: Workplace) -> Said:
    said = Asking(asked, place).wait(LONG)
    assert said is not None
    return said


def test_a_command_says_yes_by_its_exit_code_and_its_last_line_is_shown(place: Workplace) -> None:
    assert answer(question(command="echo fine"), place) == Said(yes=True, text="exit code 0: fine")
    no = answer(question(command="echo why not; exit 3"), place)
    assert (no.yes, no.text) == (False, "the hook ended with exit code 3: why not")


def test_a_command_is_told_the_rollout_and_the_moment_and_none_of_the_gates_secrets(place: Workplace) -> None:
    asked = question(command="env > told")
    assert answer(asked, place).yes
    told = dict(line.split("=", 1) for line in (place.folder / "told").read_text().splitlines())
    assert environment(asked).items() <= told.items()
    assert told["RAMPGATE_HOOK"] == "rollout"
    assert (told["RAMPGATE_STEP"], told["RAMPGATE_SHARE"], told["RAMPGATE_REASON"]) == ("0", "0", "created")
    assert (told["RAMPGATE_VERSION"], told["RAMPGATE_SLOT"], told["RAMPGATE_ACTION"]) == ("v2", "green", "hook")
    assert not {"HOOK_SECRET", "GITHUB_TOKEN"} & told.keys()


@pytest.mark.parametrize(
    ("status", "yes"), [(200, True), (204, True), (299, True), (302, False), (403, False), (500, False)]
)
def test_an_address_says_yes_by_any_status_of_the_two_hundreds(
    server: ScriptedServer, place: Workplace, status: int, yes: bool
) -> None:
    server.script = lambda _: Reply(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})
    assert answer(question(url=server.url), place).yes is yes


def test_what_an_address_answers_is_shown_on_one_line_harmless_masked_and_cut(
    server: ScriptedServer, place: Workplace
) -> None:
    server.script = lambda _: Reply(status=403, body=b"::error::closed\n\x1b[31mby hunter2 " + b"x" * 999)
    said = answer(question(url=f"{server.url}/path?key=hunter2"), place)
    assert "closed" in said.text
    assert "by ***" in said.text
    assert said.text.isprintable()
    assert len(said.text) == 300
    assert "hunter2" not in said.text


def test_what_is_posted_is_signed_with_the_named_secret(server: ScriptedServer, place: Workplace) -> None:
    server.script = lambda _: Reply()
    server.asked.clear()
    asked = question(url=server.url, secret_env="HOOK_SECRET")
    assert answer(asked, place).yes
    (got,) = server.asked
    at = float(got.headers["webhook-timestamp"])
    assert signed("hunter2", got.body, message="r1:1:load:7", at=at).items() <= got.headers.items()
    told = json.loads(got.body)
    assert (told["hook"], told["when"], told["rollout"], told["version"]) == ("load", "rollout", "r1", "v2")
    assert told["stable"] == {"slot": "blue", "version": "v1"}


def test_without_its_secret_nothing_is_posted(server: ScriptedServer, place: Workplace) -> None:
    server.asked.clear()
    said = answer(question(url=server.url, secret_env="NOT_THERE"), place)
    assert not said.yes
    assert "NOT_THERE" in said.text
    assert server.asked == []


def test_a_command_that_cannot_be_started_and_one_that_hangs_have_not_said_yes(place: Workplace) -> None:
    assert not answer(question(command=("./not-there",)), place).yes
    late = answer(question(command="exec sleep 600", timeout=0.05), place)
    assert (late.yes, "its deadline" in late.text) == (False, True)


def cancelled(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def test_stopped_nothing_of_a_hook_is_left(server: ScriptedServer, place: Workplace) -> None:
    command = Asking(question(command="echo $$ > pid; exec sleep 600"), place)
    while not (pid := place.folder / "pid").exists() or not pid.read_text().endswith("\n"):
        assert command.wait(0.01) is None
    # A job's cancelling interrupts the waiting, and the hook goes on all the same.
    before = signal.signal(signal.SIGUSR1, cancelled)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    with pytest.raises(KeyboardInterrupt):
        command.wait(LONG)
    signal.signal(signal.SIGUSR1, before)
    command.stop()
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    server.hangs()
    posting = Asking(question(url=server.url), place)
    posting.stop()
    server.raw = None
    assert posting.said is not None
    assert not posting.said.yes


def test_a_fault_of_ours_is_no_yes(place: Workplace) -> None:
    broken = replace(place, folder=place.folder / "gone")
    assert not answer(question(command="true"), broken).yes
